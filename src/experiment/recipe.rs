//! The recipe behind `bayes train`: data, fine-tuning, posterior, calibration, model folder, report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Device;
use serde::Serialize;

use super::calibration::{FitSettings, HeldOut};
use super::evaluation::{TrainingFacts, evaluation};
use super::origin::base_model;
use super::posterior::PosteriorReport;
use super::prepare::{Prepared, Sets, prepare};
use super::resume::{self, Home, Resume, Wanted};
use super::tuning::{Tuning, no_board};
use super::{Experiment, ExperimentError, Features, Progress, RunFolder};
use crate::artifact::{self, Artifact, Manifest, PartRecord, Preprocessing, Records, SCHEMA};
use crate::calibrate::{Calibration, CalibrationSummary};
use crate::compute::Noise;
use crate::data::{DataConfig, Dataset, Example, Part, Parts, StreamSource, TokenSet};
use crate::evaluate::{Report, Rows, score};
use crate::model::{Classifier, EncoderConfig, Parameters};
use crate::posterior::laplace::Head;
use crate::posterior::{Method, Passes, Uncertainty};
use crate::predict::Predictor;
use crate::train::{self, Board, Job, Scores, State};

/// What a run will do, found out without training anything.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the experiment.
    pub name: String,
    /// The data set.
    pub dataset: String,
    /// The columns taken for text and label, where they were detected.
    pub columns: String,
    /// Class names.
    pub labels: Vec<String>,
    /// Rows of each part.
    pub parts: BTreeMap<&'static str, usize>,
    /// Rows of the test part whose text also occurs in another part.
    pub seen_in_test: usize,
    /// Parameters of the classifier.
    pub parameters: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Where the model will be.
    pub model: PathBuf,
}

/// What a finished run says.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// Name of the experiment.
    pub name: String,
    /// The model folder.
    pub model: PathBuf,
    /// The run folder.
    pub run: PathBuf,
    /// The data set.
    pub dataset: String,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Rows and content hash of each part.
    pub parts: BTreeMap<String, PartRecord>,
    /// Optimizer steps taken.
    pub steps: u64,
    /// After how many of them the weights were best.
    pub best_step: u64,
    /// Scores of the validation rows at that point.
    pub validation: Scores,
    /// The posterior, temperature and scale.
    #[serde(flatten)]
    pub posterior: PosteriorReport,
    /// What was fitted on the conformal part.
    pub calibration: CalibrationSummary,
    /// NLL and ECE on the test part as the softmax of the mean logits has them.
    pub uncalibrated: Scores,
    /// The report on the test part.
    pub test: Report,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// With a model.
    Finished(Box<TrainReport>),
    /// From outside.
    Interrupted {
        /// Optimizer steps that were finished.
        steps: u64,
        /// Where its state is, if any step was finished by this process.
        checkpoint: Option<PathBuf>,
    },
    /// It was finished before.
    Already {
        /// The model folder.
        model: PathBuf,
        /// The run folder, with the report.
        run: PathBuf,
    },
}

/// What [`train()`] would do.
pub fn plan(experiment: &Experiment, checkpoints: &Path) -> Result<Plan, ExperimentError> {
    let prepared = prepare(experiment)?;
    let stream = prepared.streamed(experiment);
    let Prepared { dataset, parts, start, .. } = prepared;
    let rows = stream.map_or(parts.train.rows.len(), |stream| stream.rows());
    let specifications = crate::model::specifications(&start.encoder);
    let size = |shape: &Vec<usize>| shape.iter().product::<usize>();
    Ok(Plan {
        name: experiment.name.clone(),
        dataset: dataset.name.clone(),
        columns: dataset.columns.clone(),
        labels: dataset.labels.clone(),
        parts: parts.named().into_iter().map(|(name, part)| (name, part.rows.len())).collect(),
        seen_in_test: parts.seen_in_test.len(),
        parameters: specifications.iter().map(|one| size(&one.shape)).sum(),
        steps: train::Plan::new(&experiment.train, rows).steps,
        model: checkpoints.join(&experiment.name).join("model"),
    })
}

/// Where a run reads and writes, and who listens.
pub struct Surroundings<'a> {
    /// Where the tensors are.
    pub device: &'a Device,
    /// Folder of the models.
    pub checkpoints: &'a Path,
    /// Folder of the runs.
    pub runs: &'a Path,
    /// Raised by a signal to end the run early.
    pub stop: &'a AtomicBool,
    /// Whether a run that was left goes on.
    pub resume: Resume,
    /// Hears of every checkpoint that is on the disk: its folder, and the steps behind it.
    pub saved: &'a dyn Fn(&Path, u64),
}

/// Trains, fits the posterior, calibrates, saves and reports.
pub fn train(
    experiment: &Experiment,
    surroundings: &Surroundings<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, ExperimentError> {
    let began = Instant::now();
    let prepared = prepare(experiment)?;
    let stream = prepared.streamed(experiment);
    let Prepared { dataset, parts, start, noise } = prepared;
    describe(&dataset, &parts, show);
    if let Some(source) = &dataset.stream {
        describe_stream(source, &experiment.data, show);
    }
    let base = Artifact {
        manifest: manifest(experiment, &dataset, &parts),
        encoder: start.encoder.clone(),
        parameters: Parameters::default(),
        tokenizer: start.tokenizer.clone(),
        special_tokens: start.special_tokens.clone(),
        uncertainty: Uncertainty::default(),
        calibration: Calibration::default(),
    };
    let home = Home::open(surroundings.checkpoints, &experiment.name)?;
    let wanted = Wanted {
        experiment,
        parts: &base.manifest.parts,
        encoder: &start.encoder,
        device: surroundings.device,
        runs: surroundings.runs,
    };
    let (mut run, state) = match home.start(&surroundings.resume, &wanted, show)? {
        resume::Start::Finished(run) => {
            return Ok(Ended::Already { model: home.model(), run });
        }
        resume::Start::GoOn(run, state) => (run, *state),
        resume::Start::Anew(run) => {
            let (initial, missing) = start.parameters(&noise, surroundings.device)?;
            if !missing.is_empty() {
                show(Progress::Note(format!("new, from the seed: {}", missing.join(", "))));
            }
            (run, State::new(initial))
        }
    };
    run.write("config.toml", experiment.to_toml().as_bytes())?;
    let sets = Sets::prepare(experiment, &dataset, &parts, &start, show)?;
    let job = Job {
        encoder: &start.encoder,
        config: &experiment.train,
        train: &sets.train,
        stream: stream.as_ref(),
        validation: &sets.validation,
    };
    let mut board = board(experiment, &start.encoder, &run, &state, show);
    let tuning = Tuning {
        experiment,
        home: &home,
        job,
        base: &base,
        stop: surroundings.stop,
        saved: surroundings.saved,
    };
    let outcome = match tuning.run(state, &mut run, board.as_mut(), show)? {
        (train::Ended::Finished(outcome), _) => *outcome,
        (train::Ended::Stopped(steps), checkpoint) => {
            return Ok(Ended::Interrupted { steps, checkpoint });
        }
    };

    let classifier = Classifier::packed(&start.encoder, &outcome.parameters)?;
    let mut artifact = Artifact { parameters: outcome.parameters, ..base.clone() };
    let config = &experiment.calibration;
    let mut read = |rows: &TokenSet, passes: Option<Passes>, what: &'static str| {
        Features::encode(&classifier, rows, passes, what, show)
    };
    let passes = experiment.posterior.passes();
    // Only some methods look at the training rows once more.
    let again = experiment.posterior.method == Method::Laplace || config.novelty.is_distance();
    let train_rows = if again { read(&sets.train, None, "encoding")? } else { Features::default() };
    let held_out = HeldOut::new(
        read(&sets.temperature, passes, "calibrating")?,
        read(&sets.conformal, passes, "calibrating")?,
        sets.train.len() + sets.validation.len(),
    );
    let fit =
        FitSettings { posterior: &experiment.posterior, calibration: config, head: Head::Refit };
    let (posterior, calibration) = fit.fit(&mut artifact, &train_rows, &held_out, &noise, show)?;
    let predictor = Predictor::new(artifact.clone())?;
    let (test, uncalibrated) = report(&predictor, &dataset, &parts, &noise, show)?;
    artifact.manifest.test = Some(test.summary.clone());
    let model = home.model();
    let facts = TrainingFacts {
        run: run.name(),
        steps: outcome.steps,
        best_step: outcome.best_step,
        seconds: began.elapsed().as_secs_f64(),
        validation: outcome.scores,
    };
    let evaluation =
        evaluation(&dataset, &test, &uncalibrated, &sets.summaries(&dataset, &parts), &facts);
    let records = Records { config: &experiment.to_toml(), evaluation: &evaluation };
    artifact::save_with_records(&artifact, records, &model)?;
    let report = TrainReport {
        name: experiment.name.clone(),
        model,
        run: run.path().to_owned(),
        dataset: dataset.name.clone(),
        generated: dataset.generated,
        parts: artifact.manifest.parts.clone(),
        steps: outcome.steps,
        best_step: outcome.best_step,
        validation: outcome.scores,
        posterior,
        calibration,
        uncalibrated,
        test,
        seconds: began.elapsed().as_secs_f64(),
    };
    if let Some(board) = &mut board {
        let summary = &report.test.summary;
        board.finish(outcome.steps, outcome.final_loss, summary.accuracy.value, &summary.bins);
        if let Some(error) = board.take_failure() {
            show(Progress::Warning(no_board(&error)));
        }
    }
    let json = serde_json::to_vec_pretty(&report).expect("a report is plain data");
    run.write("report.json", &json)?;
    home.finish(run.path(), &wanted)?;
    Ok(Ended::Finished(Box::new(report)))
}

/// The event files of the run, where they are wanted and can be written.
fn board(
    experiment: &Experiment,
    encoder: &EncoderConfig,
    run: &RunFolder,
    state: &State,
    show: &mut dyn FnMut(Progress<'_>),
) -> Option<Board> {
    if !experiment.train.tensorboard {
        return None;
    }
    match Board::create(run.path(), state.counters.step) {
        Ok(mut board) => {
            board.describe(&experiment.to_toml(), encoder, &experiment.train);
            let runs = run.path().parent().unwrap_or(run.path());
            show(Progress::Note(format!("watch it:  tensorboard --logdir {}", runs.display())));
            Some(board)
        }
        Err(error) => {
            show(Progress::Warning(no_board(&error)));
            None
        }
    }
}

fn describe(dataset: &Dataset, parts: &Parts, show: &mut dyn FnMut(Progress<'_>)) {
    let rows = |(name, part): (&str, &Part)| format!("{name} {}", part.rows.len());
    let sizes: Vec<String> = parts.named().into_iter().map(rows).collect();
    show(Progress::Note(format!("data: {}, {} classes", dataset.name, dataset.labels.len())));
    if !dataset.columns.is_empty() {
        show(Progress::Note(format!("columns: {}", dataset.columns)));
    }
    show(Progress::Note(format!("rows: {}", sizes.join(", "))));
    for split in &dataset.hidden {
        show(Progress::Note(format!("the labels of split `{split}` are hidden: left out")));
    }
    if !parts.seen_in_test.is_empty() {
        show(Progress::Warning(format!(
            "{} test texts also occur in another part; the report gives the score without them",
            parts.seen_in_test.len()
        )));
    }
}

fn describe_stream(source: &StreamSource, data: &DataConfig, show: &mut dyn FnMut(Progress<'_>)) {
    let (rows, window, shards) = (source.rows(), data.shuffle_window, data.num_shards as u64);
    show(Progress::Note(format!(
        "streaming: {rows} rows, {window} at a time; the rows above are a sample of them, and its training \
         rows are what the posterior looks at"
    )));
    if !rows.is_multiple_of(shards) {
        show(Progress::Warning(format!(
            "{rows} rows do not divide by `data.num_shards` = {shards}: some shards have a row more than \
             others in an epoch"
        )));
    }
}

fn manifest(experiment: &Experiment, dataset: &Dataset, parts: &Parts) -> Manifest {
    let record = |(name, part): (&str, &Part)| {
        let record = PartRecord { rows: part.rows.len(), sha256: part.hash(dataset) };
        (name.to_owned(), record)
    };
    Manifest {
        schema: SCHEMA,
        bayes: env!("CARGO_PKG_VERSION").to_owned(),
        name: experiment.name.clone(),
        method: Method::Map,
        link: experiment.posterior.link,
        evidence: None,
        calibration: Some(experiment.calibration.clone()),
        transformers: "posterior mean".to_owned(),
        labels: dataset.labels.clone(),
        preprocessing: Preprocessing {
            max_length: experiment.data.max_length,
            truncation: experiment.data.truncation,
        },
        data: Some(experiment.data.clone()),
        base_model: experiment.model.init.as_deref().and_then(|init| base_model(Path::new(init))),
        seed: experiment.train.seed,
        parts: parts.named().into_iter().map(record).collect(),
        seen_in_test: parts.seen_in_test.len(),
        test: None,
        files: BTreeMap::new(),
    }
}

/// The report on the test part, and its scores without the temperature.
fn report(
    predictor: &Predictor,
    dataset: &Dataset,
    parts: &Parts,
    noise: &Noise,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<(Report, Scores), ExperimentError> {
    let examples: Vec<&Example> = parts.test.examples(dataset).collect();
    let rows = Rows {
        dataset,
        inside: &examples,
        outside: dataset.out_of_scope.get(&parts.test.split).map_or(&[], Vec::as_slice),
        seen: &parts.seen_in_test,
    };
    let mut work = |done, total| show(Progress::Work { what: "testing", done, total });
    Ok(score(predictor, &rows, noise, &mut work)?)
}
