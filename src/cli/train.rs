//! `bayes train`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::Args;

use super::progress::Display;
use super::publish::{memory, send, usual_message};
use super::summary::{finished_text, write_report};
use super::words::filled;
use super::written::ExperimentFlags;
use super::{
    CHECKPOINTS, Common, Outcome, RUNS, note, print, print_json, print_raw, replace, stop, suite,
};
use crate::data::Suite;
use crate::evaluate::{REPORT_FILES, models};
use crate::experiment::{self, Ended, Experiment, Plan, Progress, Resume, RunContext};
use crate::numbers::grouped;
use crate::publish::{Message, Push, Pusher, whole};
use crate::store;

/// Flags of `bayes train`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    experiment: ExperimentFlags,
    /// Train a model for each task of a suite of benchmarks, glue or super_glue, one after another, and show them in one
    /// table; stopped, it goes on where it was
    #[arg(long, value_name = "SUITE", conflicts_with = "data", value_parser = suite_of)]
    suite: Option<Suite>,
    /// Resume an interrupted run: auto, never, or a checkpoint folder
    #[arg(long, default_value = "auto", value_name = "auto|never|PATH", value_parser = resume)]
    resume: Resume,
    /// Also write the report (report.json, report.md, report.html) to this folder, in addition to
    /// the run folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Check everything and show what would be done, without training
    #[arg(long)]
    dry_run: bool,
    /// Print the full experiment configuration, with every key resolved
    #[arg(long)]
    print_config: bool,
}

impl Options {
    /// Flags that say something of what is not done. `json` is the flag of that name.
    fn idle(&self, json: bool) -> Option<String> {
        let why = match (self.print_config, self.dry_run) {
            (true, _) => "`--print-config` only prints the config",
            (false, true) => "`--dry-run` only shows what would be done",
            (false, false) => return None,
        };
        let flags = [
            ("--dry-run", self.dry_run && self.print_config),
            ("--json", json && self.print_config),
            ("--report", self.report.is_some()),
            ("--resume", self.resume != Resume::Auto),
        ];
        let flags: Vec<&str> =
            flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect();
        let have = if flags.len() == 1 { "has" } else { "have" };
        (!flags.is_empty()).then(|| format!("{} {have} no effect: {why}", flags.join(", ")))
    }
}

/// What was printed at the end, in the run folder.
const REPORT: &str = "report.txt";

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let experiment = match options.suite {
        Some(of) => options.experiment.of_suite(of)?,
        None => options.experiment.experiment()?,
    };
    if let Some(idle) = options.idle(common.json) {
        note(&format!("warning: {idle}"))?;
    }
    if options.print_config {
        match options.suite {
            None => print(&experiment.to_toml_with_unset())?,
            Some(of) => {
                suite::check(&experiment)?;
                for task in suite::trained(of) {
                    let own = suite::of_task(&experiment, task).to_toml_with_unset();
                    print(&format!("# The config of `{}`.\n{own}\n", task.name))?;
                }
            }
        }
        return Ok(Outcome::Done);
    }
    if let (Some(folder), false) = (&options.report, options.dry_run) {
        replace::check_report("--report", folder)?;
    }
    match options.suite {
        Some(of) => run_suite(of, &experiment, options, common),
        None if options.dry_run => {
            let plan = plan(&experiment, common)?;
            if common.json { print_json(&plan) } else { print(&plan_text(&plan)) }
                .map(|()| Outcome::Done)
        }
        None => match train(&experiment, options, (stop::listen()?, true), common)? {
            Some(_) => Ok(Outcome::Done),
            None => Ok(Outcome::Interrupted),
        },
    }
}

/// What a run would do, with what there is to say of it.
fn plan(experiment: &Experiment, common: &Common) -> Result<Plan> {
    let plan = experiment::plan(experiment, Path::new(CHECKPOINTS))?;
    if let Some(missing) = &plan.missing {
        note(&format!("warning: {missing}"))?;
    }
    let mut display = Display::new(common.quiet);
    plan.remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
    Ok(plan)
}

/// A model for each task of a suite, and all of them in one table.
fn run_suite(
    of: Suite,
    experiment: &Experiment,
    options: &Options,
    common: &Common,
) -> Result<Outcome> {
    suite::check(experiment)?;
    if matches!(options.resume, Resume::From(_)) {
        bail!("--suite resumes each of its runs by itself; leave the folder of --resume out");
    }
    let stop = stop::listen()?;
    let (mut trained, mut plans, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for task in suite::trained(of) {
        if let Some(why) = suite::absent(task) {
            note(&format!("warning: `{}` is left out: {why}", task.name))?;
            continue;
        }
        let own = suite::of_task(experiment, task);
        note(&format!("suite: {}", task.name))?;
        // A task that fails does not keep the others from being trained.
        let mut fails = |error: anyhow::Error| {
            failed.push(task.name);
            note(&format!("warning: `{}` failed: {error:#}", task.name))
        };
        match options.dry_run {
            true => match plan(&own, common) {
                Ok(plan) => plans.push(plan),
                Err(error) => fails(error)?,
            },
            false => match train(&own, options, (stop, false), common) {
                Ok(Some(model)) => trained.push((task, model)),
                Ok(None) => return Ok(Outcome::Interrupted),
                Err(error) => fails(error)?,
            },
        }
    }
    if trained.is_empty() && plans.is_empty() && failed.is_empty() {
        bail!("no task of {} is on this machine, and none could be downloaded", of.title());
    }
    match (options.dry_run, common.json) {
        (true, true) => print_json(&plans)?,
        (true, false) => plans.iter().try_for_each(|plan| print(&(plan_text(plan) + "\n")))?,
        (false, _) if trained.is_empty() => {}
        (false, _) => {
            let asked = (&models::Options::default(), options.report.as_deref());
            suite::score(of, &trained, asked, common)?;
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} failed; the warnings above say why, and the same command goes on",
            failed.join(", ")
        );
    }
    Ok(Outcome::Done)
}

/// Trains a model, and prints its report where that is the whole command; `None` if it was stopped.
fn train(
    experiment: &Experiment,
    options: &Options,
    (stop, alone): (&AtomicBool, bool),
    common: &Common,
) -> Result<Option<PathBuf>> {
    let report = options.report.as_deref().filter(|_| alone);
    let backend = common.backend()?;
    let mut display = Display::new(common.quiet);
    let push = experiment.publish.push;
    let pusher = (push == Push::EverySave)
        .then(|| Pusher::start(experiment.publish.clone(), RUNS.into(), memory()));
    let context = RunContext {
        device: &backend,
        checkpoints: Path::new(CHECKPOINTS),
        runs: Path::new(RUNS),
        stop,
        resume: options.resume.clone(),
        first: None,
        saved: &|folder, step| {
            if let Some(pusher) = &pusher {
                pusher.offer(folder, step);
            }
        },
    };
    let ended = experiment::train(experiment, &context, &mut |progress| {
        stop::hear(&progress);
        for message in pusher.iter().flat_map(Pusher::messages) {
            display.show(&pushed(message));
        }
        display.show(&progress);
    });
    display.finish();
    let model = match ended? {
        Ended::Finished(finished) => {
            let text = finished_text(&finished);
            store::write_atomically(&finished.run.join(REPORT), text.as_bytes())?;
            write_report(&finished, &finished.run)?;
            if let Some(folder) = report {
                write_report(&finished, folder)?;
            }
            for message in pusher.into_iter().flat_map(Pusher::finish) {
                display.show(&pushed(message));
            }
            if push != Push::Never {
                display.show(&pushed(push_model(experiment, &finished.model)));
            }
            match (alone, common.json) {
                (false, _) => {}
                (true, true) => print_json(&finished)?,
                (true, false) => print(&text)?,
            }
            finished.model
        }
        Ended::Already { model, run } => {
            copy_report(&run, report)?;
            if !alone {
                note("this run is already finished")?;
            } else if common.json {
                print_raw(&std::fs::read_to_string(run.join("report.json"))?)?;
            } else {
                note("this run is already finished; to start over, use `--resume never`")?;
                let text = std::fs::read_to_string(run.join(REPORT));
                // The process may have ended between the model and its report.
                print(&text.unwrap_or_else(|_| format!("Model  {}\n", model.display())))?;
            }
            model
        }
        Ended::Interrupted { steps, checkpoint } => {
            print(&interrupted_text(steps, checkpoint.as_deref()))?;
            return Ok(None);
        }
    };
    Ok(Some(model))
}

/// The report of a run that was finished before, as far as it is there.
fn copy_report(run: &Path, folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    for name in REPORT_FILES {
        let path = run.join(name);
        if path.is_file() {
            store::write_atomically(&folder.join(name), &std::fs::read(path)?)?;
        }
    }
    Ok(())
}

/// A failed push is no reason to stop: the model is on the disk.
fn pushed(message: Message) -> Progress<'static> {
    match message {
        Message::Pushed(text) => Progress::Note(text),
        Message::Failed(text) => Progress::Warning(text),
    }
}

/// The finished model, with its whole card.
fn push_model(experiment: &Experiment, model: &Path) -> Message {
    let config = &experiment.publish;
    let push = || -> Result<String> {
        let (target, files) = whole(model, Path::new(RUNS), config, usual_message())?;
        Ok(send(&target, &files)?.url)
    };
    match push() {
        Ok(url) => Message::Pushed(format!("the model was pushed to {url}")),
        Err(error) => Message::Failed(format!(
            "the model was not pushed: {error:#}; to try again, run `bayes publish --model {} \
             --repo {}`",
            model.display(),
            config.repo
        )),
    }
}

fn suite_of(written: &str) -> Result<Suite, String> {
    Suite::named(written).ok_or_else(|| "expected glue or super_glue".to_owned())
}

fn resume(written: &str) -> Result<Resume, std::convert::Infallible> {
    Ok(match written {
        "auto" => Resume::Auto,
        "never" => Resume::Never,
        path => Resume::From(PathBuf::from(path)),
    })
}

fn interrupted_text(steps: u64, checkpoint: Option<&Path>) -> String {
    let Some(checkpoint) = checkpoint.map(Path::display) else {
        return format!(
            "Interrupted after {steps} steps; to resume, run the same command again.\n"
        );
    };
    format!(
        "Interrupted after {steps} steps; progress saved to\n  {checkpoint}\nTo resume, run the \
         same command again.\nTo evaluate it:  bayes eval --model {checkpoint}\n"
    )
}

fn plan_text(plan: &Plan) -> String {
    let parts: Vec<String> =
        plan.parts.iter().map(|(name, rows)| format!("{name} {}", grouped(*rows as u64))).collect();
    let labels = if plan.labels.len() > 8 {
        format!("{} classes", plan.labels.len())
    } else {
        plan.labels.join(", ")
    };
    let columns = if plan.columns.is_empty() {
        String::new()
    } else {
        format!("columns     {}\n", plan.columns)
    };
    let written = if plan.written.is_empty() {
        String::new()
    } else {
        filled("format      ", "            ", &plan.written)
    };
    let outside = plan.out_of_scope.iter();
    let outside: Vec<String> =
        outside.map(|(split, rows)| format!("{split} {}", grouped(*rows as u64))).collect();
    let outside = match outside.is_empty() {
        true => String::new(),
        false => format!("no class    {} (they train nothing)\n", outside.join(", ")),
    };
    format!(
        "experiment  {}\ndata        {}\n{columns}{written}labels      {labels}\nrows        {}\n{outside}\
         parameters  {}\nsteps       {}\nmodel       {}\n",
        plan.name,
        plan.dataset,
        parts.join(", "),
        plan.parameters.map_or("not known yet".to_owned(), |number| grouped(number as u64)),
        grouped(plan.steps),
        plan.model.display()
    )
}
