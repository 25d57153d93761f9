//! Links: from a distribution over logits to probabilities and their uncertainty.
//!
//! | logits | probabilities | entropies |
//! |---|---|---|
//! | two classes, Gaussian | trapezoid rule, exact | by the same nodes |
//! | more classes, Gaussian | `qmc`: the mean over 128 fixed antithetic draws; or `mf0`, `mf0c`, `mf2` | by the draws |
//! | samples | their mean | by the samples |
//!
//! Temperature T and scale s stand before the link: mean μ/T, covariance s C/T²; where there is a
//! [`VectorScaling`], it stands before both. Total uncertainty is the entropy of the mean distribution, aleatoric the mean entropy, epistemic their difference: the
//! mutual information of label and weights, which is not negative for any one set of points. With s = 0 there
//! is nothing to divide: the answer is the softmax of the mean, and both parts are unknown, not zero.

mod binary;
mod mean_field;
mod mixture;
mod points;
mod scaling;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::binary::{binary, binary_probability};
use self::mean_field::{Rooted, mf0, mf2};
use self::mixture::Mixture;
pub use self::scaling::{Scaling, VectorScaling};
use super::logits::{Basis, LogitCovariance, LogitDistribution};
use crate::compute::kernels::gemm::{Start, gemm};
use crate::compute::{Noise, Purpose};
use crate::metrics::entropy;
use crate::task::Task;

/// How probabilities of more than two classes come from a Gaussian over logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChoice {
    /// The mean of softmax over fixed antithetic draws.
    #[default]
    Qmc,
    /// Probit approximation, logit by logit.
    Mf0,
    /// The same on centred logits.
    Mf0c,
    /// Pairwise mean field.
    Mf2,
}

/// A link with its draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// What the probabilities are.
    pub task: Task,
    /// Where the probabilities come from.
    pub choice: LinkChoice,
    /// The draws; none where no covariance needs them.
    pub draws: Arc<Draws>,
}

/// Standard normal draws `[m, j]`, each of which is used with both signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    normal_mj: Vec<f32>,
    width: usize,
}

/// Points of the link `qmc`: half of them are drawn, the others mirrored.
pub const POINTS: usize = 128;

impl Draws {
    /// Draws for covariances of `width` independent directions. No direction, no draws.
    pub fn new(noise: &Noise, width: usize) -> Self {
        let mut stream = noise.stream(Purpose::Link, 0, 0);
        let normal_mj = (0..POINTS / 2 * width).map(|_| stream.normal() as f32).collect();
        Self { normal_mj, width }
    }

    /// From stored lines of `width`.
    pub fn from_values(normal_mj: Vec<f32>, width: usize) -> Self {
        Self { normal_mj, width }
    }

    /// All values, `[m, j]`.
    pub fn values(&self) -> &[f32] {
        &self.normal_mj
    }

    /// The first and the second half of them.
    fn halves(&self) -> (&[f32], &[f32]) {
        let draws = self.normal_mj.len() / self.width.max(1);
        self.normal_mj.split_at(draws / 2 * self.width)
    }

    /// Directions, `j`.
    pub fn width(&self) -> usize {
        self.width
    }
}

/// What a text is predicted to be, with the uncertainty in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// p(label | text) under the posterior, `[c]`.
    pub probability_c: Vec<f64>,
    /// Entropy of the mean distribution: of `probability_c`, or for a mean-field link of the draws' mean.
    pub total: f64,
    /// Expected entropy under the posterior; `None` where there is no posterior to ask, or its variance is
    /// left out.
    pub aleatoric: Option<f64>,
    /// Mutual information of label and weights: `total - aleatoric`.
    pub epistemic: Option<f64>,
}

impl Predictive {
    /// All mass on one point.
    fn at(logit_c: &[f64], scaling: &Scaling) -> Self {
        let probability_c = softmax(&scaling.moved(logit_c), scaling.temperature);
        let total = entropy(&probability_c);
        Self { probability_c, total, aleatoric: None, epistemic: None }
    }

    fn new(probability_c: Vec<f64>, total: f64, expected: f64) -> Self {
        let information = total - expected;
        debug_assert!(information.is_nan() || information > -1e-9, "{information}");
        let epistemic = (total - expected).max(0.0);
        Self {
            probability_c,
            total,
            aleatoric: Some(total - epistemic),
            epistemic: Some(epistemic),
        }
    }
}

impl LogitDistribution {
    /// The link: probabilities and entropies.
    pub fn predictive(&self, link: &Link, scaling: &Scaling) -> Predictive {
        match link.task {
            Task::SingleLabel => self.of_classes(link, scaling),
        }
    }

    /// One of the classes is right.
    fn of_classes(&self, link: &Link, scaling: &Scaling) -> Predictive {
        if !scaling.uses_variance() {
            return Predictive::at(&self.mean(), scaling);
        }
        match self {
            Self::Point(logit_c) => Predictive::at(logit_c, scaling),
            Self::Gaussian { mean_c, covariance } => {
                if let LogitCovariance::Difference(variance) = covariance {
                    let (m, v) = difference(mean_c, *variance, scaling);
                    let (p, expected) = binary(m, v);
                    return Predictive::new(p.to_vec(), entropy(&p), expected);
                }
                by_draws(scaling.divided(mean_c), covariance, link, scaling)
            }
            Self::Samples { logit_mc, classes } => {
                let mean_c = self.mean();
                let divided_c = scaling.divided(&mean_c);
                let mut mixture = Mixture::new(*classes);
                for offset_c in sample_offsets(logit_mc, &mean_c, scaling).chunks_exact(*classes) {
                    mixture.add(&divided_c, offset_c, 1.0);
                }
                let (probability_c, expected) = mixture.finish();
                let total = entropy(&probability_c);
                Predictive::new(probability_c, total, expected)
            }
        }
    }
}

impl LogitDistribution {
    /// The link's probability of one label, without the entropies: what calibration asks for, hundreds of
    /// times a row.
    pub fn probability(&self, link: &Link, scaling: &Scaling, label: usize) -> f64 {
        let Task::SingleLabel = link.task;
        match self {
            Self::Gaussian { mean_c, covariance: LogitCovariance::Difference(variance) }
                if scaling.uses_variance() =>
            {
                let (m, v) = difference(mean_c, *variance, scaling);
                binary_probability(m, v)[label]
            }
            _ => self.predictive(link, scaling).probability_c[label],
        }
    }
}

/// Mean and variance of μ₁ − μ₀ behind scaling and temperature.
fn difference(mean_c: &[f64], variance: f64, scaling: &Scaling) -> (f64, f64) {
    let mean_c = scaling.divided(mean_c);
    let deviation = scaling.factor() * scaling.stretch(0);
    (mean_c[1] - mean_c[0], deviation * deviation * variance)
}

impl LogitCovariance {
    /// F with the covariance F Fᵀ behind scaling and temperature: `[c, j]`.
    fn root(&self, scaling: &Scaling, classes: usize) -> Vec<f64> {
        let factor = scaling.factor();
        let mut root_cj = match self {
            Self::Difference(variance) => vec![0.0, factor * variance.sqrt()],
            Self::Root(root_cj) => scaled(root_cj, factor),
            Self::Diagonal(variance_c) => diagonal(&deviations(variance_c, factor)),
            Self::Shared { basis, variance_j } => basis.scaled(&deviations(variance_j, factor)),
        };
        scaling.stretch_lines(&mut root_cj, classes);
        root_cj
    }

    /// Where draws `[m, j]` lie around the mean, `[m, c]`; each counts with both signs.
    fn offsets(&self, normal_mj: &[f32], scaling: &Scaling, classes: usize) -> Vec<f64> {
        let mut offset_mc = match self {
            Self::Difference(_) | Self::Root(_) => {
                return spread(normal_mj, &self.root(scaling, classes), classes);
            }
            Self::Diagonal(variance_c) => {
                let deviation_c = deviations(variance_c, scaling.factor());
                let both = normal_mj.iter().zip(deviation_c.iter().cycle());
                both.map(|(&x, deviation)| f64::from(x) * deviation).collect()
            }
            Self::Shared { basis, variance_j } => {
                let deviation_j = deviations(variance_j, scaling.factor());
                spread_over(normal_mj, basis, &deviation_j)
            }
        };
        for offset_c in offset_mc.chunks_exact_mut(classes) {
            scaling.stretch_lines(offset_c, classes);
        }
        offset_mc
    }
}

/// A diagonal matrix, `[c, c]`.
fn diagonal(value_c: &[f64]) -> Vec<f64> {
    let classes = value_c.len();
    let mut matrix_cc = vec![0.0; classes * classes];
    matrix_cc.iter_mut().step_by(classes + 1).zip(value_c).for_each(|(own, value)| *own = *value);
    matrix_cc
}

fn deviations(variance_j: &[f64], factor: f64) -> Vec<f64> {
    variance_j.iter().map(|variance| factor * variance.sqrt()).collect()
}

/// Where samples lie around their mean, behind scaling and temperature: `[m, c]`.
fn sample_offsets(logit_mc: &[f64], mean_c: &[f64], scaling: &Scaling) -> Vec<f64> {
    let factor = scaling.factor();
    let line = |logit_c: &[f64]| -> Vec<f64> {
        let both = logit_c.iter().zip(mean_c);
        let mut offset_c: Vec<f64> = both.map(|(logit, mean)| factor * (logit - mean)).collect();
        scaling.stretch_lines(&mut offset_c, mean_c.len());
        offset_c
    };
    logit_mc.chunks_exact(mean_c.len()).flat_map(line).collect()
}

/// Both signs of each draw around a mean that is scaled already.
fn by_draws(
    mean_c: Vec<f64>,
    covariance: &LogitCovariance,
    link: &Link,
    scaling: &Scaling,
) -> Predictive {
    let classes = mean_c.len();
    let of = |normal_mj: &[f32]| {
        let mut mixture = Mixture::new(classes);
        for offset_c in covariance.offsets(normal_mj, scaling, classes).chunks_exact(classes) {
            mixture.add(&mean_c, offset_c, 1.0);
            mixture.add(&mean_c, offset_c, -1.0);
        }
        mixture
    };
    // Always in these halves, so that the sum does not depend on the threads.
    let (one, other) = link.draws.halves();
    let (one, other) = rayon::join(|| of(one), || of(other));
    let (mean_p, expected) = one.joined(&other).finish();
    let total = entropy(&mean_p);
    let rooted = |mean_k| Rooted { mean_k, root_kj: covariance.root(scaling, classes) };
    let probability_c = match link.choice {
        LinkChoice::Qmc => mean_p,
        LinkChoice::Mf0 => mf0(&rooted(mean_c)),
        LinkChoice::Mf0c => mf0(&rooted(mean_c).centred()),
        LinkChoice::Mf2 => mf2(&rooted(mean_c)),
    };
    Predictive::new(probability_c, total, expected)
}

/// Draws `[m, j]` with the covariance F Fᵀ for F `[c, j]`: `[m, c]`.
fn spread(normal_mj: &[f32], root_cj: &[f64], classes: usize) -> Vec<f64> {
    let width = root_cj.len() / classes;
    let of_draw = |normal_j| {
        root_cj.chunks_exact(width).map(move |root_j: &[f64]| {
            let both = root_j.iter().zip::<&[f32]>(normal_j);
            both.map(|(f, &x)| f * f64::from(x)).sum::<f64>()
        })
    };
    normal_mj.chunks_exact(width).flat_map(of_draw).collect()
}

/// Draws `[m, j]` with the deviations `[j]` along the columns of a basis: `[m, c]`. The product is in
/// f32, which moves the points and nothing else.
fn spread_over(normal_mj: &[f32], basis: &Basis, deviation_j: &[f64]) -> Vec<f64> {
    let deviation_j: Vec<f32> = deviation_j.iter().map(|&deviation| deviation as f32).collect();
    let width = deviation_j.len();
    let mut scaled_mj = normal_mj.to_vec();
    for line in scaled_mj.chunks_exact_mut(width) {
        line.iter_mut().zip(&deviation_j).for_each(|(value, deviation)| *value *= deviation);
    }
    let mut offset_mc = vec![0.0; scaled_mj.len() / width * basis.classes()];
    gemm(&scaled_mj, basis.panels(), Start::Zero, None, &mut offset_mc);
    offset_mc.into_iter().map(f64::from).collect()
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| factor * value).collect()
}

/// softmax(logits / temperature).
pub fn softmax(logit_c: &[f64], temperature: f64) -> Vec<f64> {
    let peak = logit_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logit_c.iter().map(|l| ((l - peak) / temperature).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests;
