use super::sample::fixtures::{per_class, rows};
use super::*;

fn is_partition(parts: &[Vec<usize>], n: usize) -> bool {
    let mut all = parts.concat();
    all.sort_unstable();
    all.into_iter().eq(0..n) && parts.iter().all(|part| part.is_sorted())
}

#[test]
fn the_default_fractions_give_the_published_sizes_in_every_class() {
    let rows = rows(&[12_500, 12_500]);
    let d = divide_train(&rows, 0, Fractions::default(), false, true, &Noise::new(42)).unwrap();
    for (part, n) in
        [(&d.train, 10_000), (&d.selection, 1_250), (&d.temperature, 625), (&d.conformal, 625)]
    {
        assert_eq!(per_class(&rows, part, 2), [n, n]);
    }
    assert!(d.test.is_empty());
    assert!(is_partition(&[d.train, d.selection, d.temperature, d.conformal], 25_000));
}

#[test]
fn an_official_validation_split_is_halved_and_quartered() {
    let rows = rows(&[20; 150]);
    let d = divide_validation(&rows, &Noise::new(1)).unwrap();
    assert_eq!(per_class(&rows, &d.selection, 150), [10; 150]);
    assert_eq!(per_class(&rows, &d.temperature, 150), [5; 150]);
    assert_eq!(per_class(&rows, &d.conformal, 150), [5; 150]);
    let rows = self::rows(&[40; 4]);
    let whole = divide_train(&rows, 0, Fractions::default(), true, true, &Noise::new(1)).unwrap();
    assert_eq!(whole.train.len(), 160);
}

#[test]
fn fractions_count_rows_that_are_trained_on_anyway() {
    let rows = rows(&[50, 50]);
    let sizes = |fixed| {
        let d = divide_train(&rows, fixed, Fractions::default(), false, false, &Noise::new(1));
        let d = d.unwrap();
        [d.train, d.selection, d.temperature, d.conformal, d.test].map(|part| part.len())
    };
    assert_eq!(sizes(0), [70, 10, 5, 5, 10]);
    assert_eq!(sizes(100), [40, 20, 10, 10, 20]);
    // All of them, in the same proportions.
    for fixed in [232, 900] {
        assert_eq!(sizes(fixed), [0, 33, 17, 17, 33]);
    }
}

#[test]
fn small_classes_keep_the_shares_as_a_whole() {
    // 2.4, 0.3, 0.15 and 0.15 rows a class: each gets floor or ceiling, the sums are right.
    let rows = rows(&[3; 1000]);
    let parts = carve(&rows, &[0.8, 0.1, 0.05, 0.05], &Noise::new(1), 0).unwrap();
    let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
    for (size, expected) in sizes.into_iter().zip([2400usize, 300, 150, 150]) {
        assert!(size.abs_diff(expected) <= 1, "{size} for {expected}");
    }
    assert!(per_class(&rows, &parts[0], 1000).iter().all(|&n| n == 2 || n == 3));
}

#[test]
fn repeated_texts_stay_on_one_side_and_sizes_stay_exact() {
    let mut rows = rows(&[600, 400]);
    for i in 0..100 {
        rows[5 * i].text = rows[5 * i + 1].text; // pairs, in both classes
    }
    rows[10].text = rows[900].text; // one text with two labels
    let parts = carve(&rows, &[0.7, 0.2, 0.1], &Noise::new(3), 0).unwrap();
    assert!(is_partition(&parts, 1000));
    for (part, n) in parts.iter().zip([[420, 280], [120, 80], [60, 40]]) {
        assert_eq!(per_class(&rows, part, 2), n);
    }
    let texts = |part: &[usize]| part.iter().map(|&row| rows[row].text).collect::<Vec<_>>();
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        assert_eq!(overlap(&texts(&parts[i]), &texts(&parts[j])), Vec::<usize>::new());
    }
}

#[test]
fn a_text_repeated_beyond_every_part_is_not_torn_apart() {
    let mut rows = rows(&[20]);
    rows.iter_mut().take(15).for_each(|row| row.text = 99);
    let parts = carve(&rows, &[0.5, 0.5], &Noise::new(3), 0).unwrap();
    assert!(is_partition(&parts, 20));
    assert!(parts.iter().any(|part| (0..15).all(|row| part.contains(&row))));
}

#[test]
fn equal_seeds_agree_and_other_seeds_and_divisions_differ() {
    let rows = rows(&[50, 50]);
    let parts = |seed, a| carve(&rows, &[0.5, 0.5], &Noise::new(seed), a).unwrap();
    assert_eq!(parts(1, 0), parts(1, 0));
    assert_ne!(parts(1, 0), parts(2, 0));
    assert_ne!(parts(1, 0), parts(1, 1));
}

#[test]
fn an_empty_part_for_want_of_texts_says_so() {
    let mut rows = rows(&[30, 30]);
    rows.iter_mut().for_each(|row| row.text = u64::from(row.label));
    let error = divide_train(&rows, 0, Fractions::default(), false, true, &Noise::new(1));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("60 rows) is empty; the rows have only 2 different texts")
            && !message.contains("raise"),
        "{message}"
    );
}

#[test]
fn an_empty_part_names_the_fraction_to_raise() {
    let error = divide_train(&rows(&[4, 4]), 0, Fractions::default(), false, true, &Noise::new(1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("_fraction`") && error.contains("8 rows"), "{error}");
    let fractions = Fractions { validation: 0.6, calibration: 0.2, test: 0.1 };
    let error = divide_train(&rows(&[99]), 0, fractions, false, false, &Noise::new(1));
    assert!(matches!(error, Err(SplitError::Fractions { .. })));
    for shares in [&[0.5, 0.4][..], &[1.5, -0.5], &[f64::NAN, 1.0]] {
        let error = carve(&rows(&[9]), shares, &Noise::new(1), 0);
        assert!(matches!(error, Err(SplitError::Shares { .. })), "{shares:?}");
    }
}
