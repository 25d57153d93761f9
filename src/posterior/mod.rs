//! Distributions over the last layer, and from them over the logits of a text.
//!
//! A method fills one variant of [`Posterior`]; whoever predicts sees only [`LogitDistribution`].

mod config;

use candle_core::{Result, Tensor};

pub use config::{Method, PosteriorConfig};

use crate::model::Classifier;
use crate::train::last_layer;

/// What is believed about the weights after training.
#[derive(Clone, Debug)]
pub enum Posterior {
    /// A Gaussian over the last linear layer: one pass through the trunk.
    LastLayer {
        /// Mean of the weight, `[c, d]`.
        mean_cd: Tensor,
        /// Mean of the bias, `[c]`.
        mean_c: Tensor,
        /// How far the weights may be from the mean.
        covariance: Covariance,
    },
}

/// The covariance of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance {
    /// The point estimate: method `map`.
    Zero,
}

/// A distribution over the logits of one text: all that links and metrics see of a posterior.
#[derive(Clone, Debug, PartialEq)]
pub enum LogitDistribution {
    /// All mass on one point, `[c]`.
    Point(Vec<f64>),
}

/// What a text is predicted to be, with the uncertainty in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// p(label | text) under the posterior, `[c]`.
    pub probability_c: Vec<f64>,
    /// Entropy of `probability_c`.
    pub total: f64,
    /// Expected entropy under the posterior; `None` where there is no posterior to ask.
    pub aleatoric: Option<f64>,
    /// Mutual information of label and weights: `total - aleatoric`.
    pub epistemic: Option<f64>,
}

impl Posterior {
    /// The point estimate at the classifier's own last layer.
    pub fn map(classifier: &Classifier) -> Self {
        let (mean_cd, mean_c) = classifier.last_layer();
        Self::LastLayer {
            mean_cd: mean_cd.clone(),
            mean_c: mean_c.clone(),
            covariance: Covariance::Zero,
        }
    }

    /// The distribution over logits for each of the features `[n, d]`.
    pub fn logits(&self, feature_nd: &[f32]) -> Result<Vec<LogitDistribution>> {
        match self {
            Self::LastLayer { mean_cd, mean_c, covariance: Covariance::Zero } => {
                let logits_nc = last_layer(feature_nd, mean_cd, mean_c)?;
                let classes = mean_c.dim(0)?;
                let points = logits_nc.chunks_exact(classes);
                Ok(points.map(|logit_c| LogitDistribution::Point(logit_c.to_vec())).collect())
            }
        }
    }
}

impl LogitDistribution {
    /// The mean logits, `[c]`.
    pub fn mean(&self) -> &[f64] {
        match self {
            Self::Point(logit_c) => logit_c,
        }
    }

    /// The link: probabilities and entropies at a temperature.
    pub fn predictive(&self, temperature: f64) -> Predictive {
        match self {
            Self::Point(logit_c) => {
                let probability_c = softmax(logit_c, temperature);
                let total = entropy(&probability_c);
                Predictive { probability_c, total, aleatoric: None, epistemic: None }
            }
        }
    }
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
mod tests {
    use super::*;

    #[test]
    fn a_point_gives_softmax_and_its_entropy() {
        let predictive = LogitDistribution::Point(vec![2f64.ln(), 0.0]).predictive(1.0);
        let expected = [2.0 / 3.0, 1.0 / 3.0];
        for (found, expected) in predictive.probability_c.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15);
        }
        let entropy = -(2.0 / 3.0 * (2.0f64 / 3.0).ln() + 1.0 / 3.0 * (1.0f64 / 3.0).ln());
        assert!((predictive.total - entropy).abs() < 1e-15);
        assert_eq!((predictive.aleatoric, predictive.epistemic), (None, None));
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let predictive = LogitDistribution::Point(vec![5000.0, -5000.0]).predictive(0.5);
        assert_eq!(predictive.probability_c, [1.0, 0.0]);
        assert_eq!(predictive.total, 0.0);
    }
}
