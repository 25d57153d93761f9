//! What the encoder makes of texts, kept for the next model that has the same encoder: methods that were fitted to one
//! run differ in the last layer and what follows from it alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::artifact::Artifact;
use crate::compute::Precision;
use crate::data::Encoded;
use crate::model::{EncoderConfig, Parameters, Sampling, TrunkRows, specifications};
use crate::store::sha256;

/// What the encoder made of some texts, by a hash over all that it follows from.
type Kept = (String, Arc<TrunkRows>);

/// Kept for as long as one of its copies lives.
#[derive(Clone, Debug, Default)]
pub struct SharedTrunk(Arc<Mutex<Vec<Kept>>>);

/// The place of one model in it.
#[derive(Clone, Debug)]
pub(super) struct Share {
    all: SharedTrunk,
    /// A hash over the encoder.
    encoder: String,
}

/// A hash over all that the encoder's part of an answer follows from, beside the tokens.
pub(super) fn encoder_hash(
    artifact: &Artifact,
    precision: Precision,
) -> candle_core::Result<String> {
    let Artifact { encoder, parameters, reference, .. } = artifact;
    // Without what the trunk does not look at.
    let read = EncoderConfig {
        labels: Vec::new(),
        unusable_head: None,
        source: serde_json::Map::new(),
        ..encoder.clone()
    };
    let mut text = format!("{precision} {read:?}\n");
    let both = parameters.iter().chain(reference.iter().flat_map(Parameters::iter));
    // A dense layer that the pooling does not use is another with every seed.
    let unused: BTreeSet<String> =
        specifications(encoder).into_iter().filter(|one| !one.used).map(|one| one.name).collect();
    let trunk = both.filter(|(name, _)| !is_last_layer(name) && !unused.contains(*name));
    for (name, tensor) in trunk {
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        let bytes: &[u8] = bytemuck::cast_slice(&values);
        text += &format!("{name} {:?} {}\n", tensor.dims(), sha256(bytes));
    }
    Ok(sha256(text.as_bytes()))
}

/// Whether a parameter stands behind the feature φ.
pub(super) fn is_last_layer(name: &str) -> bool {
    name.starts_with("classifier.")
}

impl Share {
    pub(super) fn new(
        all: SharedTrunk,
        artifact: &Artifact,
        precision: Precision,
    ) -> candle_core::Result<Self> {
        Ok(Self { all, encoder: encoder_hash(artifact, precision)? })
    }

    /// What the encoder makes of texts: found, or computed and kept.
    pub(super) fn rows<E>(
        &self,
        texts: &[Encoded],
        (inputs, sampling): (usize, Option<Sampling>),
        compute: impl FnOnce() -> Result<TrunkRows, E>,
    ) -> Result<Arc<TrunkRows>, E> {
        let mut key = format!("{} {inputs} {sampling:?}", self.encoder).into_bytes();
        for Encoded { ids, type_ids, .. } in texts {
            for list in [ids, type_ids] {
                key.extend((list.len() as u64).to_le_bytes());
                key.extend(bytemuck::cast_slice::<u32, u8>(list));
            }
        }
        let key = sha256(&key);
        let lock = || self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = lock().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(rows));
        }
        let rows = Arc::new(compute()?);
        lock().push((key, Arc::clone(&rows)));
        Ok(rows)
    }
}
