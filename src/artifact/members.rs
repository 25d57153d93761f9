//! The networks of an ensemble besides the first, which is `model.safetensors`: `bayes/members/<i>.safetensors`
//! in the layout of that file, i from 1 on.

use std::path::Path;

use candle_core::Device;

use super::{Artifact, ArtifactError, HASHED, Manifest};
use crate::compute::Noise;
use crate::model::{self, EncoderConfig, Parameters};
use crate::numbers::counted;
use crate::posterior::{MOST_MEMBERS, Passes, Posterior};

/// The file of a network after the first.
fn member_file(number: usize) -> String {
    format!("bayes/members/{number}.safetensors")
}

/// Every file of this kind that a folder can have.
pub(super) fn possible() -> impl Iterator<Item = String> {
    (1..MOST_MEMBERS).map(member_file)
}

/// Whether a manifest may list this file.
pub(super) fn is_hashed(name: &str) -> bool {
    HASHED.contains(&name) || possible().any(|one| one == name)
}

impl Artifact {
    /// The model with more networks, whose predictions are averaged with its own.
    pub fn with_members(self, members: &[Parameters]) -> Self {
        // What transformers computes is the first network alone.
        let manifest = Manifest { transformers: STAND_IN.to_owned(), ..self.manifest };
        Self { members: members.to_vec(), manifest, ..self }
    }

    /// The files that change a prediction.
    pub fn hashed_files(&self) -> Vec<String> {
        let own = HASHED.into_iter().map(str::to_owned);
        own.chain((1..=self.members.len()).map(member_file)).collect()
    }

    /// The files of its networks after the first, and their content.
    ///
    /// # Errors
    /// The weights cannot be read from the device.
    pub(super) fn member_files(
        &self,
    ) -> impl Iterator<Item = Result<(String, Vec<u8>), ArtifactError>> {
        (1..).zip(&self.members).map(|(number, parameters)| {
            Ok((member_file(number), model::save(&self.encoder, parameters)?))
        })
    }

    /// How many networks it has, where that is more than one, for the words about it.
    pub fn networks(&self) -> Option<usize> {
        (!self.members.is_empty()).then_some(1 + self.members.len())
    }
}

/// What the manifest says of a last layer that is not the mean of the posterior.
const STAND_IN: &str = "stand-in";

/// Reads the networks after the first: as many as the posterior has, each with the hash of the manifest and
/// all tensors of the first.
pub(super) fn read_members(
    folder: &Path,
    manifest: &Manifest,
    posterior: &Posterior,
    encoder: &EncoderConfig,
    device: &Device,
) -> Result<Vec<Parameters>, ArtifactError> {
    let count = match posterior.passes() {
        Some(Passes::Members(count)) => count,
        Some(Passes::Dropout { .. } | Passes::TopLayers { .. }) | None => 1,
    };
    let nonsense = |message| ArtifactError::Nonsense {
        path: folder.join("bayes").join("manifest.json"),
        message,
    };
    let surplus = (count..MOST_MEMBERS).map(member_file);
    if let Some(name) = surplus.into_iter().find(|name| manifest.files.contains_key(name)) {
        return Err(nonsense(format!(
            "it lists `{name}`, but `bayes/posterior.safetensors` is for {}",
            counted(count, "network")
        )));
    }
    let member = |number| {
        let name = member_file(number);
        let Some(hash) = manifest.files.get(&name) else {
            return Err(nonsense(format!("it has no sha256 of `{name}`")));
        };
        let path = folder.join(&name);
        if !path.is_file() {
            return Err(ArtifactError::NotThere(path));
        }
        let loaded = model::load_file(&path, encoder, &Noise::new(0), device)?;
        if loaded.sha256 != *hash {
            return Err(ArtifactError::Changed { path });
        }
        match (loaded.other_head, loaded.missing.first()) {
            (None, None) => Ok(loaded.parameters),
            (Some(outputs), _) => Err(ArtifactError::Posterior {
                path,
                message: format!(
                    "its last layer has {outputs} outputs, but that of `model.safetensors` has {}",
                    encoder.labels.len()
                ),
            }),
            (None, Some(name)) => Err(ArtifactError::Posterior {
                path,
                message: format!("it has no tensor `{name}`, which `model.safetensors` has"),
            }),
        }
    };
    (1..count).map(member).collect()
}
