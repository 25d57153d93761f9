//! Distributions over the last layer, and from them over the logits of a text.
//!
//! A method makes a [`Posterior`] with one variant of [`Spread`]; whoever predicts sees only
//! [`LogitDistribution`], and the link gives its probabilities.

pub(crate) mod algebra;
mod covariance;
mod fourier;
mod link;
mod logits;

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;

pub use covariance::{
    Classwise, Common, Covariance, Difference, Dropout, Full, Kronecker, LEAST_VARIANCE, Learned,
    LowRank, Root,
};
pub use fourier::{FourierLayer, FourierMap, MOST_FEATURES, normalised};
pub use link::{Draws, Link, LinkChoice, POINTS, Predictive, Scaling, VectorScaling, softmax};
pub use logits::{Basis, LogitCovariance, LogitDistribution};

use crate::compute::Noise;
use crate::model::{DropoutPasses, Parameters, Sampling, last_layer};
use crate::store::{TensorFile, Tensors};
use crate::task::Task;

/// What predicts: the mean of the last layer's weights, how others differ from it, and all that stands
/// between their logits and the probabilities.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// Mean of the last layer's weight, `[c, d]`.
    pub mean_cd: Tensor,
    /// Mean of its bias, `[c]`.
    pub mean_c: Tensor,
    /// The layer that predicts instead, and that the spread is about, where the method has one of its own;
    /// the last layer on φ, which other tools see, is then a stand-in.
    pub fourier: Option<Arc<FourierLayer>>,
    /// How weights differ from the mean.
    pub spread: Spread,
    /// From logits to probabilities.
    pub link: Link,
    /// Fitted on rows that neither training nor the covariance has seen.
    pub scaling: Scaling,
}

/// What is believed about the weights after training, besides their mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    /// A Gaussian over the last linear layer: one pass through the trunk.
    LastLayer(Covariance),
    /// Several passes, each with other weights.
    Passes(Passes),
}

/// The most passes for one text.
pub const MOST_SAMPLES: usize = 200;

/// The most networks of an ensemble.
pub const MOST_MEMBERS: usize = 32;

/// No encoder has more layers.
const MOST_LAYERS: usize = 1000;

/// Several passes for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Of one network, with dropout.
    Dropout {
        samples: usize,
        /// How many of the top layers have dropout; 0 = all, and the embeddings.
        layers: usize,
    },
    /// One of each network of an ensemble, so many.
    Members(usize),
}

impl Passes {
    /// Points that a text gets.
    pub fn count(self) -> usize {
        match self {
            Self::Dropout { samples: count, .. } | Self::Members(count) => count,
        }
    }

    /// With as many passes with dropout as these are.
    pub fn as_many_as(self, sampling: Sampling) -> Self {
        match (self, sampling) {
            (Self::Dropout { layers, .. }, Sampling::Dropout(DropoutPasses { samples, .. })) => {
                Self::Dropout { samples, layers }
            }
            (passes, _) => passes,
        }
    }

    /// The passes under a seed: the same seed and text, the same passes. Networks have no need of one.
    pub fn sampling(self, seed: u64) -> Sampling {
        match self {
            Self::Dropout { samples, layers } => {
                Sampling::Dropout(DropoutPasses { samples, layers, noise: Noise::new(seed) })
            }
            Self::Members(_) => Sampling::Members,
        }
    }

    /// Those of a prediction for which nobody gives a seed, and of calibration.
    pub fn usual(self) -> Sampling {
        self.sampling(DRAWS_SEED)
    }

    fn put(self, tensors: &mut Tensors) {
        match self {
            Self::Dropout { samples, layers } => {
                tensors.put_f64("passes.samples", &[samples as f64]);
                tensors.put_f64("passes.layers", &[layers as f64]);
            }
            Self::Members(count) => tensors.put_f64("members", &[count as f64]),
        }
    }

    fn read(file: &TensorFile<'_>) -> Result<Option<Self>, String> {
        match (file.has("passes.samples"), file.has("members")) {
            (false, false) => Ok(None),
            (true, true) => Err("`passes.samples` and `members` exclude each other".to_owned()),
            (true, false) => {
                let samples = file.count("passes.samples", MOST_SAMPLES)?;
                if samples == 0 {
                    return Err("`passes.samples` is 0".to_owned());
                }
                let layers = file.count("passes.layers", MOST_LAYERS)?;
                Ok(Some(Self::Dropout { samples, layers }))
            }
            (false, true) => match file.count("members", MOST_MEMBERS)? {
                count @ (0 | 1) => {
                    Err(format!("`members` is {count}, and an ensemble has 2 at least"))
                }
                count => Ok(Some(Self::Members(count))),
            },
        }
    }
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
    /// Why it cannot, to follow the word "because"; `None` where it can.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Known => None,
            Self::LeftOut => Some(
                "using the variance of its posterior did not improve predictions on held-out rows",
            ),
            Self::Absent => Some("it has no posterior"),
        }
    }
}

/// The seed of the draws that are stored with a model: the same for all, so that models differ by
/// their posterior alone.
pub const DRAWS_SEED: u64 = 0;

const POSTERIOR_MEAN: &str = "posterior mean";
const STAND_IN: &str = "stand-in";

impl Posterior {
    /// With the draws that the covariance needs, before anything is calibrated.
    pub fn new(
        task: Task,
        mean_cd: Tensor,
        mean_c: Tensor,
        spread: Spread,
        choice: LinkChoice,
    ) -> Self {
        let directions = match &spread {
            Spread::LastLayer(covariance) => covariance.directions(),
            Spread::Passes(_) => 0,
        };
        let draws = Draws::new(&Noise::new(DRAWS_SEED), directions);
        let link = Link { task, choice, draws: Arc::new(draws) };
        let scaling = Scaling::default();
        Self { mean_cd, mean_c, fourier: None, spread, link, scaling }
    }

    /// The point estimate: the last layer of these parameters as it is.
    pub fn point(task: Task, parameters: &Parameters) -> Self {
        let [mean_cd, mean_c] = last_of(parameters);
        let spread = Spread::LastLayer(Covariance::Zero);
        Self::new(task, mean_cd, mean_c, spread, LinkChoice::default())
    }

    /// Puts all but the last layer on φ into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        self.scaling.put(tensors);
        if let Some(fourier) = &self.fourier {
            fourier.put(tensors);
        }
        match &self.spread {
            Spread::LastLayer(covariance) => covariance.put(tensors),
            Spread::Passes(passes) => passes.put(tensors),
        }
        let draws = &self.link.draws;
        if draws.width() > 0 {
            let rows = draws.values().len() / draws.width();
            tensors.put_f32("draws", &[rows, draws.width()], draws.values());
        }
    }

    /// That of a file, around the last layer of these parameters. The error names the tensor that is wrong.
    pub fn read(
        file: &TensorFile<'_>,
        parameters: &Parameters,
        task: Task,
        choice: LinkChoice,
    ) -> Result<Self, String> {
        let [mean_cd, mean_c] = last_of(parameters);
        let scaling = Scaling::read(file, mean_c.elem_count())?;
        let (classes, width) = mean_cd.dims2().map_err(|error| error.to_string())?;
        let fourier = FourierLayer::read(file, classes, width)?.map(Arc::new);
        let weight = fourier.as_ref().map_or(&mean_cd, |fourier| &fourier.mean_cr);
        let covariance = Covariance::read(file, weight)?;
        let width = covariance.directions();
        let values = if width > 0 { file.matrix("draws", None, width)? } else { Vec::new() };
        let draws = Arc::new(Draws::from_values(values, width));
        let spread = match (Passes::read(file)?, covariance) {
            (None, covariance) => Spread::LastLayer(covariance),
            (Some(passes), Covariance::Zero) => Spread::Passes(passes),
            (Some(_), _) => return Err("passes and a covariance exclude each other".to_owned()),
        };
        let link = Link { task, choice, draws };
        Ok(Self { mean_cd, mean_c, fourier, spread, link, scaling })
    }

    /// The same as predictions need it: a covariance that is multiplied by zero is not computed.
    pub fn of_predictions(&self) -> Self {
        match &self.spread {
            Spread::LastLayer(_) if !self.scaling.uses_variance() => self.at_mean(),
            Spread::LastLayer(_) | Spread::Passes(_) => self.clone(),
        }
    }

    /// The same link and scaling, with the weights at their mean.
    pub fn at_mean(&self) -> Self {
        self.with_spread(Spread::LastLayer(Covariance::Zero))
    }

    /// The same mean, link and scaling.
    pub fn with_spread(&self, spread: Spread) -> Self {
        let Self { mean_cd, mean_c, fourier, spread: _, link, scaling } = self;
        let (mean_cd, mean_c, fourier) = (mean_cd.clone(), mean_c.clone(), fourier.clone());
        Self { mean_cd, mean_c, fourier, spread, link: link.clone(), scaling: scaling.clone() }
    }

    /// `c`.
    pub fn classes(&self) -> usize {
        self.mean_c.elem_count()
    }

    /// `d`, of φ.
    pub fn width(&self) -> usize {
        self.mean_cd.elem_count() / self.classes()
    }

    /// Weights of the layer that predicts, the bias among them.
    pub fn weights(&self) -> usize {
        let weight = self.fourier.as_ref().map_or(&self.mean_cd, |fourier| &fourier.mean_cr);
        weight.elem_count() + self.classes()
    }

    /// What the last layer on φ is, which transformers computes with.
    pub fn last_layer_is(&self) -> &'static str {
        if self.fourier.is_some() { STAND_IN } else { POSTERIOR_MEAN }
    }

    /// The passes that a text is answered by, where it is more than one.
    pub fn passes(&self) -> Option<Passes> {
        match self.spread {
            Spread::LastLayer(_) => None,
            Spread::Passes(passes) => Some(passes),
        }
    }

    /// Whether its spread is what trained networks disagree by, or one of them has learned that they do.
    pub fn is_of_networks(&self) -> bool {
        match &self.spread {
            Spread::Passes(Passes::Members(_)) => true,
            Spread::LastLayer(covariance) => matches!(covariance, Covariance::Learned(_)),
            Spread::Passes(Passes::Dropout { .. }) => false,
        }
    }

    /// Whether predictions say how much of their uncertainty is epistemic.
    pub fn own_doubt(&self) -> OwnDoubt {
        match &self.spread {
            Spread::LastLayer(Covariance::Zero) => OwnDoubt::Absent,
            _ if self.scaling.uses_variance() => OwnDoubt::Known,
            _ => OwnDoubt::LeftOut,
        }
    }

    /// Probabilities of one text.
    pub fn predictive(&self, logits: &LogitDistribution) -> Predictive {
        logits.predictive(&self.link, &self.scaling)
    }

    /// The distribution over logits of each of n texts, from the features that enter the last layer:
    /// `[n, d]`, or `[n, samples, d]` for passes with dropout; from the logits of each network, `[n, m, c]`,
    /// for an ensemble.
    pub fn logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<LogitDistribution>> {
        let read = self.read_by_layer(feature_nd);
        self.around_read(&self.mean_of_read(&read)?, &read)
    }

    /// The logits at the mean of the weights, which any classifier computes: `[n, c]`, or
    /// `[n, samples, c]`. Each network of an ensemble has computed its own.
    pub fn mean_logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<f64>> {
        self.mean_of_read(&self.read_by_layer(feature_nd))
    }

    /// The distributions around [mean logits](Self::mean_logits).
    pub fn around(
        &self,
        mean_nc: &[f64],
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<LogitDistribution>> {
        self.around_read(mean_nc, &self.read_by_layer(feature_nd))
    }

    /// What the layer that predicts reads of features: themselves, or Φ.
    fn read_by_layer<'a>(&self, feature_nd: &'a [f32]) -> Cow<'a, [f32]> {
        match &self.fourier {
            Some(fourier) => Cow::Owned(fourier.map.of(feature_nd)),
            None => Cow::Borrowed(feature_nd),
        }
    }

    fn mean_of_read(&self, read: &[f32]) -> candle_core::Result<Vec<f64>> {
        match (&self.spread, &self.fourier) {
            (Spread::Passes(Passes::Members(_)), _) => {
                Ok(read.iter().map(|&logit| f64::from(logit)).collect())
            }
            (_, Some(fourier)) => fourier.mean_logits(read),
            (_, None) => last_layer(read, &self.mean_cd, &self.mean_c),
        }
    }

    fn around_read(
        &self,
        mean_nc: &[f64],
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<LogitDistribution>> {
        let weight = self.fourier.as_ref().map_or(&self.mean_cd, |fourier| &fourier.mean_cr);
        let (classes, width) = weight.dims2()?;
        match &self.spread {
            Spread::Passes(passes) => {
                let lines = mean_nc.chunks_exact(passes.count() * classes);
                let samples =
                    |line: &[f64]| LogitDistribution::Samples { logit_mc: line.to_vec(), classes };
                Ok(lines.map(samples).collect())
            }
            Spread::LastLayer(covariance) => {
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

/// Weight and bias of the last layer.
fn last_of(parameters: &Parameters) -> [Tensor; 2] {
    ["classifier.weight", "classifier.bias"].map(|name| parameters.get(name).clone())
}
