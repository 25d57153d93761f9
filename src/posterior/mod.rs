//! Distributions over the last layer, and from them over the logits of a text.
//!
//! A method fills one variant of [`Posterior`]; whoever predicts sees only [`LogitDistribution`], and the
//! link gives its probabilities.

pub(crate) mod algebra;
mod covariance;
mod link;
mod logits;

use std::sync::Arc;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;

pub use covariance::{Covariance, Difference, Dropout, Full, Kronecker, LowRank, Root};
pub use link::{Draws, Link, LinkChoice, POINTS, Predictive, Scaling, VectorScaling, softmax};
pub use logits::{Basis, LogitCovariance, LogitDistribution};

use crate::compute::Noise;
use crate::model::{Parameters, Sampling, last_layer};
use crate::store::{TensorFile, Tensors};

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
    /// Several passes, each with other weights.
    Passes {
        /// The last layer's weight, `[c, d]`.
        mean_cd: Tensor,
        /// Its bias, `[c]`.
        mean_c: Tensor,
        /// What differs between the passes.
        passes: Passes,
    },
}

/// The most passes for one text.
pub const MOST_SAMPLES: usize = 200;

/// No encoder has more layers.
const MOST_LAYERS: usize = 1000;

/// Passes with dropout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    pub samples: usize,
    /// How many of the top layers have dropout; 0 = all, and the embeddings.
    pub layers: usize,
}

impl Passes {
    /// The passes under a seed: the same seed and text, the same passes.
    pub fn sampling(self, seed: u64) -> Sampling {
        Sampling { samples: self.samples, layers: self.layers, noise: Noise::new(seed) }
    }

    fn put(self, tensors: &mut Tensors) {
        tensors.put_f64("passes.samples", &[self.samples as f64]);
        tensors.put_f64("passes.layers", &[self.layers as f64]);
    }

    fn read(file: &TensorFile<'_>) -> Result<Option<Self>, String> {
        if !file.has("passes.samples") {
            return Ok(None);
        }
        let samples = file.count("passes.samples", MOST_SAMPLES)?;
        if samples == 0 {
            return Err("`passes.samples` is 0".to_owned());
        }
        Ok(Some(Self { samples, layers: file.count("passes.layers", MOST_LAYERS)? }))
    }

    /// Those of a prediction for which nobody gives a seed, and of calibration.
    pub fn usual(self) -> Sampling {
        self.sampling(DRAWS_SEED)
    }
}

/// All that stands between the mean logits and the probabilities: what a model folder keeps besides
/// its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertainty {
    /// How far the last layer may be from its mean.
    pub covariance: Covariance,
    /// The passes that a text is answered by, where it is more than one.
    pub passes: Option<Passes>,
    /// From logits to probabilities.
    pub link: Link,
    /// Fitted on rows that neither training nor the covariance has seen.
    pub scaling: Scaling,
}

/// Whether a model can say how much of its doubt is its own, and not the text's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnDoubt {
    /// It can: there is a distribution over its logits, and its variance is used.
    Known,
    /// It has a posterior whose variance is left out (s = 0).
    LeftOut,
    /// It has no posterior.
    Absent,
}

impl OwnDoubt {
    /// Why it cannot, to follow the word "since"; `None` where it can.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Known => None,
            Self::LeftOut => Some(
                "its posterior is not used (scale 0: held-out rows did not show that its variance \
                 helps)",
            ),
            Self::Absent => Some("it has no posterior"),
        }
    }
}

/// The seed of the draws that are stored with a model: the same for all, so that models differ by
/// their posterior alone.
const DRAWS_SEED: u64 = 0;

impl Uncertainty {
    /// With the draws that the covariance needs.
    pub fn new(covariance: Covariance, choice: LinkChoice, scaling: Scaling) -> Self {
        let draws = Draws::new(&Noise::new(DRAWS_SEED), covariance.directions());
        let link = Link { choice, draws: Arc::new(draws) };
        Self { covariance, passes: None, link, scaling }
    }

    /// Puts its tensors into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        self.scaling.put(tensors);
        self.covariance.put(tensors);
        if let Some(passes) = self.passes {
            passes.put(tensors);
        }
        let draws = &self.link.draws;
        if draws.width() > 0 {
            let rows = draws.values().len() / draws.width();
            tensors.put_f32("draws", &[rows, draws.width()], draws.values());
        }
    }

    /// That of a file. `weight_cd` is the last layer's weight; the error names the tensor that is wrong.
    pub fn read(
        file: &TensorFile<'_>,
        weight_cd: &Tensor,
        choice: LinkChoice,
    ) -> Result<Self, String> {
        let classes = weight_cd.dim(0).map_err(|error| error.to_string())?;
        let scaling = Scaling::read(file, classes)?;
        let covariance = Covariance::read(file, weight_cd)?;
        let width = covariance.directions();
        let values = if width > 0 { file.matrix("draws", None, width)? } else { Vec::new() };
        let draws = Arc::new(Draws::from_values(values, width));
        let passes = Passes::read(file)?;
        if passes.is_some() && covariance != Covariance::Zero {
            return Err("passes and a covariance exclude each other".to_owned());
        }
        Ok(Self { covariance, passes, link: Link { choice, draws }, scaling })
    }

    /// Whether predictions say how much of their uncertainty is epistemic.
    pub fn own_doubt(&self) -> OwnDoubt {
        match (self.passes, &self.covariance) {
            (None, Covariance::Zero) => OwnDoubt::Absent,
            _ if self.scaling.uses_variance() => OwnDoubt::Known,
            _ => OwnDoubt::LeftOut,
        }
    }

    /// Probabilities of one text.
    pub fn predictive(&self, logits: &LogitDistribution) -> Predictive {
        logits.predictive(&self.link, &self.scaling)
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
    pub fn new(parameters: &Parameters, uncertainty: &Uncertainty) -> Self {
        let mean_cd = parameters.get("classifier.weight").clone();
        let mean_c = parameters.get("classifier.bias").clone();
        match uncertainty.passes {
            Some(passes) => Self::Passes { mean_cd, mean_c, passes },
            None => {
                let covariance = uncertainty.covariance.clone();
                Self::LastLayer { mean_cd, mean_c, covariance }
            }
        }
    }

    /// The same as predictions need it: a covariance that is multiplied by zero is not computed.
    pub fn of_predictions(parameters: &Parameters, uncertainty: &Uncertainty) -> Self {
        match Self::new(parameters, uncertainty) {
            Self::LastLayer { mean_cd, mean_c, .. } if !uncertainty.scaling.uses_variance() => {
                Self::LastLayer { mean_cd, mean_c, covariance: Covariance::Zero }
            }
            whole => whole,
        }
    }

    /// Weight `[c, d]` and bias `[c]` of the last layer's mean.
    pub fn mean(&self) -> (&Tensor, &Tensor) {
        match self {
            Self::LastLayer { mean_cd, mean_c, .. } | Self::Passes { mean_cd, mean_c, .. } => {
                (mean_cd, mean_c)
            }
        }
    }

    /// What stands between its mean logits and the probabilities, before anything is calibrated.
    pub fn uncertainty(&self, choice: LinkChoice) -> Uncertainty {
        match self {
            Self::LastLayer { covariance, .. } => {
                Uncertainty::new(covariance.clone(), choice, Scaling::default())
            }
            Self::Passes { passes, .. } => {
                let none = Uncertainty::new(Covariance::Zero, choice, Scaling::default());
                Uncertainty { passes: Some(*passes), ..none }
            }
        }
    }

    /// The distribution over logits of each of n texts, from the features that enter the last layer:
    /// `[n, d]`, or `[n, samples, d]` for several passes.
    pub fn logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<LogitDistribution>> {
        self.around(&self.mean_logits(feature_nd)?, feature_nd)
    }

    /// The logits at the mean of the weights, which any classifier computes: `[n, c]`, or
    /// `[n, samples, c]`.
    pub fn mean_logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<f64>> {
        let (mean_cd, mean_c) = self.mean();
        last_layer(feature_nd, mean_cd, mean_c)
    }

    /// The distributions around [mean logits](Self::mean_logits).
    pub fn around(
        &self,
        mean_nc: &[f64],
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<LogitDistribution>> {
        match self {
            Self::Passes { mean_cd, passes, .. } => {
                let classes = mean_cd.dim(0)?;
                let lines = mean_nc.chunks_exact(passes.samples * classes);
                let samples =
                    |line: &[f64]| LogitDistribution::Samples { logit_mc: line.to_vec(), classes };
                Ok(lines.map(samples).collect())
            }
            Self::LastLayer { mean_cd, covariance, .. } => {
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
