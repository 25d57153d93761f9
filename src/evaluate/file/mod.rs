//! Predictions files: all that a report is computed from, one text a line, without the texts.
//!
//! | column | what |
//! |---|---|
//! | `model`, `dataset`, `split` | what answered, and what the rows are from |
//! | `seed`, `temperature`, `alpha`, `bound_rows` | the same on every line of a model |
//! | `link`, `set_method`, `precision` | likewise: how probabilities come from logits, and sets from probabilities; what was computed with |
//! | `rows` | how many answers of the model were written |
//! | `row` | the row in the split, from 0 |
//! | `ood` | where a text of no class is from; null for a labelled one |
//! | `label`, `predicted` | class names; `label` is null for a text of no class |
//! | `p.CLASS`, `logit.CLASS` | for every class, in the order of the labels |
//! | `total`, `aleatoric`, `epistemic` | uncertainty in nats |
//! | `set` | the classes of the prediction set, as JSON |
//! | `novelty`, `novelty_p` | its score and p-value |
//! | `truncated`, `seen` | was the text cut, was it trained or calibrated on |
//! | `truth.CLASS` | p(class | text), only where it is known |
//! | `question` | which question the row is a possible answer to, only where a score counts questions |
//!
//! Numbers are written so that they read back to the last bit, and so is every metric of them.

mod agree;
mod check;
mod read;

use std::path::{Path, PathBuf};

pub use self::read::read;
use super::{Answer, Answers, Truth};
use crate::data::table::{Kind, TableError, Value, Writer};

/// The column that says how many answers of a model were written.
const ROWS: &str = "rows";
/// How probabilities come from logits.
const LINK: &str = "link";
/// How prediction sets are made.
const SET_METHOD: &str = "set_method";
/// What the model computed with.
const PRECISION: &str = "precision";
/// Which question a row is a possible answer to; in files of data sets that have such.
const QUESTION: &str = "question";
/// Columns that files of earlier versions do not have.
const LATER: [&str; 4] = [ROWS, LINK, SET_METHOD, PRECISION];

/// Columns before those of the classes.
const FIRST: [(&str, Kind); 15] = [
    ("model", Kind::Text),
    ("dataset", Kind::Text),
    ("split", Kind::Text),
    ("seed", Kind::Text),
    ("temperature", Kind::Float),
    ("alpha", Kind::Float),
    ("bound_rows", Kind::Integer),
    (ROWS, Kind::Integer),
    (LINK, Kind::Text),
    (SET_METHOD, Kind::Text),
    (PRECISION, Kind::Text),
    ("row", Kind::Integer),
    ("ood", Kind::Text),
    ("label", Kind::Text),
    ("predicted", Kind::Text),
];
/// Columns after them.
const LAST: [(&str, Kind); 8] = [
    ("total", Kind::Float),
    ("aleatoric", Kind::Float),
    ("epistemic", Kind::Float),
    ("set", Kind::Text),
    ("novelty", Kind::Float),
    ("novelty_p", Kind::Float),
    ("truncated", Kind::Bool),
    ("seen", Kind::Bool),
];

/// Why a predictions file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file has one list of classes.
    #[error(
        "the models have different labels, or have them in a different order; write one \
         predictions file for each"
    )]
    Labels,
    /// It is another table.
    #[error("`{path}` has no column `{column}`, so it is not a predictions file of `bayes eval`")]
    Column { path: PathBuf, column: String },
    /// A cell cannot be what it should be.
    #[error("`{path}` line {line}: column `{column}` must be {expected}")]
    Cell {
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        column: String,
        expected: &'static str,
    },
    /// Cells that contradict each other, or an earlier line.
    #[error(
        "`{path}` line {line}: {what}; a predictions file must be as `bayes eval` wrote it; write \
         it again with `--model`"
    )]
    Contradiction {
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        what: String,
    },
    /// The table cannot be written or read.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Writes the answers of models with the same labels. The extension says the format.
///
/// # Errors
/// The labels differ, or the file cannot be written; then what stood under its name stays.
pub fn write(path: &Path, all: &[&Answers]) -> Result<(), FileError> {
    let Some(first) = all.first() else { return Ok(()) };
    if all.iter().any(|one| one.labels != first.labels) {
        return Err(FileError::Labels);
    }
    let named = |prefix: &str| -> Vec<String> {
        first.labels.iter().map(|label| format!("{prefix}.{label}")).collect()
    };
    let rows = || all.iter().flat_map(|one| &one.rows);
    let known = |one: &Answer| matches!(&one.truth, Truth::Label { probability_c: Some(_), .. });
    let truth = if rows().any(known) { named("truth") } else { Vec::new() };
    let question = rows().any(|one| one.question.is_some()).then_some((QUESTION, Kind::Integer));
    let (p, logit) = (named("p"), named("logit"));
    let float = |name| (name, Kind::Float);
    let classes = p.iter().chain(&logit).map(String::as_str).map(float);
    let columns: Vec<(&str, Kind)> = (FIRST.into_iter().chain(classes).chain(LAST))
        .chain(question)
        .chain(truth.iter().map(String::as_str).map(float))
        .collect();
    let mut writer = Writer::create(path, &columns)?;
    for answers in all {
        for answer in &answers.rows {
            let mut values = line(answers, answer, question.is_some());
            values.resize(columns.len(), Value::Null);
            writer.write(&values)?;
        }
    }
    Ok(writer.finish()?)
}

/// The values of one line; those of `truth.*` only where it is known, and the question if it is `asked` for.
fn line(answers: &Answers, answer: &Answer, asked: bool) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let float = |value: Option<f64>| value.map_or(Value::Null, Value::Float);
    let name = |class: u32| text(&answers.labels[class as usize]);
    let (ood, label, seen, truth_c) = match &answer.truth {
        Truth::Label { label, probability_c, seen } => {
            (Value::Null, name(*label), Value::Bool(*seen), probability_c.as_deref())
        }
        Truth::OutOfScope { source } => (text(source), Value::Null, Value::Null, None),
    };
    let set = answer.set.as_ref().map(|set| {
        let names: Vec<&String> = set.iter().map(|&one| &answers.labels[one as usize]).collect();
        serde_json::json!(names).to_string()
    });
    let mut values = vec![
        text(&answers.model),
        text(&answers.dataset),
        text(&answers.split),
        Value::Text(answers.seed.to_string()),
        Value::Float(answers.temperature),
        float(answers.alpha),
        answers.bound_rows.map_or(Value::Null, |rows| Value::Integer(rows as i64)),
        Value::Integer(answers.rows.len() as i64),
        answers.link.map_or(Value::Null, |link| text(link.name())),
        answers.set_method.map_or(Value::Null, |method| text(method.name())),
        text(&answers.precision.to_string()),
        Value::Integer(answer.row as i64),
        ood,
        label,
        name(answer.predicted as u32),
    ];
    values.extend(answer.probability_c.iter().chain(&answer.logit_c).copied().map(Value::Float));
    values.extend([
        Value::Float(answer.total),
        float(answer.aleatoric),
        float(answer.epistemic),
        set.map_or(Value::Null, Value::Text),
        float(answer.novelty.map(|novelty| novelty.score)),
        float(answer.novelty.map(|novelty| novelty.p_value)),
        Value::Bool(answer.truncated),
        seen,
    ]);
    let question = || answer.question.map_or(Value::Null, |one| Value::Integer(one as i64));
    values.extend(asked.then(question));
    values.extend(truth_c.into_iter().flatten().copied().map(Value::Float));
    values
}

#[cfg(test)]
mod tests;
