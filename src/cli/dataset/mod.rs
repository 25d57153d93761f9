//! `bayes dataset list · info · fetch · head · prepare`.

mod head;

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde_json::json;

use super::progress::Display;
use super::tables::{FileFlags, TableFlags};
use super::words::{filled, whole};
use super::written::ExperimentFlags;
use super::{Common, Outcome, print, print_json};
use crate::data::split::{content_hash, overlap};
use crate::data::{self, DataConfig, Dataset, Example, Fetched, all_known, is_here};
use crate::experiment::{self, Experiment, Progress};
use crate::numbers::grouped;

/// Flags of `bayes dataset`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the built-in data set names and show which are on this machine
    List,
    /// Show a data set's splits, rows, labels, hashes, duplicate texts and overlaps between splits
    Info {
        /// Built-in data set name, file, folder or Hub id
        name: String,
        #[command(flatten)]
        tables: Box<TableFlags>,
    },
    /// Download a data set from the Hub into the cache; files already there are skipped
    Fetch {
        /// Built-in data set name or Hub id
        name: String,
        /// Branch, tag or commit [default: main]
        #[arg(long, value_name = "REVISION")]
        revision: Option<String>,
        /// Folder inside the repository, if more than one folder contains splits
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Show the first rows of a data set; only the needed part of a Parquet file is read, locally
    /// or from a URL
    Head {
        /// Built-in data set name, file, folder, Hub id, or http(s) URL of a Parquet file
        name: String,
        /// Number of rows to show
        #[arg(short, value_parser = whole::<usize>(0..=u64::MAX), default_value_t = 5)]
        n: usize,
        /// Shuffle the rows with this seed, in case the file is sorted
        #[arg(long, value_name = "SEED", value_parser = whole::<u64>(0..=u64::MAX))]
        shuffle: Option<u64>,
        #[command(flatten)]
        files: Box<FileFlags>,
    },
    /// Tokenise a data set into the cache; training with the same data, encoder and keys reuses it
    Prepare {
        #[command(flatten)]
        experiment: Box<ExperimentFlags>,
    },
}

impl Options {
    /// The name of the command, behind that of its parent, where it reads tables.
    pub fn name(&self) -> &'static [&'static str] {
        match self.action {
            Action::Info { .. } => &["dataset", "info"],
            Action::Head { .. } => &["dataset", "head"],
            Action::Prepare { .. } => &["dataset", "prepare"],
            Action::List | Action::Fetch { .. } => &[],
        }
    }
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    match &options.action {
        Action::List => list(common)?,
        Action::Info { name, tables } => info(name, tables, common)?,
        Action::Fetch { name, revision, folder } => {
            fetch(name, revision.as_deref(), folder.as_deref(), common)?;
        }
        Action::Head { name, n, shuffle, files } => {
            head::head(name, (*n, *shuffle), files, common)?;
        }
        Action::Prepare { experiment } => prepare(&experiment.experiment()?, common)?,
    }
    Ok(Outcome::Done)
}

fn list(common: &Common) -> Result<()> {
    if common.json {
        let rows: Vec<_> = all_known()
            .map(|known| {
                json!({
                    "name": known.name, "hub_id": known.hub_id, "here": is_here(known),
                    "description": known.description, "terms": known.terms,
                })
            })
            .collect();
        return print_json(&rows);
    }
    let mut text = String::new();
    for known in all_known() {
        let state = match (known.hub_id, is_here(known)) {
            ("", _) => "built in",
            (_, true) => "here",
            (_, false) => "not on this machine",
        };
        text.push_str(&format!(
            "{:<10} {state}\n           {}\n           terms: {}\n",
            known.name, known.description, known.terms
        ));
        if !known.hub_id.is_empty() {
            text.push_str(&format!("           Hub: {}\n", known.hub_id));
        }
    }
    text.push_str(
        "\nYou can also use your own file, or a folder with train, validation and test files.\n",
    );
    print(&text)
}

fn info(name: &str, tables: &TableFlags, common: &Common) -> Result<()> {
    let mut config = DataConfig { dataset: name.to_owned(), ..DataConfig::default() };
    tables.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
    // Columns and format are part of the result.
    let dataset = Dataset::open(&config)?.quietly();
    let mut display = Display::new(common.quiet);
    dataset.remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
    let texts = |rows: &[Example]| -> Vec<u64> { rows.iter().map(Example::key).collect() };
    let keys: Vec<(&String, Vec<u64>)> =
        dataset.splits.iter().map(|(split, rows)| (split, texts(rows))).collect();
    let mut splits = Vec::new();
    for (split, rows) in &dataset.splits {
        let own = texts(rows);
        let distinct: std::collections::HashSet<&u64> = own.iter().collect();
        let mut counts = vec![0usize; dataset.labels.len()];
        rows.iter().for_each(|row| counts[row.label as usize] += 1);
        splits.push(json!({
            "split": split, "rows": rows.len(), "repeated_texts": own.len() - distinct.len(),
            "per_label": counts, "sha256": content_hash(rows),
        }));
    }
    let mut overlaps = Vec::new();
    for (place, (a, first)) in keys.iter().enumerate() {
        for (b, second) in &keys[place + 1..] {
            let rows = overlap(first, second).len();
            overlaps.push(json!({ "a": a, "b": b, "rows_of_b_also_in_a": rows }));
        }
    }
    if common.json {
        return print_json(&json!({
            "name": dataset.name, "generated": dataset.generated, "columns": dataset.columns,
            "written": dataset.written, "remarks": dataset.remarks,
            "labels": dataset.labels, "terms": dataset.terms, "splits": splits,
            "overlaps": overlaps, "hidden": dataset.hidden,
        }));
    }
    let generated = if dataset.generated { " (generated texts)" } else { "" };
    let mut text = format!("{}{generated}\n", dataset.name);
    if !dataset.columns.is_empty() {
        text.push_str(&format!("columns   {}\n", dataset.columns));
    }
    if !dataset.written.is_empty() {
        text.push_str(&filled("format    ", "          ", &dataset.written));
    }
    let shown = dataset.labels.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    let more = if dataset.labels.len() > 8 { ", …" } else { "" };
    text.push_str(&format!("labels    {}: {shown}{more}\n", dataset.labels.len()));
    if let Some(terms) = dataset.terms {
        text.push_str(&format!("terms     {terms}\n"));
    }
    text.push_str("\nsplit            rows  duplicates  smallest class  largest class  sha256\n");
    for split in &splits {
        let counts: Vec<u64> = split["per_label"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_u64)
            .collect();
        let extreme = |value: Option<&u64>| grouped(value.copied().unwrap_or(0));
        text.push_str(&format!(
            "{:<12}{:>9}{:>12}{:>16}{:>15}  {}…\n",
            split["split"].as_str().unwrap_or_default(),
            grouped(split["rows"].as_u64().unwrap_or(0)),
            grouped(split["repeated_texts"].as_u64().unwrap_or(0)),
            extreme(counts.iter().min()),
            extreme(counts.iter().max()),
            &split["sha256"].as_str().unwrap_or_default()[..12],
        ));
    }
    for overlap in overlaps.iter().filter(|overlap| overlap["rows_of_b_also_in_a"] != 0) {
        text.push_str(&format!(
            "\n{} rows of {} have a text that is also in {}.\n",
            overlap["rows_of_b_also_in_a"],
            overlap["b"].as_str().unwrap_or_default(),
            overlap["a"].as_str().unwrap_or_default()
        ));
    }
    for split in &dataset.hidden {
        text.push_str(&format!("\nThe labels of {split} are hidden, so it is not used.\n"));
    }
    print(&text)
}

fn fetch(name: &str, revision: Option<&str>, inside: Option<&str>, common: &Common) -> Result<()> {
    let fetched = data::fetch(name, revision, inside)?;
    let Fetched { id, revision, folder, snapshot, remarks } = &fetched;
    let mut display = Display::new(common.quiet);
    remarks.iter().for_each(|remark| display.show(&Progress::from(remark)));
    display.finish();
    if common.json {
        return print_json(&json!({
            "name": name, "hub_id": id, "revision": revision, "commit": snapshot.commit,
            "folder": folder, "files": snapshot.files, "bytes": snapshot.bytes,
            "fetched_bytes": snapshot.fetched,
        }));
    }
    let state = match snapshot.fetched {
        0 => "all already cached".to_owned(),
        fetched => format!("{} of them downloaded now", HumanBytes(fetched)),
    };
    print(&format!(
        "{id}  {revision}, commit {}\nfiles     {}, {}, {state}\nfolder    {}\n",
        snapshot.commit.get(..12).unwrap_or(&snapshot.commit),
        snapshot.files,
        HumanBytes(snapshot.bytes),
        folder.display(),
    ))
}

fn prepare(experiment: &Experiment, common: &Common) -> Result<()> {
    let mut display = Display::new(common.quiet);
    let prepared = experiment::prepare_tokens(experiment, &mut |progress| display.show(&progress));
    display.finish();
    let prepared = prepared?;
    if common.json {
        return print_json(&prepared);
    }
    let mut text = String::new();
    for split in &prepared {
        let state = if split.found { "already cached" } else { "done" };
        text.push_str(&format!(
            "{:<12} {:>9} rows  {:>10} tokens  {:>6} truncated  {state}\n",
            split.split,
            grouped(split.rows as u64),
            grouped(split.tokens),
            grouped(split.truncated as u64)
        ));
    }
    let encoder = experiment.model.init.as_deref().unwrap_or("from scratch");
    text.push_str(&format!(
        "encoder      {encoder}\ncache        {}\n",
        data::cache_folder().display()
    ));
    print(&text)
}
