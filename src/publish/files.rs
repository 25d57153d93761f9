//! What a repository gets.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::card::RELIABILITY;
use super::reduce::{reduced_keys, shown};
use super::source::shown_name;
use super::{PublishError, Source};
use crate::artifact::{CONFIG, DRIFT, EVALUATION};
use crate::calibrate::drift::DriftReference;
use crate::hub::NewFile;
use crate::store::sha256;
use crate::train::{event_scalars, reliability_png};

/// What is wanted beside the model.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The card, already rendered.
    pub card: String,
    /// Only the card, and the diagram that it shows.
    pub card_only: bool,
    /// Reports too, which show single rows or may do so one day.
    pub examples: bool,
}

/// All files of the repository, by name. Texts of the data are in none of them, nor paths of this
/// machine.
///
/// # Errors
/// A file cannot be read.
pub fn collect(source: &Source, wanted: &Wanted) -> Result<Vec<NewFile>, PublishError> {
    let mut files = vec![NewFile::of_bytes("README.md", wanted.card.as_bytes())];
    if let Some(evaluation) = &source.evaluation {
        let png = reliability_png(&evaluation.summary.bins)
            .map_err(|error| PublishError::Read { path: RELIABILITY.into(), source: error })?;
        files.push(NewFile::of_bytes(RELIABILITY, png));
    }
    if !wanted.card_only {
        model(source, &mut files)?;
        if let Some(run) = &source.run {
            run_files(run, wanted.examples, &mut files)?;
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn model(source: &Source, files: &mut Vec<NewFile>) -> Result<(), PublishError> {
    let folder = &source.folder;
    let others = source.artifact.for_other_tools()?.into_iter();
    files.extend(others.map(|(name, bytes)| NewFile::of_bytes(name, bytes)));
    for name in source.artifact.hashed_files() {
        let path = folder.join(&name);
        if path.is_file() {
            let file = NewFile::on_disk(&name, path.clone());
            files.push(file.map_err(|source| PublishError::Read { path, source })?);
        }
    }
    let mut manifest = source.artifact.manifest.clone();
    let of_ancestors = manifest.lineage.iter_mut().filter_map(|ancestor| ancestor.data.as_mut());
    for data in manifest.data.iter_mut().chain(of_ancestors) {
        data.dataset = shown_name(&data.dataset);
        data.unlabelled = shown(&data.unlabelled);
    }
    if let Some(recalibration) = &mut manifest.recalibrated {
        recalibration.data.dataset = shown_name(&recalibration.data.dataset);
        recalibration.data.unlabelled = shown(&recalibration.data.unlabelled);
    }
    let config = source
        .config
        .as_ref()
        .map(|config| toml::to_string(config).expect("a table is plain data").into_bytes());
    let evaluation = json(&folder.join(EVALUATION))?;
    let evaluation = evaluation.map(|one| pretty(&reduced_keys(one, &["dataset"])));
    // The hashes are those of what is sent; a manifest that nothing vouches for stays one.
    let known = std::mem::take(&mut manifest.records);
    let drift = source.artifact.drift.as_ref().map(DriftReference::to_bytes);
    for (name, bytes) in [(CONFIG, config), (EVALUATION, evaluation), (DRIFT, drift)] {
        let Some(bytes) = bytes else { continue };
        if known.contains_key(name) {
            manifest.records.insert(name.to_owned(), sha256(&bytes));
        }
        files.push(NewFile::of_bytes(name, bytes));
    }
    let content = match manifest.sha256 {
        Some(_) => manifest.to_file(),
        None => pretty(&manifest),
    };
    files.push(NewFile::of_bytes("bayes/manifest.json", content));
    Ok(())
}

/// The run: scalars of its event files under a name that says nothing of this machine, its log, and
/// its reports where they are wanted.
fn run_files(run: &Path, examples: bool, files: &mut Vec<NewFile>) -> Result<(), PublishError> {
    let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = |source: io::Error| PublishError::Read { path: run.to_owned(), source };
    if let Some((seconds, bytes)) = event_scalars(run).map_err(read)? {
        let file = format!("runs/{name}/events.out.tfevents.{seconds:010}.bayes.0.0");
        files.push(NewFile::of_bytes(&file, bytes));
    }
    if let Some(log) = text(&run.join("metrics.jsonl"))? {
        // Warnings are sentences for whoever trains.
        let lines = log.lines().filter(|line| !line.contains("\"warning\""));
        let log: String = lines.map(|line| format!("{line}\n")).collect();
        files.push(NewFile::of_bytes(&format!("runs/{name}/metrics.jsonl"), log));
    }
    if !examples {
        return Ok(());
    }
    if let Some(report) = json(&run.join("report.json"))? {
        let report = reduced_keys(report, &["dataset", "model", "run"]);
        files.push(NewFile::of_bytes(&format!("runs/{name}/report.json"), pretty(&report)));
    }
    for report in ["report.md", "report.html"] {
        if let Some(text) = text(&run.join(report))? {
            files.push(NewFile::of_bytes(&format!("runs/{name}/{report}"), text));
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<Option<String>, PublishError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PublishError::Read { path: path.to_owned(), source }),
    }
}

fn json(path: &Path) -> Result<Option<Value>, PublishError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let damaged = |source| PublishError::Damaged { path: path.to_owned(), source };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data is JSON");
    text.push(b'\n');
    text
}
