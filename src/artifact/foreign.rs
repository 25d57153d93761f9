//! A folder that another tool wrote: what is known of it without a manifest of ours.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ArtifactError, HASHED, Manifest, Preprocessing, SCHEMA, SENTENCE_FILES, files};
use crate::compute::Precision;
use crate::data::{FolderTokenizer, TextTokenizer, Truncation};
use crate::method::{FitRecord, Method};
use crate::model::{EncoderConfig, adapter_base, tokenizer_folder};
use crate::store;

/// Files that change a prediction of a model of another tool, besides [`HASHED`] and those of the tokenizer.
const FURTHER_FILES: [&str; 3] = ["adapter_config.json", SENTENCE_FILES[0], SENTENCE_FILES[2]];

/// The manifest that such a folder would have, but for the hashes of the weights, and its tokenizer. Texts
/// are given to it as they are: nobody says that it was trained on clean ones.
pub(super) fn foreign(
    folder: &Path,
    encoder: &EncoderConfig,
) -> Result<(Manifest, TextTokenizer), ArtifactError> {
    let place = tokenizer_folder(folder)?;
    let FolderTokenizer { tokenizer, max_length, keeps_the_end } = FolderTokenizer::read(&place)?;
    let base = adapter_base(folder)?;
    // It has files of the same names.
    let base = base.iter().map(|base| (base.as_path(), "base/"));
    let places = [(folder, "")].into_iter().chain(base);
    let mut hashes = BTreeMap::new();
    for (place, label) in places {
        let tokenizer = FolderTokenizer::files(place);
        for name in HASHED.into_iter().chain(FURTHER_FILES).chain(tokenizer) {
            if name != "model.safetensors"
                && let Some(file) = files::read(place, name)?
            {
                hashes.insert(format!("{label}{name}"), store::sha256(&file.bytes));
            }
        }
    }
    let positions = encoder.longest_sequence();
    let manifest = Manifest {
        schema: SCHEMA,
        bayes: env!("CARGO_PKG_VERSION").to_owned(),
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        fit: FitRecord::new(Method::Map),
        calibration: None,
        transformers: "point estimate".to_owned(),
        task: encoder.task,
        labels: encoder.labels.clone(),
        zero_shot: None,
        precision: Precision::F32,
        certificates: BTreeMap::new(),
        recalibrated: None,
        preprocessing: Preprocessing {
            max_length: max_length.unwrap_or(positions).min(positions),
            truncation: if keeps_the_end { Truncation::Tail } else { Truncation::Head },
            clean: false,
        },
        data: None,
        data_labels: None,
        fitted: None,
        absent: Vec::new(),
        base_model: None,
        weights: None,
        seed: 0,
        parts: BTreeMap::new(),
        lineage: Vec::new(),
        lineage_known: true,
        encoder_trained: true,
        seen_in_test: 0,
        test: None,
        files: hashes,
        records: BTreeMap::new(),
        sha256: None,
        edited: false,
    };
    Ok((manifest, tokenizer))
}

/// A folder of ours that lost its manifest would be answered without its posterior, its temperature and
/// its calibration.
pub(super) fn keep_nothing_back(folder: &Path) -> Result<(), ArtifactError> {
    let ours = folder.join("bayes");
    let Ok(mut entries) = std::fs::read_dir(&ours) else {
        if wrote_config(folder) {
            tracing::warn!(
                "`{}` was written by `bayes`, but its `bayes` folder is missing: its posterior, \
                 temperature and calibration are not used",
                folder.display()
            );
        }
        return Ok(());
    };
    if entries.next().is_none() {
        return Ok(());
    }
    Err(ArtifactError::NoManifest { path: ours.join("manifest.json"), ours })
}

/// Whether `config.json` has the block that only we write.
fn wrote_config(folder: &Path) -> bool {
    let file = files::read(folder, "config.json").ok().flatten();
    let value = file.and_then(|file| serde_json::from_slice::<serde_json::Value>(&file.bytes).ok());
    value.is_some_and(|value| value["bayes"].is_object())
}
