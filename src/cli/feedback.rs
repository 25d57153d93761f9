//! `bayes feedback export`, and the flags of `bayes serve` about feedback.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::redis::RedisFlags;
use super::words::whole;
use super::{Common, Outcome, print, print_json, replace};
use crate::data::table::{self, Format, Kind, Value, Writer};
use crate::numbers::counted;
use crate::serve::{FeedbackRow, FeedbackSettings, SecretSource, feedback_rows, labels_in_redis};

/// Where feedback is kept by default.
const FOLDER: &str = "runs/feedback";
/// The column that only an export has.
const LABELLED_AT: &str = "labelled_at";

/// Flags of `bayes feedback`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the labels with their texts as a data set for `bayes recalibrate`; the server may go on meanwhile
    Export {
        /// File to write: .parquet, .csv, .tsv or .jsonl
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// Folder of a server's feedback; repeat it for replicas, whose labels and texts belong together [default:
        /// runs/feedback, or none with --redis-url]
        #[arg(long, value_name = "FOLDER", env = "BAYES_FEEDBACK_PATH")]
        feedback_path: Vec<PathBuf>,
        #[command(flatten)]
        redis: RedisFlags,
        /// Labels of this model alone, by the name that requests call it
        #[arg(long, value_name = "NAME")]
        of: Option<String>,
    },
}

/// Flags of `bayes serve` about feedback.
#[derive(Debug, Args)]
pub struct FeedbackFlags {
    /// Folder in which labels from /feedback are stored
    #[arg(long, value_name = "FOLDER", default_value = FOLDER, env = "BAYES_FEEDBACK_PATH")]
    feedback_path: PathBuf,
    /// Store the text of every prediction until its label arrives or can no longer arrive, for
    /// `bayes feedback export`; otherwise only texts sent with the label are stored
    #[arg(long, env = "BAYES_FEEDBACK_TEXTS")]
    feedback_texts: bool,
    /// Maximum size of the feedback folder, in bytes; above it, the oldest texts are deleted and new labels get a 507
    #[arg(long, value_parser = whole::<u64>(1 << 20..=1 << 50), default_value_t = 1 << 30, env = "BAYES_MAX_FEEDBACK_BYTES")]
    max_feedback_bytes: u64,
    /// File of keys that sign prediction ids, one per line, the same for all replicas; set BAYES_FEEDBACK_KEY to use a
    /// single key [default: a random one while the server runs]
    #[arg(long, value_name = "FILE", env = "BAYES_FEEDBACK_KEY_FILE")]
    feedback_key_file: Option<PathBuf>,
    /// How long after a prediction its label is accepted, in seconds
    #[arg(long, value_parser = whole::<u64>(1..=315_360_000), default_value_t = 2_592_000, env = "BAYES_FEEDBACK_TTL")]
    feedback_ttl: u64,
    /// Number of newest labels that rolling accuracy and calibration are computed from
    #[arg(long, value_name = "LABELS", value_parser = whole::<usize>(50..=1_000_000), default_value_t = 10_000, env = "BAYES_FEEDBACK_WINDOW")]
    feedback_window: usize,
    /// Mean number of requests between false alarms of drift, at least
    #[arg(long, value_name = "REQUESTS", value_parser = whole::<u64>(1000..=1_000_000_000_000), default_value_t = 100_000_000, env = "BAYES_DRIFT_RUN_LENGTH")]
    drift_run_length: u64,
}

impl FeedbackFlags {
    pub fn run_length(&self) -> f64 {
        self.drift_run_length as f64
    }

    pub fn settings(&self) -> FeedbackSettings {
        let variable = std::env::var_os("BAYES_FEEDBACK_KEY");
        FeedbackSettings {
            path: self.feedback_path.clone(),
            bytes: self.max_feedback_bytes,
            texts: self.feedback_texts,
            secrets: match (&self.feedback_key_file, variable) {
                (Some(path), _) => SecretSource::File(path.clone()),
                (None, Some(key)) => SecretSource::Environment(key),
                (None, None) => SecretSource::Random,
            },
            life: Duration::from_secs(self.feedback_ttl),
            window: self.feedback_window,
        }
    }
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let Action::Export { output, feedback_path, redis, of } = &options.action;
    // Before anything is read.
    Format::of_output(output)?;
    replace::check("--output", output, "an export of feedback", |file| {
        table::open(file).is_ok_and(|found| found.columns.iter().any(|name| name == LABELLED_AT))
    })?;
    let address = redis.address()?;
    let usual = [PathBuf::from(FOLDER)];
    let feedback_path: &[PathBuf] =
        if feedback_path.is_empty() && address.is_none() { &usual } else { feedback_path };
    if let Some(folder) = feedback_path.iter().find(|folder| !folder.is_dir()) {
        bail!(
            "there is no feedback in `{}`; --feedback-path names the folder of a server's labels",
            folder.display()
        );
    }
    let shared = address.as_ref().map(labels_in_redis).transpose()?.unwrap_or_default();
    ensure!(
        !shared.is_empty() || !feedback_path.is_empty(),
        "Redis has no labels; --redis-prefix says what its keys begin with"
    );
    let rows = of_model(feedback_rows(feedback_path, shared)?, of.as_deref())?;
    let labels = rows.len();
    let rows: Vec<FeedbackRow> = rows.into_iter().filter(|row| row.text.is_some()).collect();
    let without = labels - rows.len();
    ensure!(
        !rows.is_empty(),
        "none of {} has a text; start the server with --feedback-texts, or send `text` with the label",
        counted(labels, "label")
    );
    write(output, &rows)?;
    if common.json {
        print_json(&json!({ "output": output, "rows": rows.len(), "without_text": without }))?;
        return Ok(Outcome::Done);
    }
    print(&format!("{}: {}\n", output.display(), counted(rows.len(), "row")))?;
    if without > 0 {
        print(&format!(
            "{} without a text left out: start the server with --feedback-texts, or send\n`text` with the \
             label\n",
            counted(without, "label")
        ))?;
    }
    Ok(Outcome::Done)
}

/// The rows of one model: one cannot be calibrated by labels of another.
fn of_model(rows: Vec<FeedbackRow>, of: Option<&str>) -> Result<Vec<FeedbackRow>> {
    let models: BTreeSet<Option<&str>> = rows.iter().map(|row| row.model.as_deref()).collect();
    let listed = || {
        let name = |model: &Option<&str>| {
            model.map_or("one without a name".to_owned(), |name| format!("`{name}`"))
        };
        models.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    match of {
        None => {
            ensure!(
                models.len() < 2,
                "there are labels of several models: {}; choose one with --of NAME",
                listed()
            );
            Ok(rows)
        }
        Some(of) => {
            ensure!(
                models.contains(&Some(of)),
                "there are no labels of `{of}`, only of {}",
                listed()
            );
            Ok(rows.into_iter().filter(|row| row.model.as_deref() == Some(of)).collect())
        }
    }
}

fn write(output: &std::path::Path, rows: &[FeedbackRow]) -> Result<()> {
    let paired = rows.iter().any(|row| row.text.as_ref().is_some_and(|(_, pair)| pair.is_some()));
    let pair = paired.then_some(("text_pair", Kind::Text));
    let others =
        [("predicted", Kind::Text), ("confidence", Kind::Float), (LABELLED_AT, Kind::Text)];
    let columns: Vec<(&str, Kind)> = [("text", Kind::Text)]
        .into_iter()
        .chain(pair)
        .chain([("label", Kind::Text)])
        .chain(others)
        .collect();
    let mut writer = Writer::create(output, &columns)?;
    for FeedbackRow { text, label, predicted, model: _, confidence, at } in rows {
        let Some((text, pair)) = text else { continue };
        let mut values = vec![Value::Text(text.clone())];
        if paired {
            values.push(pair.clone().map_or(Value::Null, Value::Text));
        }
        let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(*at));
        values.extend([
            Value::Text(label.clone()),
            Value::Text(predicted.clone()),
            Value::Float(*confidence),
            Value::Text(at.to_string()),
        ]);
        writer.write(&values)?;
    }
    Ok(writer.finish()?)
}
