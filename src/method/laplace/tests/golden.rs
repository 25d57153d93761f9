//! The posteriors of `tests/python/golden_laplace.py`.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    width: usize,
    features: Vec<f32>,
    probes: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    classes: usize,
    prior_precision: f64,
    labels: Vec<u32>,
    weight: Vec<f64>,
    centred_covariance: Vec<f64>,
    log_marginal_likelihood: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../../tests/fixtures/laplace.json")).unwrap()
}

/// `tests/python/golden_laplace.py`: weights of scikit-learn (its own tolerance is 1e-6 of them),
/// evidence and covariance of laplace-torch at these weights (we keep the factor in f32).
#[test]
fn head_covariance_and_evidence_equal_those_of_scikit_learn_and_laplace_torch() {
    let golden = golden();
    let design = Design::new(&golden.features, golden.width).unwrap();
    let mut cases = 0;
    for case in &golden.cases {
        let (prior, zero) = (case.prior_precision, vec![0.0; case.weight.len()]);
        let (mean, covariance, evidence) = if case.classes == 2 {
            let target_n: Vec<f64> = case.labels.iter().map(|&label| f64::from(label)).collect();
            let model = Single {
                design: &design,
                target_n: &target_n,
                weight_n: &ONE[..target_n.len()],
                term: bernoulli,
            };
            let weight_d = vec![0.0; golden.width + 1];
            let mut mode = single::Mode { weight_d, precision: None };
            model.refit(&mut mode, 0.5 * prior).unwrap();
            let round = model.round(&mode, 0.5 * prior).unwrap();
            let root = Root::new(&mode.precision.unwrap().root);
            let half = |sign: f64| mode.weight_d.iter().map(move |weight| 0.5 * sign * weight);
            let mean: Vec<f64> = half(-1.0).chain(half(1.0)).collect();
            (mean, Covariance::Difference(Difference(root)), round.evidence)
        } else {
            let model = softmax(&design, &case.labels, case.classes).unwrap();
            let mut mode = model.start(&zero).unwrap();
            model.refit(&mut mode, prior, Tolerance::EXACT.short).unwrap();
            let precision = full::precision(&model, &mode, prior).unwrap();
            let (value, norm) = (model.objective(&mode, prior), squared(&mode.weight_kd));
            let round = full::round(&precision, value, norm, prior);
            let root = Root::new(&precision.root);
            let covariance = Covariance::Full(Full { root, classes: case.classes });
            (mode.weight_kd, covariance, round.evidence)
        };
        assert_close(&mean, &case.weight, 1e-5, "weight");
        assert_close(&[evidence], &[case.log_marginal_likelihood], 1e-7, "evidence");
        let probes = golden.probes.chunks_exact(golden.width);
        let size = case.classes * case.classes;
        for (probe, expected) in probes.zip(case.centred_covariance.chunks_exact(size)) {
            let found = centred_covariance(&covariance, probe, case.classes);
            assert_close(&found, expected, 1e-5, "covariance");
        }
        cases += 1;
    }
    assert_eq!(cases, 4);
}

#[test]
fn the_fixed_point_rests_at_one_prior_wherever_it_starts() {
    let golden = golden();
    for case in &golden.cases {
        let rows = FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &golden.features,
            labels: &case.labels,
            classes: case.classes,
            class_weights: &ONE[..case.classes],
        };
        let from_zero = fit(&rows, &vec![0.0; case.weight.len()], Head::Refit).unwrap();
        let elsewhere = fit(&rows, &normal(case.weight.len(), 1), Head::Refit).unwrap();
        assert_close(&from_zero.mean_kd, &elsewhere.mean_kd, 1e-5, "mean");
        let Evidence { prior_precision, effective_parameters, rounds, converged, .. } =
            from_zero.evidence;
        assert!(converged && rounds < 40, "{:?}", from_zero.evidence);
        let norm = squared(&from_zero.mean_kd);
        assert!((effective_parameters / norm / prior_precision).ln().abs() < 1e-3);
        let most = (case.classes - 1) * (golden.width + 1);
        assert!(effective_parameters > 0.0 && effective_parameters < most as f64);

        // A head that is kept does not move.
        let kept = fit(&rows, &case.weight, Head::Keep).unwrap();
        assert_eq!(kept.mean_kd, case.weight);
        assert!(kept.evidence.converged);
    }
}
