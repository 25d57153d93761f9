use std::collections::BTreeMap;

use super::*;
use crate::data::{Remark, repeated_calibration, repeated_validation};

fn rows(name: &str, n: u32) -> Vec<Example> {
    let row = |i| Example { text: format!("{name} {i}"), pair: None, label: i % 2 };
    (0..n).map(row).collect()
}

/// A quarter of the official validation split repeats training texts.
#[test]
fn parts_are_disjoint_and_nothing_is_calibrated_on_texts_that_were_trained_on() {
    let mut validation = rows("held out", 60);
    validation.extend(rows("trained on", 20));
    let splits = [("train", rows("trained on", 200)), ("validation", validation)];
    let dataset = dataset(splits);
    let parts =
        Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &HashSet::new()).unwrap();
    let texts = |part: &Part| -> Vec<String> {
        part.examples(&dataset).map(|example| example.text.clone()).collect()
    };
    for calibrated in [&parts.temperature, &parts.conformal] {
        assert!((8..20).contains(&calibrated.rows.len()), "{calibrated:?}");
        assert!(texts(calibrated).iter().all(|text| text.starts_with("held out")));
    }
    let all: Vec<String> =
        [&parts.validation, &parts.temperature, &parts.conformal].map(texts).concat();
    let mut once = all.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), all.len());
    let (train, test) = (texts(&parts.train), texts(&parts.test));
    assert!(test.iter().all(|text| !train.contains(text)));
    let chosen = texts(&parts.validation);
    let seen = (0..chosen.len()).filter(|&place| train.contains(&chosen[place]));
    assert_eq!(parts.seen_in_validation, seen.collect::<Vec<_>>());
    assert!((1..20).contains(&parts.seen_in_validation.len()));
    let remark = repeated_validation(&dataset, &parts).unwrap();
    assert!(
        matches!(&remark, Remark::Warning(text) if text.starts_with("20 of the 80 rows")),
        "{remark:?}"
    );
}

#[test]
fn a_validation_split_of_training_texts_is_left_out() {
    let splits = [("train", rows("trained on", 200)), ("validation", rows("trained on", 60))];
    let dataset = dataset(splits);
    let parts =
        Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &HashSet::new()).unwrap();
    assert!(parts.are_carved() && parts.seen_in_validation.is_empty());
    assert_eq!((parts.validation.rows.len(), parts.temperature.rows.len()), (20, 10));
    let remark = repeated_validation(&dataset, &parts).unwrap();
    assert!(
        matches!(&remark, Remark::Warning(text) if text.contains("60 of the 60 rows")
            && text.contains("the split is not used")),
        "{remark:?}"
    );
}

#[test]
fn texts_that_were_seen_before_are_trained_on_and_measure_nothing() {
    let dataset = dataset([("train", rows("text", 200))]);
    let divide =
        |seen: &HashSet<u64>| Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), seen);
    let plain = divide(&HashSet::new()).unwrap();
    let keys = |part: &Part| part.examples(&dataset).map(Example::key).collect::<HashSet<u64>>();
    // What was trained on by the same division changes nothing.
    assert_eq!(divide(&keys(&plain.train)).unwrap(), plain);
    let measured = [&plain.temperature, &plain.conformal, &plain.test];
    for part in measured {
        let seen: HashSet<u64> = keys(&plain.train).union(&keys(part)).copied().collect();
        let parts = divide(&seen).unwrap();
        let sizes = parts.named().map(|(_, part)| part.rows.len());
        assert_eq!(sizes.iter().sum::<usize>(), 200);
        for (name, part) in &parts.named()[1..] {
            assert!(!part.rows.is_empty() && keys(part).is_disjoint(&seen), "{name}");
        }
        assert!(seen.is_subset(&keys(&parts.train)) && parts.seen_in_test.is_empty());
    }
    let all: HashSet<u64> = dataset.rows("train").iter().map(Example::key).collect();
    let few: HashSet<u64> = all.iter().copied().skip(3).collect();
    for (seen, new) in [(all, 0), (few, 3)] {
        let error = divide(&seen).unwrap_err();
        assert!(
            matches!(error, DataError::Seen { rows: 200, new: found, .. } if found == new),
            "{error}"
        );
    }
}

/// A row counts once as evidence, wherever its text stands again.
#[test]
fn repeated_rows_that_calibrate_are_told_of() {
    let divide = |rows: Vec<Example>, cross_fit| {
        let dataset = dataset([("train", rows)]);
        let config = DataConfig { cross_fit, ..DataConfig::default() };
        let parts = Parts::divide(&dataset, &config, &Noise::new(1), &HashSet::new()).unwrap();
        repeated_calibration(&dataset, &parts).map(|remark| remark.text().to_owned())
    };
    let often = |count: u32, times: usize| -> Vec<Example> {
        rows("text", count).into_iter().flat_map(|row| vec![row; times]).collect()
    };
    for cross_fit in [CrossFit::Never, CrossFit::Always] {
        assert_eq!(divide(rows("text", 1000), cross_fit), None);
        let told = divide(often(150, 20), cross_fit).unwrap();
        assert!(told.contains("different texts"), "{told}");
        // A few are in most data.
        let mut few = rows("text", 1000);
        few.extend(rows("text", 50));
        assert_eq!(divide(few, cross_fit), None);
    }
    // One class alone was filled up by copies.
    let mut mixed: Vec<Example> = rows("many", 4000);
    mixed.retain(|row| row.label == 0);
    mixed.extend(often(24, 15).into_iter().filter(|row| row.label == 1));
    let told = divide(mixed, CrossFit::Always).unwrap();
    assert!(told.contains("of class `"), "{told}");
}

/// Half of the official validation and test splits were seen.
#[test]
fn splits_of_their_own_keep_their_rows_and_are_counted() {
    let (validation, test) = (rows("chosen by", 80), rows("reported on", 60));
    let seen = [&validation[..40], &test[..30]].concat().iter().map(Example::key).collect();
    let splits = [("train", rows("trained on", 200)), ("validation", validation), ("test", test)];
    let dataset = dataset(splits);
    let parts = Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &seen).unwrap();
    assert_eq!(parts.seen_in_test, (0..30).collect::<Vec<_>>());
    assert_eq!((parts.train.rows.len(), parts.validation.rows.len()), (200, 40));
    for part in [&parts.temperature, &parts.conformal] {
        assert!(!part.rows.is_empty() && part.rows.iter().all(|&row| row >= 40), "{part:?}");
    }
}

/// A data set of these splits.
fn dataset(splits: impl IntoIterator<Item = (&'static str, Vec<Example>)>) -> Dataset {
    Dataset {
        name: "rows".to_owned(),
        task: crate::task::Task::SingleLabel,
        labels: vec!["even".to_owned(), "odd".to_owned()],
        splits: splits.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect(),
        out_of_scope: BTreeMap::new(),
        columns: String::new(),
        column_names: Default::default(),
        header: Vec::new(),
        written: String::new(),
        generated: false,
        terms: None,
        file_labels: Default::default(),
        files: Vec::new(),
        places: Default::default(),
        hidden: Vec::new(),
        reported: None,
        remarks: Vec::new(),
        stream: None,
    }
}

/// One row in five is odd.
#[test]
fn a_limit_counts_the_rows_that_are_cross_fitted_and_keeps_their_shares() {
    let skewed = |n| -> Vec<Example> {
        let row = |i: u32| Example {
            text: format!("text {i}"),
            pair: None,
            label: u32::from(i.is_multiple_of(5)),
        };
        (0..n).map(row).collect()
    };
    let dataset = dataset([("train", skewed(400))]);
    let config = DataConfig {
        cross_fit: CrossFit::Always,
        train_limit: 50,
        validation_limit: 10,
        test_limit: 20,
        ..DataConfig::default()
    };
    let parts = Parts::divide(&dataset, &config, &Noise::new(1), &HashSet::new()).unwrap();
    let odd = |part: &Part| part.examples(&dataset).filter(|example| example.label == 1).count();
    assert_eq!((parts.train.rows.len(), odd(&parts.train)), (50, 10));
    assert_eq!((parts.test.rows.len(), odd(&parts.test)), (20, 4));
    assert_eq!(parts.held_out(), Vec::<usize>::new());
    // A part that trains alone is balanced; what chooses and what is reported on is not.
    let apart = Parts::apart(&dataset, &config, &Noise::new(1), &HashSet::new()).unwrap();
    assert_eq!((apart.train.rows.len(), odd(&apart.train)), (50, 25));
    assert_eq!((apart.validation.rows.len(), odd(&apart.validation)), (10, 2));
    assert_eq!(apart.test, parts.test);
}

/// Every third test text was also trained on.
#[test]
fn limits_leave_a_sample_and_what_was_seen_follows_it() {
    let train = rows("trained on", 200);
    let test: Vec<Example> = (0..90)
        .map(|i| match i % 3 {
            0 => train[i as usize].clone(),
            _ => Example { text: format!("fresh {i}"), pair: None, label: i % 2 },
        })
        .collect();
    let splits = [("train", train), ("test", test)];
    let dataset = dataset(splits);
    let divide = |config: &DataConfig| {
        Parts::divide(&dataset, config, &Noise::new(1), &HashSet::new()).unwrap()
    };
    let usual = DataConfig::default();
    let all = divide(&usual);
    let config = DataConfig { validation_limit: 8, test_limit: 30, ..usual };
    let limited = divide(&config);
    assert_eq!((limited.validation.rows.len(), limited.test.rows.len()), (8, 30));
    assert!(limited.validation.rows.iter().all(|row| all.validation.rows.contains(row)));
    for part in [&limited.validation, &limited.test] {
        let odd = part.examples(&dataset).filter(|example| example.label == 1).count();
        assert_eq!(2 * odd, part.rows.len(), "{part:?}");
        assert!(part.rows.is_sorted());
    }
    // What is trained and calibrated on is the same.
    assert_eq!((&limited.train, &limited.temperature), (&all.train, &all.temperature));
    assert_eq!(limited.conformal, all.conformal);
    let used = [&limited.train, &limited.validation, &limited.temperature, &limited.conformal];
    let used: Vec<&str> =
        used.iter().flat_map(|part| part.examples(&dataset)).map(|one| &*one.text).collect();
    let tested: Vec<&Example> = limited.test.examples(&dataset).collect();
    let expected: Vec<usize> =
        (0..30).filter(|&place| used.contains(&&*tested[place].text)).collect();
    assert!(!expected.is_empty());
    assert_eq!(limited.seen_in_test, expected);
    assert_eq!(divide(&config.unlimited()), all);
    // A limit beyond the rows is none.
    assert_eq!(divide(&DataConfig { test_limit: 5_000, ..DataConfig::default() }), all);
}
