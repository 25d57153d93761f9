//! The networks that read a text: one, all of an ensemble on the same tokens, or one with several copies of its
//! top layers.

use candle_core::{Result, Tensor};

use super::inference::{DEVICE_TOKEN_BUDGET, TOKEN_BUDGET};
use super::{
    Classifier, DropoutPasses, EncoderConfig, Entailment, Parameters, Pooling, StillWanted, Trunk,
};
use crate::compute::{Backend, Packed, Precision, fetch};

/// Several passes over one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Of the first network, with dropout.
    Dropout(DropoutPasses),
    /// One of each network.
    Members,
    /// One of each copy of the top layers, on what the layers below them make of the batch.
    TopLayers,
}

/// One network, or several of one shape.
#[derive(Clone, Debug)]
pub struct Networks {
    first: Classifier,
    others: Vec<Classifier>,
    /// The encoder before it was fine-tuned, for novelty.
    reference: Option<Classifier>,
    /// Copies of the layers from `lowest` on, and of what comes behind them.
    tops: Vec<Classifier>,
    lowest: usize,
    /// How sequences are read that are pairs of a text with each of several labels.
    entailment: Option<Entailment>,
    /// Of the products in the layers of all of them.
    precision: Precision,
}

impl From<Classifier> for Networks {
    fn from(first: Classifier) -> Self {
        let (others, tops) = (Vec::new(), Vec::new());
        let precision = Precision::F32;
        Self { first, others, reference: None, tops, lowest: 0, entailment: None, precision }
    }
}

impl Networks {
    /// For weights that do not change any more: on the CPU they are packed once.
    pub fn packed(
        config: &EncoderConfig,
        first: &Parameters,
        others: &[Parameters],
    ) -> Result<Self> {
        Self::packed_at(Precision::F32, config, first, others)
    }

    /// The same, whose layers multiply at a precision that this CPU has instructions for.
    pub fn packed_at(
        precision: Precision,
        config: &EncoderConfig,
        first: &Parameters,
        others: &[Parameters],
    ) -> Result<Self> {
        let packed = |parameters| Classifier::packed_at(precision, config, parameters);
        let others = others.iter().map(packed).collect::<Result<_>>()?;
        Ok(Self { others, precision, ..packed(first)?.into() })
    }

    /// That read a text by its pairs with labels, and whose feature φ is the logit of each label: the first
    /// network alone.
    pub fn with_entailment(self, entailment: Option<Entailment>) -> Self {
        Self { entailment, ..self }
    }

    /// Tokens of a batch of many rows, that a device has work for all its parts.
    pub(super) fn token_budget(&self) -> usize {
        match self.first.backend() {
            Backend::Cpu => TOKEN_BUDGET,
            Backend::Device(_) => DEVICE_TOKEN_BUDGET,
        }
    }

    /// `d`, of the feature φ.
    pub fn feature_width(&self) -> usize {
        let own = || self.first.config().hidden_size;
        self.entailment.as_ref().map_or_else(own, |entailment| entailment.beside.len())
    }

    /// Of how many of the last layers the input is given, where it is asked for that of so many: of none where a
    /// text is read by its pairs.
    pub fn inputs(&self, asked: usize) -> usize {
        if self.entailment.is_some() { 0 } else { asked }
    }

    /// With the encoder as it was before fine-tuning, of the same shape.
    pub fn with_reference(self, reference: Option<&Parameters>) -> Result<Self> {
        let config = EncoderConfig { pooling: Pooling::Mean, ..self.first.config().clone() };
        let packed = |parameters| Classifier::packed_at(self.precision, &config, parameters);
        Ok(Self { reference: reference.map(packed).transpose()?, ..self })
    }

    /// With the encoder of others, which has the same weights, in memory once.
    pub fn on_trunk_of(self, others: &Self) -> Self {
        let first = self.first.on_trunk_of(&others.first);
        Self { first, reference: others.reference.clone(), ..self }
    }

    pub fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// The means over the tokens of what leaves the last layer of the encoder before it was fine-tuned,
    /// `[b, d]`; nothing without that.
    pub fn reference_means(&self, batch: &Packed) -> Result<Vec<f32>> {
        match &self.reference {
            Some(reference) => fetch(&reference.features(batch)?),
            None => Ok(Vec::new()),
        }
    }

    /// With copies of the layers whose weights have the numbers from `lowest` on instead of those that it had;
    /// `mean` are the weights of the first network.
    pub fn with_tops(
        self,
        mean: &Parameters,
        lowest: usize,
        copies: impl Iterator<Item = Result<Parameters>>,
    ) -> Result<Self> {
        let lowest = self.first.config().first_with(lowest);
        let packed = |own: Result<Parameters>| {
            Classifier::packed_above(self.first.config(), mean, &own?, lowest, self.precision)
        };
        let tops = copies.map(packed).collect::<Result<_>>()?;
        Ok(Self { tops, lowest, ..self })
    }

    /// The one that gives the feature φ, and what novelty looks at.
    pub fn first(&self) -> &Classifier {
        &self.first
    }

    /// How many values [`Self::sampled_while`] gives for a text.
    pub fn width(&self, sampling: Sampling) -> usize {
        let config = self.first.config();
        match sampling {
            Sampling::Dropout(passes) => passes.samples * config.hidden_size,
            Sampling::Members => (1 + self.others.len()) * config.labels.len(),
            Sampling::TopLayers => self.tops.len() * config.labels.len(),
        }
    }

    /// What the first network makes of a batch, with all that [`Self::sampled_while`] goes on from.
    pub fn trunk(
        &self,
        batch: &Packed,
        inputs: usize,
        sampling: Option<Sampling>,
    ) -> Result<Trunk> {
        if let Some(entailment) = &self.entailment {
            let feature_bd = entailment.logits(&self.first, batch)?;
            return Ok(Trunk { feature_bd, input_be: Vec::new(), below_pd: None });
        }
        let lowest = (sampling == Some(Sampling::TopLayers)).then_some(self.lowest);
        self.first.trunk_above(batch, inputs, lowest)
    }

    /// What a posterior of several passes reads of each: what enters the last layer, `[b, samples, d]`; or the
    /// logits, `[b, m, c]`, of each network or of each copy of the top layers, since each has a last layer of
    /// its own. `trunk` is what [`Self::trunk`] gave for the batch. `None` if they were not wanted any more
    /// before the last pass.
    pub fn sampled_while(
        &self,
        batch: &Packed,
        trunk: &Trunk,
        sampling: Sampling,
        wanted: StillWanted<'_>,
    ) -> Result<Option<Tensor>> {
        let mut logits = Vec::new();
        match sampling {
            Sampling::Dropout(passes) => return self.first.sampled_while(batch, &passes, wanted),
            Sampling::Members => {
                logits.push(self.first.feature_logits(&trunk.feature_bd)?);
                for network in &self.others {
                    if !wanted() {
                        return Ok(None);
                    }
                    logits.push(network.feature_logits(&network.features(batch)?)?);
                }
            }
            Sampling::TopLayers => {
                let below_pd = trunk.below_pd.as_ref().expect("the trunk was made for it");
                for top in &self.tops {
                    if !wanted() {
                        return Ok(None);
                    }
                    logits.push(top.logits_from(below_pd, self.lowest, batch)?);
                }
            }
        }
        Tensor::stack(&logits, 1).map(Some)
    }
}
