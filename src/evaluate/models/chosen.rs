//! Which data a model is asked about, and which rows of them.

use std::collections::BTreeSet;

use super::error::ModelsError;
use crate::artifact::Manifest;
use crate::data::{DataConfig, Dataset};
use crate::evaluate::own_parts;

/// The data set that was named, or the one that the model was trained on, if that is known; with all of
/// its rows, however many the training looked at: `limit` says how many are wanted now.
pub fn data_config(named: Option<&str>, manifest: &Manifest) -> Option<DataConfig> {
    let config = match (named, &manifest.data) {
        (Some(dataset), Some(data)) if *dataset == data.dataset => data.clone().unlimited(),
        (Some(dataset), Some(data)) => data.like(dataset),
        (Some(dataset), None) => {
            DataConfig { dataset: dataset.to_owned(), ..DataConfig::default() }
        }
        (None, data) => data.clone()?.unlimited(),
    };
    Some(DataConfig { model_labels: manifest.labels.clone(), ..config })
}

/// Whether these are the data that a model was trained on.
pub(super) fn is_of(config: &DataConfig, manifest: &Manifest) -> bool {
    manifest.data.as_ref().is_some_and(|data| data.dataset == config.dataset)
}

/// Rows of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The split of the data set that they are from.
    pub split: String,
    pub rows: Vec<usize>,
}

impl Chosen {
    /// On the data that the model was trained on the parts are those of the training; else a split of
    /// the data set, or all of it where there is only one.
    ///
    /// # Errors
    /// There is no such part or split, or the data cannot be divided.
    pub fn of(
        dataset: &Dataset,
        config: &DataConfig,
        split: &str,
        manifest: &Manifest,
    ) -> Result<Self, ModelsError> {
        let mut known: BTreeSet<String> = dataset.splits.keys().cloned().collect();
        if dataset.splits.len() == 1 {
            known.insert("test".to_owned());
        }
        if is_of(config, manifest) {
            let parts = own_parts(manifest, dataset, config)?;
            if let Some(part) = parts.get(split) {
                if part.rows.is_empty() {
                    return Err(ModelsError::CrossFitted { split: split.to_owned() });
                }
                return Ok(Self { split: part.split.clone(), rows: part.rows.clone() });
            }
            let filled = parts.named().into_iter().filter(|(_, part)| !part.rows.is_empty());
            known.extend(filled.map(|(name, _)| name.to_owned()));
        }
        let only = dataset.splits.len() == 1 && split == "test";
        let name =
            if only { dataset.splits.keys().next().map(String::as_str) } else { Some(split) };
        let Some(name) = name.filter(|name| dataset.splits.contains_key(*name)) else {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return Err(ModelsError::NoSplit {
                dataset: dataset.name.clone(),
                split: split.to_owned(),
                known: known.join(", "),
            });
        };
        Ok(Self { split: name.to_owned(), rows: (0..dataset.rows(name).len()).collect() })
    }
}
