//! Distributions over the last layer, and from them over the logits of a text.
//!
//! A method fills one variant of [`Posterior`]; whoever predicts sees only [`LogitDistribution`], and the
//! link gives its probabilities.

mod algebra;
mod config;
mod covariance;
mod fit;
pub mod laplace;
mod link;
mod logits;
mod mc_dropout;

use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

pub use config::{Method, PosteriorConfig};
pub use covariance::{Covariance, Kronecker, Root};
pub use fit::{Fitted, LastLayer, fit};
pub use link::{Draws, Link, LinkChoice, POINTS, Predictive, Scaling, softmax};
pub use logits::{Basis, LogitCovariance, LogitDistribution};
pub use mc_dropout::Dropout;

use crate::compute::Noise;
use crate::model::Parameters;
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

/// All that stands between the mean logits and the probabilities: what a model folder keeps besides
/// its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertainty {
    /// How far the last layer may be from its mean.
    pub covariance: Covariance,
    /// From logits to probabilities.
    pub link: Link,
    /// Fitted on rows that neither training nor the covariance has seen.
    pub scaling: Scaling,
}

/// The seed of the draws that are stored with a model: the same for all, so that models differ by
/// their posterior alone.
const DRAWS_SEED: u64 = 0;

impl Uncertainty {
    /// With the draws that the covariance needs.
    pub fn new(covariance: Covariance, choice: LinkChoice, scaling: Scaling) -> Self {
        let draws = Draws::new(&Noise::new(DRAWS_SEED), covariance.directions());
        Self { covariance, link: Link { choice, draws: Arc::new(draws) }, scaling }
    }

    /// Probabilities of one text.
    pub fn predictive(&self, logits: &LogitDistribution) -> Predictive {
        logits.predictive(&self.link, self.scaling)
    }
}

impl Default for Uncertainty {
    /// The point estimate as it is.
    fn default() -> Self {
        Self::new(Covariance::Zero, LinkChoice::default(), Scaling::default())
    }
}

impl Posterior {
    /// With the last layer of these parameters as the mean.
    pub fn new(parameters: &Parameters, covariance: Covariance) -> Self {
        Self::LastLayer {
            mean_cd: parameters.get("classifier.weight").clone(),
            mean_c: parameters.get("classifier.bias").clone(),
            covariance,
        }
    }

    /// The distribution over logits for each of the features `[n, d]`.
    pub fn logits(&self, feature_nd: &[f32]) -> Result<Vec<LogitDistribution>> {
        match self {
            Self::LastLayer { mean_cd, mean_c, covariance } => {
                let mean_nc = last_layer(feature_nd, mean_cd, mean_c)?;
                let (classes, width) = mean_cd.dims2()?;
                let rows = mean_nc.par_chunks_exact(classes);
                let rows = rows.zip(feature_nd.par_chunks_exact(width));
                let distribution = |(mean_c, feature_d): (&[f64], &[f32])| {
                    let mean_c = mean_c.to_vec();
                    match covariance.at(feature_d) {
                        None => LogitDistribution::Point(mean_c),
                        Some(covariance) => LogitDistribution::Gaussian { mean_c, covariance },
                    }
                };
                Ok(rows.map(distribution).collect())
            }
        }
    }
}
