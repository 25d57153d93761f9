use serde::Deserialize;

use super::*;
use crate::method::laplace::{FeatureRows, Head, Prior, Tolerance};
use crate::task::Task;

/// `tests/fixtures/nuts.json`, written by `tests/python/golden_nuts.py`.
#[derive(Deserialize)]
struct Golden {
    width: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    classes: usize,
    prior_precision: f64,
    features: Vec<f32>,
    labels: Vec<u32>,
    probes: Vec<f32>,
    probabilities: Vec<f64>,
    standard_error: f64,
    epistemic: Vec<f64>,
}

impl Case {
    fn rows<'a>(&'a self, class_weights: &'a [f64]) -> FeatureRows<'a> {
        FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &self.features,
            labels: &self.labels,
            classes: self.classes,
            class_weights,
        }
    }
}

fn golden() -> Golden {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nuts.json"));
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// Its draws, and what they say of the probes.
fn drawn(case: &Case, width: usize, scale: f64, seed: u64) -> (Exact, ExactPredictive) {
    let class_weights = vec![1.0; case.classes];
    let rows = case.rows(&class_weights);
    // A prior of scaled features is that of the features with another precision.
    let problem = Problem::scaled(rows, vec![scale; width + 1]).unwrap();
    let prior = case.prior_precision * scale * scale;
    let start = vec![0.0; case.classes * (width + 1)];
    let fit = problem.fit(&start, Head::Refit, Prior::Fixed(prior), Tolerance::EXACT).unwrap();
    let lengths = Lengths { warmup: 300, draws: 2500 };
    let exact =
        sample(&problem, &fit.mean_kd, prior, (4, lengths), &Noise::new(seed), &mut || {}).unwrap();
    let predictive = exact.predict(&case.probes, width).unwrap();
    (exact, predictive)
}

/// The probabilities are those of NumPyro's sampler within five standard errors of both, also where features
/// are scaled before the prior sees them.
#[test]
fn predictions_are_those_of_another_sampler() {
    let Golden { width, cases } = golden();
    for (case, scale) in cases.iter().zip([1.0, 0.5]) {
        let (exact, found) = drawn(case, width, scale, 3);
        assert_eq!((exact.draws(), exact.divergences), (10_000, 0));
        assert!(found.r_hat < 1.01, "{}", found.r_hat);
        let error = found.standard_error.hypot(case.standard_error);
        assert!(error < 0.006, "{error}");
        for (own, other) in found.probability_nk.iter().zip(&case.probabilities) {
            assert!((own - other).abs() < 5.0 * error, "{own} {other} {error}");
        }
        for (own, other) in found.epistemic_n.iter().zip(&case.epistemic) {
            assert!((own - other).abs() < 0.02, "{own} {other}");
        }
        // The mode alone is far from it, or the test would not tell one from the other.
        let (first, golden) = (found.probability_nk[0], case.probabilities[0]);
        assert!(first > 0.0 && golden < 1.0);
    }
}

/// The gradient by z is that of finite differences.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    let Golden { width, cases } = golden();
    for case in &cases {
        let class_weights: Vec<f64> = (0..case.classes).map(|k| 0.5 + k as f64).collect();
        let rows = case.rows(&class_weights);
        let problem = Problem::scaled(rows, vec![0.7; width + 1]).unwrap();
        let mode_kd = problem.mode(&vec![0.0; case.classes * (width + 1)], 1.0, Tolerance::EXACT);
        let mode_kd = mode_kd.unwrap();
        let target = problem.contrast_target(&mode_kd, 1.0).unwrap();
        let place: Vec<f64> = (0..target.size()).map(|i| (i as f64).sin()).collect();
        let (_, gradient) = target.potential(&place).unwrap();
        for i in 0..place.len() {
            let at = |step: f64| {
                let mut moved = place.clone();
                moved[i] += step;
                target.potential(&moved).unwrap().0
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[i] - numeric).abs() < 1e-6, "{} {numeric}", gradient[i]);
        }
        // The mode is where the gradient vanishes, and the weights there are the mode's.
        let zero = vec![0.0; target.size()];
        assert!(target.potential(&zero).unwrap().1.iter().all(|slope| slope.abs() < 1e-4));
        let back = target.weights(&zero);
        assert!(back.iter().zip(&mode_kd).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}

#[test]
fn a_last_layer_that_is_too_large_is_refused() {
    let (classes, d) = (3, 2000);
    let feature_nd: Vec<f32> = (0..6 * d).map(|i| (i as f32).sin()).collect();
    let rows = FeatureRows {
        task: Task::SingleLabel,
        feature_nd: &feature_nd,
        labels: &[0, 1, 2, 0, 1, 2],
        classes,
        class_weights: &[1.0; 3],
    };
    let problem = Problem::new(rows, d).unwrap();
    let mode_kd = vec![0.0; classes * (d + 1)];
    let lengths = Lengths { warmup: 1, draws: 1 };
    let found = sample(&problem, &mode_kd, 1.0, (1, lengths), &Noise::new(0), &mut || {});
    let message = found.unwrap_err().to_string();
    assert!(message.contains("4002 weights") && message.contains("4000"), "{message}");
}
