//! The recipe behind `bayes recalibrate`: temperature, scale, prediction sets, novelty's p-values and limits on new
//! labelled rows. The weights, the posterior around them and what novelty measures stay.

use serde::Serialize;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::calibration::{FitSettings, HeldOut, SeenRows, check_labels, keys};
use super::certificate::{covered, judge};
use super::cuts::CutRows;
use super::features::Reads;
use super::fit::Target;
use super::prepare::cached_tokens;
use super::quantize::refuse_edited;
use super::{Experiment, ExperimentError, Features, Progress, kept};
use crate::artifact::{self, Artifact, Certificate, Manifest, PartRecord, Recalibration};
use crate::calibrate::{CalibrationConfig, CalibrationSummary, SMALL};
use crate::compute::{Backend, Noise, Precision, Purpose};
use crate::data::split::{carve, content_hash};
use crate::data::{Dataset, Example, Overrides, TokenSet, repeated_evidence};
use crate::evaluate::models::data_config;
use crate::evaluate::{
    EvaluateError, Origin, OriginError, Seen, all_rows, labels_of_trained, names_or_places,
    read_unlike_training, recalibrated_by,
};
use crate::method::PosteriorConfig;
use crate::metrics::{self, FLOOR_RESAMPLES, Scored};
use crate::model;
use crate::numbers::grouped;
use crate::posterior::{LogitDistribution, Predictive};
use crate::predict::Pairs;
use crate::train::class_counts;

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
    /// `calibration.KEY=VALUE` over what the model was calibrated with.
    pub settings: Vec<String>,
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
    /// Those that the figures are of: all where they are few, else those that the temperature was not fitted to.
    pub judged: usize,
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
    device: &Backend,
    checkpoints: &Path,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<RecalibrateReport, ExperimentError> {
    let source = artifact::load(&job.model, device)?;
    let manifest = &source.manifest;
    refuse_edited(&job.model, manifest)?;
    let config = settings(job, manifest)?;
    manifest.precision.check().map_err(|why| ExperimentError::Config {
        place: "`--model`".to_owned(),
        message: format!("`{}` is stored in {}: {why}", job.model.display(), manifest.precision),
    })?;
    let way = |_: &[Precision]| match manifest.zero_shot {
        Some(_) => String::new(),
        None => "; to recalibrate at a precision, give the folder that `bayes quantize` wrote"
            .to_owned(),
    };
    if let Some(warning) = kept::lost_precisions(manifest, &[], way) {
        show(Progress::Warning(warning));
    }
    let target =
        Target::in_place_or((&job.model, &source), job.output.as_deref(), checkpoints, show)?;
    let (record, tokens) = rows(job, &source, show)?;
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
    let dataset = record.data.dataset.clone();
    let manifest = Manifest {
        calibration: Some(config.clone()),
        recalibrated: Some(record),
        test: None,
        certificates: kept_certificates(manifest),
        ..model.manifest
    };
    let model = Artifact { manifest, ..model };
    let report = RecalibrateReport {
        source: job.model.clone(),
        model: target.model.clone(),
        dataset,
        rows: tokens.len(),
        judged: seen.features.len(),
        target: model.calibration.own_coverage(),
        before: fitness(&source, &before, held(&source, &before), &noise)?,
        after: fitness(&model, &seen, covered(&model, &seen, &noise), &noise)?,
        calibration: calibrated.summary,
    };
    if let Some(warning) = chance(&seen.features.labels, report.before.accuracy, &model.manifest) {
        show(Progress::Warning(warning));
    }
    if let Some(warning) = worse(&before, &seen) {
        show(Progress::Warning(warning));
    }
    target.write_record()?;
    let made = kept::config(&job.model, &source.manifest, show);
    let made =
        made.map(|made| kept::calibrated_as(made, source.manifest.calibration.as_ref(), &config));
    let weights = model::with_last_layer(&job.model, &model.encoder, None)?;
    artifact::save_with_weights(&model, &weights, made, &target.model)?;
    Ok(report)
}

/// What is known of a precision that the weights are stored at, which stay as they were checked. Another one has nothing
/// any more that was fitted at it.
fn kept_certificates(manifest: &Manifest) -> BTreeMap<Precision, Certificate> {
    let own = manifest.certificates.get_key_value(&manifest.precision);
    own.map(|(precision, one)| (*precision, one.clone())).into_iter().collect()
}

/// How it is calibrated: as it was, but for the keys that are set.
fn settings(
    job: &RecalibrateJob,
    manifest: &Manifest,
) -> Result<CalibrationConfig, ExperimentError> {
    let refuse = |place: String, message: String| ExperimentError::Config { place, message };
    let Some(config) = manifest.calibration.clone() else {
        let message =
            format!("`{}` was never calibrated; run `bayes fit` first", job.model.display());
        return Err(refuse("`--model`".to_owned(), message));
    };
    let fixed = |key: &str| key.starts_with("novelty") || key == "precisions";
    for setting in &job.settings {
        let key = setting.split('=').next().unwrap_or_default().trim();
        if key.strip_prefix("calibration.").is_none_or(fixed) {
            let message = "`bayes recalibrate` takes keys of [calibration] alone, and of these not `precisions` and \
                           what begins with `novelty`, since what novelty measures stays";
            return Err(refuse(format!("`--set {setting}`"), message.to_owned()));
        }
    }
    let novelty_reference = config.novelty_reference;
    let base = Experiment {
        // Precisions are those of another machine, perhaps. The encoder before fine-tuning lies in the folder, which a
        // recipe would have to make.
        calibration: CalibrationConfig {
            precisions: Vec::new(),
            novelty_reference: false,
            ..config
        },
        ..Experiment::default()
    };
    let chosen = Experiment::parse(&base.to_toml(), "`--set`", &job.settings)?.calibration;
    Ok(CalibrationConfig { novelty_reference, ..chosen })
}

/// What to say where the rows are less probable to the new calibration than to the one before, by more than twice the
/// standard error of the difference.
fn worse(before: &SeenRows, after: &SeenRows) -> Option<String> {
    let nll = |rows: &SeenRows, row: usize| {
        let label = rows.features.labels[row] as usize;
        -rows.predictive[row].probability_c[label].max(f64::MIN_POSITIVE).ln()
    };
    let rows = before.predictive.len();
    if rows < 2 {
        return None;
    }
    let more: Vec<f64> = (0..rows).map(|row| nll(after, row) - nll(before, row)).collect();
    let mean = more.iter().sum::<f64>() / rows as f64;
    let squares = more.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
    let error = (squares / (rows as f64 * (rows as f64 - 1.0))).sqrt();
    (mean > 2.0 * error).then(|| {
        format!(
            "the new calibration is worse than the one before on these rows: their NLL is higher by {mean:.4} (standard \
             error {error:.4}); keep the model as it was, or give more rows, with some that the model finds hard"
        )
    })
}

/// What to say where always giving the most frequent label would be right as often as the model: perhaps the labels
/// do not mean here what they meant in the training.
fn chance(labels: &[u32], accuracy: f64, manifest: &Manifest) -> Option<String> {
    let counts = class_counts(labels, manifest.labels.len());
    let (most, rows) = counts.iter().enumerate().max_by_key(|(_, rows)| **rows)?;
    let share = *rows as f64 / labels.len() as f64;
    (accuracy < share && share < 1.0).then(|| {
        format!(
            "the model is right on {:.1} % of these rows, and always answering `{}` would be on {:.1} %; check that \
             their labels mean what they meant in its training (`--label-map`), and that they are its kind of text",
            100.0 * accuracy,
            manifest.labels[most],
            100.0 * share
        )
    })
}

/// What to say of rows that calibrated the model already: the figures from before are of rows that temperature and sets
/// were fitted to, and those from after are not.
fn calibrated_before(manifest: &Manifest, rows: &[Example]) -> Option<String> {
    let flattered = "the figures of before are better than the model is on new rows";
    match recalibrated_by(manifest) {
        Ok(known) => {
            let again = rows.iter().filter(|row| known.contains(&row.key())).count() as u64;
            (again > 0).then(|| {
                format!(
                    "{} of these {} rows have calibrated the model before, so {flattered}",
                    grouped(again),
                    grouped(rows.len() as u64)
                )
            })
        }
        Err(why) => Some(format!(
            "it is unknown which of these rows have calibrated the model before ({why}); if some have, {flattered}"
        )),
    }
}

/// The rows, without those that the model was made or tested with, as the model reads them; and what is recorded of
/// them.
fn rows(
    job: &RecalibrateJob,
    source: &Artifact,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<(Recalibration, TokenSet), ExperimentError> {
    let manifest = &source.manifest;
    let mut config = data_config(Some(&job.dataset), manifest).expect("a data set is named");
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    job.overrides.apply(&mut config).map_err(refuse)?;
    let dataset = Dataset::open(&config)?.told(&mut |remark| show(Progress::from(&remark)));
    let trained = manifest.data.as_ref().filter(|_| job.overrides.label_map.is_empty());
    let unlike = trained.and_then(|own| read_unlike_training(&dataset, &config, &job.model, own));
    if let Some(warning) = unlike {
        show(Progress::Warning(warning));
    }
    if let Some(warning) = names_or_places(&dataset, &config, &manifest.labels) {
        show(Progress::Warning(warning));
    }
    let by_label = labels_of_trained(&dataset.labels, manifest)?;
    let all: Vec<Example> = all_rows(&dataset).cloned().collect();
    // What calibrated it before is replaced, and may be used again.
    let made = Manifest { recalibrated: None, ..manifest.clone() };
    let origin = Origin::of(&made, None);
    let asked: Vec<&Example> = all.iter().collect();
    let seen = origin.as_ref().map_err(OriginError::clone).and_then(|one| one.seen(&asked));
    if let Err(why) = &seen {
        show(Progress::Warning(format!(
            "it is unknown which of these rows trained the model, and a calibration by such rows is too sure: {why}"
        )));
    }
    let known: HashSet<u64> = match &origin {
        Ok(origin) => origin.keys().into_iter().collect(),
        Err(_) => Seen::by(&manifest.lineage).texts,
    };
    let (count, sha256) = (all.len(), content_hash(&all));
    let is_fresh = |row: &Example| !known.contains(&row.key());
    let fresh: Vec<Example> = all.into_iter().filter(is_fresh).collect();
    if fresh.is_empty() {
        return Err(ExperimentError::NoneFresh { dataset: dataset.name });
    }
    if fresh.len() < count {
        show(Progress::Note(format!(
            "{} of {} rows are those that the model was made or tested with, and are left out",
            grouped((count - fresh.len()) as u64),
            grouped(count as u64)
        )));
    }
    if let Some(warning) = calibrated_before(manifest, &fresh) {
        show(Progress::Warning(warning));
    }
    if let Some(remark) = repeated_evidence(fresh.iter(), &dataset.labels) {
        show(Progress::from(&remark));
    }
    let pairs = fresh.iter().map(|row| row.pair.is_some());
    Pairs::of(source).check(pairs).map_err(EvaluateError::from)?;
    let tokens = cached_tokens(&source.tokenizer, &fresh, &manifest.preprocessing, show)?;
    if tokens.truncated() > 0 {
        show(Progress::Note(format!(
            "{} of {} texts are longer than {} tokens and are truncated",
            grouped(tokens.truncated() as u64),
            grouped(tokens.rows() as u64),
            manifest.preprocessing.max_length
        )));
    }
    let labels = fresh.iter().map(|row| by_label[row.label as usize]).collect();
    let places = (0..fresh.len() as u32).collect();
    let record = Recalibration {
        data: dataset.with_columns(&config),
        data_labels: dataset.labels.clone(),
        content: PartRecord { rows: count, sha256 },
        rows: fresh.len(),
        origin_known: seen.is_ok(),
    };
    Ok((record, TokenSet::new(Arc::new(tokens), places, labels)))
}

/// One half for temperature and scale, the other for the rest; few rows serve both, cross-fitted.
fn divided(features: &Features, noise: &Noise) -> Result<HeldOut, ExperimentError> {
    let all = keys(features);
    let few = || {
        let texts: HashSet<u64> = all.iter().map(|one| one.text).collect();
        ExperimentError::FewToRecalibrate { rows: all.len(), texts: texts.len() }
    };
    let halves = carve(&all, &[0.5, 0.5], noise, DIVISION).map_err(|_| few())?;
    // So that few rows are cross-fitted, each must have others of its kind.
    if all.len() < SMALL && crate::calibrate::folds(&all, noise).is_none() {
        return Err(few());
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
