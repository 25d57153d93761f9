//! `bayes recalibrate`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::fitted::{calibration_words, paragraphs};
use super::progress::Display;
use super::tables::TableFlags;
use super::written::tell_repeated;
use super::{CHECKPOINTS, Common, Outcome, model_folder, print, print_json};
use crate::experiment::{Fitness, RecalibrateJob, RecalibrateReport, recalibrate};
use crate::numbers::grouped;

/// Flags of `bayes recalibrate`.
#[derive(Debug, Args)]
pub struct Options {
    /// The classifier: a folder written by bayes [default: that of BAYES_MODEL, else the newest under
    /// checkpoints]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Labelled rows like those that the model will answer: a file, folder, built-in data set name or Hub id. All
    /// splits are used; rows that the model was made or tested with are left out
    #[arg(long, value_name = "DATA")]
    dataset: String,
    /// Folder to write the model to; it may be the model's own, but for that of a training run [default:
    /// checkpoints/NAME-recalibrated/model]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Override a key of [calibration], such as calibration.target_risk=0.05
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    tables: TableFlags,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    tell_repeated(&options.settings)?;
    let backend = common.backend()?;
    let job = RecalibrateJob {
        model: model_folder(options.model.as_deref())?,
        dataset: options.dataset.clone(),
        overrides: options.tables.overrides(),
        output: options.output.clone(),
        settings: options.settings.clone(),
    };
    let mut display = Display::new(common.quiet);
    let mut show = |progress: crate::experiment::Progress<'_>| display.show(&progress);
    let report = recalibrate(&job, &backend, Path::new(CHECKPOINTS), &mut show);
    display.finish();
    let report = report?;
    if common.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(Outcome::Done)
}

fn text(report: &RecalibrateReport) -> String {
    let RecalibrateReport { dataset, rows, judged, target, before, after, .. } = report;
    let line = |name: &str, of: &dyn Fn(&Fitness) -> Option<f64>| match (of(before), of(after)) {
        (None, None) => String::new(),
        (one, other) => {
            let [one, other] = [one, other]
                .map(|value| value.map_or("none".to_owned(), |value| format!("{value:.4}")));
            format!("  {name:<28}{one:>10}{other:>10}\n")
        }
    };
    let coverage = target.map_or("coverage".to_owned(), |target| {
        format!("coverage ({:.0} % wanted)", 100.0 * target)
    });
    let of = match judged < rows {
        true => format!(
            "The figures are of {} rows that the temperature was not fitted to.\n",
            grouped(*judged as u64)
        ),
        false => String::new(),
    };
    format!(
        "\n{dataset}: {} rows\n{of}\n  {:<28}{:>10}{:>10}\n{}{}{}{}{}{}\n{}\nModel   {}\n",
        grouped(*rows as u64),
        "",
        "before",
        "after",
        line("temperature", &|one| Some(one.temperature)),
        line("accuracy", &|one| Some(one.accuracy)),
        line("NLL", &|one| Some(one.nll)),
        line(&format!("ECE (floor {:.4})", after.ece_floor), &|one| Some(one.ece)),
        line(&coverage, &|one| one.coverage),
        line("accepted", &|one| one.accepted),
        paragraphs(&calibration_words(&report.calibration, &[])),
        report.model.display(),
    )
}
