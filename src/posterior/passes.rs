//! Several passes for a text.

use super::DRAWS_SEED;
use crate::compute::Noise;
use crate::model::{DropoutPasses, Sampling};
use crate::store::{TensorFile, Tensors};

/// The most passes for one text.
pub const MOST_SAMPLES: usize = 200;

/// The most networks of an ensemble.
pub const MOST_MEMBERS: usize = 32;

/// No encoder has more layers.
pub(super) const MOST_LAYERS: usize = 1000;

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
    /// Of samples of the top layers, on what the layers below make of the text.
    TopLayers {
        samples: usize,
        /// How many layers; 0 = all.
        layers: usize,
    },
}

impl Passes {
    /// Points that a text gets.
    pub fn count(self) -> usize {
        match self {
            Self::Dropout { samples: count, .. }
            | Self::Members(count)
            | Self::TopLayers { samples: count, .. } => count,
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

    /// The passes under a seed: the same seed and text, the same passes. Networks and samples of weights have no
    /// need of one.
    pub fn sampling(self, seed: u64) -> Sampling {
        match self {
            Self::Dropout { samples, layers } => {
                Sampling::Dropout(DropoutPasses { samples, layers, noise: Noise::new(seed) })
            }
            Self::Members(_) => Sampling::Members,
            Self::TopLayers { .. } => Sampling::TopLayers,
        }
    }

    /// Those of a prediction for which nobody gives a seed, and of calibration.
    pub fn usual(self) -> Sampling {
        self.sampling(DRAWS_SEED)
    }

    /// Those of weights are put by [`TopLayers`](super::TopLayers).
    pub(super) fn put(self, tensors: &mut Tensors) {
        match self {
            Self::Dropout { samples, layers } => {
                tensors.put_f64("passes.samples", &[samples as f64]);
                tensors.put_f64("passes.layers", &[layers as f64]);
            }
            Self::Members(count) => tensors.put_f64("members", &[count as f64]),
            Self::TopLayers { .. } => {}
        }
    }

    pub(super) fn read(file: &TensorFile<'_>) -> Result<Option<Self>, String> {
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
