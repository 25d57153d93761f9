//! The rule against ivon-opt, against a quadratic whose posterior is known, and the follower around it.

use candle_core::{Device, Tensor, Var};
use serde::Deserialize;

use super::*;
use crate::method::PosteriorConfig;

/// A run of ivon-opt, see `tests/python/golden_ivon.py`.
#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ess: f64,
    weight_decay: f64,
    hess_init: f64,
    beta1: f64,
    beta2: f64,
    clip_radius: f64,
    learning_rate: Vec<f64>,
    start: Vec<f32>,
    /// Standard normal, by step.
    noise: Vec<Vec<f64>>,
    curvature: Vec<f64>,
    centre: Vec<f64>,
    mean: Vec<Vec<f64>>,
    hess: Vec<Vec<f64>>,
    momentum: Vec<Vec<f64>>,
}

/// The gradient of Σ a (1 − cos(θ − c)), which is no quadratic.
fn gradient(case: &Case, place: usize, theta: f64) -> f64 {
    case.curvature[place] * (theta - case.centre[place]).sin()
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(error < 1e-6 * (1.0 + expected.abs()), "{what}: {found} for {expected}");
    }
}

/// Twenty steps, to 1e-6.
#[test]
fn steps_are_those_of_ivon_opt() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/fixtures/ivon.json")).unwrap();
    assert_eq!(golden.cases.len(), 3);
    for case in &golden.cases {
        let own = Ivon {
            hess_init: case.hess_init,
            beta1: case.beta1,
            beta2: case.beta2,
            ivon_weight_decay: case.weight_decay,
            clip_radius: case.clip_radius,
            ivon_learning_rate: case.learning_rate[0],
            ..Ivon::default()
        };
        let (mut mean, size) = (case.start.clone(), case.start.len());
        let (mut momentum, mut hess) = (vec![0.0; size], vec![case.hess_init as f32; size]);
        assert_eq!(case.noise.len(), 20);
        for (step, normal) in case.noise.iter().enumerate() {
            let share = case.learning_rate[step] / case.learning_rate[0];
            let rule = own.rule(case.ess, step as f64 + 1.0, share);
            let draw = |(normal, &hess): (&f64, &f32)| (rule.variance(hess).sqrt() * normal) as f32;
            let noise: Vec<f32> = normal.iter().zip(&hess).map(draw).collect();
            let at = |place: usize| f64::from(mean[place]) + f64::from(noise[place]);
            let found: Vec<f32> =
                (0..size).map(|place| gradient(case, place, at(place)) as f32).collect();
            let values = Values { mean: &mut mean, momentum: &mut momentum, hess: &mut hess };
            rule.step(values, &noise, &found);
            close(&mean, &case.mean[step], "mean");
            close(&hess, &case.hess[step], "hess");
            close(&momentum, &case.momentum[step], "momentum");
        }
    }
}

/// Of ½ Σ a (θ − c)² with N rows the posterior is known: the mean is where the gradient and the prior's
/// cancel, and the variance is 1 / (N (a + δ)).
#[test]
fn the_posterior_of_a_quadratic_is_found() {
    let (curvature, centre) = ([0.5f64, 2.0, 8.0], [1.0f64, -2.0, 0.5]);
    let own = Ivon {
        hess_init: 1.0,
        ivon_learning_rate: 0.02,
        beta2: 0.999,
        ivon_weight_decay: 0.1,
        ..Ivon::default()
    };
    let (ess, steps) = (1000.0, 30_000);
    let (mut mean, mut momentum, mut hess) = (vec![0f32; 3], vec![0f32; 3], vec![1f32; 3]);
    let mut stream = Noise::new(4).stream(Purpose::Variational, 0, 0);
    let mut estimates = [0.0; 3];
    let (mut mean_after, mut hess_after) = ([0.0; 3], [0.0; 3]);
    for step in 1..=steps {
        let rule = own.rule(ess, f64::from(step), 1.0);
        let noise: Vec<f32> = hess
            .iter()
            .map(|&hess| (rule.variance(hess).sqrt() * stream.normal()) as f32)
            .collect();
        let gradient: Vec<f32> = (0..3)
            .map(|i| (curvature[i] * f64::from(mean[i] + noise[i] - centre[i] as f32)) as f32)
            .collect();
        for i in 0..3 {
            let f = f64::from(noise[i]) * f64::from(gradient[i]) / rule.variance(hess[i]);
            estimates[i] += f / f64::from(steps);
        }
        let values = Values { mean: &mut mean, momentum: &mut momentum, hess: &mut hess };
        rule.step(values, &noise, &gradient);
        assert!(hess.iter().all(|&h| f64::from(h) + own.ivon_weight_decay > 0.0), "{hess:?}");
        if step > steps / 2 {
            for i in 0..3 {
                mean_after[i] += 2.0 * f64::from(mean[i]) / f64::from(steps);
                hess_after[i] += 2.0 * f64::from(hess[i]) / f64::from(steps);
            }
        }
    }
    for i in 0..3 {
        let a = curvature[i];
        assert!((estimates[i] / a - 1.0).abs() < 0.1, "E f is {}, not {a}", estimates[i]);
        assert!((hess_after[i] / a - 1.0).abs() < 0.1, "h is {}, not {a}", hess_after[i]);
        let mode = a * centre[i] / (a + own.ivon_weight_decay);
        assert!((mean_after[i] - mode).abs() < 0.01, "m is {}, not {mode}", mean_after[i]);
    }
}

/// However wild the gradients are.
#[test]
fn a_variance_is_never_negative() {
    let own = Ivon { beta2: 0.5, ivon_weight_decay: 0.01, ..Ivon::default() };
    let (mut mean, mut momentum, mut hess) = (vec![0f32; 64], vec![0f32; 64], vec![1f32; 64]);
    let mut stream = Noise::new(5).stream(Purpose::Variational, 0, 0);
    for step in 1..200 {
        let rule = own.rule(10.0, f64::from(step), 1.0);
        let noise: Vec<f32> = hess
            .iter()
            .map(|&hess| (rule.variance(hess).sqrt() * stream.normal()) as f32)
            .collect();
        let gradient: Vec<f32> = (0..64).map(|_| 3.0 * stream.normal() as f32).collect();
        rule.step(
            Values { mean: &mut mean, momentum: &mut momentum, hess: &mut hess },
            &noise,
            &gradient,
        );
        assert!(hess.iter().all(|&h| rule.variance(h) > 0.0), "{hess:?}");
    }
}

#[test]
fn weights_are_moved_and_put_back_and_the_lower_layers_stay() {
    let run = FollowedRun { rows: 100, layers: 2, frozen_layers: 0, seed: 1 };
    let plan = Plan::new(&crate::train::TrainConfig::default(), 100);
    let mut follower = Ivon::default().follower(&plan, &run).unwrap().unwrap();
    let names = ["layer.0000.attention.norm", "layer.0001.attention.norm", "classifier.bias"];
    let var =
        |values: &[f32]| Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
    let weights: BTreeMap<String, Var> =
        names.iter().map(|name| ((*name).to_owned(), var(&[0.1, -3.0]))).collect();
    let values = |name: &str| weights[name].to_vec1::<f32>().unwrap();
    assert_eq!(names.map(|name| follower.owns(name)), [false, true, true]);
    assert!(!follower.owns("embeddings.norm") && follower.owns("pooler.weight"));
    let mut there = Vec::new();
    for step in 0..2 {
        follower.perturb(step, &weights).unwrap();
        assert_eq!(values(names[0]), [0.1, -3.0]);
        assert_ne!(values(names[1]), [0.1, -3.0]);
        there.push(values(names[1]));
        follower.restore(&weights).unwrap();
        assert!(names.iter().all(|name| values(name) == [0.1, -3.0]));
    }
    assert_ne!(there[0], there[1]);
    assert_eq!(follower.gathered()["hess.classifier.bias"], [1.0, 1.0]);
    assert!(!follower.gathered().contains_key("hess.layer.0000.attention.norm"));
}

#[test]
fn numbers_that_cannot_be_are_refused_by_their_key() {
    let own = Ivon::default();
    assert!(PosteriorConfig::from(Method::Ivon).check().is_ok());
    for (wrong, key) in [
        (Ivon { num_samples: 1, ..own }, "num_samples"),
        (Ivon { num_samples: 1_000_000, ..own }, "num_samples"),
        (Ivon { ess: -1.0, ..own }, "ess"),
        (Ivon { hess_init: 0.0, ..own }, "hess_init"),
        (Ivon { ivon_learning_rate: f64::NAN, ..own }, "ivon_learning_rate"),
        (Ivon { beta1: 1.0, ..own }, "beta1"),
        (Ivon { beta2: 1.5, ..own }, "beta2"),
        (Ivon { ivon_weight_decay: -1e-4, ..own }, "ivon_weight_decay"),
        (Ivon { clip_radius: f64::INFINITY, ..own }, "clip_radius"),
    ] {
        let message = wrong.check().unwrap_err();
        assert!(message.starts_with(&format!("`posterior.{key}` is ")), "{message}");
    }
    let frozen = FollowedRun { rows: 9, layers: 3, frozen_layers: 2, seed: 0 };
    let plan = Plan::new(&crate::train::TrainConfig::default(), 9);
    let message =
        Ivon { stochastic_layers: 2, ..own }.follower(&plan, &frozen).unwrap_err().to_string();
    assert!(message.contains("`train.frozen_layers`"), "{message}");
    assert!(own.follower(&plan, &frozen).is_ok());
}
