//! Writing a model folder.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::others::TOKENIZER_FILES;
use super::posterior_file::posterior_file;
use super::{Artifact, ArtifactError, HASHED, Manifest, SENTENCE_FILES};
use crate::calibrate::drift::DriftReference;
use crate::compute::Precision;
use crate::model::{self, EncoderConfig, Pooling};
use crate::numbers::counted;
use crate::store::{self, NewFolder, StoreError};

/// Writes the folder whole: it appears, or replaces the one that is there, only when every file is
/// on the disk.
pub fn save(artifact: &Artifact, folder: &Path) -> Result<Manifest, ArtifactError> {
    save_with_config(artifact, None, folder)
}

/// The same, with the [`CONFIG`] of the run that made the model, if that is known.
pub fn save_with_config(
    artifact: &Artifact,
    config: Option<String>,
    folder: &Path,
) -> Result<Manifest, ArtifactError> {
    let precision = artifact.manifest.precision;
    let weights = model::save_at(precision, &artifact.encoder, &artifact.parameters)?;
    save_with_weights(artifact, &weights, config, folder)
}

/// Refuses to replace a folder that holds anything but a model that [`save`] wrote. [`save`] asks too; who
/// has much to do before asks now.
pub fn check_target(folder: &Path) -> Result<(), ArtifactError> {
    let failed = |source| ArtifactError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let is_ours = folder.join("bayes/manifest.json").is_file();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let part = |file: &str| file.split('/').next() == Some(&name);
        let known =
            HASHED.iter().chain(&TOKENIZER_FILES).chain(&SENTENCE_FILES).any(|file| part(file));
        if !(is_ours && (known || name == "README.md")) {
            return Err(ArtifactError::Occupied { folder: folder.to_owned(), name });
        }
    }
    Ok(())
}

/// The resolved config of the run that made a model.
pub const CONFIG: &str = "bayes/config.toml";
/// What the report on the test part says, and what is known of the data.
pub const EVALUATION: &str = "bayes/evaluation.json";

/// What was predicted for the calibration rows, for a server to compare its traffic with.
pub const DRIFT: &str = "bayes/drift.json";

/// What is known of how a model was made. No prediction depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// [`CONFIG`].
    pub config: &'a str,
    /// [`EVALUATION`].
    pub evaluation: &'a Value,
}

/// The [`CONFIG`] in a model folder, where its manifest vouches for it.
pub fn recorded_config(folder: &Path, manifest: &Manifest) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(CONFIG)).ok()?;
    let hash = manifest.records.get(CONFIG)?;
    (*hash == store::sha256(text.as_bytes())).then_some(text)
}

/// Puts records beside a model that [`save`] wrote, and what its manifest has got since. The folder is
/// replaced whole; what predictions depend on stays, and is not written again.
pub fn add_records(
    artifact: &Artifact,
    saved: Manifest,
    records: Records<'_>,
    folder: &Path,
) -> Result<(), ArtifactError> {
    let new = NewFolder::create(folder)?;
    let evaluation = pretty(records.evaluation);
    let known = [(CONFIG, Some(records.config.into())), (EVALUATION, Some(evaluation))];
    let records = write_records(artifact, known, &mut |name, bytes| new.write(name, bytes))?;
    for name in artifact.hashed_files() {
        new.link(&name, &folder.join(&name))?;
    }
    let manifest = Manifest { files: saved.files, records, ..artifact.manifest.clone() };
    write_rest(artifact, &manifest, &mut |name, bytes| new.write(name, bytes))?;
    replace(folder, new)
}

/// As [`save`], with these bytes as `model.safetensors`, and with the [`CONFIG`] of the run that made the model, if that
/// is known.
pub fn save_with_weights(
    artifact: &Artifact,
    weights: &[u8],
    config: Option<String>,
    folder: &Path,
) -> Result<Manifest, ArtifactError> {
    let new = NewFolder::create(folder)?;
    let manifest = write(artifact, weights, config, |name, bytes| new.write(name, bytes))?;
    replace(folder, new)?;
    Ok(manifest)
}

/// Puts a new folder in the place of one of ours: what somebody put there since the work began is not ours
/// to delete.
fn replace(folder: &Path, new: NewFolder) -> Result<(), ArtifactError> {
    check_target(folder)?;
    Ok(new.publish()?)
}

/// The files of the folder, one after another, for a folder that holds more than a model; the
/// manifest comes last.
pub fn write(
    artifact: &Artifact,
    weights: &[u8],
    config: Option<String>,
    mut file: impl FnMut(&str, &[u8]) -> Result<(), StoreError>,
) -> Result<Manifest, ArtifactError> {
    let mut manifest = artifact.manifest.clone();
    (manifest.files, manifest.records) = Default::default();
    let encoder = pretty(&described(artifact, &manifest).to_json(manifest.precision));
    let tokenizer = artifact.tokenizer.to_json()?;
    let posterior = posterior_file(
        &artifact.posterior,
        manifest.fit.evidence.map(|evidence| evidence.prior_precision),
    );
    let calibration = artifact.calibration.to_bytes();
    let hashed: [&[u8]; 5] = [&encoder, weights, tokenizer.as_bytes(), &posterior, &calibration];
    for (name, bytes) in HASHED.iter().zip(hashed) {
        file(name, bytes)?;
        manifest.files.insert((*name).to_owned(), store::sha256(bytes));
    }
    let fitted = artifact.fitted_files().map(Ok);
    for other in artifact.member_files().chain(fitted) {
        let (name, bytes) = other?;
        file(&name, &bytes)?;
        manifest.files.insert(name, store::sha256(&bytes));
    }
    let known = [(CONFIG, config.map(String::into_bytes))];
    manifest.records = write_records(artifact, known, &mut file)?;
    write_rest(artifact, &manifest, &mut file)?;
    Ok(manifest)
}

/// Writes a file of the folder under its name.
type WriteFile<'a> = dyn FnMut(&str, &[u8]) -> Result<(), StoreError> + 'a;

/// What is known of how the model was made, and what it said of its calibration rows, with their hashes.
fn write_records<const N: usize>(
    artifact: &Artifact,
    known: [(&str, Option<Vec<u8>>); N],
    file: &mut WriteFile<'_>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let drift = artifact.drift.as_ref().map(DriftReference::to_bytes);
    let mut records = BTreeMap::new();
    for (name, bytes) in known.into_iter().chain([(DRIFT, drift)]) {
        let Some(bytes) = bytes else { continue };
        file(name, &bytes)?;
        records.insert(name.to_owned(), store::sha256(&bytes));
    }
    Ok(records)
}

/// The files that no prediction depends on.
fn write_rest(
    artifact: &Artifact,
    manifest: &Manifest,
    file: &mut WriteFile<'_>,
) -> Result<(), ArtifactError> {
    for (name, bytes) in artifact.for_other_tools()? {
        file(name, &bytes)?;
    }
    file("README.md", readme(artifact, manifest).as_bytes())?;
    file("bayes/manifest.json", &manifest.to_file())?;
    Ok(())
}

/// What other tools make of a folder whose weights have eight bits.
pub const INTEGERS: &str = "The weights are stored as integers of eight bits, with a step for each output, which \
     transformers and sentence-transformers do not read and refuse (`quantization_config` in `config.json`): only \
     `bayes` loads this folder";

/// The encoder, with the task of the manifest and the names that it has for its classes.
fn described(artifact: &Artifact, manifest: &Manifest) -> EncoderConfig {
    let Manifest { task, labels, zero_shot, .. } = manifest;
    if zero_shot.is_some() {
        return artifact.encoder.clone();
    }
    EncoderConfig { task: *task, labels: labels.clone(), ..artifact.encoder.clone() }
}

pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data is JSON");
    text.push(b'\n');
    text
}

fn readme(artifact: &Artifact, manifest: &Manifest) -> String {
    let encoder = described(artifact, manifest);
    let labels = manifest.labels.join("`, `");
    let labels = if manifest.labels.len() > 12 {
        format!("{} classes", manifest.labels.len())
    } else {
        format!("`{labels}`")
    };
    let made = manifest.made_on();
    let before = manifest.made_from(str::to_owned);
    let before = before.map_or(String::new(), |before| format!("{before}\n"));
    let anew = manifest.recalibrated.as_ref().map_or(String::new(), |one| {
        let rows = counted(one.rows, "row");
        format!("It was calibrated anew by {rows} of `{}`.\n", one.data.dataset)
    });
    let dataset = manifest.data.as_ref().map_or("unknown data", |data| data.dataset.as_str());
    let figures = manifest.test.as_ref().map_or(String::new(), |test| {
        let at = manifest.tested_at().map_or(String::new(), |own| format!(", measured in {own}"));
        format!(
            "On {} test rows{at}: accuracy {:.4}, NLL {:.4}, ECE {:.4} (noise floor {:.4}).\n",
            test.rows, test.accuracy.value, test.nll.value, test.ece.value, test.ece.floor
        )
    });
    let loaded = match encoder.pooling {
        _ if manifest.precision == Precision::Int8 => INTEGERS,
        Pooling::Auto => {
            "You can load this folder with transformers' `AutoModelForSequenceClassification`"
        }
        Pooling::Mean | Pooling::Normalised | Pooling::Cls => {
            "In sentence-transformers, `SentenceTransformer(folder).encode(texts)` returns this \
             model's logits. transformers does not implement this model's head: \
             `AutoModelForSequenceClassification` would load the folder but return different \
             predictions"
        }
    };
    let held = match artifact.networks() {
        Some(count) => format!(
            "This is an ensemble of {count} networks, whose probabilities `bayes` averages. Other \
             tools see only the first one, whose predictions are less accurate; the others are in \
             `bayes/members`. Their temperature is in `bayes/posterior.safetensors` (tensor \
             `temperature`) and was fitted to the average."
        ),
        None if artifact.posterior.fourier.is_some() => {
            "The last layer holds a stand-in: a linear layer fitted to the same rows. `bayes` predicts \
             with a different layer, over random Fourier features, which only it has; that layer, its \
             temperature and its covariance are in `bayes/posterior.safetensors`."
                .to_owned()
        }
        None if artifact.posterior.wide.is_some() => format!(
            "The last layer holds a stand-in that reads this model's feature alone. `bayes` predicts with a \
             different layer, which reads the means of hidden states {} as well; that layer, its temperature \
             and its covariance are in `bayes/posterior.safetensors`.",
            artifact.posterior.states().words()
        ),
        None if manifest.zero_shot.is_some() => {
            "The weights are those of a classifier of natural language inference, and its classes stand in \
             `config.json`. `bayes` reads a text as a premise and each label as a hypothesis; the template is \
             in `bayes/manifest.json`, and the temperature of the logits of entailment is in \
             `bayes/posterior.safetensors`."
                .to_owned()
        }
        None => {
            let (vector, they) = match artifact.posterior.scaling.vector.is_some() {
                true => (
                    "Multiply the logits by the factor of each class and add its offset (tensors \
                     `vector.weight` and `vector.bias`), then divide them by",
                    "none of them is",
                ),
                false => ("Divide the logits by", "it is not"),
            };
            let scaled = match manifest.fit.point_temperature {
                Some(alone) => format!(
                    "{vector} {alone:.6}, the temperature that was fitted to the logits by themselves; that in \
                     `bayes/posterior.safetensors` (tensor `temperature`) belongs with the variance of the logits, \
                     which other tools do not have; {they} folded into the weights."
                ),
                None if artifact.posterior.is_scaled() => format!(
                    "{vector} the temperature in `bayes/posterior.safetensors` (tensor `temperature`); {they} folded \
                     into the weights."
                ),
                None => "Its logits are used as they are, without a temperature.".to_owned(),
            };
            let (holds, covariance) = match artifact.posterior.has_covariance() {
                true => (&*manifest.transformers, " The covariance is in `bayes/posterior.safetensors` too."),
                false => ("trained weights", ""),
            };
            format!("The last layer holds the {holds}. {scaled}{covariance}")
        }
    };
    let weights = match &manifest.weights {
        Some(origin) => format!(" The weights began as {origin}; here they are safetensors."),
        None => String::new(),
    };
    format!(
        "# {}\n\nA text classifier ({labels}) {made} `{dataset}` with `bayes` {}.\n{before}{anew}{figures}\n\
         {loaded}. {held}{weights}\n",
        manifest.name, manifest.bayes
    )
}
