//! The rows of a fit: which they are, and what the model makes of them.

use super::absent::check_classes;
use super::calibration::check_rows;
use super::lineage::Lineage;
use super::origin::base_model;
use super::settings::{divide_as_set, moves_head};
use super::{Experiment, ExperimentError, FitJob, Progress};
use crate::artifact::{Artifact, Fitted, Manifest, PartRecord};
use crate::compute::Noise;
use crate::data::{self, DataConfig, Dataset, Part, Parts, sample};
use crate::evaluate::{EvaluateError, labels_of_trained, names_or_places, read_unlike_training};
use crate::method::laplace::Head;
use crate::predict::Pairs;

/// How rows are divided where labels were named by a user: validation, each of the two calibration parts, test. Novelty
/// looks at the rest.
const ZERO_SHOT_SHARES: (f64, f64, f64) = (0.0, 0.3, 0.2);

/// The data of a fit, divided.
pub(super) struct Rows {
    pub(super) config: DataConfig,
    pub(super) dataset: Dataset,
    pub(super) parts: Parts,
    /// The model's label for each label of the data.
    pub(super) by_label: Vec<u32>,
    /// Classes of which a last layer that is fitted to them sees no row.
    absent: Vec<String>,
    /// What the weights have seen before.
    lineage: Lineage,
}

impl Rows {
    /// Opens and divides the data, and refuses what cannot be fitted on; at least one experiment is chosen.
    pub(super) fn open(
        job: &FitJob,
        source: &Artifact,
        chosen: &[Experiment],
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let config = data_config(job, source)?;
        let noise = Noise::new(source.manifest.seed);
        let dataset = Dataset::open(&config)?.told(&mut |remark| show(Progress::from(&remark)));
        let trained = source.manifest.data.as_ref().filter(|_| job.overrides.label_map.is_empty());
        if let Some(said) =
            trained.and_then(|trained| read_unlike_training(&dataset, &config, &job.model, trained))
        {
            show(Progress::Warning(said));
        }
        if let Some(said) = names_or_places(&dataset, &config, &source.manifest.labels) {
            show(Progress::Warning(said));
        }
        // Rows that only the last layer has seen are as good as new to an encoder whose last layer is
        // fitted anew.
        let anew = job.head == Head::Refit && chosen.iter().all(moves_head);
        let lineage = Lineage::of(&source.manifest, source.manifest.encoder_trained || !anew);
        let parts = Parts::apart(&dataset, &config, &noise, &lineage.seen.texts)?;
        for remark in &lineage.remarks(&dataset, &parts) {
            show(Progress::from(remark));
        }
        check_rows(&chosen[0].calibration, &dataset, &parts)?;
        let repeated = [data::repeated_validation, data::repeated_calibration];
        for remark in repeated.iter().filter_map(|find| find(&dataset, &parts)) {
            show(Progress::from(&remark));
        }
        if !parts.validation.rows.is_empty() {
            show(Progress::Note(format!(
                "the {} rows in split `validation` are not used, because `bayes fit` does not select \
                 among checkpoints",
                parts.validation.rows.len()
            )));
        }
        let parts = sampled(parts, &dataset, job.limit, &noise);
        if let Some(remark) = &lineage.of_test(&parts) {
            show(Progress::from(remark));
        }
        if job.limit > 0 {
            show(Progress::Note(format!(
                "using at most {} rows: training rows are balanced across classes where possible; test \
                 rows keep the class proportions",
                job.limit
            )));
        }
        let texts = parts.test.examples(&dataset).map(|text| text.pair.is_some());
        Pairs::of(source).check(texts).map_err(EvaluateError::from)?;
        let by_label = labels_of_trained(&dataset.labels, &source.manifest)?;
        let mut absent = Vec::new();
        if refits(job, chosen) {
            let own = parts.train.examples(&dataset).map(|text| by_label[text.label as usize]);
            absent = check_classes(&own.collect(), &source.manifest.labels, &dataset.name, show)?;
        }
        Ok(Self { config, dataset, parts, by_label, absent, lineage })
    }

    /// The model as one that these rows were used for.
    pub(super) fn describe(&self, model: Artifact, job: &FitJob, fitted: Fitted) -> Artifact {
        let Self { config, dataset, parts, absent, lineage, .. } = self;
        let absent = if fitted == Fitted::LastLayer { absent } else { &model.manifest.absent };
        let record = |(name, part): (&str, &Part)| (name.to_owned(), PartRecord::of(part, dataset));
        let base = model.manifest.base_model.clone();
        let manifest = Manifest {
            data: Some(dataset.with_columns(config)),
            data_labels: Some(dataset.labels.clone()),
            fitted: Some(fitted),
            absent: absent.clone(),
            parts: parts.named().into_iter().map(record).collect(),
            lineage: lineage.models.clone(),
            lineage_known: lineage.is_known(),
            encoder_trained: false,
            seen_in_test: parts.seen_in_test.len(),
            base_model: base.or_else(|| base_model(&job.model)),
            ..model.manifest
        };
        Artifact { manifest, ..model }
    }
}

/// Whether any last layer is fitted anew.
pub(super) fn refits(job: &FitJob, chosen: &[Experiment]) -> bool {
    job.head == Head::Refit && chosen.iter().any(moves_head)
}

/// With so many of the test rows at most; 0 for all.
fn sampled(mut parts: Parts, dataset: &Dataset, limit: usize, noise: &Noise) -> Parts {
    let labels: Vec<u32> = parts.test.examples(dataset).map(|example| example.label).collect();
    let places = sample(&labels, limit, noise);
    let seen = |place: &usize| parts.seen_in_test.binary_search(place).is_ok();
    let seen_in_test = (0..places.len()).filter(|&at| seen(&places[at])).collect();
    parts.seen_in_test = seen_in_test;
    parts.test.rows = places.into_iter().map(|place| parts.test.rows[place]).collect();
    parts
}

/// The data set that was named, cut as the model cuts; else the one that the model was trained on.
fn data_config(job: &FitJob, source: &Artifact) -> Result<DataConfig, ExperimentError> {
    let manifest = &source.manifest;
    let own = manifest.data.as_ref();
    let mut data = match (&job.dataset, own) {
        (Some(name), Some(own)) if *name == own.dataset => own.clone(),
        (Some(name), own) => DataConfig {
            max_length: manifest.preprocessing.max_length,
            truncation: manifest.preprocessing.truncation,
            ..own.unwrap_or(&DataConfig::default()).like(name)
        },
        (None, Some(own)) => own.clone(),
        (None, None) if manifest.zero_shot.is_some() => {
            let message =
                "the labels that you name have no rows yet; give labelled rows with `--dataset`";
            return Err(ExperimentError::Config {
                place: "`--zero-shot-labels`".to_owned(),
                message: message.to_owned(),
            });
        }
        (None, None) => return Err(ExperimentError::NoData(job.model.clone())),
    };
    // How many test rows the training looked at says nothing of how many this does.
    data.test_limit = 0;
    if job.limit > 0 {
        data.train_limit = job.limit;
    }
    data.model_labels.clone_from(&manifest.labels);
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    if job.labels.is_some() {
        // Nothing is trained: most rows calibrate.
        (data.validation_fraction, data.calibration_fraction, data.test_fraction) =
            ZERO_SHOT_SHARES;
    }
    divide_as_set(job, &mut data)?;
    job.overrides.apply(&mut data).map_err(refuse)?;
    Ok(data)
}
