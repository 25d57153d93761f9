//! Batches that are tokenised already: from what the encoder makes of them to logits and probabilities, step by step.

use super::Predictor;
use crate::compute::{Packed, fetch};
use crate::model::{Sampling, Trunk, TrunkRows};
use crate::posterior::{LogitDistribution, Predictive};

impl Predictor {
    /// The logits before the temperature and the predictive distribution of each sequence of one
    /// batch that is tokenised already.
    pub fn predict_batch(
        &self,
        batch: &Packed,
    ) -> candle_core::Result<Vec<(LogitDistribution, Predictive)>> {
        // Inside the pool from here on, so that its threads need not be woken for every step.
        rayon::scope(|_| self.distributions(&self.features(batch)?))
    }

    /// What the posterior reads of one batch: the features φ, `[b, d]`, or those of each pass,
    /// `[b, samples, d]`, or the logits of each network, `[b, m, c]`.
    pub fn features(&self, batch: &Packed) -> candle_core::Result<Vec<f32>> {
        let sampling = self.usual_passes();
        if let Some(Sampling::Dropout(passes)) = sampling {
            return fetch(&self.networks.first().sampled(batch, &passes)?);
        }
        let inputs = self.posterior.states().inputs(self.layers());
        let trunk = self.networks.trunk(batch, inputs, sampling)?;
        let samples = match sampling {
            Some(sampling) => self.networks.sampled_while(batch, &trunk, sampling, &|| true)?,
            None => None,
        };
        if let Some(samples) = samples {
            return fetch(&samples);
        }
        let Trunk { feature_bd, input_be, .. } = trunk;
        let feature_nd = fetch(&feature_bd)?;
        let rows = TrunkRows { feature_nd, input_ne: input_be, ..TrunkRows::default() };
        Ok(self.read_of(&rows, batch.len()).into_owned())
    }

    /// From what the posterior reads of n texts to logits and probabilities; each text by itself.
    pub fn distributions(
        &self,
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<(LogitDistribution, Predictive)>> {
        Ok(self.linked(self.posterior.logits(feature_nd)?))
    }

    /// The logits of n texts at the mean of the weights; what a classifier without a posterior has.
    pub fn mean_logits(&self, feature_nd: &[f32]) -> candle_core::Result<Vec<f64>> {
        self.posterior.mean_logits(feature_nd)
    }

    /// What the posterior and the link make of them.
    pub fn around(
        &self,
        mean_nc: &[f64],
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<(LogitDistribution, Predictive)>> {
        Ok(self.linked(self.posterior.around(mean_nc, feature_nd)?))
    }
}
