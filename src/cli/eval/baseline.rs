//! The linear classifier that models are set beside: fitted on the first one's training rows.

use anyhow::Result;

use super::Asked;
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::table::is_url;
use crate::data::{DataConfig, Dataset, Example, Parts, locate};
use crate::evaluate::{Answers, EvaluateError, Rival};

/// What is said where there is none.
pub(super) type WhyNot = String;

/// Fits the training rows that the manifest names and answers the rows of `answers`.
///
/// These are the rows of the part `train`, and not those that chose the weights or calibrated: what
/// both learn from is the same. They must be the same still.
pub(super) fn rival(
    asked: &Asked,
    manifest: &Manifest,
    answers: &Answers,
) -> Result<Result<Rival, WhyNot>> {
    let Some(config) = &manifest.data else {
        return Ok(Err("the model does not say what it was trained on".to_owned()));
    };
    let name = &config.dataset;
    let own = *name == asked.config.dataset;
    if own && asked.split == "train" {
        return Ok(Err("these are the rows that it would be fitted on".to_owned()));
    }
    let opened;
    let dataset = match own {
        true => &asked.dataset,
        false => match open(config) {
            Some(dataset) => {
                opened = dataset;
                &opened
            }
            None => return Ok(Err(format!("the training data `{name}` are not here any more"))),
        },
    };
    let changed = || format!("`{name}` has changed since the model was trained");
    let Ok(parts) = Parts::divide(dataset, config, &Noise::new(manifest.seed)) else {
        return Ok(Err(changed()));
    };
    let known = manifest.parts.get("train");
    if known.is_some_and(|known| known.sha256 != parts.train.hash(dataset)) {
        return Ok(Err(changed()));
    }
    let train: Vec<&Example> = parts.train.examples(dataset).collect();
    match Rival::new(dataset, &train, &asked.examples(), answers) {
        Ok(rival) => Ok(Ok(rival)),
        Err(error @ EvaluateError::Label { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Data that are on this machine: nothing is fetched for this.
fn open(config: &DataConfig) -> Option<Dataset> {
    locate(&config.dataset).ok().filter(|_| !is_url(&config.dataset))?;
    Dataset::open(config).ok()
}
