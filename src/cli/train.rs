//! `bayes train`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Args;

use super::progress::{Display, grouped};
use super::publish::{memory, send, usual_message};
use super::summary::{finished_text, write_report};
use super::tables::TableFlags;
use super::words::filled;
use super::{CHECKPOINTS, Common, Outcome, RUNS, note, print, print_json, print_raw};
use crate::experiment::{
    self, CLASSIFY, Ended, Experiment, ExperimentError, Plan, Progress, QUICK_START, Resume,
    Surroundings,
};
use crate::model::{FROM_SCRATCH, SIZES};
use crate::publish::{Message, Push, Pusher, whole};
use crate::store;

/// Flags of `bayes train`.
#[derive(Debug, Args)]
pub struct Options {
    /// A file, folder, known name or Hub id; without it and --config, the quick start
    data: Option<String>,
    /// The experiment file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The encoder to begin with: a folder or Hub id, or none for a new one [default: for your own
    /// data sentence-transformers/all-MiniLM-L6-v2]
    #[arg(long, value_name = "ID|DIR|none")]
    init: Option<String>,
    /// Override a key of the experiment, such as train.seed=7
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Go on with a run that was left: auto, never, or the folder of a checkpoint
    #[arg(long, default_value = "auto", value_name = "auto|never|PATH", value_parser = resume)]
    resume: Resume,
    /// Write the report (report.json, report.md, report.html) there too, beside the run folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Check everything and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print the experiment with every key resolved
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    tables: TableFlags,
}

/// What was printed at the end, in the run folder.
const REPORT: &str = "report.txt";

/// Raised by Ctrl-C and SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether the training loop runs, which looks at `STOP` after each step.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Runs the command.
pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let experiment = experiment(options)?;
    if options.print_config {
        print(&experiment.to_toml_with_unset())?;
        return Ok(Outcome::Done);
    }
    if options.dry_run {
        let plan = experiment::plan(&experiment, Path::new(CHECKPOINTS))?;
        if let Some(missing) = &plan.missing {
            note(&format!("warning: {missing}"))?;
        }
        let mut display = Display::new(common.quiet);
        plan.remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
        return if common.json { print_json(&plan) } else { print(&plan_text(&plan)) }
            .map(|()| Outcome::Done);
    }
    let selected = common.device()?;
    ctrlc::set_handler(|| {
        // Outside the loop there is nothing to save, and at the second time nobody waits for it: every
        // file and folder appears whole or not at all.
        if STOP.swap(true, Ordering::Relaxed) || !LISTENING.load(Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    let mut display = Display::new(common.quiet);
    let push = experiment.publish.push;
    let pusher = (push == Push::EverySave)
        .then(|| Pusher::start(experiment.publish.clone(), RUNS.into(), memory()));
    let surroundings = Surroundings {
        device: &selected.device,
        checkpoints: Path::new(CHECKPOINTS),
        runs: Path::new(RUNS),
        stop: &STOP,
        resume: options.resume.clone(),
        saved: &|folder, step| {
            if let Some(pusher) = &pusher {
                pusher.offer(folder, step);
            }
        },
    };
    let ended = experiment::train(&experiment, &surroundings, &mut |progress| {
        LISTENING.store(matches!(progress, Progress::Train(_)), Ordering::Relaxed);
        for message in pusher.iter().flat_map(Pusher::messages) {
            display.show(&pushed(message));
        }
        display.show(&progress);
    });
    display.finish();
    match ended? {
        Ended::Finished(finished) => {
            let text = finished_text(&finished);
            store::write_atomically(&finished.run.join(REPORT), text.as_bytes())?;
            write_report(&finished, &finished.run)?;
            if let Some(folder) = &options.report {
                write_report(&finished, folder)?;
            }
            for message in pusher.into_iter().flat_map(Pusher::finish) {
                display.show(&pushed(message));
            }
            if push != Push::Never {
                display.show(&pushed(push_model(&experiment, &finished.model)));
            }
            if common.json { print_json(&finished)? } else { print(&text)? }
        }
        Ended::Already { run, .. } if common.json => {
            copy_report(&run, options.report.as_deref())?;
            print_raw(&std::fs::read_to_string(run.join("report.json"))?)?;
        }
        Ended::Already { model, run } => {
            note("this run is finished; start it anew with `--resume never`")?;
            copy_report(&run, options.report.as_deref())?;
            let text = std::fs::read_to_string(run.join(REPORT));
            // The process may have ended between the model and its report.
            print(&text.unwrap_or_else(|_| format!("Model  {}\n", model.display())))?;
        }
        Ended::Interrupted { steps, checkpoint } => {
            print(&interrupted_text(steps, checkpoint.as_deref()))?;
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Done)
}

/// The report of a run that was finished before, as far as it is there.
fn copy_report(run: &Path, folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    for name in ["report.json", "report.md", "report.html"] {
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
            "the model was not pushed: {error:#}; try again with `bayes publish --model {} --repo {}`",
            model.display(),
            config.repo
        )),
    }
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
        return format!("Interrupted after {steps} steps; the same command goes on from there.\n");
    };
    format!(
        "Interrupted after {steps} steps, which are saved in\n  {checkpoint}\n\
         Go on: give the same command again.\n\
         Look at it:  bayes eval --model {checkpoint}\n"
    )
}

/// The experiment that the flags describe.
fn experiment(options: &Options) -> Result<Experiment, ExperimentError> {
    let mut settings = Vec::new();
    if let Some(data) = &options.data {
        if options.config.is_none() {
            settings.push(format!("name={}", name_of(data)));
        }
        // Quoted, since names of files may begin with a quote or a space.
        settings.push(format!("data.dataset={}", toml::Value::String(data.clone())));
    }
    settings.extend(options.init.iter().map(|init| format!("model.init={init}")));
    settings.extend(options.settings.iter().cloned());
    let mut experiment = written(options, settings)?;
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    options.tables.overrides().apply(&mut experiment.data).map_err(refuse)?;
    Ok(experiment)
}

/// The experiment that the config and the settings describe, or one of the built-in recipes.
fn written(options: &Options, mut settings: Vec<String>) -> Result<Experiment, ExperimentError> {
    if let Some(path) = &options.config {
        return Experiment::read(path, &settings);
    }
    let own = options.data.as_deref().is_some_and(|data| data != "reviews");
    let encoder = init(&settings).is_some_and(|init| init != FROM_SCRATCH);
    let new = init(&settings).is_some() || SIZES.iter().any(|key| sets(&settings, key));
    if encoder || (own && !new) {
        if !own {
            settings.insert(0, "data.dataset=reviews".to_owned());
        }
        return Experiment::parse(CLASSIFY, "the recipe for your own data", &settings);
    }
    if own {
        settings.insert(0, "data.max_length=256".to_owned());
    }
    Experiment::parse(QUICK_START, "the quick start", &settings)
}

/// What an experiment on these data is called: by their file or folder. Letters that no name of a folder
/// should have become `-`, and then a few digits of a hash tell `评论` from `数据`.
fn name_of(data: &str) -> String {
    let path = Path::new(data);
    let real = if path.is_dir() { path.canonicalize().ok() } else { None };
    let path = real.as_deref().unwrap_or(path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix(".csv").or(stem.strip_suffix(".tsv")).unwrap_or(&stem);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    if stem.is_ascii() && name.contains(|c: char| c.is_ascii_alphanumeric()) {
        return name;
    }
    let digits = store::sha256(stem.as_bytes());
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "data" } else { name };
    format!("{name}-{}", &digits[..6])
}

/// The encoder that settings name last.
fn init(settings: &[String]) -> Option<&str> {
    let value = |setting: &'_ String| Some(setting.split_once('=')?.0.trim() == "model.init");
    let named = settings.iter().rfind(|setting| value(setting) == Some(true))?;
    named.split_once('=').map(|(_, init)| init.trim().trim_matches('"'))
}

/// Whether settings name a key of `[model]`.
fn sets(settings: &[String], key: &str) -> bool {
    let name = |setting: &String| setting.split_once('=').map(|(name, _)| name.trim().to_owned());
    settings.iter().any(|setting| name(setting) == Some(format!("model.{key}")))
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
        filled("files       ", "            ", &plan.written)
    };
    format!(
        "experiment  {}\ndata        {}\n{columns}{written}labels      {labels}\nrows        {}\n\
         parameters  {}\nsteps       {}\nmodel       {}\n",
        plan.name,
        plan.dataset,
        parts.join(", "),
        plan.parameters.map_or("not known yet".to_owned(), |number| grouped(number as u64)),
        grouped(plan.steps),
        plan.model.display()
    )
}
