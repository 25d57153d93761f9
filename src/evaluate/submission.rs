//! The files that the servers of GLUE and SuperGLUE take: answers to rows whose labels only they know.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{EvaluateError, labels_of_trained};
use crate::data::table::{self, TableError};
use crate::data::{
    DataConfig, DataError, Example, Known, Remark, Suite, Texts, Written, find_known, obtain,
};
use crate::predict::{PredictError, Predictor, Text};
use crate::store::{StoreError, write_atomically};

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    #[error(
        "`--submission` writes answers to the tasks of GLUE and SuperGLUE, and `{name}` is none; give one of their names \
         with `--dataset` (docs/benchmarks.md)"
    )]
    NoTask { name: String },
    #[error(
        "`{name}` has no split `{split}`, whose answers `{file}` holds; get its file from the Hub"
    )]
    NoSplit { name: &'static str, split: &'static str, file: String },
    #[error(
        "the model has the classes {model}, and `{name}` has {classes}; give a model that was trained on that task, or \
         name its classes with `--label-map`"
    )]
    Classes { name: &'static str, classes: String, model: String },
    #[error(
        "`--label-map` renames `{label}`, which is no class of `{name}` (its classes are {classes}); rename these to the \
         labels of the model"
    )]
    Renamed { label: String, name: &'static str, classes: String },
    #[error(
        "`{name}` counts rows by its column `idx`, which has no paragraph, question and answer here; get its files from \
         the Hub"
    )]
    Numbers { name: &'static str },
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Predict(#[from] PredictError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The first line of a file for GLUE.
const HEADER: &str = "index\tprediction";

/// The files that [`submit`] writes for a data set, each with the split whose answers it holds.
///
/// # Errors
/// The data set is no task of a suite.
pub fn submission_files(dataset: &str) -> Result<Vec<(&'static str, String)>, SubmissionError> {
    let task = find_known(dataset).and_then(|known| Some((known, known.suite?)));
    let (known, suite) =
        task.ok_or_else(|| SubmissionError::NoTask { name: dataset.to_owned() })?;
    let ending = match suite {
        Suite::Glue => "tsv",
        Suite::SuperGlue => "jsonl",
    };
    let files = known.submissions.iter();
    Ok(files.map(|&(split, name)| (split, format!("{name}.{ending}"))).collect())
}

/// Whether a file is one of those.
pub fn is_submission(path: &Path) -> bool {
    let mut first = String::new();
    let read = File::open(path).and_then(|file| BufReader::new(file).read_line(&mut first));
    let is_answer =
        |line: &str| serde_json::from_str::<Json>(line).is_ok_and(|one| one["idx"].is_u64());
    read.is_ok() && (first.trim_end() == HEADER || is_answer(&first))
}

/// Asks a model for the rows of a task whose labels are hidden, and writes the files of the task into a folder once all
/// are answered: TSV for GLUE, JSONL for SuperGLUE. Gives the files. `show` hears of the rows, `progress` of rows done
/// and all rows.
///
/// # Errors
/// The data set is no task, has no such rows, or has other classes than the model; a file cannot be written.
pub fn submit(
    predictor: &Predictor,
    config: &DataConfig,
    folder: &Path,
    show: &mut dyn FnMut(Remark),
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<PathBuf>, SubmissionError> {
    let files = submission_files(&config.dataset)?;
    let known = find_known(&config.dataset).expect("it is a task");
    let classes = classes(known, config, predictor)?;
    let mut texts = Texts::open(config)?;
    texts.how_read.drain(..).map(Remark::Note).chain(texts.remarks.drain(..)).for_each(&mut *show);
    let mut written = Vec::new();
    for (split, file) in files {
        let Some(rows) = texts.splits.remove(split) else {
            return Err(SubmissionError::NoSplit { name: known.name, split, file });
        };
        let examples: Vec<Example> = rows.into_iter().map(|(example, _)| example).collect();
        let asked: Vec<Text<'_>> =
            examples.iter().map(|one| (one.text.as_str(), one.pair.as_deref())).collect();
        let pairs = predictor.pairs();
        pairs.check(asked.iter().map(|(_, pair)| pair.is_some())).map_err(EvaluateError::from)?;
        let predictions = predictor.predict(&asked, &mut |done| progress(done, asked.len()))?;
        let answers: Vec<Answer> = predictions
            .iter()
            .map(|one| Answer {
                class: classes.of_model[one.label],
                right: one.predictive.probability_c[classes.second],
            })
            .collect();
        let content = match (known.suite, known.written) {
            (Some(Suite::Glue), form) => tsv(known, form, &answers),
            (_, Written::Questions) => questions(&numbers(known, split)?, &answers)
                .ok_or(SubmissionError::Numbers { name: known.name })?,
            (_, form) => lines(known, form, &answers),
        };
        written.push((folder.join(file), content));
    }
    written.iter().try_for_each(|(path, content)| write_atomically(path, content.as_bytes()))?;
    Ok(written.into_iter().map(|(path, _)| path).collect())
}

/// What the model says of a row.
struct Answer {
    /// The class, by its place in the task.
    class: usize,
    /// The probability of the second class of the task.
    right: f64,
}

/// Classes of the task and of the model.
struct Classes {
    /// By class of the model, its place in the task.
    of_model: Vec<usize>,
    /// The second class of the task, by its place in the model.
    second: usize,
}

fn classes(
    known: &'static Known,
    config: &DataConfig,
    predictor: &Predictor,
) -> Result<Classes, SubmissionError> {
    let map = &config.label_map;
    if let Some(label) = map.keys().find(|label| !known.labels.contains(&label.as_str())) {
        let (name, classes) = (known.name, known.labels.join(", "));
        return Err(SubmissionError::Renamed { label: label.clone(), name, classes });
    }
    let own = |&label: &&str| map.get(label).cloned().unwrap_or(label.to_owned());
    let own: Vec<String> = known.labels.iter().map(own).collect();
    let model = predictor.labels();
    let by_label = labels_of_trained(&own, &predictor.artifact().manifest)?;
    let place = |class: usize| by_label.iter().position(|&one| one as usize == class);
    match (0..model.len()).map(place).collect::<Option<Vec<_>>>() {
        Some(of_model) => Ok(Classes { of_model, second: by_label[1] as usize }),
        None => Err(SubmissionError::Classes {
            name: known.name,
            classes: own.join(", "),
            model: model.join(", "),
        }),
    }
}

fn tsv(known: &Known, written: Written, answers: &[Answer]) -> String {
    let mut text = format!("{HEADER}\n");
    for (index, answer) in answers.iter().enumerate() {
        let said = match written {
            Written::Index => answer.class.to_string(),
            _ => known.labels[answer.class].to_owned(),
        };
        text.push_str(&format!("{index}\t{said}\n"));
    }
    text
}

fn lines(known: &Known, written: Written, answers: &[Answer]) -> String {
    let said: Vec<Json> = match written {
        Written::Choice => {
            // Of equal ones the first is chosen.
            let of_two = |two: &[Answer]| json!(usize::from(two[1].right > two[0].right));
            answers.chunks_exact(2).map(of_two).collect()
        }
        Written::Truth => answers.iter().map(|one| json!(["false", "true"][one.class])).collect(),
        _ => answers.iter().map(|one| json!(known.labels[one.class])).collect(),
    };
    let line = |(idx, label): (usize, Json)| format!("{}\n", json!({ "idx": idx, "label": label }));
    said.into_iter().enumerate().map(line).collect()
}

/// Which answer to which question about which paragraph a row is.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Number {
    paragraph: u64,
    question: u64,
    answer: u64,
}

/// The numbers of a split's rows.
fn numbers(known: &'static Known, split: &str) -> Result<Vec<Number>, SubmissionError> {
    let unknown = || SubmissionError::Numbers { name: known.name };
    let located = obtain(known.name)?;
    let mut numbers = Vec::new();
    for file in located.splits.get(split).into_iter().flatten() {
        let table = table::open(file)?;
        let place = table.columns.iter().position(|column| column == "idx");
        let place = place.ok_or_else(unknown)?;
        for row in table {
            let written = row?.values[place].written().into_owned();
            numbers.push(serde_json::from_str(&written).map_err(|_| unknown())?);
        }
    }
    Ok(numbers)
}

/// A line for each paragraph; `None` where a row has no number.
fn questions(numbers: &[Number], answers: &[Answer]) -> Option<String> {
    if numbers.len() != answers.len() {
        return None;
    }
    let mut paragraphs: BTreeMap<u64, BTreeMap<u64, Vec<Json>>> = BTreeMap::new();
    for (number, answer) in numbers.iter().zip(answers) {
        let own = paragraphs.entry(number.paragraph).or_default();
        let line = json!({ "idx": number.answer, "label": answer.class });
        own.entry(number.question).or_default().push(line);
    }
    let line = |(idx, questions): (u64, BTreeMap<u64, Vec<Json>>)| {
        let question = |(idx, answers)| json!({ "idx": idx, "answers": answers });
        let questions: Vec<Json> = questions.into_iter().map(question).collect();
        format!("{}\n", json!({ "idx": idx, "passage": { "questions": questions } }))
    };
    Some(paragraphs.into_iter().map(line).collect())
}
