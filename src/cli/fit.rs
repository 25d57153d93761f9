//! `bayes fit`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::fitted::{calibration_words, paragraphs};
use super::progress::Display;
use super::summary::{next_commands, next_text};
use super::tables::TableFlags;
use super::words::whole;
use super::written::tell_repeated;
use super::zero_shot::{Named, labels_of, named};
use super::{CHECKPOINTS, Common, Outcome, model_folder, print, print_json};
use crate::data::NONE_IS_NEW;
use crate::evaluate::WithoutSeen;
use crate::experiment::{self, FitJob, FitReport, FitScore};
use crate::method::Method;
use crate::method::laplace::Head;
use crate::numbers::grouped;

/// Flags of `bayes fit`.
#[derive(Debug, Args)]
pub struct Options {
    /// The classifier: a folder written by bayes, a folder in transformers' layout, or a Hub id
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Labelled data: a file, folder, built-in data set name or Hub id [default: the data the model
    /// was trained on]
    #[arg(long, value_name = "DATA")]
    dataset: Option<String>,
    /// Labels of your own, for a classifier of natural language inference: each text is asked whether
    /// it entails each label. Separate them by commas, and put a label that contains one in double
    /// quotes
    #[arg(long, alias = "labels", value_name = "LABELS", value_parser = named)]
    zero_shot_labels: Vec<Named>,
    /// How a label becomes a sentence, with {} in its place [default: "This text is about {}."]
    #[arg(long, value_name = "TEXT", requires = "zero_shot_labels")]
    template: Option<String>,
    /// Posterior methods to compare; the model is written with the first one [default: laplace, or
    /// map for labels of your own]
    #[arg(long, value_parser = method(), value_delimiter = ',')]
    method: Vec<Method>,
    /// Override a key of [posterior] or [calibration], or how rows are divided, such as
    /// data.calibration_fraction=0.2
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Use at most this many training rows (balanced across classes) and test rows (same class
    /// proportions), sampled with a fixed seed; 0 = all
    #[arg(long, value_parser = whole::<usize>(0..=u64::MAX), default_value_t = 0)]
    limit: usize,
    /// Keep the weights of the last layer and fit only its covariance
    #[arg(long)]
    keep_head: bool,
    /// Folder to write the model to [default: checkpoints/NAME-METHOD/model]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    tables: TableFlags,
}

/// Reads the name of a method.
fn method() -> impl TypedValueParser<Value = Method> {
    let names = Method::ALL.iter().map(|method| method.name());
    PossibleValuesParser::new(names).map(|name| {
        let found = Method::ALL.iter().find(|method| method.name() == name);
        *found.expect("the name is one of these")
    })
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    tell_repeated(&options.settings)?;
    let backend = common.backend()?;
    let job = FitJob {
        model: model_folder(Some(&options.model))?,
        dataset: options.dataset.clone(),
        overrides: options.tables.overrides(),
        labels: labels_of(&options.zero_shot_labels, options.template.as_deref()),
        methods: options.method.clone(),
        settings: options.settings.clone(),
        limit: options.limit,
        head: if options.keep_head { Head::Keep } else { Head::Refit },
        output: options.output.clone(),
    };
    let mut display = Display::new(common.quiet);
    let report = experiment::fit(&job, &backend, Path::new(CHECKPOINTS), &mut |progress| {
        display.show(&progress);
    });
    display.finish();
    let report = report?;
    if common.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(Outcome::Done)
}

fn text(report: &FitReport) -> String {
    let rows = |name: &str| grouped(report.rows.get(name).copied().unwrap_or(0) as u64);
    let lines: String = report.scores.iter().map(line).collect();
    let scaled = report.scores.iter().find_map(|score| score.fitted.as_ref());
    let measured = report.tested_at.map(|own| format!("  These were measured in {own}.\n"));
    let measured = measured.unwrap_or_default();
    let seen: String = report.scores.iter().filter_map(without_seen).collect();
    format!(
        "\n{}\n  fitted on {} rows, temperature and scale on {}, evaluated on {} test rows\n\n  \
         {:<11}{:>9}{:>8}{:>8}{:>10}{:>12}{:>11}{:>9}\n{lines}{seen}{measured}\n{}\nModel   {}\n{}",
        report.dataset,
        rows("train"),
        // Of few rows in all both parts serve both.
        grouped(scaled.map_or(0, |fitted| fitted.temperature_rows) as u64),
        rows("test"),
        "",
        "accuracy",
        "NLL",
        "ECE",
        "ECE floor",
        "temperature",
        "var. scale",
        "time (s)",
        paragraphs(&calibration_words(&report.calibration, &[])),
        report.model.display(),
        match report.zero_shot {
            // What other tools load has other classes.
            true => next_commands(&report.model, report.pairs, report.generated),
            false => next_text(&report.model, report.pooling, report.pairs, report.generated),
        },
    )
}

/// The scores that count where test rows were seen before.
fn without_seen(score: &FitScore) -> Option<String> {
    let WithoutSeen { seen, accuracy, nll } = score.without_seen?;
    let name = &score.name;
    Some(match (accuracy, nll) {
        (Some(accuracy), Some(nll)) => format!(
            "  {name:<11}{accuracy:>9.4}{nll:>8.4}   without {} test rows seen before\n",
            grouped(seen)
        ),
        _ => format!("  {name:<11}has seen all {} test rows. {NONE_IS_NEW}\n", grouped(seen)),
    })
}

fn line(score: &FitScore) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
    let fitted = score.fitted.as_ref();
    let summary = &score.test;
    let seconds = fitted.map(|_| score.seconds);
    format!(
        "  {:<11}{:>9.4}{:>8.4}{:>8.4}{:>10.4}{:>12}{:>11}{:>9}\n",
        score.name,
        summary.accuracy.value,
        summary.nll.value,
        summary.ece.value,
        summary.ece.floor,
        number(fitted.and_then(|fitted| fitted.temperature)),
        number(fitted.and_then(|fitted| fitted.scale)),
        seconds.map_or(String::new(), |seconds| format!("{seconds:.2}"))
    )
}
