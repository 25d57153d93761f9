//! Distributions over the last layer, and from them over the logits of a text.
//!
//! A method makes a [`Posterior`] with one variant of [`Spread`]; whoever predicts sees only
//! [`LogitDistribution`], and the link gives its probabilities.

pub(crate) mod algebra;
mod covariance;
mod fourier;
mod link;
mod logits;
mod passes;
mod top_layers;
mod wide;

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
pub use passes::{MOST_MEMBERS, MOST_SAMPLES, Passes};
pub use top_layers::{Deviation, Fixed, TopLayers};
pub use wide::WideLayer;

use crate::compute::Noise;
use crate::model::{HiddenStates, Networks, Parameters, last_layer};
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
    /// What the layer that predicts reads beside φ, and that layer; with random Fourier features of all of
    /// them, the layer is above.
    pub wide: Option<Arc<WideLayer>>,
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
    /// A distribution over the weights of the top layers: one pass through the layers below, and one through each
    /// sample of those.
    TopLayers(Arc<TopLayers>),
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
            Spread::Passes(_) | Spread::TopLayers(_) => 0,
        };
        let draws = Draws::new(&Noise::new(DRAWS_SEED), directions);
        let link = Link { task, choice, draws: Arc::new(draws) };
        let scaling = Scaling::default();
        Self { mean_cd, mean_c, fourier: None, wide: None, spread, link, scaling }
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
        if let Some(wide) = &self.wide {
            wide.put(tensors);
        }
        match &self.spread {
            Spread::LastLayer(covariance) => covariance.put(tensors),
            Spread::Passes(passes) => passes.put(tensors),
            Spread::TopLayers(top) => top.put(tensors),
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
        let wide = WideLayer::read(file, classes, width)?.map(Arc::new);
        let states = wide.as_ref().map_or(0, |wide| wide.states.len());
        let fourier = FourierLayer::read(file, classes, (states + 1) * width)?.map(Arc::new);
        let weight = weight_of(&mean_cd, &fourier, &wide)?;
        let covariance = Covariance::read(file, weight)?;
        let width = covariance.directions();
        let values = if width > 0 { file.matrix("draws", None, width)? } else { Vec::new() };
        let draws = Arc::new(Draws::from_values(values, width));
        let (passes, top) = (Passes::read(file)?, TopLayers::read(file, parameters)?);
        if (passes.is_some() || top.is_some()) && wide.is_some() {
            return Err("passes and `wide.states` exclude each other".to_owned());
        }
        let spread = match (passes, top, covariance) {
            (None, None, covariance) => Spread::LastLayer(covariance),
            (Some(passes), None, Covariance::Zero) => Spread::Passes(passes),
            (None, Some(top), Covariance::Zero) if fourier.is_none() => {
                Spread::TopLayers(Arc::new(top))
            }
            _ => return Err("passes and a covariance exclude each other".to_owned()),
        };
        let link = Link { task, choice, draws };
        Ok(Self { mean_cd, mean_c, fourier, wide, spread, link, scaling })
    }

    /// One whose mean is that of a layer on φ and these hidden states, with the layer on φ alone that other
    /// tools see: weight `[c, d]` and bias `[c]`.
    pub fn wide(self, states: HiddenStates, [mean_cd, mean_c]: [Tensor; 2]) -> Self {
        let layer = self.fourier.is_none().then_some([self.mean_cd, self.mean_c]);
        let wide = Some(Arc::new(WideLayer { states, layer }));
        Self { mean_cd, mean_c, wide, ..self }
    }

    /// The hidden states that are read beside φ.
    pub fn states(&self) -> HiddenStates {
        self.wide.as_ref().map_or_else(HiddenStates::default, |wide| wide.states)
    }

    /// The same as predictions need it: a covariance that is multiplied by zero is not computed.
    pub fn of_predictions(&self) -> Self {
        match &self.spread {
            Spread::LastLayer(_) if !self.scaling.uses_variance() => self.at_mean(),
            Spread::LastLayer(_) | Spread::Passes(_) | Spread::TopLayers(_) => self.clone(),
        }
    }

    /// The same link and scaling, with the weights at their mean.
    pub fn at_mean(&self) -> Self {
        self.with_spread(Spread::LastLayer(Covariance::Zero))
    }

    /// The same mean, link and scaling.
    pub fn with_spread(&self, spread: Spread) -> Self {
        let Self { mean_cd, mean_c, fourier, wide, spread: _, link, scaling } = self;
        let (mean_cd, mean_c) = (mean_cd.clone(), mean_c.clone());
        let (fourier, wide) = (fourier.clone(), wide.clone());
        let (link, scaling) = (link.clone(), scaling.clone());
        Self { mean_cd, mean_c, fourier, wide, spread, link, scaling }
    }

    /// Networks of these weights, with the samples of the top layers where it has any.
    pub fn drawn(&self, networks: Networks, mean: &Parameters) -> candle_core::Result<Networks> {
        match &self.spread {
            Spread::TopLayers(top) => top.give(networks, mean),
            Spread::LastLayer(_) | Spread::Passes(_) => Ok(networks),
        }
    }

    /// Its distribution over the weights of the top layers, where it has one.
    pub fn top_layers(&self) -> Option<&TopLayers> {
        match &self.spread {
            Spread::TopLayers(top) => Some(top),
            Spread::LastLayer(_) | Spread::Passes(_) => None,
        }
    }

    /// The columns that the covariances of all texts are made of, where they share them.
    pub fn basis(&self) -> Option<&Arc<Basis>> {
        match &self.spread {
            Spread::LastLayer(covariance) => covariance.basis(),
            Spread::Passes(_) | Spread::TopLayers(_) => None,
        }
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
        self.weight().elem_count() + self.classes()
    }

    /// What the last layer on φ is, which transformers computes with.
    pub fn last_layer_is(&self) -> &'static str {
        if self.has_own_layer() { STAND_IN } else { POSTERIOR_MEAN }
    }

    /// Whether the last layer has a covariance.
    pub fn has_covariance(&self) -> bool {
        matches!(&self.spread, Spread::LastLayer(covariance) if *covariance != Covariance::Zero)
    }

    /// Whether logits are changed before they become probabilities: by a temperature, or class by class.
    pub fn is_scaled(&self) -> bool {
        self.scaling.temperature != 1.0 || self.scaling.vector.is_some()
    }

    /// Whether another layer than that on φ predicts, which other tools do not have.
    pub fn has_own_layer(&self) -> bool {
        self.fourier.is_some() || self.wide.is_some()
    }

    /// Of the layer that predicts.
    fn weight(&self) -> &Tensor {
        weight_of(&self.mean_cd, &self.fourier, &self.wide).expect("a wide layer has a weight")
    }

    /// The passes that a text is answered by, where it is more than one.
    pub fn passes(&self) -> Option<Passes> {
        match &self.spread {
            Spread::LastLayer(_) => None,
            Spread::Passes(passes) => Some(*passes),
            Spread::TopLayers(top) => Some(top.passes()),
        }
    }

    /// Whether its spread is what trained networks disagree by, or one of them has learned that they do.
    pub fn is_of_networks(&self) -> bool {
        match &self.spread {
            Spread::Passes(Passes::Members(_)) | Spread::TopLayers(_) => true,
            Spread::LastLayer(covariance) => matches!(covariance, Covariance::Learned(_)),
            Spread::Passes(_) => false,
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
    /// `[n, d]`, or `[n, e]` with the means of hidden states before each, or `[n, samples, d]` for passes with dropout; from the logits of each network, `[n, m, c]`,
    /// for an ensemble.
    pub fn logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<LogitDistribution>> {
        let read = self.read_by_layer(feature_nd);
        self.around_read(&self.mean_of_read(&read)?, &read)
    }

    /// The logits at the mean of the weights, which any classifier computes: `[n, c]`, or
    /// `[n, samples, c]`. Each network of an ensemble, and each sample of the top layers, has computed its own.
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
            (Spread::Passes(Passes::Members(_)) | Spread::TopLayers(_), _) => {
                Ok(read.iter().map(|&logit| f64::from(logit)).collect())
            }
            (_, Some(fourier)) => fourier.mean_logits(read),
            (_, None) => {
                let own = self.wide.as_ref().and_then(|wide| wide.layer.as_ref());
                let [weight, bias] =
                    own.map_or([&self.mean_cd, &self.mean_c], |own| own.each_ref());
                last_layer(read, weight, bias)
            }
        }
    }

    fn around_read(
        &self,
        mean_nc: &[f64],
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<LogitDistribution>> {
        let (classes, width) = self.weight().dims2()?;
        match &self.spread {
            Spread::Passes(_) | Spread::TopLayers(_) => {
                let passes = self.passes().map_or(1, Passes::count);
                let lines = mean_nc.chunks_exact(passes * classes);
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

/// The weight of the layer that predicts: on random Fourier features, on φ and hidden states, or on φ.
fn weight_of<'a>(
    mean_cd: &'a Tensor,
    fourier: &'a Option<Arc<FourierLayer>>,
    wide: &'a Option<Arc<WideLayer>>,
) -> Result<&'a Tensor, String> {
    match (fourier, wide.as_ref().map(|wide| &wide.layer)) {
        (Some(fourier), None | Some(None)) => Ok(&fourier.mean_cr),
        (None, Some(Some([weight, _]))) => Ok(weight),
        (None, None) => Ok(mean_cd),
        (Some(_), Some(Some(_))) => {
            Err("`wide.weight` and random Fourier features exclude each other".to_owned())
        }
        (None, Some(None)) => Err("`wide.weight` is missing".to_owned()),
    }
}

/// Weight and bias of the last layer.
fn last_of(parameters: &Parameters) -> [Tensor; 2] {
    ["classifier.weight", "classifier.bias"].map(|name| parameters.get(name).clone())
}
