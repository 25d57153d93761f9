//! The recipe behind `bayes recalibrate`: temperature, scale, prediction sets, novelty's p-values and limits on new
//! labelled rows. The weights, the posterior around them and what novelty measures stay.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::Serialize;

use super::calibration::{FitSettings, HeldOut, SeenRows, check_labels, keys};
use super::certificate::{covered, judge};
use super::cuts::CutRows;
use super::features::Reads;
use super::fit::Target;
use super::prepare::cached_tokens;
use super::{ExperimentError, Features, Progress};
use crate::artifact::{self, Artifact, Manifest, Recalibration};
use crate::calibrate::{CalibrationSummary, SMALL};
use crate::compute::{Noise, Purpose};
use crate::data::split::carve;
use crate::data::{Dataset, Example, Overrides, Remark, TokenSet};
use crate::evaluate::models::data_config;
use crate::evaluate::{EvaluateError, Origin, Seen, labels_of_trained};
use crate::method::PosteriorConfig;
use crate::metrics::{self, FLOOR_RESAMPLES, Scored};
use crate::model;
use crate::numbers::grouped;
use crate::posterior::{LogitDistribution, Predictive};
use crate::predict::Pairs;

/// Numbers the division of the rows among those of one seed.
const DIVISION: u64 = 4;

/// What to calibrate, and by which rows.
#[derive(Clone, Debug)]
pub struct RecalibrateJob {
    /// A model folder of ours.
    pub model: PathBuf,
    /// Labelled rows: all of them are used.
    pub dataset: String,
    /// How its tables are read.
    pub overrides: Overrides,
    /// The model folder to write, which may be that of the model; by default `checkpoints/NAME-recalibrated/model`.
    pub output: Option<PathBuf>,
}

/// How a calibration does on the new rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fitness {
    pub accuracy: f64,
    pub nll: f64,
    pub ece: f64,
    pub ece_floor: f64,
    /// The share of prediction sets that hold the label; none without sets.
    pub coverage: Option<f64>,
    /// The share of rows that are accepted; none where nothing is decided.
    pub accepted: Option<f64>,
    pub temperature: f64,
}

/// Before and after.
#[derive(Clone, Debug, Serialize)]
pub struct RecalibrateReport {
    pub source: PathBuf,
    /// The folder that was written.
    pub model: PathBuf,
    pub dataset: String,
    /// Rows that were used.
    pub rows: usize,
    /// The coverage that sets should have.
    pub target: Option<f64>,
    pub before: Fitness,
    /// Each row by what was fitted to others; what is accepted, by all.
    pub after: Fitness,
    pub calibration: CalibrationSummary,
}

/// Calibrates by new rows and writes the model folder.
///
/// # Errors
/// The rows cannot be read or are too few, or the folder cannot be written.
pub fn recalibrate(
    job: &RecalibrateJob,
    device: &Device,
    checkpoints: &Path,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<RecalibrateReport, ExperimentError> {
    let source = artifact::load(&job.model, device)?;
    let manifest = &source.manifest;
    let Some(config) = manifest.calibration.clone() else {
        return Err(ExperimentError::Config {
            place: "`--model`".to_owned(),
            message: format!(
                "`{}` was never calibrated; run `bayes fit` first",
                job.model.display()
            ),
        });
    };
    manifest.precision.check().map_err(|why| ExperimentError::Config {
        place: "`--model`".to_owned(),
        message: format!("`{}` is stored in {}: {why}", job.model.display(), manifest.precision),
    })?;
    if !manifest.certificates.is_empty() && manifest.precision.is_f32() {
        let names: Vec<String> = manifest.certificates.keys().map(ToString::to_string).collect();
        show(Progress::Warning(format!(
            "what was fitted at {} is not kept, and the model answers in f32 from now on; to recalibrate at a \
             precision, give the folder that `bayes quantize` wrote",
            names.join(" and ")
        )));
    }
    let target =
        Target::in_place_or((&job.model, &source), job.output.as_deref(), checkpoints, show)?;
    let (dataset, tokens) = rows(job, &source, show)?;
    check_labels(&config, tokens.labels(), &manifest.labels)?;
    let networks = source.networks_at(manifest.precision)?;
    let reads = Reads::of(&source.posterior);
    let features = Features::encode(&networks, &tokens, reads, "calibrating", show)?;
    let noise = Noise::new(manifest.seed);
    let held_out = divided(&features, &noise)?.with_score(source.calibration.novelty.as_ref());
    let settings = FitSettings {
        posterior: &PosteriorConfig::from(manifest.fit.method),
        calibration: &config,
        class_weights: manifest.fit.class_weights,
    };
    let fitted = (source.posterior.clone(), manifest.fit.clone());
    let nothing = Features::default();
    let calibrated = settings.fit(source.clone(), &nothing, &held_out, fitted, &noise, show)?;
    let (model, seen) = (calibrated.artifact, calibrated.seen);
    let before = plainly(&source, &seen.features)?;
    let record = Recalibration { dataset: dataset.name.clone(), rows: tokens.len() };
    let manifest = Manifest { recalibrated: Some(record), test: None, ..model.manifest };
    let model = Artifact { manifest, ..model };
    let report = RecalibrateReport {
        source: job.model.clone(),
        model: target.model.clone(),
        dataset: dataset.name.clone(),
        rows: tokens.len(),
        target: model.calibration.own_coverage(),
        before: fitness(&source, &before, held(&source, &before), &noise)?,
        after: fitness(&model, &seen, covered(&model, &seen, &noise), &noise)?,
        calibration: calibrated.summary,
    };
    target.write_record()?;
    let weights = model::with_last_layer(&job.model, &model.encoder, None)?;
    artifact::save_with_weights(&model, &weights, &target.model)?;
    Ok(report)
}

/// The rows, without those that the model was made or tested with, as the model reads them.
fn rows(
    job: &RecalibrateJob,
    source: &Artifact,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<(Dataset, TokenSet), ExperimentError> {
    let manifest = &source.manifest;
    let mut config = data_config(Some(&job.dataset), manifest).expect("a data set is named");
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    job.overrides.apply(&mut config).map_err(refuse)?;
    let mut told = |remark: Remark| show(Progress::from(&remark));
    let dataset = Dataset::open(&config)?.told(&mut told);
    let by_label = labels_of_trained(&dataset.labels, manifest)?;
    let known: HashSet<u64> = match Origin::of(manifest, None) {
        Ok(origin) => origin.keys().into_iter().collect(),
        Err(why) => {
            show(Progress::Warning(format!(
                "it is unknown which of these rows trained the model, and a calibration by such rows is too sure: {why}"
            )));
            Seen::by(&manifest.lineage).texts
        }
    };
    let all: Vec<&Example> = dataset.splits.keys().flat_map(|split| dataset.rows(split)).collect();
    let count = all.len();
    let fresh: Vec<Example> =
        all.into_iter().filter(|row| !known.contains(&row.key())).cloned().collect();
    if fresh.len() < count {
        show(Progress::Note(format!(
            "{} of {} rows are those that the model was made or tested with, and are left out",
            grouped((count - fresh.len()) as u64),
            grouped(count as u64)
        )));
    }
    let pairs = fresh.iter().map(|row| row.pair.is_some());
    Pairs::of(source).check(pairs).map_err(EvaluateError::from)?;
    let tokens = cached_tokens(&source.tokenizer, &fresh, &manifest.preprocessing, show)?;
    let labels = fresh.iter().map(|row| by_label[row.label as usize]).collect();
    let places = (0..fresh.len() as u32).collect();
    Ok((dataset, TokenSet::new(Arc::new(tokens), places, labels)))
}

/// One half for temperature and scale, the other for the rest; few rows serve both, cross-fitted.
fn divided(features: &Features, noise: &Noise) -> Result<HeldOut, ExperimentError> {
    let all = keys(features);
    let halves = carve(&all, &[0.5, 0.5], noise, DIVISION);
    let rows = all.len();
    let halves = halves.map_err(|_| ExperimentError::FewForFolds { rows })?;
    // So that few rows are cross-fitted, each must have others of its kind.
    if rows < SMALL && crate::calibrate::folds(&all, noise).is_none() {
        return Err(ExperimentError::FewForFolds { rows });
    }
    let [one, other] = [&halves[0], &halves[1]].map(|places| features.some(places));
    Ok(HeldOut::new(one, other, CutRows::default(), 0))
}

/// The rows as a model sees them that was not fitted to them.
fn plainly(model: &Artifact, features: &Features) -> Result<SeenRows, ExperimentError> {
    let logits = model.posterior.logits(features.read())?;
    let of = |one: &LogitDistribution| -> Predictive { model.posterior.predictive(one) };
    let predictive = logits.iter().map(of).collect();
    Ok(SeenRows { features: features.clone(), logits, predictive })
}

/// 1 for each row whose set holds its label.
fn held(model: &Artifact, rows: &SeenRows) -> Option<Vec<f64>> {
    let labels = rows.features.labels.iter();
    let judged = judge(model, rows).into_iter().zip(labels);
    let holds = |set: &[usize], label: u32| f64::from(u8::from(set.contains(&(label as usize))));
    judged.map(|(one, &label)| Some(holds(&one.set?.classes, label))).collect()
}

fn scored<T>(rows: &SeenRows, of: impl FnOnce(&Scored) -> T) -> Result<T, ExperimentError> {
    let p: Vec<f64> =
        rows.predictive.iter().flat_map(|one| one.probability_c.iter().copied()).collect();
    let labels = &rows.features.labels;
    let classes = p.len() / labels.len().max(1);
    Ok(of(&Scored::new(&p, classes, labels).map_err(EvaluateError::from)?))
}

fn fitness(
    model: &Artifact,
    rows: &SeenRows,
    covered: Option<Vec<f64>>,
    noise: &Noise,
) -> Result<Fitness, ExperimentError> {
    let mut stream = noise.stream(Purpose::Bootstrap, 0, 0);
    let summary = scored(rows, |scored| {
        metrics::summarise(scored, 1, FLOOR_RESAMPLES, &mut || stream.uniform())
    })?;
    let judged = judge(model, rows);
    let accepted: Option<Vec<bool>> =
        judged.into_iter().map(|one| one.reasons.map(|all| all.is_empty())).collect();
    let share = |all: Vec<bool>| all.iter().filter(|&&one| one).count() as f64 / all.len() as f64;
    Ok(Fitness {
        accuracy: summary.accuracy.value,
        nll: summary.nll.value,
        ece: summary.ece.value,
        ece_floor: summary.ece.floor,
        coverage: covered.map(|all| all.iter().sum::<f64>() / all.len() as f64),
        accepted: accepted.map(share),
        temperature: model.posterior.scaling.temperature,
    })
}
