//! The recipe behind `bayes quantize`: a model whose weights are stored at a precision, with a certificate that it
//! keeps its promises there.

use serde::Serialize;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::calibration::FitSettings;
use super::certificate::{ApartRows, certify};
use super::fit::Target;
use super::prepare::cached_tokens;
use super::{ExperimentError, Progress, kept};
use crate::artifact::{self, Artifact, Certificate, Manifest, REFERENCE, Verdict};
use crate::compute::{Backend, Noise, Precision};
use crate::data::{Dataset, Part, Remark, TokenSet};
use crate::evaluate::models::data_config;
use crate::evaluate::{labels_of_trained, own_parts};
use crate::method::PosteriorConfig;

/// What to store.
#[derive(Clone, Debug)]
pub struct QuantizeJob {
    /// A model folder of ours, in f32.
    pub model: PathBuf,
    /// Of the weights.
    pub precision: Precision,
    /// The model folder to write; by default `checkpoints/NAME-PRECISION/model`.
    pub output: Option<PathBuf>,
}

/// What was stored.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizeReport {
    pub source: PathBuf,
    pub precision: Precision,
    /// The folder that was written; none where the certificate was refused.
    pub model: Option<PathBuf>,
    pub certificate: Certificate,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Bytes of the weights, in f32 and as they are now.
    pub bytes: [u64; 2],
}

/// Checks a precision, unless the model has a certificate for it, and writes the model folder.
///
/// # Errors
/// The model cannot be checked, or the folder cannot be written.
pub fn quantize(
    job: &QuantizeJob,
    checkpoints: &Path,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<QuantizeReport, ExperimentError> {
    let precision = job.precision;
    let source = artifact::load(&job.model, &Backend::Cpu)?;
    refuse_edited(&job.model, &source.manifest)?;
    refuse_others(job, &source)?;
    let from = (job.model.as_path(), &source);
    let target =
        Target::of(from, &precision.to_string(), job.output.as_deref(), checkpoints, show)?;
    let checked = has_checked(&source, precision);
    let model = if checked { source } else { check(job, source, show)? };
    let certificate = model.manifest.certificates[&precision].clone();
    let verdict = certificate.verdict();
    let before = weight_bytes(&job.model, &model);
    let mut report = QuantizeReport {
        source: job.model.clone(),
        precision,
        model: None,
        certificate,
        verdict,
        bytes: [before, 0],
    };
    if report.verdict.granted {
        target.write_record()?;
        let stored = model.stored_at(precision)?;
        let config = kept::config(&job.model, &stored.manifest, show);
        artifact::save_with_config(&stored, config, &target.model)?;
        report.bytes[1] = weight_bytes(&target.model, &stored);
        report.model = Some(target.model);
    }
    Ok(report)
}

/// Bytes of the weights of all networks.
fn weight_bytes(folder: &Path, model: &Artifact) -> u64 {
    let of_network = |name: &String| {
        name == "model.safetensors" || name == REFERENCE || name.starts_with("bayes/members/")
    };
    let names = model.hashed_files().into_iter().filter(of_network);
    names.filter_map(|name| Some(std::fs::metadata(folder.join(name)).ok()?.len())).sum()
}

/// Refuses a model whose manifest somebody changed: what is written from it would vouch for what it says.
pub(super) fn refuse_edited(folder: &Path, manifest: &Manifest) -> Result<(), ExperimentError> {
    if !manifest.edited {
        return Ok(());
    }
    Err(ExperimentError::Config {
        place: "`--model`".to_owned(),
        message: format!(
            "`bayes/manifest.json` of `{}` was changed after it was saved; restore it, or make the model again",
            folder.display()
        ),
    })
}

/// Refuses a model that cannot be checked, unless it was.
fn refuse_others(job: &QuantizeJob, source: &Artifact) -> Result<(), ExperimentError> {
    let Some(why) = source.manifest.why_unchecked() else { return Ok(()) };
    if source.manifest.precision.is_f32() && has_checked(source, job.precision) {
        return Ok(());
    }
    let message = format!("`{}` {why}", job.model.display());
    Err(ExperimentError::Config { place: "`--model`".to_owned(), message })
}

/// Whether a precision was checked, and all that was fitted at it is here.
fn has_checked(model: &Artifact, precision: Precision) -> bool {
    model.manifest.certificates.contains_key(&precision) && model.fitted_at.contains_key(&precision)
}

/// The model with a certificate, by the rows that its calibration was fitted on.
fn check(
    job: &QuantizeJob,
    source: Artifact,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Artifact, ExperimentError> {
    let manifest = &source.manifest;
    let Some(config) = data_config(None, manifest) else {
        return Err(ExperimentError::NoData(job.model.clone()));
    };
    let mut told = |remark: Remark| show(Progress::from(&remark));
    let dataset = Dataset::open(&config)?.told(&mut told);
    let parts = own_parts(manifest, &dataset, &config)?;
    let shown = job.model.display();
    let recorded = |(name, part): (&str, &Part)| match manifest.parts.get(name) {
        Some(record) => record.sha256 == part.hash(&dataset),
        None => part.rows.is_empty(),
    };
    let fitted = [
        ("train", &parts.train),
        ("temperature", &parts.temperature),
        ("conformal", &parts.conformal),
    ];
    if !fitted.into_iter().all(recorded) {
        return Err(ExperimentError::Config {
            place: "`--model`".to_owned(),
            message: format!(
                "the data of `{shown}`, `{}`, have changed since it was trained, so the rows that it has not seen \
                 are not known; restore them",
                dataset.name
            ),
        });
    }
    let by_label = labels_of_trained(&dataset.labels, manifest)?;
    let mut splits = BTreeMap::new();
    let mut tokens = |part: &Part, show: &mut dyn FnMut(Progress<'_>)| {
        if !splits.contains_key(&part.split) {
            let (rows, how) = (dataset.rows(&part.split), &manifest.preprocessing);
            let found = cached_tokens(&source.tokenizer, rows, how, show)?;
            splits.insert(part.split.clone(), Arc::new(found));
        }
        let labels = part.examples(&dataset).map(|one| by_label[one.label as usize]).collect();
        let rows = part.rows.iter().map(|&row| row as u32).collect();
        Ok::<_, ExperimentError>(TokenSet::new(Arc::clone(&splits[&part.split]), rows, labels))
    };
    let rows = ApartRows {
        train: &tokens(&parts.train, show)?,
        temperature: &tokens(&parts.temperature, show)?,
        conformal: &tokens(&parts.conformal, show)?,
        // As in training: the evaluation looks at more of them.
        validation: manifest.parts.get("validation").map_or(0, |part| part.rows),
    };
    let calibration = manifest.calibration.clone().unwrap_or_default();
    let settings = FitSettings {
        posterior: &PosteriorConfig::from(manifest.fit.method),
        calibration: &calibration,
        class_weights: manifest.fit.class_weights,
    };
    let noise = Noise::new(manifest.seed);
    let seen = rows.seen(&source, &settings, &noise, show)?;
    let own = rows.calibrated(&source, job.precision, &settings, &noise, show)?;
    certify(source, &seen, (job.precision, own), &mut |_| {})
}
