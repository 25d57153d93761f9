//! Cases whose answer is known.

mod golden;

use super::single::Term;
use super::softmax::Softmax;
use super::*;
use crate::compute::{Noise, Purpose};
use crate::posterior::LogitCovariance;
use crate::posterior::algebra::{Matrix, contrasts};

/// Features in (−1, 1), and labels drawn from a softmax of them.
fn drawn(n: usize, d: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut stream = Noise::new(seed).stream(Purpose::Bootstrap, 0, 0);
    let feature_nd: Vec<f32> = (0..n * d).map(|_| stream.normal().tanh() as f32).collect();
    let weight_kd: Vec<f64> = (0..classes * d).map(|_| 1.5 * stream.normal()).collect();
    let labels = feature_nd
        .chunks_exact(d)
        .map(|x| {
            let noisy: Vec<f64> = weight_kd
                .chunks_exact(d)
                .map(|w| {
                    let gumbel = -(-(1.0 - stream.uniform()).ln()).ln();
                    gumbel + w.iter().zip(x).map(|(w, &x)| w * f64::from(x)).sum::<f64>()
                })
                .collect();
            crate::metrics::argmax(&noisy) as u32
        })
        .collect();
    (feature_nd, labels)
}

fn normal(count: usize, seed: u64) -> Vec<f64> {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    (0..count).map(|_| stream.normal()).collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "{what} {place}: {found} {expected}");
    }
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// What every row counts without class weights, for so many rows or classes as a test has.
const ONE: [f64; 400] = [1.0; 400];

fn softmax<'a>(design: &'a Design, labels: &'a [u32], classes: usize) -> Result<Softmax<'a>> {
    let weight_n = &ONE[..labels.len()];
    Softmax::new(design, labels, classes, weight_n, second_moment(design, weight_n)?)
}

const VARIANCE: f64 = 0.49;

/// y ~ N(u, VARIANCE).
fn gaussian(u: f64, y: f64) -> Term {
    let loss = 0.5 * (u - y).powi(2) / VARIANCE + 0.5 * (std::f64::consts::TAU * VARIANCE).ln();
    Term { loss, slope: (u - y) / VARIANCE, curvature: 1.0 / VARIANCE }
}

#[test]
fn a_linear_gaussian_model_has_its_exact_posterior_and_evidence() {
    let (n, d, prior) = (40, 5, 0.7);
    let (feature_nd, _) = drawn(n, d, 2, 3);
    let noise_n = normal(n, 4).into_iter().map(|noise| VARIANCE.sqrt() * noise);
    let lines = feature_nd.chunks_exact(d).zip(noise_n);
    let target_n: Vec<f64> =
        lines.map(|(x, noise)| 1.0 + f64::from(x[0] - 2.0 * x[1]) + noise).collect();
    let design = Design::new(&feature_nd, d).unwrap();
    let model = Single {
        design: &design,
        target_n: &target_n,
        weight_n: &ONE[..target_n.len()],
        term: gaussian,
    };
    let mut mode = single::Mode { weight_d: vec![0.0; d + 1], precision: None };
    model.refit(&mut mode, prior).unwrap();

    let at = |row: usize, i: usize| {
        if i < d { f64::from(feature_nd[row * d + i]) } else { 1.0 }
    };
    let phi = Matrix::from_fn(n, d + 1, at);
    let y = Matrix::from_column_slice(n, 1, &target_n);
    let precision = phi.tr_mul(&phi) / VARIANCE + Matrix::identity(d + 1, d + 1) * prior;
    let covariance = precision.try_inverse().unwrap();
    let mean = &covariance * phi.tr_mul(&y) / VARIANCE;
    assert_close(&mode.weight_d, mean.as_slice(), 1e-10, "mean");
    let root = &mode.precision.as_ref().unwrap().root;
    assert_close(root.tr_mul(root).as_slice(), covariance.as_slice(), 1e-10, "covariance");
    // The marginal of the targets: N(0, noise + Φ Φᵀ / prior).
    let marginal = Matrix::identity(n, n) * VARIANCE + &phi * phi.transpose() / prior;
    let factor = InverseRoot::of(&marginal).unwrap();
    let exact = -0.5 * (factor.root * &y).norm_squared()
        - 0.5 * factor.log_determinant
        - 0.5 * n as f64 * std::f64::consts::TAU.ln();
    let round = model.round(&mode, prior).unwrap();
    assert_close(&[round.evidence], &[exact], 1e-10, "evidence");

    // The evidence is highest where MacKay's fixed point rests, and its slope is ½(γ − δ‖w‖²).
    let mut evidence = |log_prior: f64| {
        model.refit(&mut mode, log_prior.exp()).unwrap();
        model.round(&mode, log_prior.exp()).unwrap()
    };
    let (here, step) = (prior.ln(), 1e-4);
    let slope = (evidence(here + step).evidence - evidence(here - step).evidence) / (2.0 * step);
    let expected = 0.5 * (round.effective_parameters - prior * round.squared_norm);
    assert!((slope - expected).abs() < 1e-6, "{slope} {expected}");
    let rest =
        choose(Prior::Evidence(1.0), Tolerance::EXACT.rest, |prior| Ok(evidence(prior.ln())))
            .unwrap();
    assert!(rest.converged, "{rest:?}");
    let best = rest.prior_precision.ln();
    for away in [-0.5, -0.1, 0.1, 0.5] {
        assert!(evidence(best + away).evidence < rest.log_evidence, "{away}");
    }
}

#[test]
fn the_curvature_is_the_hessian_and_the_gradient_that_of_the_objective() {
    let (n, d, classes, prior) = (30, 3, 3, 0.4);
    let (feature_nd, labels) = drawn(n, d, classes, 5);
    let design = Design::new(&feature_nd, d).unwrap();
    let model = softmax(&design, &labels, classes).unwrap();
    let weight_kd = normal(classes * (d + 1), 6);
    let mode = model.start(&weight_kd).unwrap();
    let gradient = model.gradient(&mode, prior).unwrap();
    // Along contrasts, where weights stay centred.
    let u = contrasts(classes);
    let direction = |a: usize, i: usize| -> Vec<f64> {
        let weight =
            |place: usize| if place % (d + 1) == i { u[(place / (d + 1), a)] } else { 0.0 };
        (0..classes * (d + 1)).map(weight).collect()
    };
    let moved = |v: &[f64], step: f64| {
        let weight: Vec<f64> =
            mode.weight_kd.iter().zip(v).map(|(weight, v)| weight + step * v).collect();
        model.start(&weight).unwrap()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let whole = full::curvature_matrix(&model, &mode, prior).unwrap();
    let factors = model.kronecker(&mode);
    let curvature = model.space.curvature(&mode.probability_nk, &factors, prior).unwrap();
    let step = 1e-5;
    for a in 0..classes - 1 {
        for i in 0..=d {
            let v = direction(a, i);
            let objective = |sign: f64| model.objective(&moved(&v, sign * step), prior);
            let slope = (objective(1.0) - objective(-1.0)) / (2.0 * step);
            assert!((slope - dot(&gradient, &v)).abs() < 1e-6 * (1.0 + slope.abs()));
            let at = |sign: f64| model.gradient(&moved(&v, sign * step), prior).unwrap();
            let (up, down) = (at(1.0), at(-1.0));
            let numeric: Vec<f64> =
                up.iter().zip(&down).map(|(up, down)| (up - down) / (2.0 * step)).collect();
            let product = curvature.product(&single(&v)).unwrap();
            assert_close(&double(&product), &numeric, 1e-5, "product");
            for b in 0..classes - 1 {
                for j in 0..=d {
                    let entry = whole[(a * (d + 1) + i, b * (d + 1) + j)];
                    let expected = dot(&numeric, &direction(b, j));
                    assert!((entry - expected).abs() < 1e-6 * (1.0 + expected.abs()));
                }
            }
        }
    }
}

/// The slope of the evidence by ln δ where mode and curvature stay: ½(γ − δ‖W‖²).
#[test]
fn the_slope_of_the_evidence_is_what_the_fixed_point_sets_to_zero() {
    let (feature_nd, labels) = drawn(60, 4, 3, 7);
    let design = Design::new(&feature_nd, 4).unwrap();
    let model = softmax(&design, &labels, 3).unwrap();
    let mode = model.start(&normal(15, 8)).unwrap();
    let norm = squared(&mode.weight_kd);
    let factors = model.kronecker(&mode);
    let kron = |prior: f64| factors.round(model.objective(&mode, prior), norm, prior);
    let whole = |prior: f64| {
        let precision = full::precision(&model, &mode, prior).unwrap();
        full::round(&precision, model.objective(&mode, prior), norm, prior)
    };
    let step = 1e-5f64;
    for prior in [0.01, 0.5, 20.0] {
        for round in [&kron as &dyn Fn(f64) -> evidence::Round, &whole] {
            let (up, down) = (round(prior * step.exp()), round(prior * (-step).exp()));
            let slope = (up.evidence - down.evidence) / (2.0 * step);
            let here = round(prior);
            let expected = 0.5 * (here.effective_parameters - prior * here.squared_norm);
            assert!((slope - expected).abs() < 1e-5 * (1.0 + slope.abs()), "{slope} {expected}");
        }
    }
}

#[test]
fn the_kronecker_form_is_the_inverse_of_its_dense_matrix() {
    let (n, d, classes, prior) = (50, 4, 3, 0.3);
    let (feature_nd, labels) = drawn(n, d, classes, 9);
    let design = Design::new(&feature_nd, d).unwrap();
    let model = softmax(&design, &labels, classes).unwrap();
    let mode = model.start(&normal(classes * (d + 1), 10)).unwrap();
    let factors = model.kronecker(&mode);
    let dense = factors.dense(prior);
    let u = contrasts(classes);
    // A centred gradient, and what the dense matrix makes of it.
    let inner = Matrix::from_column_slice(d + 1, classes - 1, &normal((classes - 1) * (d + 1), 11));
    let g_dk = &inner * u.transpose();
    let curvature = model.space.curvature(&mode.probability_nk, &factors, prior).unwrap();
    let found = double(&curvature.precondition(&single(g_dk.as_slice())).unwrap());
    let column = Matrix::from_column_slice(inner.len(), 1, inner.as_slice());
    let solved = dense.clone().try_inverse().unwrap() * column;
    let solved = Matrix::from_column_slice(d + 1, classes - 1, solved.as_slice()) * u.transpose();
    assert_close(&found, solved.as_slice(), 1e-5, "precondition");
    let length = g_dk.dot(&solved).sqrt();
    assert_close(&[factors.length(g_dk.as_slice(), prior)], &[length], 1e-12, "length");

    let precision = InverseRoot::of(&dense).unwrap();
    let (objective, norm) = (model.objective(&mode, prior), squared(&mode.weight_kd));
    let (by_values, by_matrix) =
        (factors.round(objective, norm, prior), full::round(&precision, objective, norm, prior));
    assert_close(&[by_values.evidence], &[by_matrix.evidence], 1e-12, "evidence");
    let (a, b) = (by_values.effective_parameters, by_matrix.effective_parameters);
    assert_close(&[a], &[b], 1e-12, "effective parameters");

    // When all rows have the same probabilities nothing is approximated.
    let mode = model.start(&vec![0.0; classes * (d + 1)]).unwrap();
    let whole = full::curvature_matrix(&model, &mode, prior).unwrap();
    let kron = model.kronecker(&mode).dense(prior);
    assert_close(kron.as_slice(), whole.as_slice(), 1e-12, "equal probabilities");
}

#[test]
fn two_classes_by_their_difference_are_the_softmax_of_two() {
    let (n, d, prior) = (120, 6, 0.8);
    let (feature_nd, labels) = drawn(n, d, 2, 12);
    let design = Design::new(&feature_nd, d).unwrap();
    let softmax = softmax(&design, &labels, 2).unwrap();
    let mut both = softmax.start(&vec![0.0; 2 * (d + 1)]).unwrap();
    softmax.refit(&mut both, prior, Tolerance::EXACT.short).unwrap();
    let target_n: Vec<f64> = labels.iter().map(|&label| f64::from(label)).collect();
    let model = Single {
        design: &design,
        target_n: &target_n,
        weight_n: &ONE[..target_n.len()],
        term: bernoulli,
    };
    let mut mode = single::Mode { weight_d: vec![0.0; d + 1], precision: None };
    model.refit(&mut mode, 0.5 * prior).unwrap();
    let output_n = design.logits(&mode.weight_d).unwrap();
    let p_n: Vec<f64> = output_n.iter().map(|u| 1.0 / (1.0 + (-u).exp())).collect();
    let of_softmax: Vec<f64> = both.probability_nk.chunks_exact(2).map(|p| p[1]).collect();
    assert_close(&p_n, &of_softmax, 1e-8, "probabilities");
    let precision = full::precision(&softmax, &both, prior).unwrap();
    let norm = squared(&both.weight_kd);
    let expected = full::round(&precision, softmax.objective(&both, prior), norm, prior);
    let found = model.round(&mode, 0.5 * prior).unwrap();
    assert_close(&[found.evidence], &[expected.evidence], 1e-8, "evidence");
    let (a, b) = (found.effective_parameters, expected.effective_parameters);
    assert_close(&[a], &[b], 1e-7, "effective parameters");
    // The contrast is the difference over √2.
    let root = &mode.precision.as_ref().unwrap().root;
    let covariance = precision.root.tr_mul(&precision.root) * 2.0;
    assert_close(root.tr_mul(root).as_slice(), covariance.as_slice(), 1e-7, "covariance");
}

/// The centred covariance of the logits, `[k, k]`.
fn centred_covariance(covariance: &Covariance, feature_d: &[f32], classes: usize) -> Vec<f64> {
    let root = match covariance.at(feature_d).unwrap() {
        LogitCovariance::Difference(variance) => {
            let half = 0.5 * variance.sqrt();
            Matrix::from_column_slice(2, 1, &[-half, half])
        }
        LogitCovariance::Root(root_cj) => {
            Matrix::from_row_slice(classes, root_cj.len() / classes, &root_cj)
        }
        LogitCovariance::Diagonal(_) => panic!("the classes are not independent"),
        LogitCovariance::Shared { basis, variance_j } => {
            let deviation_j: Vec<f64> = variance_j.iter().map(|v| v.sqrt()).collect();
            Matrix::from_row_slice(classes, variance_j.len(), &basis.scaled(&deviation_j))
        }
    };
    (&root * root.transpose()).as_slice().to_vec()
}

/// The stored factors are f32, hence the tolerance.
#[test]
fn the_kronecker_covariance_of_a_text_is_that_of_the_dense_matrix() {
    let (n, d, classes) = (80, 4, 5);
    let (feature_nd, labels) = drawn(n, d, classes, 13);
    let design = Design::new(&feature_nd, d).unwrap();
    let model = softmax(&design, &labels, classes).unwrap();
    let (head, prior, tolerance) = (Head::Refit, Prior::Evidence(1.0), Tolerance::EXACT);
    let how = How { head, prior, tolerance };
    let fitted = fit_kronecker(&model, &vec![0.0; classes * (d + 1)], &how).unwrap();
    let prior = fitted.evidence.prior_precision;
    assert!(fitted.evidence.converged, "{:?}", fitted.evidence);
    let mode = model.start(&fitted.mean_kd).unwrap();
    let inverse = model.kronecker(&mode).dense(prior).try_inverse().unwrap();
    let u = contrasts(classes);
    for row in [0, 7] {
        let feature_d = &feature_nd[row * d..(row + 1) * d];
        let x = Matrix::from_fn(d + 1, 1, |i, _| feature_d.get(i).map_or(1.0, |&x| f64::from(x)));
        let spread = u.kronecker(&x.transpose());
        let expected = &spread * &inverse * spread.transpose();
        let found = centred_covariance(&fitted.covariance, feature_d, classes);
        assert_close(&found, expected.as_slice(), 2e-6, "covariance");
    }
}

/// The same rows in other units, and with a feature that never varies: the same predictions.
#[test]
fn a_head_on_scaled_features_does_not_depend_on_their_units() {
    let (n, d, classes) = (300, 4, 3);
    let (feature_nd, labels) = drawn(n, d, classes, 12);
    let fitted = |unit: f32| {
        let feature_nd: Vec<f32> = feature_nd
            .chunks_exact(d)
            .flat_map(|x_d| x_d.iter().copied().chain([0.7]))
            .map(|x| unit * x)
            .collect();
        let scale = usual_scale(&feature_nd, d + 1);
        assert!(scale.iter().all(|scale| scale.is_finite()), "{scale:?}");
        let class_weights = &ONE[..classes];
        let rows = FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &feature_nd,
            labels: &labels,
            classes,
            class_weights,
        };
        let problem = Problem::scaled(rows, scale).unwrap();
        let start_kd = vec![0.0; classes * (d + 2)];
        let (prior, exact) = (Prior::Fixed(3.0), Tolerance::EXACT);
        let found = problem.fit(&start_kd, Head::Refit, prior, exact).unwrap();
        let near = problem.mode(&start_kd, 3.0, Tolerance::NEAR).unwrap();
        let kept = problem.mode(&start_kd, 3.0, Tolerance::KEPT).unwrap();
        let x_d = &feature_nd[..d + 1];
        let logits = |weight_kd: &[f64]| -> Vec<f64> {
            let line = |w: &[f64]| {
                w[d + 1] + w.iter().zip(x_d).map(|(w, &x)| w * f64::from(x)).sum::<f64>()
            };
            weight_kd.chunks_exact(d + 2).map(line).collect()
        };
        let covariance = found.covariance.at(x_d).unwrap();
        (logits(&found.mean_kd), logits(&near), logits(&kept), covariance)
    };
    let (one, near, kept, covariance) = fitted(1.0);
    let (other, _, _, scaled) = fitted(64.0);
    assert_close(&one, &other, 1e-6, "logits");
    assert_close(&one, &near, 0.05, "logits, nearly");
    // A hundredth of a posterior deviation, of which a logit has a fraction of one here.
    assert_close(&one, &kept, 5e-3, "logits that are kept");
    let (LogitCovariance::Root(a), LogitCovariance::Root(b)) = (covariance, scaled) else {
        panic!("three classes have a whole covariance")
    };
    assert_close(&a, &b, 1e-3, "root of the covariance");
}

/// In all three forms of the covariance, as balanced weights are, and with a head that stays.
#[test]
fn a_row_that_counts_three_times_is_three_rows() {
    let n = 90;
    for (classes, d) in [(2, 5), (3, 5), (5, 1100)] {
        let (feature_nd, labels) = drawn(n, d, classes, 21);
        let mut class_weights = vec![1.0; classes];
        class_weights[1] = 3.0;
        let (mut repeated_nd, mut repeated) = (Vec::new(), Vec::new());
        for (x_d, &label) in feature_nd.chunks_exact(d).zip(&labels) {
            for _ in 0..class_weights[label as usize] as usize {
                repeated_nd.extend_from_slice(x_d);
                repeated.push(label);
            }
        }
        assert!(repeated.len() > n + 10, "{classes} classes: {} rows", repeated.len());
        let weighted = FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &feature_nd,
            labels: &labels,
            classes,
            class_weights: &class_weights,
        };
        let class_weights = &ONE[..classes];
        let repeated = FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &repeated_nd,
            labels: &repeated,
            classes,
            class_weights,
        };
        let start_kd = vec![0.0; classes * (d + 1)];
        let x_d = &feature_nd[..d];
        for head in [Head::Refit, Head::Keep] {
            let one = fit(&weighted, &start_kd, head).unwrap();
            let other = fit(&repeated, &start_kd, head).unwrap();
            assert_close(&one.mean_kd, &other.mean_kd, 1e-5, "mean");
            let of = |evidence: &Evidence| {
                [evidence.prior_precision, evidence.effective_parameters, evidence.log_evidence]
            };
            assert_close(&of(&one.evidence), &of(&other.evidence), 1e-5, "evidence");
            let [one, other] =
                [one, other].map(|one| centred_covariance(&one.covariance, x_d, classes));
            assert_close(&one, &other, 1e-4, "covariance");
        }
        let plain = FeatureRows { class_weights, ..weighted };
        let [plain, one] =
            [plain, weighted].map(|rows| fit(&rows, &start_kd, Head::Refit).unwrap().mean_kd);
        assert!(plain.iter().zip(&one).any(|(a, b)| (a - b).abs() > 1e-3), "the weights count");
    }
}
