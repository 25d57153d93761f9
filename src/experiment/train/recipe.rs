//! The recipe behind `bayes train`: data, fine-tuning, posterior, calibration, model folder, report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Device;
use serde::Serialize;

use super::base::Base;
use super::calibration::FitSettings;
use super::candidate::{Candidate, Shop};
pub use super::choice::RecipeReport;
use super::choice::{Choice, Decided};
use super::describe::{describe, describe_stream, of_sample};
use super::evaluation::{TrainingFacts, evaluation};
use super::origin::base_model;
use super::posterior::weights_of_classes;
use super::prepare::{Prepared, Sets, prepare};
use super::resume::{self, Home, Resume, Wanted};
use super::tuning::{Tuning, no_events};
use super::{Experiment, ExperimentError, Progress, RunFolder};
use crate::artifact::{self, Manifest, PartRecord, Preprocessing, Records, SCHEMA};
use crate::calibrate::CalibrationSummary;
use crate::data::{Dataset, Example, Part, Parts, repeated_validation};
use crate::evaluate::{
    Answers, BaselineReport, EvalRows, EvaluateError, Evaluation, Hygiene, Report, Rival, answer,
};
use crate::method::{FitRecord, Method};
use crate::metrics::Scores;
use crate::model::{EncoderConfig, Pooling};
use crate::numbers::grouped;
use crate::predict::Predictor;
use crate::train::{self, EventWriter, Job, Plan, Recipe, State, class_counts};

/// What a finished run says.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// Name of the experiment.
    pub name: String,
    pub model: PathBuf,
    /// How its encoder pools, which decides what loads it in Python.
    pub pooling: Pooling,
    pub run: PathBuf,
    pub dataset: String,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Whether they are pairs.
    pub pairs: bool,
    /// The encoder that it began with; `None` from scratch.
    pub init: Option<String>,
    /// Parameters of the classifier.
    pub parameters: usize,
    /// Rows in the stream that it was trained on; `None` where they were in memory.
    pub streamed: Option<u64>,
    /// What else is to be known of the rows, as sentences.
    pub notes: Vec<String>,
    /// Rows and content hash of each part.
    pub parts: BTreeMap<String, PartRecord>,
    /// What the model is, and how it was chosen.
    pub recipe: RecipeReport,
    pub steps: u64,
    /// After how many of them the weights were best.
    pub best_step: u64,
    /// Scores of the validation rows at that point, with the last layer as it was trained.
    pub validation: Option<Scores>,
    /// The posterior, temperature and scale.
    #[serde(flatten)]
    pub posterior: FitRecord,
    /// What was fitted on the conformal part.
    pub calibration: CalibrationSummary,
    /// NLL and ECE on the test part as the softmax of the mean logits has them.
    pub uncalibrated: Scores,
    /// The report on the test part.
    pub test: Report,
    /// What the model has over a linear classifier on the words of the same training rows.
    pub baseline: Option<BaselineReport>,
    /// The report with the answers that it is about; in no file.
    #[serde(skip)]
    pub evaluation: Evaluation,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    Finished(Box<TrainReport>),
    Interrupted {
        /// Optimizer steps that were finished.
        steps: u64,
        /// Where its state is, if any step was finished by this process.
        checkpoint: Option<PathBuf>,
    },
    /// It was finished before.
    Already {
        model: PathBuf,
        /// The run folder, with the report.
        run: PathBuf,
    },
}

/// Where a run reads and writes, and who listens.
pub struct RunContext<'a> {
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
    written: &Experiment,
    context: &RunContext<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, ExperimentError> {
    let began = Instant::now();
    let prepared = prepare(written)?;
    let Prepared { experiment, dataset, parts, start, noise, .. } = &prepared;
    let stream = prepared.streamed();
    describe(written, &prepared, show);
    if let Some(source) = &dataset.stream {
        describe_stream(source, experiment, show);
    }
    let base = Base {
        manifest: manifest(&prepared),
        encoder: start.encoder.clone(),
        tokenizer: start.tokenizer.clone(),
        special_tokens: start.special_tokens.clone(),
    };
    let home = Home::open(context.checkpoints, &experiment.name)?;
    let wanted = Wanted {
        experiment,
        parts: &base.manifest.parts,
        labels: &base.manifest.labels,
        encoder: &start.encoder,
        init: start.content()?,
        device: context.device,
        runs: context.runs,
    };
    let (mut run, begun) = match home.start(&context.resume, &wanted, show)? {
        resume::Decision::Finished(run) => {
            return Ok(Ended::Already { model: home.model(), run });
        }
        resume::Decision::Resume(run, state) => (run, Some(*state)),
        resume::Decision::Fresh(run) => (run, None),
    };
    run.write("config.toml", experiment.to_toml().as_bytes())?;
    let sets = Sets::prepare(experiment, dataset, parts, start, show)?;
    let (initial, missing) = start.parameters(noise, context.device)?;
    if begun.is_none() && !missing.is_empty() && experiment.train.recipe == Recipe::Full {
        show(Progress::Note(format!("randomly initialised (seeded): {}", missing.join(", "))));
    }
    let settings = FitSettings {
        posterior: &experiment.posterior,
        calibration: &experiment.calibration,
        class_weights: experiment.train.class_weights,
    };
    let crossing = prepared.crossing.clone();
    let counts = match &stream {
        Some(stream) => stream.counts(),
        None => class_counts(sets.train.labels(), start.encoder.labels.len()),
    };
    let class_weights = weights_of_classes(experiment.train.class_weights, &counts);
    let (prepared, sets, base) = (&prepared, &sets, &base);
    let mut shop = Shop { prepared, sets, base, crossing, settings, class_weights };
    let mut choice = match experiment.train.recipe {
        Recipe::Full => Choice::begin(None, initial),
        Recipe::Head | Recipe::Auto => {
            let mut frozen = shop.frozen(&initial, show)?;
            shop.crossing = frozen.crossing.take();
            Choice::with_head(frozen, show)
        }
    };
    let mut events = None;
    if choice.goes_on(&shop, begun.as_ref(), show)? {
        let (train, validation) = sets.tuning(shop.crossing.as_ref());
        let job = Job {
            encoder: &start.encoder,
            config: &experiment.train,
            train: &train,
            stream: stream.as_ref(),
            validation: &validation,
        };
        let state = match begun {
            Some(state) => state,
            None => State::new(choice.start()),
        };
        let plan = Plan::new(&experiment.train, job.rows());
        let follower = experiment.posterior.approach().follower(&plan);
        let follower = follower.map_err(ExperimentError::Encoder)?;
        events = new_events(experiment, &start.encoder, &run, &state, show);
        let (stop, saved) = (context.stop, context.saved);
        let tuning = Tuning { experiment, home: &home, job, base, stop, saved };
        let outcome = match tuning.run(state, follower, &mut run, events.as_mut(), show)? {
            (train::Ended::Finished(outcome), _) => *outcome,
            (train::Ended::Stopped(steps), checkpoint) => {
                return Ok(Ended::Interrupted { steps, checkpoint });
            }
        };
        let gathered = outcome.follower.as_ref().map(|follower| follower.gathered());
        choice.compare(shop.tuned(&outcome.parameters, gathered, show)?, outcome, show);
    }
    let Decided { candidate, recipe, outcome } = choice.decide(show);
    let Candidate { mut artifact, calibration, .. } = candidate;
    artifact.manifest.encoder_trained = recipe.kept != Recipe::Head;
    let model = home.model();
    // Complete before the report, which may take long.
    let saved = artifact::save(&artifact, &model)?;
    let predictor = Predictor::new(artifact.clone())?;
    let mut tested = report(&predictor, dataset, parts, show)?;
    if experiment.train.baseline {
        tested.baseline = baseline(dataset, parts, &tested.answers, show)?;
    }
    let test = tested.report.clone();
    let uncalibrated = tested.answers.uncalibrated().map_err(EvaluateError::from)?;
    artifact.manifest.test = Some(test.summary.clone());
    let (steps, best_step) = outcome.as_ref().map_or((0, 0), |one| (one.steps, one.best_step));
    let validation = outcome.as_ref().map(|one| one.scores);
    let seconds = began.elapsed().as_secs_f64();
    let notes = notes(prepared, recipe.kept);
    if let Some(source) = dataset
        .stream
        .as_ref()
        .filter(|_| recipe.kept != experiment.train.recipe && recipe.kept == Recipe::Head)
    {
        show(Progress::Warning(of_sample(source)));
    }
    let facts = TrainingFacts {
        run: run.name(),
        kept: recipe.kept,
        tuning_left: recipe.kept == Recipe::Head && recipe.full.is_some(),
        crossed: calibration.crossed.clone(),
        prior_by_held_out_rows: artifact.manifest.fit.prior_by_held_out_rows,
        notes: notes.clone(),
        steps,
        best_step,
        seconds,
        validation,
    };
    let evaluation =
        evaluation(dataset, &test, &uncalibrated, &sets.summaries(dataset, parts), &facts);
    let unused = prepared.used.kept(recipe.kept).unused(experiment);
    let config = experiment.to_toml_without(&unused);
    let records = Records { config: &config, evaluation: &evaluation };
    artifact::add_records(&artifact, saved, records, &model)?;
    let report = TrainReport {
        name: experiment.name.clone(),
        model,
        pooling: start.encoder.pooling,
        run: run.path().to_owned(),
        dataset: dataset.name.clone(),
        generated: dataset.generated,
        pairs: parts.test.examples(dataset).any(|example| example.pair.is_some()),
        init: experiment.model.init.clone(),
        parameters: artifact.parameters.count(),
        streamed: dataset.stream.as_ref().map(|stream| stream.rows()),
        notes,
        parts: artifact.manifest.parts.clone(),
        recipe,
        steps,
        best_step,
        validation,
        posterior: artifact.manifest.fit,
        calibration,
        uncalibrated,
        test,
        baseline: tested.baseline.clone(),
        evaluation: tested,
        seconds: began.elapsed().as_secs_f64(),
    };
    if let (Some(events), Some(outcome)) = (&mut events, &outcome) {
        let summary = &report.test.summary;
        events.finish(outcome.steps, outcome.final_loss, summary.accuracy.value, &summary.bins);
        if let Some(error) = events.take_failure() {
            show(Progress::Warning(no_events(&error)));
        }
    }
    let json = serde_json::to_vec_pretty(&report).expect("a report is plain data");
    run.write("report.json", &json)?;
    home.finish(run.path(), &wanted)?;
    Ok(Ended::Finished(Box::new(report)))
}

/// What a report and the model card say of the rows besides their numbers.
fn notes(prepared: &Prepared, kept: Recipe) -> Vec<String> {
    let Prepared { dataset, parts, lineage, .. } = prepared;
    let of_stream = |rows: u64| match kept {
        Recipe::Full => format!(
            "The weights were trained on a stream of {} rows, all but the held-out ones; the training rows \
             counted here are a sample, which the posterior was fitted on.",
            grouped(rows)
        ),
        Recipe::Head | Recipe::Auto => format!(
            "The training rows are a sample of a stream of {} rows; the others were not used.",
            grouped(rows)
        ),
    };
    let seen = lineage.notes(dataset, parts);
    let repeated = repeated_validation(dataset, parts).into_iter().chain(seen);
    let repeated = repeated.map(|remark| sentence(remark.text()));
    let streamed = dataset.stream.as_ref().map(|stream| of_stream(stream.rows()));
    repeated.chain(streamed).collect()
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    format!("{}{}.", first.collect::<String>(), letters.as_str())
}

/// The event files of the run, where they are wanted and can be written.
fn new_events(
    experiment: &Experiment,
    encoder: &EncoderConfig,
    run: &RunFolder,
    state: &State,
    show: &mut dyn FnMut(Progress<'_>),
) -> Option<EventWriter> {
    if !experiment.train.tensorboard {
        return None;
    }
    match EventWriter::create(run.path(), state.counters.step) {
        Ok(mut events) => {
            events.describe(&experiment.to_toml(), encoder, &experiment.train);
            let runs = run.path().parent().unwrap_or(run.path());
            show(Progress::Note(format!(
                "to follow the run: tensorboard --logdir {}",
                runs.display()
            )));
            Some(events)
        }
        Err(error) => {
            show(Progress::Warning(no_events(&error)));
            None
        }
    }
}

fn manifest(prepared: &Prepared) -> Manifest {
    let Prepared { experiment, dataset, parts, lineage, .. } = prepared;
    let record = |(name, part): (&str, &Part)| {
        let record = PartRecord { rows: part.rows.len(), sha256: part.hash(dataset) };
        (name.to_owned(), record)
    };
    let named = parts.named().into_iter().filter(|(_, part)| !part.rows.is_empty());
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
        labels: dataset.labels.clone(),
        preprocessing: Preprocessing::new(experiment.data.max_length, experiment.data.truncation),
        data: Some(dataset.with_columns(&experiment.data)),
        data_labels: Some(dataset.labels.clone()),
        base_model: experiment.model.init.as_deref().and_then(|init| base_model(Path::new(init))),
        seed: experiment.train.seed,
        parts: named.map(record).collect(),
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

/// The answers to the test part, and the report on them.
fn report(
    predictor: &Predictor,
    dataset: &Dataset,
    parts: &Parts,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Evaluation, ExperimentError> {
    let examples: Vec<&Example> = parts.test.examples(dataset).collect();
    let rows = EvalRows {
        dataset,
        inside: &examples,
        outside: dataset.out_of_scope.get(&parts.test.split).map_or(&[], Vec::as_slice),
        seen: &parts.seen_in_test,
    };
    let mut work = |done, total| show(Progress::Work { what: "testing", done, total });
    let answers = Answers { split: "test".to_owned(), ..answer(predictor, &rows, &mut work)? };
    let manifest = &predictor.artifact().manifest;
    let seen = manifest.lineage_known.then_some(parts.seen_in_test.len());
    let hygiene = Hygiene::new(&examples, seen, manifest);
    Ok(Evaluation::new(answers, Some(hygiene)).map_err(EvaluateError::from)?)
}

/// The linear classifier that a result is set beside, on the same training and test rows.
fn baseline(
    dataset: &Dataset,
    parts: &Parts,
    answers: &Answers,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<BaselineReport>, ExperimentError> {
    show(Progress::Note("fitting a linear baseline on the same rows for comparison".to_owned()));
    let train: Vec<&Example> = parts.train.examples(dataset).collect();
    let test: Vec<&Example> = parts.test.examples(dataset).collect();
    let rival = Rival::new(dataset, &train, &test, answers)?;
    let beside = rival.beside(answers).map_err(EvaluateError::from)?;
    if let Some(warning) = beside.as_ref().and_then(BaselineReport::warning) {
        show(Progress::Warning(warning));
    }
    Ok(beside)
}
