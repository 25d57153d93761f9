//! Networks besides the first, which is `model.safetensors`, in the layout of that file: the others of an ensemble,
//! `bayes/members/<i>.safetensors`, i from 1 on, and the encoder before it was fine-tuned, where novelty reads
//! it, `bayes/reference.safetensors`.

use std::path::Path;

use super::{Artifact, ArtifactError, HASHED, Manifest, precisions};
use crate::calibrate::Calibration;
use crate::calibrate::novelty::Novelty;
use crate::compute::{Backend, Noise};
use crate::model::{self, EncoderConfig, Parameters};
use crate::numbers::counted;
use crate::posterior::{MOST_MEMBERS, Passes, Posterior};

/// The file of the encoder before it was fine-tuned.
pub const REFERENCE: &str = "bayes/reference.safetensors";

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
    let mut others = possible().chain(precisions::possible());
    HASHED.contains(&name) || name == REFERENCE || others.any(|one| one == name)
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
        let reference = self.reference.iter().map(|_| REFERENCE.to_owned());
        let members = (1..=self.members.len()).map(member_file);
        own.chain(members).chain(reference).chain(self.fitted_names()).collect()
    }

    /// The files of its networks besides the first, and their content.
    ///
    /// # Errors
    /// The weights cannot be read from the device.
    pub(super) fn member_files(
        &self,
    ) -> impl Iterator<Item = Result<(String, Vec<u8>), ArtifactError>> {
        let members = (1..).zip(&self.members);
        let members = members.map(|(number, parameters)| (member_file(number), parameters));
        let reference = self.reference.iter().map(|one| (REFERENCE.to_owned(), one));
        members.chain(reference).map(|(name, parameters)| {
            Ok((name, model::save_at(self.manifest.precision, &self.encoder, parameters)?))
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
    device: &Backend,
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
    (1..count)
        .map(|number| read_network(folder, &member_file(number), manifest, encoder, device))
        .collect()
}

/// Reads the encoder before it was fine-tuned, which the folder has exactly where novelty reads it.
pub(super) fn read_reference(
    folder: &Path,
    manifest: &Manifest,
    calibration: &Calibration,
    encoder: &EncoderConfig,
    device: &Backend,
) -> Result<Option<Parameters>, ArtifactError> {
    let reads = calibration.novelty.as_ref().is_some_and(Novelty::reads_reference);
    match (reads, manifest.files.contains_key(REFERENCE)) {
        (true, _) => read_network(folder, REFERENCE, manifest, encoder, device).map(Some),
        (false, false) => Ok(None),
        (false, true) => Err(ArtifactError::Nonsense {
            path: folder.join("bayes").join("manifest.json"),
            message: format!(
                "it lists `{REFERENCE}`, but the novelty score in `bayes/calibration.safetensors` does not \
                 read it"
            ),
        }),
    }
}

/// A network with the hash of the manifest and all tensors of the first.
fn read_network(
    folder: &Path,
    name: &str,
    manifest: &Manifest,
    encoder: &EncoderConfig,
    device: &Backend,
) -> Result<Parameters, ArtifactError> {
    let nonsense = |message| ArtifactError::Nonsense {
        path: folder.join("bayes").join("manifest.json"),
        message,
    };
    let Some(hash) = manifest.files.get(name) else {
        return Err(nonsense(format!("it has no sha256 of `{name}`")));
    };
    let path = folder.join(name);
    if !path.is_file() {
        return Err(ArtifactError::NotThere(path));
    }
    let loaded = model::load_file(&path, encoder, &Noise::new(0), device)?;
    if !loaded.is_of(hash) {
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
}
