//! Reading a model folder: one of ours, checked file by file, or any classifier in the layout of
//! transformers.

use serde_json::Value;

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, File};
use super::foreign::{foreign, keep_nothing_back};
use super::manifest::is_as_saved;
use super::members::{is_hashed, read_members, read_reference};
use super::modules;
use super::others::tell_differences;
use super::posterior_file::read_posterior;
use super::precisions::read_fitted;
use super::tokenizer_files::vocabulary_mismatch;
use super::unread::tell_unread;
use super::zero_shot::{self, last_layer_view};
use super::{Artifact, ArtifactError, DRIFT, Manifest, SCHEMA, SpecialTokens};
use crate::calibrate::Calibration;
use crate::calibrate::drift::DriftReference;
use crate::compute::{Backend, Noise};
use crate::data::TextTokenizer;
use crate::model::{self, EncoderConfig, ModelError, check_labels};
use crate::posterior::Posterior;
use crate::store;
use crate::task::Task;

/// A model without these is none, so their hashes must stand in a manifest.
const NEEDED: [&str; 4] =
    ["config.json", "model.safetensors", "tokenizer.json", "bayes/posterior.safetensors"];
/// The most characters of a name that is shown wherever the model is.
const LONGEST_NAME: usize = 1000;

/// Loads a folder onto a device. A file whose hash is not that of the manifest is refused. What is hashed
/// is what is used: each file is read once.
pub fn load(folder: &Path, device: &Backend) -> Result<Artifact, ArtifactError> {
    if !folder.is_dir() {
        return Err(ArtifactError::NoFolder(folder.to_owned()));
    }
    files::check(folder)?;
    match read_manifest(folder)? {
        Some(manifest) => own(folder, manifest, device),
        None => {
            keep_nothing_back(folder)?;
            of_transformers(folder, device)
        }
    }
}

/// The manifest of a folder, where it is one of ours.
pub fn manifest_of(folder: &Path) -> Result<Option<Manifest>, ArtifactError> {
    files::check(folder)?;
    read_manifest(folder)
}

/// A folder of ours.
fn own(folder: &Path, manifest: Manifest, device: &Backend) -> Result<Artifact, ArtifactError> {
    let damaged = |message: String| ArtifactError::Nonsense {
        path: folder.join("bayes").join("manifest.json"),
        message,
    };
    check_labels(&manifest.labels).map_err(damaged)?;
    let read = |name: &str| verified(folder, name, &manifest);
    let config = read("config.json")?;
    let mut encoder = EncoderConfig::from_bytes(&config.path, &config.bytes)?;
    zero_shot::check(&manifest, &encoder).map_err(damaged)?;
    let named = manifest.zero_shot.is_some();
    if !named && !encoder.labels.is_empty() && encoder.labels != manifest.labels {
        return Err(damaged(
            "its `labels` differ from those of `id2label` in `config.json`, or are in a different \
             order"
                .to_owned(),
        ));
    }
    encoder.task = manifest.task;
    if !named {
        encoder.labels.clone_from(&manifest.labels);
    }
    let posterior = read("bayes/posterior.safetensors")?;
    let calibration = "bayes/calibration.safetensors";
    // A folder that was written before there was calibration lists none.
    let calibration =
        manifest.files.contains_key(calibration).then(|| read(calibration)).transpose()?;
    let tokenizer = read("tokenizer.json")?;
    // The manifest vouches for this file and no other form.
    let path = folder.join("model.safetensors");
    if !path.exists() {
        return Err(ArtifactError::NotThere(path));
    }
    let loaded = match model::load_file(&path, &encoder, &Noise::new(0), device) {
        Ok(loaded) if loaded.is_of(&manifest.files["model.safetensors"]) => loaded,
        other => {
            // That it is another file says more than what is wrong with that one.
            match other {
                Err(
                    error @ (ModelError::Corrupt { .. }
                    | ModelError::TooLarge { .. }
                    | ModelError::Memory { .. }),
                ) => return Err(error.into()),
                Err(error) if store::sha256_file(&path)? == manifest.files["model.safetensors"] => {
                    return Err(error.into());
                }
                _ => return Err(ArtifactError::Changed { path }),
            }
        }
    };
    check_head(folder, &encoder, &loaded)?;
    let (task, link) = (manifest.task, manifest.fit.link);
    let path = posterior.path.clone();
    let (read_by, last) =
        last_layer_view(&manifest, &encoder, &loaded.parameters).map_err(ModelError::from)?;
    let posterior = read_posterior(&posterior, &last, task, link)?;
    let fits = posterior.states().check(encoder.num_hidden_layers);
    fits.map_err(|message| ArtifactError::Posterior {
        path,
        message: format!("`wide.states`: {message}"),
    })?;
    let calibration = match calibration {
        Some(file) => Calibration::from_bytes(&file.bytes, &read_by)
            .map_err(|message| ArtifactError::Posterior { path: file.path, message })?,
        None => Calibration::default(),
    };
    let fitted_at = read_fitted(folder, &manifest, (&last, &read_by), &read)?;
    let tokenizer = TextTokenizer::from_bytes(&tokenizer.path, tokenizer.bytes)?;
    let artifact = Artifact {
        members: read_members(folder, &manifest, &posterior, &encoder, device)?,
        reference: read_reference(folder, &manifest, &calibration, &encoder, device)?,
        posterior,
        calibration,
        fitted_at,
        drift: read_drift(folder, &manifest)?,
        special_tokens: SpecialTokens::of(Some(folder), encoder.architecture, &tokenizer),
        tokenizer,
        parameters: loaded.parameters,
        encoder,
        manifest,
    };
    let artifact = checked(folder, artifact.beside_hypotheses()?)?;
    tell_differences(folder, &artifact)?;
    Ok(artifact)
}

/// What was predicted for the calibration rows, where the manifest vouches for it. No prediction depends on it: a
/// folder may have lost it on its way.
fn read_drift(folder: &Path, manifest: &Manifest) -> Result<Option<DriftReference>, ArtifactError> {
    let Some(hash) = manifest.records.get(DRIFT) else { return Ok(None) };
    let Some(File { path, bytes }) = files::read(folder, DRIFT)? else { return Ok(None) };
    if *hash != store::sha256(&bytes) {
        return Err(ArtifactError::Changed { path });
    }
    let reference = DriftReference::from_bytes(&bytes);
    reference.map(Some).map_err(|message| ArtifactError::Nonsense { path, message })
}

/// A folder that another tool wrote.
fn of_transformers(folder: &Path, device: &Backend) -> Result<Artifact, ArtifactError> {
    if let Some(base) = model::adapter_base(folder)? {
        files::check(&base)?;
    }
    let mut encoder = EncoderConfig::read(folder)?;
    if let Some(message) = &encoder.unusable_head {
        let path = folder.join("config.json");
        return Err(ModelError::Config { path, message: message.clone() }.into());
    }
    if encoder.labels.is_empty() {
        // transformers writes no labels when there are two without names.
        encoder.labels = vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()];
    }
    let followed = modules::follow(folder, &mut encoder);
    let (mut manifest, tokenizer) = foreign(folder, &encoder)?;
    let loaded = model::load(folder, &encoder, &Noise::new(0), device)?;
    let dense = match followed {
        // How it is pooled is of no concern yet.
        Err(_) if lacks_last_layer(&encoder, &loaded) => None,
        followed => followed?,
    };
    check_head(folder, &encoder, &loaded)?;
    if let Some(dense) = dense {
        dense.check(&encoder, &loaded.parameters)?;
    }
    tell_unread(folder, &encoder, &loaded.unused)?;
    manifest.files.extend(loaded.sha256);
    manifest.weights = loaded.origin;
    let artifact = Artifact {
        posterior: Posterior::point(encoder.task, &loaded.parameters),
        calibration: Calibration::default(),
        fitted_at: BTreeMap::new(),
        drift: None,
        special_tokens: SpecialTokens::of(
            Some(&model::tokenizer_folder(folder)?),
            encoder.architecture,
            &tokenizer,
        ),
        parameters: loaded.parameters,
        members: Vec::new(),
        reference: None,
        encoder,
        tokenizer,
        manifest,
    };
    checked(folder, artifact)
}

fn check_head(
    folder: &Path,
    encoder: &EncoderConfig,
    loaded: &model::Loaded,
) -> Result<(), ArtifactError> {
    let folder = folder.to_owned();
    let unused = model::specifications(encoder).into_iter().filter(|one| !one.used);
    let unused: Vec<String> = unused.flat_map(|one| one.parts).map(|part| part.name).collect();
    let missing = loaded.missing.iter().find(|name| !unused.contains(name));
    match (loaded.other_head, missing) {
        (Some(found), _) => {
            let stated =
                ["id2label", "num_labels"].iter().any(|key| encoder.source.contains_key(*key));
            let labels = if stated { encoder.labels.len() } else { 0 };
            Err(ArtifactError::OtherHead { folder, found, labels })
        }
        (None, Some(missing)) if lacks_last_layer(encoder, loaded) => {
            Err(ArtifactError::NoHead { folder, missing: missing.clone() })
        }
        (None, Some(missing)) => {
            let architecture = format!("{}ForSequenceClassification", encoder.architecture.class);
            Err(ArtifactError::HalfHead { folder, architecture, missing: missing.clone() })
        }
        (None, None) => Ok(()),
    }
}

/// Whether the file has no weights of a last layer: it is an encoder alone.
fn lacks_last_layer(encoder: &EncoderConfig, loaded: &model::Loaded) -> bool {
    let all = model::specifications(encoder);
    let mut parts =
        all.iter().filter(|one| one.name == "classifier.weight").flat_map(|one| &one.parts);
    parts.any(|part| loaded.missing.contains(&part.name))
}

/// Numbers of one file against those of another, before any of them is used.
fn checked(folder: &Path, artifact: Artifact) -> Result<Artifact, ArtifactError> {
    let Artifact { encoder, tokenizer, manifest, .. } = &artifact;
    if let Some((tokens, embeddings)) = vocabulary_mismatch(tokenizer, encoder) {
        return Err(ArtifactError::Vocabulary { folder: folder.to_owned(), tokens, embeddings });
    }
    let segments = tokenizer.segments();
    if let Some(rows) = encoder.segments().filter(|&rows| segments > rows) {
        return Err(ArtifactError::Segments { folder: folder.to_owned(), segments, rows });
    }
    let max_length = manifest.preprocessing.max_length;
    let positions = encoder.longest_sequence();
    if max_length > positions {
        return Err(ArtifactError::TooLong { folder: folder.to_owned(), max_length, positions });
    }
    tokenizer.check_room(max_length)?;
    Ok(artifact)
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, ArtifactError> {
    let Some(File { path, bytes }) = files::read(folder, "bayes/manifest.json")? else {
        return Ok(None);
    };
    let damaged = |source| ArtifactError::Manifest { path: path.clone(), source };
    let value: Value = serde_json::from_slice(store::without_mark(&bytes)).map_err(damaged)?;
    if let Some(found) = value["schema"].as_u64().filter(|&found| found > u64::from(SCHEMA)) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(ArtifactError::Schema { path, found });
    }
    if let Some(message) = value.get("task").and_then(unknown_task) {
        return Err(ArtifactError::Nonsense { path, message });
    }
    let edited = !is_as_saved(&value);
    if edited {
        tracing::warn!(
            "`{}` has changed since this model was saved: texts are read by its current `labels`, \
             `preprocessing` and `link`; what it says of the training (`data`, `calibration` and figures) \
             changes no prediction and cannot be verified",
            path.display()
        );
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(damaged)?;
    let manifest = Manifest { edited, ..manifest };
    // A name from a file is no path to follow.
    if let Some(name) = manifest.files.keys().find(|name| !is_hashed(name)) {
        let name = name.chars().take(100).collect();
        return Err(ArtifactError::ForeignFile { path, name });
    }
    let nonsense = |message: String| ArtifactError::Nonsense { path: path.clone(), message };
    if let Some(name) = NEEDED.into_iter().find(|&name| !manifest.files.contains_key(name)) {
        return Err(nonsense(format!("it has no sha256 of `{name}`")));
    }
    if manifest.name.chars().count() > LONGEST_NAME {
        return Err(nonsense(format!("`name` has more than {LONGEST_NAME} characters")));
    }
    Ok(Some(manifest))
}

/// Why a task of the manifest cannot be followed, if it cannot.
fn unknown_task(found: &Value) -> Option<String> {
    if found.as_str().is_some_and(|name| Task::named(name).is_some()) {
        return None;
    }
    let shown = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    let shown: String = shown.chars().take(60).collect();
    let known = Task::ALL.map(|task| format!("`{}`", task.name())).join(" and ");
    Some(format!("its `task` is `{shown}`; this version of bayes knows only {known}"))
}

/// A file of the folder, as it was saved.
fn verified(folder: &Path, name: &str, manifest: &Manifest) -> Result<File, ArtifactError> {
    let path = folder.join(name);
    let file = files::read(folder, name)?.ok_or_else(|| ArtifactError::NotThere(path.clone()))?;
    if manifest.files.get(name).is_some_and(|hash| *hash != store::sha256(&file.bytes)) {
        return Err(ArtifactError::Changed { path });
    }
    Ok(file)
}
