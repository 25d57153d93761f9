//! `bayes compare`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::progress::Display;
use super::tables::OodFlags;
use super::words::{cut, filled, whole};
use super::written::ExperimentFlags;
use super::{CHECKPOINTS, Common, Outcome, RUNS, print, print_json, stop};
use crate::evaluate::shift::Damage;
use crate::experiment::compare::{
    CompareJob, CompareReport, Compared, Entry, Estimate, Row, compare,
};
use crate::experiment::{ExperimentError, Progress, Resume, RunContext};
use crate::method::{Method, PosteriorConfig};
use crate::numbers::grouped;

/// Methods side by side in a block of the table.
const COLUMNS: usize = 5;

/// Flags of `bayes compare`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    experiment: ExperimentFlags,
    /// Methods to compare, each with keys of its own behind colons, and a label:
    /// laplace,swag:swag_rank=10,wide=laplace:link=mf2. `map` is always among them
    #[arg(long, value_name = "METHOD", value_delimiter = ',', required = true)]
    methods: Vec<Entry>,
    /// Number of seeds, counted from train.seed on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<u64>(1..=1000))]
    seeds: u64,
    /// Evaluate damaged copies of the test rows too: typos=SHARE of the letters, truncate=WORDS,
    /// drop=SHARE of the words; join with `+` what is to be applied together
    #[arg(long, value_name = "DAMAGE", value_delimiter = ',')]
    shift: Vec<Damage>,
    #[command(flatten)]
    outside: OodFlags,
    /// Evaluate labelled rows of other sources with the same classes too
    #[arg(long, value_name = "DATA", num_args = 1..)]
    other_data: Vec<String>,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let experiment = options.experiment.experiment();
    let job = CompareJob {
        experiment: experiment.map_err(|error| of_one_method(error, &options.methods))?,
        entries: options.methods.clone(),
        seeds: options.seeds,
        shift: options.shift.clone(),
        ood: options.outside.ood.clone(),
        ood_overrides: options.outside.overrides()?,
        other_data: options.other_data.clone(),
    };
    let backend = common.backend()?;
    let context = RunContext {
        device: &backend,
        checkpoints: Path::new(CHECKPOINTS),
        runs: Path::new(RUNS),
        stop: stop::listen()?,
        resume: Resume::Auto,
        first: None,
        saved: &|_, _| (),
    };
    let mut display = Display::new(common.quiet);
    // Cells share their data, and what is to be said of it.
    let mut said = BTreeSet::new();
    let compared = compare(&job, &context, &mut |progress| {
        stop::hear(&progress);
        if let Progress::Warning(text) | Progress::Note(text) = &progress
            && !said.insert(text.clone())
        {
            return;
        }
        display.show(&progress);
    });
    display.finish();
    match compared? {
        Compared::Finished(report) if common.json => print_json(&report)?,
        Compared::Finished(report) => print(&text(&report))?,
        Compared::Interrupted { done, cells } => {
            print(&format!(
                "Interrupted: {done} of {cells} cells are done; to go on, run the same command again.\n"
            ))?;
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Done)
}

/// `posterior.method` means nothing here, so that an error which speaks of it would name a method that nobody did.
fn of_one_method(error: ExperimentError, methods: &[Entry]) -> ExperimentError {
    let ExperimentError::Config { place, message } = error else { return error };
    let found = PosteriorConfig::keys().into_iter().find_map(|(key, _)| {
        let told = |method: &&Method| {
            message
                .contains(&format!("`posterior.{key}` applies to the method `{}`", method.name()))
        };
        Some((Method::ALL.iter().find(told)?, key))
    });
    let Some((method, key)) = found else { return ExperimentError::Config { place, message } };
    let name = method.name();
    let message = match methods.iter().any(|entry| entry.method == *method) {
        true => format!(
            "`posterior.{key}` is a key of `{name}` and not of every method; give it with that one, as \
             `--methods {name}:{key}=VALUE`"
        ),
        false => format!(
            "`posterior.{key}` is a key of `{name}`, which is not compared; remove it, or add `{name}` to `--methods`"
        ),
    };
    ExperimentError::Config { place, message }
}

fn text(report: &CompareReport) -> String {
    let list = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(", ");
    let seeds = list(&mut report.seeds.iter().map(u64::to_string));
    let rows = list(&mut report.rows.iter().map(grouped));
    let about = format!(
        "{}: means over the seeds {seeds}; test rows: {rows}. Intervals are in compare.md",
        report.dataset
    );
    let mut text = format!("\n{}\n", filled("", "  ", &about));
    let letter = |place: usize| char::from(b'A' + (place % 26) as u8);
    for (place, row) in report.table.rows.iter().enumerate() {
        let settings = row.settings.join(" ");
        let teacher = row.teacher.as_ref().map(|name| format!(" learned from {name}"));
        let about = settings + &teacher.unwrap_or_default();
        let line =
            format!("  {}  {:<20} {}", letter(place), cut(&row.label, 40), about.trim_start());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for (block, rows) in report.table.rows.chunks(COLUMNS).enumerate() {
        let _ = write!(text, "\n  {:<31}", "");
        (0..rows.len()).for_each(|place| {
            let _ = write!(text, "{:>9}", letter(block * COLUMNS + place));
        });
        text.push('\n');
        figures(&mut text, report, rows);
    }
    let folder = report.folder.display();
    let _ = writeln!(text, "\nTable   {folder}/compare.md\nJSON    {folder}/compare.json");
    text
}

fn figures(text: &mut String, report: &CompareReport, rows: &[Row]) {
    let four = |value: f64| format!("{value:.4}");
    let signed = |value: f64| format!("{value:+.4}");
    let mut line =
        |name: &str, read: &dyn Fn(&Row) -> Option<Estimate>, number: &dyn Fn(f64) -> String| {
            let found: Vec<Option<Estimate>> = rows.iter().map(read).collect();
            if found.iter().any(Option::is_some) {
                let _ = write!(text, "  {:<31}", cut(name, 31));
                for one in found {
                    let shown = one.map_or("–".to_owned(), |one| number(one.mean));
                    let _ = write!(text, "{shown:>9}");
                }
                text.push('\n');
            }
        };
    let figure = |key: &str| {
        let key = key.to_owned();
        move |row: &Row| row.figures.get(&key).cloned()
    };
    let difference = |key: &str| {
        let key = key.to_owned();
        move |row: &Row| row.differences.get(&key).cloned()
    };
    line("accuracy", &figure("accuracy"), &four);
    line("NLL", &figure("nll"), &four);
    line(&format!("  less that of {}", report.table.reference), &difference("nll"), &signed);
    line("texts not seen: accuracy", &figure("without_seen.accuracy"), &four);
    line("  NLL", &figure("without_seen.nll"), &four);
    line("ECE", &figure("ece"), &four);
    line("  noise floor", &figure("ece_floor"), &four);
    line("coverage of the sets", &figure("coverage"), &four);
    line("error AUROC, confidence", &figure("error_auroc.confidence"), &four);
    line("error AUROC, epistemic", &figure("error_auroc.epistemic"), &four);
    for source in &report.ood {
        for (score, name) in [("novelty", "novelty"), ("mutual_information", "epistemic")] {
            let key = format!("ood.{source}.{score}.auroc");
            line(&format!("AUROC {name}, {source}"), &figure(&key), &four);
        }
    }
    let damaged = report.shift.iter().map(|damage| (damage, format!("shift.{damage}.")));
    let others = report.other_data.iter().map(|name| (name, format!("data.{name}.")));
    for (what, prefix) in damaged.chain(others) {
        let key = |name: &str| format!("{prefix}{name}");
        line(&format!("{what}: accuracy"), &figure(&key("accuracy")), &four);
        line("  NLL", &figure(&key("nll")), &four);
        line(
            &format!("    less that of {}", report.table.reference),
            &difference(&key("nll")),
            &signed,
        );
        line("  texts not seen: accuracy", &figure(&key("without_seen.accuracy")), &four);
        line("    NLL", &figure(&key("without_seen.nll")), &four);
        line("  ECE", &figure(&key("ece")), &four);
        line("  coverage of the sets", &figure(&key("coverage")), &four);
        line("  error AUROC, epistemic", &figure(&key("error_auroc.epistemic")), &four);
    }
    let tenth = |value: f64| format!("{value:.1}");
    line("training, s", &figure("train_seconds"), &tenth);
    line("fitting, s", &figure("fit_seconds"), &tenth);
    line("ms a text", &figure("ms_a_text"), &|value| format!("{value:.2}"));
    line("MB", &figure("bytes"), &|value| format!("{:.2}", value / 1e6));
}
