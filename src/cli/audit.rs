//! `bayes audit`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::progress::Display;
use super::words::{cut, filled, quoted, whole};
use super::written::ExperimentFlags;
use super::{Common, Outcome, model_folder, print, print_json, replace};
use crate::audit::{self, Audit, Finding, PAGES, Reason};
use crate::data::table::Format;
use crate::experiment::{self, Experiment, Progress};
use crate::numbers::grouped;
use crate::predict::Pairs;
use crate::store::write_atomically;

/// Keys that an audit reads. It looks at all rows and trains no network.
const READ: [&str; 15] = [
    "data.dataset",
    "data.text_column",
    "data.text_pair_column",
    "data.label_column",
    "data.label_map",
    "data.ood_label",
    "data.encoding",
    "data.delimiter",
    "data.quoting",
    "data.header",
    "data.max_length",
    "data.truncation",
    "model.init",
    "model.pooling",
    "train.seed",
];

/// Rows that are shown where nobody says how many.
const SHOWN: usize = 10;
/// The most classes that are shown.
const CLASSES: usize = 8;

/// What stands for the data.
const DATA: &str = "File, folder, built-in data set name or Hub id [default: the data of the model, with --model; else the \
                    quick-start example]";

/// Flags of `bayes audit`.
#[derive(Debug, Args)]
#[command(mut_arg("data", |data| data.help(DATA)))]
pub struct Options {
    #[command(flatten)]
    experiment: ExperimentFlags,
    /// The model whose encoder reads the texts, as it does in service [default: a pretrained encoder, as for
    /// `bayes train`]
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["config", "init", "settings"])]
    model: Option<PathBuf>,
    /// Number of rows with a doubtful label to show
    #[arg(short, value_parser = whole::<usize>(0..=u64::MAX), default_value_t = SHOWN)]
    n: usize,
    /// Write all findings to this table: CSV, TSV, JSONL or Parquet, by its extension
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the findings as a page: audit.json, audit.md and audit.html in this folder, with texts
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the probabilities that the labels were judged by, a column for each class
    #[arg(long, value_name = "FILE")]
    probabilities: Option<PathBuf>,
}

impl Options {
    fn experiment(&self) -> Result<(Experiment, Pairs)> {
        for setting in self.experiment.settings() {
            let key = setting.split('=').next().unwrap_or_default().trim();
            if !READ.contains(&key) {
                bail!(
                    "`--set {key}` has no effect on an audit, which looks at all rows and trains no network; remove \
                     it. An audit reads {}",
                    READ.map(|key| format!("`{key}`")).join(", ")
                );
            }
        }
        let experiment = self.experiment.experiment()?;
        let Some(model) = &self.model else { return Ok((experiment, Pairs::Either)) };
        let data = (self.experiment.data(), &self.experiment.overrides());
        Ok(experiment::of_model(experiment, &model_folder(Some(model))?, data)?)
    }

    /// Refuses files that would replace others, before the work.
    fn check_files(&self) -> Result<()> {
        replace::check_distinct(&[
            ("--output", self.output.clone()),
            ("--probabilities", self.probabilities.clone()),
        ])?;
        if let Some(file) = &self.output {
            Format::of_output(file)?;
            replace::check("--output", file, "a table of findings", audit::is_findings)?;
        }
        if let Some(file) = &self.probabilities {
            Format::of_output(file)?;
            let what = "a table of an audit's probabilities";
            replace::check("--probabilities", file, what, audit::is_probabilities)?;
        }
        for name in self.report.iter().flat_map(|folder| PAGES.map(|name| folder.join(name))) {
            replace::check("--report", &name, "a report of an audit", audit::is_page)?;
        }
        Ok(())
    }
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let (experiment, reads) = options.experiment()?;
    options.check_files()?;
    let backend = common.backend()?;
    let mut display = Display::new(common.quiet);
    let mut show = |progress: Progress<'_>| display.show(&progress);
    let audited = experiment::audit(&experiment, reads, &backend, &mut show);
    display.finish();
    let audited = audited?;
    let audit = &audited.audit;
    if let Some(file) = &options.output {
        audit::write(file, &audit.findings)?;
    }
    if let Some(file) = &options.probabilities {
        audit::write_probabilities(file, &audited.dataset, &audited.judged)?;
    }
    if let Some(folder) = &options.report {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(audit)? + "\n";
        write_atomically(&folder.join(PAGES[0]), json.as_bytes())?;
        audit::write_pages(audit, folder)?;
    }
    match common.json {
        true => print_json(audit)?,
        false => print(&(text(audit, options.n) + &written(audit, options)))?,
    }
    Ok(Outcome::Done)
}

/// Where the findings are.
fn written(audit: &Audit, options: &Options) -> String {
    let files = [
        ("findings", options.output.clone()),
        ("probabilities", options.probabilities.clone()),
        ("page", options.report.as_ref().map(|folder| folder.join(PAGES[2]))),
    ];
    let files: String = files
        .into_iter()
        .filter_map(|(what, file)| Some(format!("{what:<14}{}\n", quoted(&file?))))
        .collect();
    match (files.is_empty(), audit.findings.is_empty()) {
        (true, false) => format!(
            "\nFor all {} rows: --output findings.csv, or --report DIR for a page.\n",
            grouped(audit.findings.len() as u64)
        ),
        (true, true) => String::new(),
        (false, _) => format!("\n{files}"),
    }
}

fn text(audit: &Audit, most: usize) -> String {
    let rows: usize = audit.rows.values().sum();
    let count = |rows: usize| grouped(rows as u64);
    let splits = audit.rows.iter().map(|(split, rows)| format!("{split} {}", count(*rows)));
    let splits = splits.collect::<Vec<_>>().join(", ");
    let head =
        format!("{}: {} rows ({splits}), {} classes.", audit.dataset, count(rows), audit.classes);
    let head = [Some(head), audit.not_looked_at()].into_iter().flatten();
    let head = head.collect::<Vec<_>>().join(" ");
    let mut text = format!("\n{}\n", filled("", "", &head));
    text += &filled("", "", &audit.labels.sentence(&audit.judge));
    let lengths = audit.lengths.filter(|lengths| lengths.truncated > 0).map(|lengths| {
        let (limit, longest) = (lengths.limit, count(lengths.longest));
        (format!("longer than {limit} tokens (the longest: {longest})"), lengths.truncated)
    });
    let of_reason = |reason: Reason| Some((reason.words().to_owned(), *audit.counts.get(&reason)?));
    let counts = Reason::ALL.into_iter().filter_map(of_reason);
    let odd = audit.characters.iter().map(|(odd, rows)| (format!("  {}", odd.words()), *rows));
    let lines: Vec<(String, usize)> = counts.chain(odd).chain(lengths).collect();
    if lines.is_empty() {
        text += "\nNothing else was found.\n";
    } else {
        text += &format!("\n  {:<62}{:>14}\n", "", "rows");
    }
    for (what, rows) in lines {
        text += &format!("  {what:<62}{:>14}\n", count(rows));
    }
    let doubtful = |finding: &&Finding| finding.reason == Reason::Label;
    let doubtful: Vec<&Finding> = audit.findings.iter().filter(doubtful).take(most).collect();
    if !doubtful.is_empty() {
        text += "\nLabels to look at, the most certain first:\n";
    }
    doubtful.into_iter().for_each(|finding| text += &label(finding));
    text + &classes(audit)
}

/// Two lines of a row with a doubtful label.
fn label(finding: &Finding) -> String {
    let Finding { given, suggested, probability, text, pair, .. } = finding;
    let suggested = suggested.as_deref().unwrap_or_default();
    let texts = [Some(text), pair.as_ref()].into_iter().flatten();
    let words: Vec<&str> = texts.flat_map(|text| text.split_whitespace()).collect();
    let line = format!("{}: {given} → {suggested}?", finding.place);
    let certain = format!("{:.3}", probability.unwrap_or_default());
    format!("  {:<70}{certain:>8}\n      {}\n", cut(&line, 69), cut(&words.join(" "), 74))
}

/// Classes that are too small, and that are mixed up.
fn classes(audit: &Audit) -> String {
    let mut text = String::new();
    if !audit.rare.is_empty() {
        let rare = audit.rare.iter().take(CLASSES);
        let rare: Vec<String> =
            rare.map(|class| format!("{} ({})", class.label, class.rows)).collect();
        let more = match audit.rare.len().saturating_sub(CLASSES) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let said =
            format!("Classes with fewer than {} rows: {}{more}.", audit::FEW, rare.join(", "));
        text += &format!("\n{}", filled("", "  ", &said));
    }
    if !audit.confused.is_empty() {
        text += "\nClasses that are taken for each other (share of the rows of both):\n";
    }
    for pair in audit.confused.iter().take(CLASSES) {
        let names = pair.labels.join(" – ");
        let share = format!("{:.1} %", 100.0 * pair.share);
        text += &format!("  {:<66}{share:>12}\n", cut(&names, 65));
    }
    text
}
