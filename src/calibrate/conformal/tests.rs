use serde_json::Value;

use super::*;
use crate::compute::{Purpose, Stream};

fn stream() -> Stream {
    Noise::new(12).stream(Purpose::Bootstrap, 0, 0)
}

/// Probabilities, labels and uniforms.
type Rows = (Vec<f64>, Vec<u32>, Vec<f64>);

/// Random probabilities, and labels drawn from a tempered form of them, so that they are wrong.
fn draw(stream: &mut Stream, n: usize, classes: usize) -> Rows {
    let (mut probability_nc, mut labels, mut uniforms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n {
        let weight_c: Vec<f64> = (0..classes).map(|_| (1.5 * stream.normal()).exp()).collect();
        let sum: f64 = weight_c.iter().sum();
        let mut left = stream.uniform() * weight_c.iter().map(|w| w.sqrt()).sum::<f64>();
        let label = weight_c.iter().position(|w| {
            left -= w.sqrt();
            left < 0.0
        });
        labels.push(label.unwrap_or(classes - 1) as u32);
        uniforms.push(stream.uniform());
        probability_nc.extend(weight_c.iter().map(|w| w / sum));
    }
    (probability_nc, labels, uniforms)
}

fn held_out((probability_nc, labels, uniforms): &Rows, classes: usize) -> HeldOut<'_> {
    HeldOut { probability_nc, labels, uniforms, classes }
}

fn fit(method: ConformalMethod, rows: &Rows, classes: usize, alpha: f64) -> Conformal {
    Conformal::fit(method, &held_out(rows, classes), alpha, &Noise::new(1))
}

/// Mean and standard error.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// The score of the label is uniform here, so that the coverage under a bound is the bound.
#[test]
fn coverage_over_draws_of_the_calibration_rows_follows_the_beta_distribution() {
    let (n, repetitions, mut stream) = (188, 2000, stream());
    for alpha in [0.1, 0.05] {
        let band = coverage_band(n, alpha, 0.99).unwrap();
        let (mut coverages, mut inside) = (Vec::new(), 0);
        for _ in 0..repetitions {
            let lines = (0..n).map(|_| stream.uniform()).flat_map(|p| [p, 1.0 - p]);
            let rows = (lines.collect(), vec![0; n], vec![0.5; n]);
            let bound = fit(ConformalMethod::Lac, &rows, 2, alpha).bounds(alpha).bound_c[0];
            inside += usize::from((band.0..=band.1).contains(&bound));
            coverages.push(bound);
        }
        let (mean, error) = moments(&coverages);
        let most = 1.0 - alpha + 1.0 / (n + 1) as f64;
        assert!(mean > 1.0 - alpha - 4.0 * error && mean < most + 4.0 * error, "{mean} {error}");
        let share = inside as f64 / f64::from(repetitions);
        let error = (0.99 * 0.01 / f64::from(repetitions)).sqrt();
        assert!((share - 0.99).abs() < 4.0 * error, "{share}");
    }
}

#[test]
fn sets_of_every_method_hold_the_label_as_often_as_promised_and_not_much_more() {
    let (n, texts, classes, alpha, mut stream) = (99, 40, 4, 0.1, stream());
    for method in [ConformalMethod::Lac, ConformalMethod::Aps, ConformalMethod::Raps] {
        let mut coverages = Vec::new();
        let mut scored = n;
        for _ in 0..2000 {
            let conformal = fit(method, &draw(&mut stream, n, classes), classes, alpha);
            scored = conformal.rows();
            let bounds = conformal.bounds(alpha);
            let fresh = draw(&mut stream, texts, classes);
            let covered = held_out(&fresh, classes)
                .rows()
                .filter(|&(p_c, label, u)| conformal.set(&bounds, p_c, u).contains(&label));
            coverages.push(covered.count() as f64 / texts as f64);
        }
        let (mean, error) = moments(&coverages);
        let most = 1.0 - alpha + 1.0 / (scored + 1) as f64;
        assert!(mean > 1.0 - alpha - 4.0 * error, "{method:?}: {mean} ± {error}");
        assert!(mean < most + 4.0 * error, "{method:?}: {mean} ± {error} over {most}");
    }
}

#[test]
fn bounds_by_class_keep_the_promise_within_every_class() {
    let (alpha, repetitions, mut stream) = (0.1, 2000, stream());
    let counts = [19, 39];
    let mut bounds_by_class = vec![Vec::new(); 2];
    for _ in 0..repetitions {
        let mut rows: Rows = (Vec::new(), Vec::new(), vec![0.5; 58]);
        for (label, &count) in counts.iter().enumerate() {
            for _ in 0..count {
                // The second class is the harder one: its score is uniform on [0.5, 1].
                let score =
                    if label == 0 { stream.uniform() } else { 0.5 + 0.5 * stream.uniform() };
                let p = [1.0 - score, score];
                rows.0.extend([p[label], p[1 - label]]);
                rows.1.push(label as u32);
            }
        }
        let bounds = fit(ConformalMethod::Mondrian, &rows, 2, alpha).bounds(alpha);
        assert_eq!((bounds.pooled, bounds.always()), (0, 0));
        bounds_by_class[0].push(bounds.bound_c[0]);
        bounds_by_class[1].push(2.0 * (bounds.bound_c[1] - 0.5));
    }
    for (coverages, count) in bounds_by_class.iter().zip(counts) {
        let (mean, error) = moments(coverages);
        let expected = rank(count, alpha) as f64 / (count + 1) as f64;
        assert!((mean - expected).abs() < 4.0 * error, "{mean} ± {error}, expected {expected}");
    }
}

#[test]
fn classes_with_few_rows_share_a_bound_and_too_few_rows_give_full_sets() {
    let mut stream = stream();
    let rows = draw(&mut stream, 8, 3);
    for method in [ConformalMethod::Lac, ConformalMethod::Mondrian, ConformalMethod::Aps] {
        let conformal = fit(method, &rows, 3, 0.1);
        let bounds = conformal.bounds(0.1);
        assert_eq!(bounds.always(), 3, "8 rows promise no 90 %");
        assert_eq!(conformal.set(&bounds, &[0.0, 1.0, 0.0], 0.3).len(), 3);
        assert_eq!(conformal.bounds(0.12).always(), 0, "but 88 %: k = 8");
    }
    // Class 0 has 20 rows, classes 1 and 2 have 5 each.
    let labels: Vec<u32> = (0..30).map(|row| [0, 0, 0, 0, 1, 2][row % 6]).collect();
    let rows = (draw(&mut stream, 30, 3).0, labels, vec![0.5; 30]);
    let conformal = fit(ConformalMethod::Mondrian, &rows, 3, 0.1);
    let bounds = conformal.bounds(0.1);
    assert_eq!((bounds.pooled, bounds.always(), bounds.fewest), (2, 0, 10));
    assert_eq!(bounds.bound_c[1], bounds.bound_c[2]);
    let mut both: Vec<f64> = conformal.scores_by_class[1..].concat();
    both.sort_by(f64::total_cmp);
    assert_eq!(bounds.bound_c[1], both[rank(10, 0.1) - 1]);
    assert_eq!(bounds.bound_c[0], conformal.scores_by_class[0][rank(20, 0.1) - 1]);
    let bounds = conformal.bounds(0.01);
    assert_eq!((bounds.pooled, bounds.always(), bounds.fewest), (3, 3, 30));
    // A rare class beside others is in every set, and the coverage is that of the others.
    let labels: Vec<u32> = (0..41).map(|row| if row == 40 { 2 } else { row % 2 }).collect();
    let rows = (draw(&mut stream, 41, 3).0, labels, vec![0.5; 41]);
    let bounds = fit(ConformalMethod::Mondrian, &rows, 3, 0.1).bounds(0.1);
    assert_eq!((bounds.pooled, bounds.always(), bounds.fewest), (1, 1, 20));
}

#[test]
fn ties_are_all_in_or_all_out_and_the_rank_forgives_rounding() {
    let rows = ([0.7, 0.3].repeat(19), vec![0; 19], vec![0.5; 19]);
    let conformal = fit(ConformalMethod::Lac, &rows, 2, 0.1);
    let bounds = conformal.bounds(0.1);
    assert_eq!(conformal.set(&bounds, &[0.7, 0.3], 0.5), [0]);
    assert_eq!(conformal.set(&bounds, &[0.3, 0.7], 0.5), [1], "LAC has one bound");
    assert_eq!(conformal.set(&bounds, &[0.6, 0.4], 0.5), [0usize; 0], "a set may be empty");
    assert_eq!((rank(9, 0.1), rank(9, 1.0 - 0.9), rank(8, 0.1)), (9, 9, 9));
    assert_eq!((rank(99, 0.05), rank(1250, 0.1)), (95, 1126));
}

#[test]
fn the_uniform_number_of_a_text_repeats_and_is_spread_evenly() {
    assert_eq!(uniform(&[101, 7, 102], &[]), uniform(&[101, 7, 102], &[0, 0, 0]));
    assert_ne!(uniform(&[101, 7, 102], &[]), uniform(&[101, 7, 102], &[0, 1, 1]));
    let mut drawn: Vec<f64> = (0..1000).map(|id| uniform(&[101, id, 102], &[])).collect();
    drawn.sort_by(f64::total_cmp);
    let gap = |(i, u): (usize, &f64)| {
        (u - i as f64 / 1000.0).abs().max((u - (i + 1) as f64 / 1000.0).abs())
    };
    let statistic = drawn.iter().enumerate().map(gap).fold(0.0, f64::max);
    assert!(statistic < 1.95 / 1000f64.sqrt(), "Kolmogorov-Smirnov at 0.001: {statistic}");
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/conformal.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
}

/// `tests/python/golden_conformal.py`: quantiles and sets of MAPIE. Its RAPS has its own division of
/// the rows, whose scores are rebuilt here at the penalty and rank that it chose.
#[test]
fn quantiles_and_sets_are_those_of_mapie() {
    let golden = golden();
    let tolerance = golden["tolerance"].as_f64().unwrap();
    let lines = |value: &Value| value.as_array().unwrap().iter().map(numbers).collect::<Vec<_>>();
    let (probability_nc, texts) = (lines(&golden["probabilities"]), lines(&golden["texts"]));
    let labels: Vec<usize> = numbers(&golden["labels"]).into_iter().map(|y| y as usize).collect();
    for case in golden["cases"].as_array().unwrap() {
        let alpha = case["alpha"].as_f64().unwrap();
        let u = numbers(&case["u"]);
        let rows: Vec<usize> = match case.get("rows") {
            Some(rows) => numbers(rows).into_iter().map(|row| row as usize).collect(),
            None => (0..labels.len()).collect(),
        };
        let score = match case["method"].as_str().unwrap() {
            "lac" => Score::Lac,
            "aps" => Score::Aps,
            _ => Score::Raps {
                penalty: case["penalty"].as_f64().unwrap(),
                free_ranks: case["free_ranks"].as_f64().unwrap(),
            },
        };
        let mut scores_by_class = vec![Vec::new(); 5];
        for (&row, &u) in rows.iter().zip(&u) {
            scores_by_class[labels[row]].push(score.of(&probability_nc[row], u)[labels[row]]);
        }
        let conformal = Conformal { score, by_class: false, scores_by_class };
        let bounds = conformal.bounds(alpha);
        let expected = case["bound"].as_f64().unwrap();
        assert!((bounds.bound_c[0] - expected).abs() < tolerance, "{case:?}");
        let Some(sets) = case.get("sets") else { continue };
        let text_u = numbers(&case["text_u"]);
        for ((p_c, u), expected) in texts.iter().zip(text_u).zip(sets.as_array().unwrap()) {
            let mut set = conformal.set(&bounds, p_c, u);
            set.sort_unstable();
            let expected: Vec<usize> = numbers(expected).into_iter().map(|y| y as usize).collect();
            assert_eq!(set, expected, "{} at {alpha}", case["method"]);
        }
    }
}

/// `tests/python/golden_conformal.py`: quantiles of SciPy's beta distribution.
#[test]
fn bands_are_those_of_the_beta_distribution() {
    for band in golden()["bands"].as_array().unwrap() {
        let value = |key: &str| band[key].as_f64().unwrap();
        let (low, high) = coverage_band(value("n") as usize, value("alpha"), 0.99).unwrap();
        assert!((low - value("low")).abs() < 1e-9, "{band} {low}");
        assert!((high - value("high")).abs() < 1e-9, "{band} {high}");
    }
    assert_eq!(coverage_band(8, 0.1, 0.99), Some((1.0, 1.0)));
    assert_eq!(coverage_band(0, 0.1, 0.99), None);
}

#[test]
fn raps_is_tuned_on_rows_that_the_quantile_does_not_see() {
    let rows = draw(&mut stream(), 200, 20);
    let conformal = fit(ConformalMethod::Raps, &rows, 20, 0.1);
    assert_eq!(conformal.rows(), 160);
    let Score::Raps { penalty, free_ranks } = conformal.score else { panic!("{conformal:?}") };
    assert!(penalty >= 0.001 && (1.0..=20.0).contains(&free_ranks), "{conformal:?}");
    let size = |conformal: &Conformal| {
        let bounds = conformal.bounds(0.1);
        let sizes =
            held_out(&rows, 20).rows().map(|(p_c, _, u)| conformal.set(&bounds, p_c, u).len());
        sizes.sum::<usize>()
    };
    let aps = fit(ConformalMethod::Aps, &rows, 20, 0.1);
    assert!(size(&conformal) < size(&aps), "the penalty makes sets smaller");
}
