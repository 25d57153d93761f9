//! `bayes quantize`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::progress::Display;
use super::words::filled;
use super::{CHECKPOINTS, Common, Outcome, model_folder, note, print, print_json};
use crate::artifact::{Certificate, Change, CoverageChange};
use crate::compute::Precision;
use crate::experiment::{QuantizeJob, QuantizeReport, quantize};
use crate::numbers::grouped;

/// What weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stored {
    /// 16 bits, half of the size; needs AVX512-BF16
    Bf16,
    /// 8 bits, a quarter of the size; needs AVX512-VNNI or AVX-VNNI
    Int8,
}

/// Flags of `bayes quantize`.
#[derive(Debug, Args)]
pub struct Options {
    /// The classifier: a folder written by bayes [default: that of BAYES_MODEL, else the newest under
    /// checkpoints]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// What the weights are stored in, and multiplied with
    #[arg(long, value_enum)]
    precision: Stored,
    /// Folder to write the model to [default: checkpoints/NAME-PRECISION/model]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let precision = match options.precision {
        Stored::Bf16 => Precision::Bf16,
        Stored::Int8 => Precision::Int8,
    };
    if let Err(why) = precision.check() {
        bail!("--precision {precision}: {why}");
    }
    if !common.backend()?.is_cpu() {
        bail!("weights are quantised on the CPU; use --device cpu");
    }
    let job = QuantizeJob {
        model: model_folder(options.model.as_deref())?,
        precision,
        output: options.output.clone(),
    };
    let mut display = Display::new(common.quiet);
    let report = quantize(&job, Path::new(CHECKPOINTS), &mut |progress| display.show(&progress));
    display.finish();
    let report = report?;
    if common.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    if report.model.is_some() {
        return Ok(Outcome::Done);
    }
    let reasons = report.verdict.reasons.join("; ");
    note(&format!("failed: {precision} does not keep the model's promises: {reasons}"))?;
    Ok(Outcome::No)
}

fn text(report: &QuantizeReport) -> String {
    let QuantizeReport { precision, certificate, model, bytes, .. } = report;
    let written = model.as_ref().map_or(String::new(), |model| {
        let size = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let sizes = format!("Weights {}, {} before\n", size(bytes[1]), size(bytes[0]));
        format!("{sizes}Model   {}\n", model.display())
    });
    format!("\n{}\n{written}", certificate_table(*precision, certificate))
}

/// The figures of a certificate, and the verdict.
pub(super) fn certificate_table(precision: Precision, certificate: &Certificate) -> String {
    let own = precision.to_string();
    let line = |name: &str, change: &Change| {
        let Change { f32, own, difference } = change;
        format!(
            "  {name:<24}{f32:>9.4}{own:>9.4}  {:>+8.4}  {:>+8.4} to {:+.4}\n",
            difference.value, difference.low, difference.high
        )
    };
    let Certificate { rows, accuracy, nll, ece, ece_floor, coverage, novelty_auroc, .. } =
        certificate;
    let mut text = format!(
        "  {:<24}{:>9}{own:>9}  {:>8}  95 % interval\n",
        format!("{} held-out rows", grouped(*rows as u64)),
        "f32",
        "change"
    );
    text += &line("accuracy", accuracy);
    text += &line("NLL", nll);
    text += &line(&format!("ECE (floor {ece_floor:.4})"), ece);
    if let Some(CoverageChange { change, target, .. }) = coverage {
        text += &line(&format!("coverage ({:.0} % wanted)", 100.0 * target), change);
    }
    if let Some(change) = novelty_auroc {
        text += &line("AUROC of novelty", change);
    }
    text += &format!("  {:<24}{:>18.2} %\n", "changed labels", 100.0 * certificate.changed_labels);
    if let Some(changed) = certificate.changed_decisions {
        text += &format!("  {:<24}{:>18.2} %\n", "changed decisions", 100.0 * changed);
    }
    let verdict = certificate.verdict();
    let words = match verdict.granted {
        true => format!("Certificate for {own}: granted."),
        false => format!("Certificate for {own}: refused. {}.", verdict.reasons.join("; ")),
    };
    text + "\n" + &filled("", "  ", &words)
}
