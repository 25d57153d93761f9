//! The recipe, stage by stage: data, models, the model folder, the test, the report.

use std::time::Instant;

use super::base::Base;
use super::choice::Decided;
use super::describe::{describe, describe_kept};
use super::evaluation::evaluation;
use super::events::finish_events;
use super::lessons::Lessons;
use super::prepare::{Prepared, Sets, prepare};
use super::resume::{Decision, Home, Wanted};
use super::selection::{Selected, Selection};
use super::testing::test;
use super::{Ended, Experiment, ExperimentError, Progress, RunContext, TrainReport};
use crate::artifact::{self, Artifact, Manifest, Records};

/// Trains, fits the posterior, calibrates, saves and reports.
pub fn train(
    written: &Experiment,
    context: &RunContext<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Ended, ExperimentError> {
    let began = Instant::now();
    written.train.check_device(context.device)?;
    let refuse = |message| ExperimentError::Config { place: "the settings".to_owned(), message };
    written.calibration.check_cpu(context.device.is_cpu()).map_err(refuse)?;
    let prepared = prepare(written, show)?;
    let Prepared { experiment, dataset, parts, start, .. } = &prepared;
    describe(written, &prepared, show);
    let base = Base::new(&prepared);
    let home = Home::open(context.checkpoints, &experiment.name)?;
    let wanted = Wanted {
        experiment,
        parts: &base.manifest.parts,
        labels: &base.manifest.labels,
        init: start.content()?,
        lessons: prepared.lessons.as_ref().map(Lessons::content),
        stream: dataset.stream.as_ref().map(|stream| stream.content()).transpose()?,
        device: context.device.kind(),
        runs: context.runs,
        first: context.first,
    };
    let (mut run, begun) = match home.start(&context.resume, &wanted, show)? {
        Decision::Finished(run) => return Ok(Ended::Already { model: home.model(), run }),
        Decision::Resume(run, begun) => (run, begun),
        Decision::Fresh(run) => (run, Vec::new()),
    };
    run.write("config.toml", experiment.to_toml().as_bytes())?;
    let sets = Sets::prepare(experiment, dataset, parts, start, show)?;
    let selection =
        Selection { prepared: &prepared, base: &base, sets: &sets, home: &home, context };
    let (decided, events) = match selection.run(&begun, &mut run, show)? {
        Selected::Kept(decided, events) => (*decided, events),
        Selected::Stopped { steps, checkpoint } => {
            return Ok(Ended::Interrupted { steps, checkpoint });
        }
    };
    let model = home.model();
    // Complete before the test, which may take long.
    let saved = artifact::save(&decided.candidate.artifact, &model)?;
    let tested = test(&decided.candidate.artifact, &prepared, show)?;
    describe_kept(&prepared, decided.recipe.kept, show);
    let report = TrainReport::new(&prepared, &decided, tested, (model, &run), began)?;
    record(&prepared, &sets, &decided, saved, &report)?;
    if let (Some(mut events), Some(first)) = (events, decided.networks.first()) {
        finish_events(&mut events, &first.outcome, &report.test, show);
    }
    let json = serde_json::to_vec_pretty(&report).expect("a report is plain data");
    run.write("report.json", &json)?;
    home.finish(run.path(), &wanted)?;
    Ok(Ended::Finished(Box::new(report)))
}

/// Puts next to the model that was saved how it was made, and what it is worth.
fn record(
    prepared: &Prepared,
    sets: &Sets,
    decided: &Decided,
    saved: Manifest,
    report: &TrainReport,
) -> Result<(), ExperimentError> {
    let Prepared { experiment, dataset, parts, used, .. } = prepared;
    let model = decided.candidate.artifact.clone();
    let manifest = Manifest { test: Some(report.test.summary.clone()), ..model.manifest };
    let tested = Artifact { manifest, ..model };
    let evaluation = evaluation(dataset, report, &sets.summaries(dataset, parts));
    let config = experiment.to_toml_without(&used.kept(report.recipe.kept).unused(experiment));
    let records = Records { config: &config, evaluation: &evaluation };
    Ok(artifact::add_records(&tested, saved, records, &report.model)?)
}
