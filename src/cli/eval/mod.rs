//! `bayes eval`.

mod asked;
mod baseline;
mod outside;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::progress::Display;
use super::tables::TableFlags;
use super::{Common, Outcome, beside, model_folder, print, print_json, report};
use crate::artifact::{self, Manifest};
use crate::data::table::Format;
use crate::data::{DataConfig, Dataset};
use crate::evaluate::{
    self, Answers, Comparison, Evaluation, Gate, Hygiene, Origin, OriginError, Page, Rival,
    own_parts,
};
use crate::experiment::Progress;
use crate::predict::Predictor;
use asked::Asked;
use outside::Outside;

/// Flags of `bayes eval`.
#[derive(Debug, Args)]
pub struct Options {
    /// One or more model folders or Hub ids; the others are compared with the first [default: the
    /// newest model under checkpoints]
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    model: Vec<PathBuf>,
    /// File, folder, built-in data set name or Hub id [default: the data the first model was
    /// trained on]
    #[arg(long, value_name = "DATA")]
    dataset: Option<String>,
    /// Which rows to evaluate: train, validation, temperature, conformal, test, or a named split of
    /// the data set [default: test]
    #[arg(long)]
    split: Option<String>,
    /// Evaluate a random sample of this many rows, with the same class proportions and a fixed
    /// seed; 0 = all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Target coverage: how often a prediction set should contain the correct label [default: the
    /// coverage the model was calibrated for]
    #[arg(long, value_name = "SHARE", value_parser = coverage)]
    coverage: Option<f64>,
    /// Out-of-distribution texts, which belong to none of the classes: a file, folder, built-in
    /// data set name or Hub id, or `other-topics` for generated texts
    #[arg(long, value_name = "DATA", num_args = 1..)]
    ood: Vec<String>,
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
    /// Exit with status 1 if a metric meets this condition, for example 'ece>0.02' or
    /// 'ood.other-topics.auroc<0.9'
    #[arg(long, value_name = "CONDITION", num_args = 1..)]
    fail_if: Vec<String>,
    #[command(flatten)]
    tables: TableFlags,
}

/// The rows to look at.
pub(super) struct Chosen {
    pub(super) rows: Vec<usize>,
    pub(super) split: String,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let gates: Vec<Gate> =
        options.fail_if.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
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
    if common.json {
        print_json(&whole)?;
    } else {
        print(&tables(&evaluated, &differences))?;
    }
    if let Some(file) = options.predictions.as_ref().filter(|_| !options.model.is_empty()) {
        evaluate::write(file, &answers)?;
    }
    if let Some(folder) = &options.report {
        let page = Page { evaluations: &evaluated, differences: &differences, about: &[] };
        page.write(folder, &whole)?;
    }
    decide(&gates, &objects)
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
        ("--ood", !options.ood.is_empty()),
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
    let named: Vec<Option<&Path>> = match options.model.as_slice() {
        [] => vec![None],
        all => all.iter().map(|model| Some(model.as_path())).collect(),
    };
    if let Some(file) = &options.predictions {
        // Now, and not after the work.
        Format::of_output(file)?;
    }
    let selected = common.device()?;
    let mut outside: Option<Vec<Outside>> = None;
    let mut asked: Option<Asked> = None;
    let mut rival: Option<Rival> = None;
    let mut evaluated: Vec<Evaluation> = Vec::new();
    for named in named {
        let folder = model_folder(named)?;
        let mut artifact = artifact::load(&folder, &selected.device)?;
        if let Some(coverage) = options.coverage {
            artifact.calibration.alphas = vec![1.0 - coverage];
        }
        let predictor = Predictor::new(artifact)?;
        let manifest = &predictor.artifact().manifest;
        let outside = match &mut outside {
            Some(outside) => outside,
            none => none.insert(open_outside(&options.ood, manifest, display)?),
        };
        let checked = evaluated.first().map(|first| &first.answers.labels);
        for source in outside.iter().filter(|_| checked != Some(&manifest.labels)) {
            warn(source.check_labels(manifest)?, display);
        }
        let asked = match &mut asked {
            Some(asked) => asked,
            none => none.insert(Asked::new(options, &predictor, &folder, display)?),
        };
        asked.check_names(outside)?;
        warn(asked.read_unlike(&folder, manifest), display);
        let model = folder.display().to_string();
        if evaluated.iter().any(|one| one.answers.model == model) {
            bail!("`{model}` is given twice");
        }
        let origin = Origin::of(manifest, Some((&asked.config, &asked.dataset)));
        let seen = origin.as_ref().map_err(OriginError::clone);
        let seen = seen.and_then(|origin| origin.seen(&asked.examples()));
        if let Err(why) = &seen {
            display.show(&Progress::Warning(format!(
                "it is unknown which of these rows were used to train or calibrate the model: {why}"
            )));
        }
        if evaluated.is_empty() && !outside.is_empty() {
            let mut known = asked.keys();
            known.extend(origin.iter().flat_map(Origin::keys));
            for source in outside.iter() {
                warn(source.check_texts(&known)?, display);
            }
        }
        let seen = seen.ok();
        let known = seen.as_deref().unwrap_or_default();
        let answers = asked.ask(&predictor, known, outside, display)?;
        let answers = Answers { model, ..answers };
        let hygiene = Hygiene::new(&asked.examples(), seen.map(|seen| seen.len()), manifest);
        if evaluated.is_empty() && !options.no_baseline {
            rival = fitted(asked, manifest, &origin, &answers, display)?;
        }
        let baseline = rival.as_ref().map(|rival| rival.beside(&answers)).transpose()?;
        let evaluation = Evaluation::new(answers, Some(hygiene))?;
        evaluated.push(Evaluation { baseline: baseline.flatten(), ..evaluation });
    }
    Ok(evaluated)
}

fn open_outside(
    names: &[String],
    manifest: &Manifest,
    display: &mut Display,
) -> Result<Vec<Outside>> {
    let mut outside: Vec<Outside> = Vec::new();
    for name in names {
        let source = Outside::open(name, manifest)?;
        if outside.iter().any(|other| other.name == source.name) {
            bail!("two --ood data sets are called `{}`; rename one", source.name);
        }
        source.remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
        outside.push(source);
    }
    Ok(outside)
}

fn warn(said: Option<String>, display: &mut Display) {
    if let Some(text) = said {
        display.show(&Progress::Warning(text));
    }
}

/// The classifier that all models are set beside, or a line that says why there is none.
fn fitted(
    asked: &Asked,
    manifest: &Manifest,
    origin: &Result<Origin<'_>, OriginError>,
    answers: &Answers,
    display: &mut Display,
) -> Result<Option<Rival>> {
    let mut show = |done| display.show(&Progress::Work { what: "baseline", done, total: 1 });
    show(0);
    let rival = baseline::rival(asked, manifest, origin, answers)?;
    show(1);
    match rival {
        Ok(rival) => Ok(Some(rival)),
        Err(why) => {
            display.show(&Progress::Note(format!("skipping the baseline: {why}")));
            Ok(None)
        }
    }
}

fn tables(evaluated: &[Evaluation], differences: &[Comparison]) -> String {
    let [one] = evaluated else { return report::comparison(evaluated, differences) };
    let table = report::table(&one.report, one.uncalibrated.as_ref());
    let beside = |baseline| beside::table(baseline, &one.report.summary);
    let baseline = one.baseline.as_ref().map_or(String::new(), beside);
    let splits = one.hygiene.as_ref().map_or(String::new(), report::hygiene);
    format!("\n{}\n\n{table}{baseline}{splits}", report::heading(one))
}

/// Whether a condition is met for one of the models.
fn decide(gates: &[Gate], objects: &[Value]) -> Result<Outcome> {
    let mut outcome = Outcome::Done;
    for object in objects {
        for gate in gates {
            if let Some(why) = gate.met(object)? {
                let model = object["model"].as_str().unwrap_or_default();
                super::note(&format!("failed: {model}: {why}"))?;
                outcome = Outcome::No;
            }
        }
    }
    Ok(outcome)
}

/// The data set that was named, or the one that the model was trained on, if that is known; with all of
/// its rows, however many the training looked at: `--limit` says how many are wanted now.
pub(super) fn data_config(named: Option<&str>, manifest: &Manifest) -> Option<DataConfig> {
    let config = match (named, &manifest.data) {
        (Some(dataset), Some(data)) if *dataset == data.dataset => data.clone().unlimited(),
        (Some(dataset), Some(data)) => data.like(dataset),
        (Some(dataset), None) => {
            DataConfig { dataset: dataset.to_owned(), ..DataConfig::default() }
        }
        (None, data) => data.clone()?.unlimited(),
    };
    Some(DataConfig { model_labels: manifest.labels.clone(), ..config })
}

/// On the data that the model was trained on the parts are those of the training; else a split of
/// the data set, or all of it where there is only one.
pub(super) fn choose(
    dataset: &Dataset,
    config: &DataConfig,
    split: &str,
    manifest: &Manifest,
) -> Result<Chosen> {
    if asked::is_of(config, manifest) {
        let parts = own_parts(manifest, dataset, config)?;
        if let Some(part) = parts.get(split) {
            if part.rows.is_empty() {
                bail!(
                    "the model has no `{split}` split: those rows trained the last layer, and each \
                     was scored by a last layer that had not seen it (cross-fitting); see the \
                     run's report for the figures"
                );
            }
            return Ok(Chosen { rows: part.rows.clone(), split: part.split.clone() });
        }
    }
    let only = dataset.splits.len() == 1 && split == "test";
    let name = if only { dataset.splits.keys().next().map(String::as_str) } else { Some(split) };
    let name = name.filter(|name| dataset.splits.contains_key(*name)).with_context(|| {
        let known: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
        format!(
            "`{}` has no split `{split}`; available splits: `{}`",
            dataset.name,
            known.join("`, `")
        )
    })?;
    let rows = (0..dataset.rows(name).len()).collect();
    Ok(Chosen { rows, split: name.to_owned() })
}
