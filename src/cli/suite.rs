//! `--suite` of `bayes train`, and a suite as the `--dataset` of `bayes eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Error, Result, bail};
use serde_json::{Value, to_string_pretty, to_value};

use super::models::of_environment;
use super::progress::Display;
use super::words::filled;
use super::{CHECKPOINTS, Common, model_folder, note, print, print_json};
use crate::data::{DataError, Known, Role, Suite, obtain};
use crate::evaluate::models::{Event, Options};
use crate::evaluate::{
    REPORT_FILES, REPORT_TITLE, SuiteReport, TaskReport, evaluate_suite, render, score_title,
    task_of,
};
use crate::experiment::{Experiment, Progress};
use crate::metrics::Interval;
use crate::publish::Push;
use crate::store::write_atomically;

/// The tasks of a suite that models are trained for.
pub(super) fn trained(suite: Suite) -> impl Iterator<Item = &'static Known> {
    suite.tasks().filter(|known| known.role == Role::Own)
}

/// The experiment of a task.
pub(super) fn of_task(experiment: &Experiment, task: &Known) -> Experiment {
    let short = task.name.rsplit('/').next().unwrap_or(task.name);
    let mut own = experiment.clone();
    own.name = format!("{}-{short}", experiment.name);
    own.data.dataset = task.name.to_owned();
    own
}

/// Refuses what cannot be meant for all tasks.
pub(super) fn check(experiment: &Experiment) -> Result<()> {
    let data = &experiment.data;
    let keys = [
        ("text_column", !data.text_column.is_empty()),
        ("text_pair_column", !data.text_pair_column.is_empty()),
        ("label_column", !data.label_column.is_empty()),
        ("label_map", !data.label_map.is_empty()),
        ("ood_label", !data.ood_label.is_empty()),
        ("unlabelled", !data.unlabelled.is_empty()),
    ];
    if let Some((key, _)) = keys.into_iter().find(|(_, given)| *given) {
        bail!("`data.{key}` is about one data set, and --suite trains several; remove it");
    }
    if experiment.publish.push != Push::Never {
        bail!(
            "--suite trains several models; publish them one by one, with `bayes publish --model`"
        );
    }
    Ok(())
}

/// Why the data of a task are not to be had, where that is so.
pub(super) fn absent(task: &Known) -> Option<String> {
    match obtain(task.name) {
        Err(error @ DataError::NotFetched { .. }) => Some(format!("{:#}", Error::from(error))),
        _ => None,
    }
}

/// A model of each task: those that are given, that of the environment, or the newest ones, which are named.
pub(super) fn models(suite: Suite, given: &[PathBuf]) -> Result<Vec<(&'static Known, PathBuf)>> {
    let models = match (given, of_environment()?) {
        ([], None) => newest(suite)?,
        ([], Some(own)) => named(suite, &[own])?,
        (given, _) => return named(suite, given),
    };
    for (known, folder) in &models {
        note(&format!("model: {} ({})", folder.display(), known.name))?;
    }
    Ok(models)
}

/// Scores models, each on its task; prints the table, and writes it to a folder where there is one. Gives what `--json`
/// prints.
///
/// # Errors
/// A model has no score on its task, which is said behind the table.
pub(super) fn score(
    suite: Suite,
    models: &[(&'static Known, PathBuf)],
    (asked, folder): (&Options, Option<&Path>),
    common: &Common,
) -> Result<Value> {
    let backend = common.backend()?;
    let mut display = Display::new(common.quiet);
    let mut show = |event: Event| match event {
        Event::Remark(remark) => display.show(&Progress::from(&remark)),
        Event::Work { what, done, total } => display.show(&Progress::Work { what, done, total }),
    };
    let report = evaluate_suite(suite, models, &backend, asked, &mut show);
    display.finish();
    let whole = to_value(&report)?;
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
        let [json, markdown, html] = REPORT_FILES.map(|name| folder.join(name));
        write_atomically(&json, (to_string_pretty(&whole)? + "\n").as_bytes())?;
        render(REPORT_TITLE, &report.blocks(), &markdown, &html)?;
    }
    match common.json {
        true => print_json(&whole)?,
        false => print(&text(&report))?,
    }
    let failed = |(known, _): &&(&'static Known, PathBuf)| {
        !report.tasks.iter().any(|task| task.task == known.name)
    };
    let failed: Vec<&str> = models.iter().filter(failed).map(|(known, _)| known.name).collect();
    if !failed.is_empty() {
        bail!("no score of {}; the warnings above say why", failed.join(", "));
    }
    Ok(whole)
}

/// Models by the task that each was trained for.
fn named(suite: Suite, given: &[PathBuf]) -> Result<Vec<(&'static Known, PathBuf)>> {
    let mut models: BTreeMap<&str, (&'static Known, PathBuf)> = BTreeMap::new();
    for given in given {
        let folder = model_folder(Some(given))?;
        let Some(known) = task_of(suite, &folder)? else {
            bail!(
                "`{}` was trained for no task of {}; evaluate it with the name of a task, such as `--dataset {}`",
                given.display(),
                suite.title(),
                trained(suite).next().map_or("", |known| known.name)
            );
        };
        if let Some((_, other)) = models.insert(known.name, (known, folder)) {
            let (name, given) = (known.name, given.display());
            bail!(
                "`{}` and `{given}` are both models of `{name}`; give one of them",
                other.display()
            );
        }
    }
    Ok(models.into_values().collect())
}

/// The newest model of each task under the checkpoints.
fn newest(suite: Suite) -> Result<Vec<(&'static Known, PathBuf)>> {
    let mut models: BTreeMap<&str, (SystemTime, &'static Known, PathBuf)> = BTreeMap::new();
    for entry in std::fs::read_dir(CHECKPOINTS).into_iter().flatten().flatten() {
        let folder = entry.path().join("model");
        let manifest = folder.join("bayes").join("manifest.json");
        let Ok(written) = std::fs::metadata(manifest).and_then(|file| file.modified()) else {
            continue;
        };
        let known = task_of(suite, &folder).unwrap_or_else(|error| {
            tracing::warn!("`{}` is passed over: {:#}", folder.display(), Error::from(error));
            None
        });
        let Some(known) = known else { continue };
        let newer = models.get(known.name).is_none_or(|(before, _, _)| *before < written);
        if newer {
            models.insert(known.name, (written, known, folder));
        }
    }
    if models.is_empty() {
        bail!(
            "there is no model of a task of {} under `{CHECKPOINTS}`; train some with `bayes train --suite {}`, or \
             give models with --model",
            suite.title(),
            suite.name()
        );
    }
    Ok(models.into_values().map(|(_, known, folder)| (known, folder)).collect())
}

fn text(report: &SuiteReport) -> String {
    let mut text = format!(
        "\n{:<22}{:>9}{:>9}{:>9}{:>9}{:>9}\n",
        "", "score", "accuracy", "NLL", "ECE", "floor"
    );
    for task in &report.tasks {
        let TaskReport { task: name, score, accuracy, nll, ece, .. } = task;
        text += &format!(
            "{name:<22}{score:>9.4}{:>9.4}{:>9.4}{:>9.4}{:>9.4}\n",
            accuracy.value, nll.value, ece.value, ece.floor
        );
        let score = |(key, one): (&&str, &Interval)| {
            format!("{} {:.4} ({:.4} to {:.4})", score_title(key), one.value, one.low, one.high)
        };
        let scores: Vec<String> = task.scores.iter().map(score).collect();
        text += &filled("  ", "  ", &scores.join(", "));
        if let Some(seen) = task.seen.filter(|seen| *seen > 0) {
            text += &format!(
                "  {seen} of the {} rows were also seen in training or calibration\n",
                task.rows
            );
        }
    }
    if let Some(average) = report.average {
        let of = format!("average {average:.4}, of {}", report.of_the_average());
        text += &format!("\n{}", filled("", "", &of));
    }
    text
}
