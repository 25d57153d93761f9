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
//! mutual information of label and weights, which is not negative for any one set of points.

mod binary;
mod mean_field;
mod mixture;
mod points;
mod scaling;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::binary::binary;
use self::mean_field::{Rooted, mf0, mf2};
use self::mixture::Mixture;
pub use self::scaling::{Scaling, VectorScaling};
use super::logits::{Basis, LogitCovariance, LogitDistribution};
use crate::compute::kernels::product::{Start, product};
use crate::compute::{Noise, Purpose};

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
    /// Expected entropy under the posterior; `None` where there is no posterior to ask.
    pub aleatoric: Option<f64>,
    /// Mutual information of label and weights: `total - aleatoric`.
    pub epistemic: Option<f64>,
}

impl Predictive {
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
        let factor = scaling.scale.sqrt() / scaling.temperature;
        let divided = |mean_c: &[f64]| -> Vec<f64> {
            let moved_c = scaling.moved(mean_c);
            moved_c.iter().map(|mean| mean / scaling.temperature).collect()
        };
        match self {
            Self::Point(logit_c) => {
                let probability_c = softmax(&scaling.moved(logit_c), scaling.temperature);
                let total = entropy(&probability_c);
                Predictive { probability_c, total, aleatoric: None, epistemic: None }
            }
            Self::Gaussian { mean_c, covariance } => {
                let mean_c = divided(mean_c);
                match covariance {
                    LogitCovariance::Difference(variance) => {
                        let stretch = factor * scaling.stretch(0);
                        let (p, expected) =
                            binary(mean_c[1] - mean_c[0], stretch * stretch * variance);
                        Predictive::new(p.to_vec(), entropy(&p), expected)
                    }
                    LogitCovariance::Root(root_cj) => {
                        let mut root_cj = scaled(root_cj, factor);
                        scaling.stretch_lines(&mut root_cj, mean_c.len());
                        let offset_mc = spread(&link.draws, &root_cj);
                        by_draws(mean_c, &offset_mc, link.choice, || root_cj.clone())
                    }
                    LogitCovariance::Shared { basis, variance_j } => {
                        let deviation = |variance: &f64| factor * variance.sqrt();
                        let deviation_j: Vec<f64> = variance_j.iter().map(deviation).collect();
                        let mut offset_mc = spread_over(&link.draws, basis, &deviation_j);
                        for offset_c in offset_mc.chunks_exact_mut(mean_c.len()) {
                            scaling.stretch_lines(offset_c, mean_c.len());
                        }
                        by_draws(mean_c, &offset_mc, link.choice, || {
                            let mut root_cj = basis.scaled(&deviation_j);
                            scaling.stretch_lines(&mut root_cj, basis.classes());
                            root_cj
                        })
                    }
                }
            }
            Self::Samples { logit_mc, classes } => {
                let mean_c = self.mean();
                let divided_c = divided(&mean_c);
                let mut mixture = Mixture::new(*classes);
                for logit_c in logit_mc.chunks_exact(*classes) {
                    let offset = |(logit, mean): (&f64, &f64)| factor * (logit - mean);
                    let mut offset_c: Vec<f64> = logit_c.iter().zip(&*mean_c).map(offset).collect();
                    scaling.stretch_lines(&mut offset_c, *classes);
                    mixture.add(&divided_c, &offset_c, 1.0);
                }
                let (probability_c, expected) = mixture.finish();
                let total = entropy(&probability_c);
                Predictive::new(probability_c, total, expected)
            }
        }
    }
}

/// Both signs of each offset `[m, c]`; `root` gives F `[c, j]` with the covariance F Fᵀ.
fn by_draws(
    mean_c: Vec<f64>,
    offset_mc: &[f64],
    choice: LinkChoice,
    root: impl Fn() -> Vec<f64>,
) -> Predictive {
    let mut mixture = Mixture::new(mean_c.len());
    for offset_c in offset_mc.chunks_exact(mean_c.len()) {
        mixture.add(&mean_c, offset_c, 1.0);
        mixture.add(&mean_c, offset_c, -1.0);
    }
    let (mean_p, expected) = mixture.finish();
    let total = entropy(&mean_p);
    let rooted = |mean_k| Rooted { mean_k, root_kj: root() };
    let probability_c = match choice {
        LinkChoice::Qmc => mean_p,
        LinkChoice::Mf0 => mf0(&rooted(mean_c)),
        LinkChoice::Mf0c => mf0(&rooted(mean_c).centred()),
        LinkChoice::Mf2 => mf2(&rooted(mean_c)),
    };
    Predictive::new(probability_c, total, expected)
}

/// The draws with the covariance F Fᵀ for F `[c, j]`: `[m, c]`.
fn spread(draws: &Draws, root_cj: &[f64]) -> Vec<f64> {
    let lines = draws.normal_mj.chunks_exact(draws.width);
    let of_draw = |normal_j| {
        root_cj.chunks_exact(draws.width).map(move |root_j: &[f64]| {
            let both = root_j.iter().zip::<&[f32]>(normal_j);
            both.map(|(f, &x)| f * f64::from(x)).sum::<f64>()
        })
    };
    lines.flat_map(of_draw).collect()
}

/// The draws with the deviations `[j]` along the columns of a basis: `[m, c]`. The product is in
/// f32, which moves the points and nothing else.
fn spread_over(draws: &Draws, basis: &Basis, deviation_j: &[f64]) -> Vec<f64> {
    let deviation_j: Vec<f32> = deviation_j.iter().map(|&deviation| deviation as f32).collect();
    let mut scaled_mj = draws.normal_mj.clone();
    for line in scaled_mj.chunks_exact_mut(draws.width) {
        line.iter_mut().zip(&deviation_j).for_each(|(value, deviation)| *value *= deviation);
    }
    let mut offset_mc = vec![0.0; scaled_mj.len() / draws.width * basis.classes()];
    product(&scaled_mj, basis.panels(), Start::Zero, None, &mut offset_mc);
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

/// −Σ p ln p in nats, with 0 ln 0 = 0.
fn entropy(probability_c: &[f64]) -> f64 {
    -probability_c.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests;
