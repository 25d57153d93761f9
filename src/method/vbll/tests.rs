//! The bound against the authors' package, against samples and against finite differences; its minimum.

use serde::Deserialize;

use super::*;
use crate::method::laplace;
use crate::posterior::LogitCovariance;
use crate::task::Task;

fn normal(count: usize, seed: u64) -> Vec<f64> {
    let mut stream = Noise::new(seed).stream(Purpose::Bootstrap, 0, 0);
    (0..count).map(|_| stream.normal()).collect()
}

/// Features `[n, d]` and labels that a drawn linear layer makes likely.
fn drawn(n: usize, d: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let feature_nd: Vec<f32> = normal(n * d, seed).into_iter().map(|x| x as f32).collect();
    let truth = normal(classes * d, seed + 1);
    let mut stream = Noise::new(seed).stream(Purpose::Bootstrap, 1, 0);
    let label = |feature_d: &[f32]| {
        let logit = |k: usize| -> f64 {
            truth[k * d..(k + 1) * d].iter().zip(feature_d).map(|(w, &x)| w * f64::from(x)).sum()
        };
        let mut noisy = |k: usize| logit(k) - (-stream.uniform().max(1e-12).ln()).ln();
        let found: Vec<f64> = (0..classes).map(&mut noisy).collect();
        (0..classes).max_by(|&a, &b| found[a].total_cmp(&found[b])).unwrap() as u32
    };
    let labels = feature_nd.chunks_exact(d).map(label).collect();
    (feature_nd, labels)
}

struct Place {
    design: Design,
    squared: Design,
    labels: Vec<u32>,
    weight_n: Vec<f64>,
    sizes: Sizes,
}

impl Place {
    fn new(feature_nd: &[f32], labels: Vec<u32>, sizes: Sizes) -> Self {
        let design = Design::new(feature_nd, sizes.width - 1).unwrap();
        let squared = design.squared().unwrap();
        let weight_n = vec![1.0; labels.len()];
        Self { design, squared, labels, weight_n, sizes }
    }

    fn drawn(n: usize, sizes: Sizes, seed: u64) -> Self {
        let (feature_nd, labels) = drawn(n, sizes.width - 1, sizes.classes, seed);
        Self::new(&feature_nd, labels, sizes)
    }

    fn bound(&self) -> Bound<'_> {
        let designs = (&self.design, &self.squared);
        Bound::new(designs, &self.labels, &self.weight_n, self.sizes).unwrap()
    }
}

fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < tolerance * (1.0 + b.abs()), "{what}: {a} {b}");
    }
}

#[derive(Deserialize)]
struct Golden {
    width: usize,
    prior_variance: f64,
    features: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    classes: usize,
    rank: usize,
    labels: Vec<u32>,
    mean: Vec<f64>,
    log_variance: Vec<f64>,
    directions: Vec<f64>,
    log_noise: Vec<f64>,
    bound: Vec<f64>,
    divergence: f64,
    wishart: f64,
    objective: f64,
    gradient_mean: Vec<f64>,
    gradient_log_variance: Vec<f64>,
    gradient_directions: Vec<f64>,
    gradient_log_noise: Vec<f64>,
    minimum: Option<Minimal>,
}

#[derive(Deserialize)]
struct Minimal {
    objective: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
    noise: Vec<f64>,
}

/// `tests/python/golden_vbll.py` made the file, in f64.
#[test]
fn bound_divergence_gradient_and_minimum_are_those_of_the_package() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/fixtures/vbll.json")).unwrap();
    for case in golden.cases {
        let Case { classes, rank, .. } = case;
        let sizes = Sizes { classes, width: golden.width + 1, rank };
        let place = Place::new(&golden.features, case.labels, sizes);
        let bound = Bound { prior_variance: Some(golden.prior_variance), ..place.bound() };
        let values = [&*case.mean, &case.log_variance, &case.directions, &case.log_noise].concat();
        let found = bound.at(&values).unwrap();
        close(&[found.fit], &[case.bound.iter().sum()], 1e-11, "bound");
        close(&[found.divergence], &[case.divergence], 1e-11, "divergence");
        let wishart = found.divergence - found.fit - found.objective;
        close(&[wishart], &[case.wishart], 1e-11, "the prior of the noise");
        close(&[found.objective], &[case.objective], 1e-11, "objective");
        let parts = sizes.parts(&found.gradient);
        close(parts.mean, &case.gradient_mean, 1e-10, "gradient of the mean");
        let gradient = &case.gradient_log_variance;
        close(parts.log_diagonal, gradient, 1e-10, "gradient of the variances");
        close(parts.directions, &case.gradient_directions, 1e-10, "gradient of the directions");
        close(parts.log_noise, &case.gradient_log_noise, 1e-10, "gradient of the noise");

        let Some(minimum) = case.minimum else { continue };
        let (start, metric) = begin(&bound, &vec![0.0; classes * sizes.width]).unwrap();
        let value = |values: &[f64]| {
            let found = bound.at(values)?;
            Ok((found.objective, found.gradient))
        };
        let patience = Patience { short: 1e-7, ..PATIENCE };
        let found = minimise(start, patience, value, |g| metric.apply(g)).unwrap();
        assert!(found.converged && found.steps < 100, "{} steps", found.steps);
        close(&[bound.at(&found.at).unwrap().objective], &[minimum.objective], 1e-10, "minimum");
        let parts = sizes.parts(&found.at);
        let variance: Vec<f64> = parts.log_diagonal.iter().map(|x| x.exp()).collect();
        let noise: Vec<f64> = parts.log_noise.iter().map(|x| x.exp()).collect();
        close(parts.mean, &minimum.mean, 1e-5, "mean at the minimum");
        close(&variance, &minimum.variance, 1e-5, "variances at the minimum");
        close(&noise, &minimum.noise, 1e-5, "noise at the minimum");
    }
}

/// At a ς that is given and at the best one, with and without directions.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    for (rank, prior_variance) in [(0, None), (2, None), (2, Some(0.4))] {
        let sizes = Sizes { classes: 3, width: 4, rank };
        let place = Place::drawn(30, sizes, 5);
        let bound = Bound { prior_variance, ..place.bound() };
        let values: Vec<f64> = normal(sizes.total(), 9).iter().map(|x| 0.5 * x).collect();
        let gradient = bound.at(&values).unwrap().gradient;
        let step = 1e-5;
        for (i, exact) in gradient.iter().enumerate() {
            let at = |sign: f64| {
                let mut moved = values.clone();
                moved[i] += sign * step;
                bound.at(&moved).unwrap().objective
            };
            let found = (at(1.0) - at(-1.0)) / (2.0 * step);
            assert!((found - exact).abs() < 1e-6 * (1.0 + exact.abs()), "{i}: {found} {exact}");
        }
    }
}

/// ln softmax of logits z = μ + √v ε for the label.
fn log_probability(mean_k: &[f64], deviation_k: &[f64], noise_k: &[f64], label: usize) -> f64 {
    let logit_k: Vec<f64> =
        (0..mean_k.len()).map(|k| mean_k[k] + deviation_k[k] * noise_k[k]).collect();
    let peak = logit_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logit_k[label] - peak - logit_k.iter().map(|z| (z - peak).exp()).sum::<f64>().ln()
}

/// Row by row, 20,000 samples each; as the variances go to zero both come together.
#[test]
fn the_bound_is_below_the_expected_log_probability_and_tight_without_variance() {
    let (n, sizes) = (8, Sizes { classes: 4, width: 5, rank: 0 });
    let (feature_nd, labels) = drawn(n, sizes.width - 1, sizes.classes, 3);
    for log_variance in [1.0, -1.0, -30.0] {
        let mut values = normal(sizes.total(), 4);
        values[sizes.classes * sizes.width..].iter_mut().for_each(|x| *x = 0.3 * *x + log_variance);
        let parts = sizes.parts(&values);
        for (row, &label) in labels.iter().enumerate() {
            let own = &feature_nd[row * 4..(row + 1) * 4];
            let place = Place::new(own, vec![label], sizes);
            let bound = place.bound().at(&values).unwrap().fit;
            let x: Vec<f64> = own.iter().map(|&x| f64::from(x)).chain([1.0]).collect();
            let of = |values: &[f64], power: i32, k: usize| -> f64 {
                let line = &values[k * sizes.width..(k + 1) * sizes.width];
                line.iter().zip(&x).map(|(w, x)| w * x.powi(power)).sum()
            };
            let variance: Vec<f64> = parts.log_diagonal.iter().map(|x| x.exp()).collect();
            let mean_k: Vec<f64> = (0..sizes.classes).map(|k| of(parts.mean, 1, k)).collect();
            let deviation = |k: usize| (of(&variance, 2, k) + parts.log_noise[k].exp()).sqrt();
            let deviation_k: Vec<f64> = (0..sizes.classes).map(deviation).collect();
            let mut stream = Noise::new(6).stream(Purpose::Bootstrap, row as u64, 0);
            let samples = 20_000;
            let drawn: Vec<f64> = (0..samples)
                .map(|_| {
                    let noise_k: Vec<f64> = (0..sizes.classes).map(|_| stream.normal()).collect();
                    log_probability(&mean_k, &deviation_k, &noise_k, label as usize)
                })
                .collect();
            let mean = drawn.iter().sum::<f64>() / f64::from(samples);
            let spread = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let error = spread.sqrt() / f64::from(samples);
            assert!(bound <= mean + 4.0 * error, "{bound} {mean} {error}");
            if log_variance < -20.0 {
                assert!((bound - mean).abs() < 1e-6, "{bound} {mean}");
            }
        }
    }
}

/// 10⁶ samples of q: the mean of ln q − ln p.
#[test]
fn the_divergence_is_that_of_samples_and_zero_where_q_is_the_prior() {
    let sizes = Sizes { classes: 2, width: 3, rank: 1 };
    let place = Place::drawn(5, sizes, 8);
    let prior_variance = 0.6;
    let bound = Bound { prior_variance: Some(prior_variance), ..place.bound() };
    let values: Vec<f64> = normal(sizes.total(), 2).iter().map(|x| 0.6 * x).collect();
    let parts = sizes.parts(&values);
    let mut stream = Noise::new(1).stream(Purpose::Bootstrap, 0, 0);
    let samples = 1_000_000;
    let (mut sum, mut squares) = (0.0, 0.0);
    // S = diag(s) + u uᵀ of each class: ln |S| and (w − w̄)ᵀ S⁻¹ (w − w̄) by Sherman and Morrison.
    let classes: Vec<_> = (0..sizes.classes)
        .map(|k| {
            let own = |values: &[f64]| values[k * 3..(k + 1) * 3].to_vec();
            let s: Vec<f64> = own(parts.log_diagonal).iter().map(|x| x.exp()).collect();
            let (mean, u) = (own(parts.mean), own(parts.directions));
            let inner = 1.0 + u.iter().zip(&s).map(|(u, s)| u * u / s).sum::<f64>();
            (s, mean, u, inner)
        })
        .collect();
    for _ in 0..samples {
        let mut ratio = 0.0;
        for (s, mean, u, inner) in &classes {
            let z = stream.normal();
            let away: Vec<f64> =
                s.iter().zip(u).map(|(s, u)| s.sqrt() * stream.normal() + u * z).collect();
            let plain: f64 = away.iter().zip(s).map(|(a, s)| a * a / s).sum();
            let along: f64 = away.iter().zip(u).zip(s).map(|((a, u), s)| a * u / s).sum();
            let log_determinant = s.iter().map(|s| s.ln()).sum::<f64>() + inner.ln();
            let of_q = -0.5 * (plain - along * along / inner + log_determinant);
            let norm: f64 = away.iter().zip(mean).map(|(a, m)| (a + m).powi(2)).sum();
            let of_p = -0.5 * (norm / prior_variance + 3.0 * prior_variance.ln());
            ratio += of_q - of_p;
        }
        sum += ratio;
        squares += ratio * ratio;
    }
    let n = f64::from(samples);
    let mean = sum / n;
    let error = ((squares / n - mean * mean) / n).sqrt();
    let found = bound.at(&values).unwrap().divergence;
    assert!((found - mean).abs() < 4.0 * error, "{found} {mean} {error}");

    let mut same = vec![0.0; sizes.total()];
    same[6..12].fill(prior_variance.ln());
    assert!(bound.at(&same).unwrap().divergence.abs() < 1e-12);
    same[0] = 0.1;
    assert!(bound.at(&same).unwrap().divergence > 1e-3);
}

fn rows<'a>(feature_nd: &'a [f32], labels: &'a [u32], class_weights: &'a [f64]) -> FeatureRows<'a> {
    let classes = class_weights.len();
    FeatureRows { task: Task::SingleLabel, feature_nd, labels, classes, class_weights }
}

/// At the minimum: ς and the variances are those of their closed forms, whatever the rank.
#[test]
fn a_fit_comes_to_rest_where_every_part_is_at_its_best() {
    let (n, d, classes) = (300, 6, 3);
    let (feature_nd, labels) = drawn(n, d, classes, 12);
    let rows = rows(&feature_nd, &labels, &[1.0; 3]);
    let zeros = vec![0.0; classes * (d + 1)];
    let start_kd = laplace::fit(&rows, &zeros, Head::Refit).unwrap().mean_kd;
    let mut bounds = Vec::new();
    for rank in [0, 2] {
        let found = fit(&rows, &start_kd, rank, Head::Refit, PATIENCE).unwrap();
        assert!(found.evidence.converged, "{:?}", found.evidence);
        let Evidence { effective_parameters, .. } = found.evidence;
        assert!(effective_parameters > 5.0 && effective_parameters < 21.0);
        bounds.push(found.evidence.log_evidence);
        // Half as many rows know less.
        let half =
            FeatureRows { feature_nd: &feature_nd[..n / 2 * d], labels: &labels[..n / 2], ..rows };
        let less = fit(&half, &start_kd, rank, Head::Refit, PATIENCE).unwrap();
        let trace = |one: &Fitted| {
            let covariance = Covariance::Classwise(one.covariance.clone());
            match covariance.at(&[0.5; 6]).unwrap() {
                LogitCovariance::Diagonal(variance_c) => variance_c.iter().sum::<f64>(),
                other => panic!("{other:?}"),
            }
        };
        assert!(trace(&found) < trace(&less), "{} {}", trace(&found), trace(&less));
    }
    assert!(bounds[1] >= bounds[0], "directions can only raise the bound: {bounds:?}");
}

/// A row that counts twice is two rows.
#[test]
fn rows_count_as_often_as_they_say() {
    let (n, d) = (60, 3);
    let (feature_nd, labels) = drawn(n, d, 2, 21);
    let weights = [1.0, 2.0];
    let (mut twice_nd, mut twice) = (feature_nd.clone(), labels.clone());
    for (feature_d, &label) in feature_nd.chunks_exact(d).zip(&labels).filter(|(_, l)| **l == 1) {
        twice_nd.extend(feature_d);
        twice.push(label);
    }
    // The scale of the features follows from the rows, so both have the same.
    let sizes = Sizes { classes: 2, width: d + 1, rank: 0 };
    let place = Place::new(&feature_nd, labels, sizes);
    let weight_n: Vec<f64> = place.labels.iter().map(|&label| weights[label as usize]).collect();
    let counted =
        Bound::new((&place.design, &place.squared), &place.labels, &weight_n, sizes).unwrap();
    let repeated = Place::new(&twice_nd, twice, sizes);
    let values = normal(sizes.total(), 3);
    let (a, b) = (counted.at(&values).unwrap(), repeated.bound().at(&values).unwrap());
    close(&[a.objective], &[b.objective], 1e-12, "objective");
    close(&a.gradient, &b.gradient, 1e-10, "gradient");
}

#[test]
fn a_kept_layer_stays_and_has_a_covariance() {
    let (feature_nd, labels) = drawn(100, 3, 2, 30);
    let start_kd = normal(8, 1);
    let rows = rows(&feature_nd, &labels, &[1.0; 2]);
    let found = fit(&rows, &start_kd, 0, Head::Keep, PATIENCE).unwrap();
    assert_eq!(found.mean_kd, start_kd);
    assert!(found.evidence.converged);
    assert!(found.covariance.variance_ki.iter().all(|&v| v > 0.0 && v.is_finite()));
    let moved = fit(&rows, &start_kd, 0, Head::Refit, PATIENCE).unwrap();
    assert!(moved.evidence.log_evidence > found.evidence.log_evidence);
}

#[test]
fn a_rank_out_of_range_is_refused() {
    assert!(Vbll { vbll_rank: MOST_RANK, ..Vbll::default() }.check().is_ok());
    assert!(
        Vbll { vbll_rank: 9, ..Vbll::default() }
            .check()
            .unwrap_err()
            .starts_with("`posterior.vbll_rank`")
    );
}
