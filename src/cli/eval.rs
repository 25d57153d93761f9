//! `bayes eval`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::precision::PrecisionFlag;
use super::progress::Display;
use super::tables::{OodFlags, TableFlags};
use super::words::whole;
use super::zero_shot::ZeroShotFlags;
use super::{
    Common, Outcome, beside, model_folder, print, print_json, replace, report, shift, suite,
};
use crate::data::table::Format;
use crate::data::{Suite, locate, refuse_both};
use crate::evaluate::models::{self, Event, evaluate_models};
use crate::evaluate::shift::Damage;
use crate::evaluate::{self, Answers, Comparison, Evaluation, Gate, Page};
use crate::experiment::Progress;
use crate::predict::{Loading, Predictor};

/// Flags of `bayes eval`.
#[derive(Debug, Args)]
pub struct Options {
    /// One or more model folders or Hub ids; the others are compared with the first [default: that
    /// of BAYES_MODEL, else the newest under checkpoints]
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    model: Vec<PathBuf>,
    /// File, folder, built-in data set name or Hub id, or glue or super_glue for all tasks of that suite, each with
    /// the newest model of it or that of --model [default: the data the first model was trained on]
    #[arg(long, value_name = "DATA")]
    dataset: Option<String>,
    /// Which rows to evaluate: train, validation, temperature, conformal, test, or a named split of
    /// the data set [default: test]
    #[arg(long)]
    split: Option<String>,
    /// Evaluate a random sample of this many rows, with the same class proportions and a fixed
    /// seed; 0 = all
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=u64::MAX))]
    limit: Option<usize>,
    /// Target coverage: how often a prediction set should contain the correct label [default: the
    /// coverage the model was calibrated for]
    #[arg(long, value_name = "SHARE", value_parser = coverage)]
    coverage: Option<f64>,
    #[command(flatten)]
    outside: OodFlags,
    /// Evaluate damaged copies of the rows too, each damage by itself: typos=SHARE of the letters,
    /// truncate=WORDS, drop=SHARE of the words; join with `+` what is to be applied together
    #[arg(long, value_name = "DAMAGE", value_delimiter = ',')]
    shift: Vec<Damage>,
    /// Skip the linear bag-of-words baseline fitted on the training rows for comparison
    #[arg(long)]
    no_baseline: bool,
    /// Write the predictions that the report is computed from; without --model, read them from this
    /// file instead
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Write report.json, report.md and report.html to this folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Instead of a report, write the files that the server of GLUE or SuperGLUE takes to this folder: answers to the
    /// rows of a task whose labels are hidden
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["split", "limit", "coverage", "ood", "shift", "no_baseline", "predictions", "report", "fail_if"]
    )]
    submission: Option<PathBuf>,
    /// Exit with status 1 if a metric meets this condition, for example 'ece>0.02' or
    /// 'ood.other-topics.auroc<0.9'
    #[arg(long, value_name = "CONDITION", num_args = 1..)]
    fail_if: Vec<String>,
    #[command(flatten)]
    zero_shot: ZeroShotFlags,
    #[command(flatten)]
    precision: PrecisionFlag,
    #[command(flatten)]
    tables: TableFlags,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let gates: Vec<Gate> =
        options.fail_if.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    gates.iter().try_for_each(Gate::check_absolute)?;
    if let Some(folder) = &options.report {
        replace::check_report("--report", folder)?;
    }
    if let Some(of) = options.dataset.as_deref().and_then(Suite::named) {
        return of_suite(of, options, &gates, common);
    }
    if let Some(folder) = &options.submission {
        return submission(folder, options, common);
    }
    let mut display = Display::new(common.quiet);
    let evaluated = match &options.predictions {
        Some(file) if options.model.is_empty() => from_file(file, options, &mut display)?,
        _ => from_models(options, common, &mut display)?,
    };
    display.finish();
    let answers: Vec<&Answers> = evaluated.iter().map(|one| &one.answers).collect();
    let differences = evaluate::compare(&answers)?;
    let objects: Vec<Value> = evaluated.iter().map(Evaluation::to_json).collect();
    let whole = match objects.as_slice() {
        [one] => one.clone(),
        all => json!({ "models": all, "differences": differences }),
    };
    // Before anything is printed: a file that cannot be written is no success.
    if let Some(file) = options.predictions.as_ref().filter(|_| !options.model.is_empty()) {
        evaluate::write(file, &answers)?;
    }
    if common.json {
        print_json(&whole)?;
    } else {
        print(&tables(&evaluated, &differences))?;
    }
    if let Some(folder) = &options.report {
        let page = Page { evaluations: &evaluated, differences: &differences, about: &[] };
        page.write(folder, &whole)?;
    }
    decide(&gates, &objects)
}

/// The tasks of a suite, each by its model.
fn of_suite(of: Suite, options: &Options, gates: &[Gate], common: &Common) -> Result<Outcome> {
    if Path::new(of.name()).is_file() || locate(of.name()).is_ok() {
        refuse_both(of.name(), None)?;
    }
    let own = [
        ("--split", options.split.is_some()),
        ("--coverage", options.coverage.is_some()),
        ("--ood", !options.outside.ood.is_empty()),
        ("--shift", !options.shift.is_empty()),
        ("--no-baseline", options.no_baseline),
        ("--predictions", options.predictions.is_some()),
        ("--submission", options.submission.is_some()),
        ("--labels", options.zero_shot.labels().is_some()),
    ];
    let own = own.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
    if let Some(flag) = own.chain(options.tables.given()).next() {
        let name = of.name();
        bail!("{flag} is about one data set, and `{name}` is several; name one of its tasks");
    }
    let models = suite::models(of, &options.model)?;
    let precision = options.precision.on(&common.backend()?)?;
    let loading = Loading { precision, ..Loading::default() };
    let limit = options.limit.unwrap_or(0);
    let asked = models::Options { limit, loading, ..models::Options::default() };
    let whole = suite::score(of, &models, (&asked, options.report.as_deref()), common)?;
    decide(gates, &[whole])
}

/// The answers to rows whose labels only a server knows.
fn submission(folder: &Path, options: &Options, common: &Common) -> Result<Outcome> {
    if options.model.len() > 1 {
        bail!("--submission takes the answers of one model; give one with --model");
    }
    let backend = common.backend()?;
    let loading =
        Loading { labels: options.zero_shot.labels(), precision: options.precision.on(&backend)? };
    let model = model_folder(options.model.first().map(PathBuf::as_path))?;
    let predictor = Predictor::load_as(&model, &backend, &loading)?;
    let manifest = &predictor.artifact().manifest;
    let Some(mut config) = models::data_config(options.dataset.as_deref(), manifest) else {
        bail!("`{}` does not record its data; give a task with --dataset", model.display());
    };
    options.tables.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
    for (_, file) in evaluate::submission_files(&config.dataset)? {
        let what = "a file of answers that `bayes` wrote";
        replace::check("--submission", &folder.join(file), what, evaluate::is_submission)?;
    }
    let display = RefCell::new(Display::new(common.quiet));
    let mut said = |remark| display.borrow_mut().show(&Progress::from(&remark));
    let mut work = |done, total| {
        display.borrow_mut().show(&Progress::Work { what: "answering", done, total });
    };
    let files = evaluate::submit(&predictor, &config, folder, &mut said, &mut work)?;
    display.borrow_mut().finish();
    if common.json {
        print_json(&json!({ "files": files }))?;
    } else {
        let lines: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
        print(&lines)?;
    }
    Ok(Outcome::Done)
}

/// From a predictions file, without a model.
fn from_file(file: &Path, options: &Options, display: &mut Display) -> Result<Vec<Evaluation>> {
    if !file.is_file() {
        bail!(
            "predictions file `{}` not found; to create it, give a model with --model",
            file.display()
        );
    }
    let own = [
        ("--dataset", options.dataset.is_some()),
        ("--split", options.split.is_some()),
        ("--limit", options.limit.is_some()),
        ("--coverage", options.coverage.is_some()),
        ("--ood", !options.outside.ood.is_empty()),
        ("--shift", !options.shift.is_empty()),
        ("--no-baseline", options.no_baseline),
        ("--labels", options.zero_shot.labels().is_some()),
    ];
    let own = own.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
    if let Some(flag) = own.chain(options.tables.given()).next() {
        bail!(
            "{flag} applies to rows to be classified, but `{}` already holds predictions; give a \
             model with --model to compute new ones",
            file.display()
        );
    }
    let (all, remarks) = evaluate::read(file)?;
    if all.is_empty() {
        bail!("`{}` contains no predictions", file.display());
    }
    remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
    all.into_iter().map(|answers| Ok(Evaluation::new(answers, None)?)).collect()
}

fn coverage(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number such as 0.95".to_owned())?;
    let possible = (0.5..=0.999).contains(&share);
    possible.then_some(share).ok_or_else(|| "use a number from 0.5 to 0.999".to_owned())
}

fn from_models(
    options: &Options,
    common: &Common,
    display: &mut Display,
) -> Result<Vec<Evaluation>> {
    if let Some(file) = &options.predictions {
        // Now, and not after the work.
        Format::of_output(file)?;
        replace::check("--predictions", file, "a predictions file", |file| {
            evaluate::read(file).is_ok()
        })?;
    }
    let backend = common.backend()?;
    let folders: Vec<PathBuf> = match options.model.as_slice() {
        [] => vec![model_folder(None)?],
        all => all.iter().map(|model| model_folder(Some(model))).collect::<Result<_>>()?,
    };
    let asked = models::Options {
        dataset: options.dataset.clone(),
        overrides: options.tables.overrides(),
        usual_label_map: BTreeMap::new(),
        split: options.split.clone(),
        limit: options.limit.unwrap_or(0),
        coverage: options.coverage,
        ood: options.outside.ood.clone(),
        ood_overrides: options.outside.overrides()?,
        shift: options.shift.clone(),
        no_baseline: options.no_baseline,
        trunk: None,
        loading: Loading {
            labels: options.zero_shot.labels(),
            precision: options.precision.on(&backend)?,
        },
    };
    let mut show = |event: Event| match event {
        Event::Remark(remark) => display.show(&Progress::from(&remark)),
        Event::Work { what, done, total } => display.show(&Progress::Work { what, done, total }),
    };
    Ok(evaluate_models(&folders, &backend, &asked, &mut show)?)
}

fn tables(evaluated: &[Evaluation], differences: &[Comparison]) -> String {
    let [one] = evaluated else {
        return report::comparison(evaluated, differences) + &shift::several(evaluated);
    };
    let table = report::table(&one.report, one.uncalibrated.as_ref());
    let shift = shift::tables(one);
    let beside = |baseline| beside::table(baseline, &one.report.summary);
    let baseline = one.baseline.as_ref().map_or(String::new(), beside);
    let splits = one.hygiene.as_ref().map_or(String::new(), report::hygiene);
    format!("\n{}\n\n{table}{shift}{baseline}{splits}", report::heading(one))
}

/// Whether a condition is met for one of the models.
fn decide(gates: &[Gate], objects: &[Value]) -> Result<Outcome> {
    let mut outcome = Outcome::Done;
    for object in objects {
        for gate in gates {
            if let Some(why) = gate.met(object)? {
                let model = object["model"].as_str();
                let model = model.map_or(String::new(), |model| format!("{model}: "));
                super::note(&format!("failed: {model}{why}"))?;
                outcome = Outcome::No;
            }
        }
    }
    Ok(outcome)
}
