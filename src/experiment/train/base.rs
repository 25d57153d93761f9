//! A model before its weights are trained.

use std::collections::BTreeMap;
use std::path::Path;

use super::origin::base_model;
use super::prepare::Prepared;
use crate::artifact::{
    Artifact, Manifest, PartRecord, Preprocessing, SCHEMA, SpecialTokens, UNLABELLED, manifest_of,
};
use crate::calibrate::Calibration;
use crate::compute::Precision;
use crate::data::{Part, TextTokenizer};
use crate::method::{FitRecord, Method};
use crate::model::{self, EncoderConfig, Parameters};
use crate::posterior::Posterior;

/// All of a model that is known before its weights are.
pub(super) struct Base {
    pub(super) encoder: EncoderConfig,
    pub(super) tokenizer: TextTokenizer,
    pub(super) special_tokens: SpecialTokens,
    pub(super) manifest: Manifest,
}

impl Base {
    pub(super) fn new(prepared: &Prepared) -> Self {
        let start = &prepared.start;
        Self {
            manifest: manifest(prepared),
            encoder: start.encoder.clone(),
            tokenizer: start.tokenizer.clone(),
            special_tokens: start.special_tokens.clone(),
        }
    }

    /// The model with these weights: a point estimate that nothing was fitted to.
    pub(super) fn with(&self, parameters: &Parameters) -> Artifact {
        Artifact {
            encoder: self.encoder.clone(),
            parameters: parameters.clone(),
            members: Vec::new(),
            reference: None,
            tokenizer: self.tokenizer.clone(),
            special_tokens: self.special_tokens.clone(),
            posterior: Posterior::point(self.encoder.task, parameters),
            calibration: Calibration::default(),
            fitted_at: BTreeMap::new(),
            drift: None,
            manifest: self.manifest.clone(),
        }
    }
}

/// Where the weights of an encoder come from, if not from safetensors alone.
fn weights(folder: &Path) -> Option<String> {
    match manifest_of(folder) {
        Ok(Some(own)) => own.weights,
        // Who reads them says what is wrong with them.
        _ => model::origin(folder).ok().flatten(),
    }
}

/// What is said of a model of which nothing is fitted or tested.
fn manifest(prepared: &Prepared) -> Manifest {
    let Prepared { experiment, dataset, parts, lineage, lessons, .. } = prepared;
    let record = |(name, part): (&str, &Part)| (name.to_owned(), PartRecord::of(part, dataset));
    let named = parts.named().into_iter().filter(|(_, part)| !part.rows.is_empty());
    let further = lessons.as_ref().and_then(|lessons| lessons.further.clone());
    let further = further.map(|record| (UNLABELLED.to_owned(), record));
    Manifest {
        schema: SCHEMA,
        bayes: env!("CARGO_PKG_VERSION").to_owned(),
        name: experiment.name.clone(),
        fit: FitRecord {
            link: experiment.posterior.link,
            class_weights: experiment.train.class_weights,
            ..FitRecord::new(Method::Map)
        },
        calibration: Some(experiment.calibration.clone()),
        transformers: "posterior mean".to_owned(),
        task: dataset.task,
        labels: dataset.labels.clone(),
        zero_shot: None,
        precision: Precision::F32,
        certificates: BTreeMap::new(),
        recalibrated: None,
        preprocessing: Preprocessing::new(experiment.data.max_length, experiment.data.truncation),
        data: Some(dataset.with_columns(&experiment.data)),
        data_labels: Some(dataset.labels.clone()),
        fitted: None,
        absent: Vec::new(),
        base_model: experiment.model.init.as_deref().and_then(|init| base_model(Path::new(init))),
        weights: prepared.start.folder.as_deref().and_then(weights),
        seed: experiment.train.seed,
        parts: named.map(record).chain(further).collect(),
        lineage: lineage.models.clone(),
        lineage_known: lineage.is_known(),
        encoder_trained: true,
        seen_in_test: parts.seen_in_test.len(),
        test: None,
        files: BTreeMap::new(),
        records: BTreeMap::new(),
        sha256: None,
        edited: false,
    }
}
