//! Reading a model folder: one of ours, checked file by file, or any classifier in the layout of
//! transformers.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;

use super::posterior_file::read_posterior;
use super::tokenizer_files::vocabulary_mismatch;
use super::{
    Artifact, ArtifactError, HASHED, Manifest, Preprocessing, SCHEMA, SpecialTokens, files,
};
use crate::calibrate::Calibration;
use crate::compute::Noise;
use crate::data::{TextTokenizer, Truncation};
use crate::model::{self, EncoderConfig};
use crate::posterior::{LinkChoice, Method, Uncertainty};
use crate::store;

/// Loads a folder onto a device. A file whose hash is not that of the manifest is refused.
pub fn load(folder: &Path, device: &Device) -> Result<Artifact, ArtifactError> {
    if !folder.is_dir() {
        return Err(ArtifactError::NoFolder(folder.to_owned()));
    }
    files::check(folder)?;
    let manifest = read_manifest(folder)?;
    let mut encoder = EncoderConfig::read(folder)?;
    if encoder.labels.is_empty() {
        // transformers writes no labels when there are two without names.
        encoder.labels = vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()];
    }
    let (manifest, own) = match manifest {
        Some(manifest) => {
            encoder.labels.clone_from(&manifest.labels);
            (manifest, true)
        }
        None => (foreign(folder, &encoder)?, false),
    };
    let loaded = model::load(folder, &encoder, &Noise::new(0), device)?;
    if let Some(missing) = loaded.missing.into_iter().next() {
        return Err(ArtifactError::NoHead { folder: folder.to_owned(), missing });
    }
    let uncertainty = if own {
        let path = folder.join("bayes").join("posterior.safetensors");
        read_posterior(&path, loaded.parameters.get("classifier.weight"), manifest.link)?
    } else {
        Uncertainty::default()
    };
    let tokenizer = TextTokenizer::from_file(&folder.join("tokenizer.json"))?;
    if let Some((tokens, embeddings)) = vocabulary_mismatch(&tokenizer, &encoder) {
        return Err(ArtifactError::Vocabulary { folder: folder.to_owned(), tokens, embeddings });
    }
    Ok(Artifact {
        calibration: read_calibration(folder, &manifest, &encoder)?,
        special_tokens: SpecialTokens::of(Some(folder), encoder.architecture),
        parameters: loaded.parameters,
        encoder,
        tokenizer,
        uncertainty,
        manifest,
    })
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, ArtifactError> {
    let path = folder.join("bayes").join("manifest.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ArtifactError::Read { path, source }),
    };
    let damaged = |source| ArtifactError::Manifest { path: path.clone(), source };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    if let Some(found) = value["schema"].as_u64().filter(|&found| found > u64::from(SCHEMA)) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(ArtifactError::Schema { path, found });
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(damaged)?;
    for (name, expected) in &manifest.files {
        // A name from a file is no path to follow.
        if !HASHED.contains(&name.as_str()) {
            return Err(ArtifactError::ForeignFile { path, name: name.clone() });
        }
        let path = folder.join(name);
        if store::sha256_file(&path)? != *expected {
            return Err(ArtifactError::Changed { path });
        }
    }
    Ok(Some(manifest))
}

/// What the manifest lists; nothing for a folder that was written before there was calibration.
fn read_calibration(
    folder: &Path,
    manifest: &Manifest,
    encoder: &EncoderConfig,
) -> Result<Calibration, ArtifactError> {
    let name = "bayes/calibration.safetensors";
    if !manifest.files.contains_key(name) {
        return Ok(Calibration::default());
    }
    let path = folder.join(name);
    let bytes = std::fs::read(&path)
        .map_err(|source| ArtifactError::Read { path: path.clone(), source })?;
    Calibration::from_bytes(&bytes, encoder)
        .map_err(|message| ArtifactError::Posterior { path, message })
}

/// What is known of a folder that another tool wrote.
fn foreign(folder: &Path, encoder: &EncoderConfig) -> Result<Manifest, ArtifactError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let present = HASHED.into_iter().filter(|name| folder.join(name).is_file());
    let files = present.map(|name| Ok((name.to_owned(), store::sha256_file(&folder.join(name))?)));
    Ok(Manifest {
        schema: SCHEMA,
        bayes: env!("CARGO_PKG_VERSION").to_owned(),
        name,
        method: Method::Map,
        link: LinkChoice::default(),
        evidence: None,
        calibration: None,
        transformers: "point estimate".to_owned(),
        labels: encoder.labels.clone(),
        preprocessing: Preprocessing {
            max_length: encoder.longest_sequence().min(512),
            truncation: Truncation::Head,
        },
        data: None,
        base_model: None,
        seed: 0,
        parts: BTreeMap::new(),
        seen_in_test: 0,
        test: None,
        files: files.collect::<Result<_, store::StoreError>>()?,
    })
}
