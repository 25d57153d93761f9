//! The networks that read a text: one, or all of an ensemble on the same tokens.

use candle_core::{Result, Tensor};

use super::{Classifier, DropoutPasses, EncoderConfig, Parameters, Pooling, StillWanted};
use crate::compute::Packed;

/// Several passes over one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Of the first network, with dropout.
    Dropout(DropoutPasses),
    /// One of each network.
    Members,
}

/// One network, or several of one shape.
#[derive(Clone, Debug)]
pub struct Networks {
    first: Classifier,
    others: Vec<Classifier>,
    /// The encoder before it was fine-tuned, for novelty.
    reference: Option<Classifier>,
}

impl From<Classifier> for Networks {
    fn from(first: Classifier) -> Self {
        Self { first, others: Vec::new(), reference: None }
    }
}

impl Networks {
    /// For weights that do not change any more: on the CPU they are packed once.
    pub fn packed(
        config: &EncoderConfig,
        first: &Parameters,
        others: &[Parameters],
    ) -> Result<Self> {
        let packed = |parameters| Classifier::packed(config, parameters);
        let others = others.iter().map(packed).collect::<Result<_>>()?;
        Ok(Self { first: packed(first)?, others, reference: None })
    }

    /// With the encoder as it was before fine-tuning, of the same shape.
    pub fn with_reference(self, reference: Option<&Parameters>) -> Result<Self> {
        let config = EncoderConfig { pooling: Pooling::Mean, ..self.first.config().clone() };
        let packed = |parameters| Classifier::packed(&config, parameters);
        Ok(Self { reference: reference.map(packed).transpose()?, ..self })
    }

    pub fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// The means over the tokens of what leaves the last layer of the encoder before it was fine-tuned,
    /// `[b, d]`; nothing without that.
    pub fn reference_means(&self, batch: &Packed) -> Result<Vec<f32>> {
        match &self.reference {
            Some(reference) => reference.features(batch)?.flatten_all()?.to_vec1(),
            None => Ok(Vec::new()),
        }
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
        }
    }

    /// What a posterior of several passes reads of each: what enters the last layer, `[b, samples, d]`, or the
    /// logits of each network, `[b, m, c]`, since each has a last layer of its own. `feature_bd` is that of the
    /// first network, where it is known. `None` if they were not wanted any more before the last pass.
    pub fn sampled_while(
        &self,
        batch: &Packed,
        feature_bd: Option<&Tensor>,
        sampling: Sampling,
        wanted: StillWanted<'_>,
    ) -> Result<Option<Tensor>> {
        let passes = match sampling {
            Sampling::Dropout(passes) => return self.first.sampled_while(batch, &passes, wanted),
            Sampling::Members => std::iter::once(&self.first).chain(&self.others),
        };
        let mut known = feature_bd.cloned();
        let mut logits = Vec::new();
        for network in passes {
            if !wanted() {
                return Ok(None);
            }
            let feature_bd = known.take().map_or_else(|| network.features(batch), Ok)?;
            logits.push(network.feature_logits(&feature_bd)?);
        }
        Tensor::stack(&logits, 1).map(Some)
    }
}
