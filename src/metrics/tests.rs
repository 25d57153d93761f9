//! Golden values, invariances, and the tables that the tests of this module share.

use serde_json::Value;

use super::*;

/// Uniform numbers of SplitMix64: this module uses no other, so neither do its tests.
pub(super) fn uniform(mut state: u64) -> impl FnMut() -> f64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Rows × classes random probabilities and labels drawn from them: calibrated by construction.
pub(super) fn calibrated(rows: usize, classes: usize, seed: u64) -> (Vec<f64>, Vec<u32>) {
    let mut uniform = uniform(seed);
    let mut probability_nc = Vec::with_capacity(rows * classes);
    let mut labels = Vec::with_capacity(rows);
    for _ in 0..rows {
        let weight_c: Vec<f64> = (0..classes).map(|_| uniform().powi(4) + 1e-3).collect();
        let total: f64 = weight_c.iter().sum();
        probability_nc.extend(weight_c.iter().map(|weight| weight / total));
        let mut left = uniform() * total;
        let drawn = weight_c.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        labels.push(drawn.unwrap_or(classes - 1) as u32);
    }
    (probability_nc, labels)
}

/// Ten rows of two classes (probability of class 1, label), scored by hand in the tests. The
/// fifth is a tie and so predicts class 0; 7 are right.
pub(super) const TEN: [(f64, u32); 10] = [
    (0.9, 1),
    (0.8, 1),
    (0.7, 0),
    (0.6, 1),
    (0.5, 1),
    (0.4, 0),
    (0.3, 0),
    (0.2, 1),
    (0.1, 0),
    (1.0, 1),
];

pub(super) fn ten() -> (Vec<f64>, Vec<u32>) {
    (TEN.iter().flat_map(|&(p, _)| [1.0 - p, p]).collect(), TEN.iter().map(|t| t.1).collect())
}

/// The least confident first; wrong answers are positives.
fn doubt(scored: &Scored) -> Ranking {
    let mut sides = [vec![], vec![]];
    for (probability_c, label) in scored.iter() {
        let predicted = argmax(probability_c);
        sides[usize::from(predicted != label)].push(-probability_c[predicted]);
    }
    Ranking::new(&sides[0], &sides[1]).unwrap()
}

/// Every point metric, by name.
fn all(scored: &Scored) -> Vec<(&'static str, f64)> {
    let mut all = vec![
        ("accuracy", accuracy(scored)),
        ("macro_f1", macro_f1(scored)),
        ("mcc", mcc(scored)),
        ("nll", nll(scored)),
        ("brier", brier(scored)),
        ("ece_15", ece(scored, 15)),
        ("ece_10", ece(scored, 10)),
        ("mean_confidence", mean_confidence(scored)),
        ("mean_entropy", mean_entropy(scored)),
        ("adaptive_ece_15", adaptive_ece(scored, 15)),
        ("class_wise_ece_15", class_wise_ece(scored, 15)),
        ("mce_15", mce(scored, 15).value),
        ("mce_15_count", mce(scored, 15).count as f64),
    ];
    let doubt = doubt(scored);
    all.extend([
        ("aurc", doubt.aurc()),
        ("e_aurc", doubt.e_aurc()),
        ("augrc", doubt.augrc()),
        ("error_auroc", doubt.auroc()),
        ("error_aupr", doubt.average_precision()),
        ("error_fpr95", doubt.accepted_at_95()),
        ("selective_accuracy_70", doubt.selective_accuracy(0.7)),
        ("selective_accuracy_90", doubt.selective_accuracy(0.9)),
        ("coverage_at_risk_10", doubt.coverage_at_risk(0.1)),
    ]);
    if scored.classes() == 2 {
        let mut sides = [vec![], vec![]];
        scored.iter().for_each(|(probability_c, label)| sides[label].push(probability_c[1]));
        all.push(("positive_ece_15", positive_ece(scored, 15).unwrap()));
        all.push(("auroc", auroc(&sides[0], &sides[1]).unwrap()));
    }
    all
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Made by `tests/python/golden_metrics.py`; the tolerance, 1e-12, is in the file.
#[test]
fn every_metric_agrees_with_other_packages() {
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/metrics.json")).unwrap();
    let tolerance = golden["tolerance"].as_f64().unwrap();
    let near = |name: &str, ours: f64, theirs: &Value| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() <= tolerance, "{name}: {ours}, expected {theirs}");
    };
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let probability_nc = numbers(&case["probability_nc"]);
        let labels: Vec<u32> = numbers(&case["labels"]).iter().map(|&y| y as u32).collect();
        let classes = case["classes"].as_u64().unwrap() as usize;
        let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
        let ours = all(&scored);
        assert_eq!(ours.len(), case["expected"].as_object().unwrap().len());
        for (name, value) in ours {
            near(&format!("{} {name}", case["name"]), value, &case["expected"][name]);
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 24 + 3 * 22);
    let smooth = &golden["smooth"];
    let tolerance = smooth["tolerance"].as_f64().unwrap();
    for case in smooth["cases"].as_array().unwrap() {
        let confidence_n = numbers(&case["confidence_n"]);
        let probability_nc: Vec<f64> = confidence_n.iter().flat_map(|&p| [1.0 - p, p]).collect();
        let labels: Vec<u32> = numbers(&case["hit_n"]).iter().map(|&hit| hit as u32).collect();
        let ours = smooth_ece(&Scored::new(&probability_nc, 2, &labels).unwrap());
        let theirs = case["smooth_ece"].as_f64().unwrap();
        assert!((ours - theirs).abs() <= tolerance, "{ours}, expected {theirs}");
    }
    let ties = &golden["detection"];
    let ranking = Ranking::new(&numbers(&ties["negatives"]), &numbers(&ties["positives"])).unwrap();
    near("auroc", ranking.auroc(), &ties["auroc"]);
    near("aupr", ranking.average_precision(), &ties["aupr"]);
    near("aupr_in", ranking.reversed().average_precision(), &ties["aupr_in"]);
    near("fpr95", ranking.accepted_at_95(), &ties["fpr95"]);
    near("rejected_at_95", ranking.rejected_at_95(), &ties["rejected_at_95"]);
    for case in golden["wilson"].as_array().unwrap() {
        let (low, high) = wilson(case["hits"].as_u64().unwrap(), case["count"].as_u64().unwrap());
        near("wilson low", low, &case["low"]);
        near("wilson high", high, &case["high"]);
    }
}

#[test]
fn metrics_ignore_the_order_of_the_rows() {
    for (classes, seed) in [(2, 1), (2, 2), (3, 3), (7, 4)] {
        let (probability_nc, labels) = calibrated(300, classes, seed);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let mut uniform = uniform(seed + 100);
        for i in (1..order.len()).rev() {
            order.swap(i, (uniform() * (i + 1) as f64) as usize);
        }
        let row = |&n: &usize| &probability_nc[n * classes..(n + 1) * classes];
        let moved_nc: Vec<f64> = order.iter().flat_map(row).copied().collect();
        let moved_labels: Vec<u32> = order.iter().map(|&n| labels[n]).collect();
        assert_ne!(labels, moved_labels);
        let before = all(&Scored::new(&probability_nc, classes, &labels).unwrap());
        let after = all(&Scored::new(&moved_nc, classes, &moved_labels).unwrap());
        for ((name, before), (_, after)) in before.into_iter().zip(after) {
            assert!((before - after).abs() < 1e-12, "{name}: {before} and {after}");
        }
    }
}

#[test]
fn metrics_ignore_the_numbering_of_the_classes() {
    for (classes, seed) in [(2, 5), (3, 6), (7, 7)] {
        let (probability_nc, labels) = calibrated(300, classes, seed);
        let renamed = |class: usize| (class + 1) % classes;
        let mut moved_nc = vec![0.0; probability_nc.len()];
        for (place, p) in probability_nc.iter().enumerate() {
            moved_nc[place / classes * classes + renamed(place % classes)] = *p;
        }
        let moved_labels: Vec<u32> =
            labels.iter().map(|&label| renamed(label as usize) as u32).collect();
        let before = all(&Scored::new(&probability_nc, classes, &labels).unwrap());
        let after = all(&Scored::new(&moved_nc, classes, &moved_labels).unwrap());
        // For two classes AUROC survives the exchange too; `positive_ece` is about class 1
        // alone, but its bins are mirrored where no probability is on an edge.
        for ((name, before), (_, after)) in before.into_iter().zip(after) {
            assert!((before - after).abs() < 1e-12, "{name}: {before} and {after}");
        }
    }
}

#[test]
fn what_cannot_be_scored_is_refused_with_its_place() {
    let refused = |probability_nc: &[f64], classes, labels: &[u32]| {
        Scored::new(probability_nc, classes, labels).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], 2, &[]), "there are no rows: a metric needs at least one");
    assert_eq!(refused(&[], 0, &[0]), "there are no classes: a metric needs at least one");
    assert_eq!(
        refused(&[0.5, 0.5, 1.0], 2, &[0, 1]),
        "3 probabilities cannot be 2 rows of 2 classes: expected 4"
    );
    assert_eq!(
        refused(&[0.5, 0.5, f64::NAN, 1.0], 2, &[0, 1]),
        "row 1, class 0: `NaN` is not a probability between 0 and 1"
    );
    assert_eq!(
        refused(&[1.5, -0.5], 2, &[0]),
        "row 0, class 0: `1.5` is not a probability between 0 and 1"
    );
    assert_eq!(
        refused(&[0.25, 0.5], 2, &[0]),
        "row 0: the probabilities sum to `0.75`, not to 1 within 1e-6"
    );
    assert_eq!(refused(&[0.5, 0.5], 2, &[2]), "row 0: label `2` is not one of the classes 0 to 1");
    assert!(Scored::new(&[0.5, 0.5 + 9e-7], 2, &[0]).is_ok());
}
