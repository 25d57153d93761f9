//! One encoder under several models, as heads on a frozen one have it: its weights are in memory once, and a text
//! passes through it once for all of them.

use super::shared::{encoder_hash, is_last_layer};
use super::{Predictor, Reading};
use crate::data::Encoded;
use crate::model::{Sampling, StillWanted, TrunkRows};

/// A hash over an encoder; models with the same one have the same encoder, to the last bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrunkHash(String);

/// What an encoder makes of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrunkRow {
    feature_d: Vec<f32>,
    input_e: Vec<f32>,
    sample_sd: Vec<f32>,
    reference_d: Vec<f32>,
}

impl TrunkRow {
    /// Of memory.
    pub fn bytes(&self) -> usize {
        let Self { feature_d, input_e, sample_sd, reference_d } = self;
        let all = [feature_d, input_e, sample_sd, reference_d];
        all.into_iter().map(|part| size_of_val(part.as_slice())).sum()
    }

    /// Of how many of the last layers it has the input.
    pub fn inputs(&self) -> usize {
        self.input_e.len() / self.feature_d.len().max(1)
    }
}

impl Predictor {
    /// What tells whether another model has the same encoder; `None` where an answer rests on more than one network,
    /// or on the labels that it is asked for.
    pub fn trunk_hash(&self) -> candle_core::Result<Option<TrunkHash>> {
        if self.always_sampled() || self.artifact.entailment().is_some() {
            return Ok(None);
        }
        encoder_hash(&self.artifact, self.precision).map(|hash| Some(TrunkHash(hash)))
    }

    /// The same on the weights of another model whose trunk has the same hash: they are in memory once.
    pub fn on_trunk_of(mut self, other: &Self) -> Self {
        let theirs = other.artifact.parameters.iter();
        for (name, tensor) in theirs.filter(|(name, _)| !is_last_layer(name)) {
            self.artifact.parameters = self.artifact.parameters.with(name, tensor.clone());
        }
        self.artifact.reference.clone_from(&other.artifact.reference);
        self.networks = self.networks.on_trunk_of(&other.networks);
        self
    }

    /// Of how many of the last layers an answer needs the input.
    pub fn trunk_inputs(&self) -> usize {
        self.networks.inputs(self.inputs())
    }

    /// What the encoder makes of each of these texts, with the inputs of so many of the last layers. `None` if they
    /// were not wanted any more before the last pass.
    pub fn read_trunk(
        &self,
        batch: &[&Encoded],
        inputs: usize,
        sampling: Option<Sampling>,
        wanted: StillWanted<'_>,
    ) -> candle_core::Result<Option<Vec<TrunkRow>>> {
        let rows = rayon::scope(|_| self.trunk_rows(batch, inputs, sampling, wanted))?;
        let Some(rows) = rows else { return Ok(None) };
        let part = |of: &[f32], row: usize| {
            let width = of.len() / batch.len();
            of[row * width..][..width].to_vec()
        };
        let one = |row| TrunkRow {
            feature_d: part(&rows.feature_nd, row),
            input_e: part(&rows.input_ne, row),
            sample_sd: part(&rows.sample_nsd, row),
            reference_d: part(&rows.reference_nd, row),
        };
        Ok(Some((0..batch.len()).map(one).collect()))
    }

    /// What this model makes of texts that its encoder has read already, under the passes with which it did.
    pub fn read_rows(
        &self,
        rows: &[&TrunkRow],
        sampling: Option<Sampling>,
    ) -> candle_core::Result<Vec<Reading>> {
        let own = self.trunk_inputs();
        let mut all = TrunkRows::default();
        for row in rows {
            let beyond = (row.inputs() - own.min(row.inputs())) * row.feature_d.len();
            all.feature_nd.extend_from_slice(&row.feature_d);
            all.input_ne.extend_from_slice(&row.input_e[beyond..]);
            all.sample_nsd.extend_from_slice(&row.sample_sd);
            all.reference_nd.extend_from_slice(&row.reference_d);
        }
        rayon::scope(|_| self.readings(&self.posterior_under(sampling), &all, rows.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::artifact::{self, Artifact};
    use crate::compute::Backend;
    use crate::model::Parameters;

    fn artifact() -> Artifact {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
        artifact::load(&folder, &Backend::Cpu).unwrap()
    }

    fn with(change: impl FnOnce(Parameters) -> Parameters) -> Predictor {
        let artifact = artifact();
        let parameters = change(artifact.parameters.clone());
        Predictor::new(Artifact { parameters, ..artifact }).unwrap()
    }

    fn doubled(name: &str) -> impl FnOnce(Parameters) -> Parameters + '_ {
        move |parameters| {
            let tensor = (parameters.get(name) * 2.0).unwrap();
            parameters.with(name, tensor)
        }
    }

    #[test]
    fn only_what_stands_before_the_last_layer_makes_another_trunk() {
        let own = with(|parameters| parameters).trunk_hash().unwrap().unwrap();
        let of = |name| with(doubled(name)).trunk_hash().unwrap().unwrap();
        assert_eq!(of("classifier.weight"), own);
        let encoder = artifact().parameters;
        let names = encoder.iter().map(|(name, _)| name.as_str());
        for name in names.filter(|name| !is_last_layer(name)) {
            assert_ne!(of(name), own, "{name}");
        }
    }

    #[test]
    fn rows_of_the_trunk_give_the_bits_of_a_pass_whatever_else_was_asked_of_it() {
        let (own, other) = (with(|parameters| parameters), with(doubled("classifier.bias")));
        let other = other.on_trunk_of(&own);
        assert!(other.networks.first().has_engine_of(own.networks.first()), "packed once");
        for (name, tensor) in own.artifact.parameters.iter() {
            let same = tensor.id() == other.artifact.parameters.get(name).id();
            assert_eq!(same, !is_last_layer(name), "{name}");
        }
        let texts = ["a film", "the second one is longer than the first", "a film"];
        let encoded = own.encode(&texts.map(|text| (text, None))).unwrap();
        let batch: Vec<&Encoded> = encoded.iter().collect();
        let more = own.trunk_inputs() + 1;
        let rows = own.read_trunk(&batch, more, None, &|| true).unwrap().unwrap();
        assert!(rows.iter().all(|row| row.inputs() >= own.trunk_inputs() && row.bytes() > 0));
        for model in [&own, &other] {
            let alone = model.read(&batch, None, &|| true).unwrap().unwrap();
            let shared = model.read_rows(&rows.iter().collect::<Vec<_>>(), None).unwrap();
            for (one, two) in alone.iter().zip(&shared) {
                assert_eq!(one.predictive.probability_c, two.predictive.probability_c);
                assert_eq!(one.logits.mean(), two.logits.mean());
                assert_eq!(one.novelty_e, two.novelty_e);
            }
        }
    }
}
