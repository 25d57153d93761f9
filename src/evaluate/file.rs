//! Predictions files: all that a report is computed from, one text a line, without the texts.
//!
//! | column | what |
//! |---|---|
//! | `model`, `dataset`, `split` | what answered, and what the rows are from |
//! | `seed`, `temperature`, `alpha`, `bound_rows` | the same on every line of a model |
//! | `row` | the row in the split, from 0 |
//! | `ood` | where a text of no class is from; null for a labelled one |
//! | `label`, `predicted` | class names; `label` is null for a text of no class |
//! | `p.CLASS`, `logit.CLASS` | for every class, in the order of the labels |
//! | `total`, `aleatoric`, `epistemic` | uncertainty in nats |
//! | `set` | the classes of the prediction set, as JSON |
//! | `novelty`, `novelty_p` | its score and p-value |
//! | `truncated`, `seen` | was the text cut, was it trained or calibrated on |
//! | `truth.CLASS` | p(class | text), only where it is known |
//!
//! Numbers are written so that they read back to the last bit, and so is every metric of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Answer, Answers, Novelty, Truth};
use crate::data::table::{self, Format, Kind, Reading, TableError, Value, Writer};

/// Columns before those of the classes.
const FIRST: [(&str, Kind); 11] = [
    ("model", Kind::Text),
    ("dataset", Kind::Text),
    ("split", Kind::Text),
    ("seed", Kind::Text),
    ("temperature", Kind::Float),
    ("alpha", Kind::Float),
    ("bound_rows", Kind::Integer),
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
        "the models have different labels, or have them in another order: write one predictions \
         file for each"
    )]
    Labels,
    /// It is another table.
    #[error("`{path}` has no column `{column}`: it is no predictions file of `bayes eval`")]
    Column {
        /// The file.
        path: PathBuf,
        /// What is missing.
        column: String,
    },
    /// A cell cannot be what it should be.
    #[error("`{path}` line {line}: column `{column}` must be {expected}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        /// The column.
        column: String,
        /// In words.
        expected: &'static str,
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
    let (p, logit) = (named("p"), named("logit"));
    let float = |name| (name, Kind::Float);
    let classes = p.iter().chain(&logit).map(String::as_str).map(float);
    let columns: Vec<(&str, Kind)> = (FIRST.into_iter().chain(classes).chain(LAST))
        .chain(truth.iter().map(String::as_str).map(float))
        .collect();
    let mut writer = Writer::create(path, &columns)?;
    for answers in all {
        for answer in &answers.rows {
            let mut values = line(answers, answer);
            values.resize(columns.len(), Value::Null);
            writer.write(&values)?;
        }
    }
    Ok(writer.finish()?)
}

/// The values of one line; those of `truth.*` only where it is known.
fn line(answers: &Answers, answer: &Answer) -> Vec<Value> {
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
        Value::Integer(answer.row as i64),
        ood,
        label,
        name(answer.predicted() as u32),
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
    values.extend(truth_c.into_iter().flatten().copied().map(Value::Float));
    values
}

/// Reads the answers of every model in a file, in the order of their first lines.
///
/// # Errors
/// It cannot be read, or is no predictions file.
pub fn read(path: &Path) -> Result<Vec<Answers>, FileError> {
    let delimiter = if Format::of(path)? == Format::Tsv { '\t' } else { ',' };
    let table = table::open_as(path, &Reading::written(delimiter))?;
    let columns = table.columns.clone();
    let place = |column: &str| columns.iter().position(|name| name == column);
    let missing = |column: &str| FileError::Column { path: path.into(), column: column.into() };
    let labels: Vec<String> =
        columns.iter().filter_map(|name| name.strip_prefix("p.")).map(str::to_owned).collect();
    if labels.is_empty() {
        return Err(missing("p.CLASS"));
    }
    let fixed = FIRST.iter().chain(&LAST).map(|(name, _)| (*name).to_owned());
    let logits = labels.iter().map(|label| format!("logit.{label}"));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for name in fixed.chain(logits).chain(labels.iter().map(|label| format!("p.{label}"))) {
        let found = place(&name).ok_or_else(|| missing(&name))?;
        places.insert(name, found);
    }
    for name in columns.iter().filter(|name| name.starts_with("truth.")) {
        places.extend(place(name).map(|found| (name.clone(), found)));
    }
    let mut all: Vec<Answers> = Vec::new();
    for row in table {
        let row = row?;
        let cells = Cells { path, line: row.line, values: &row.values, places: &places };
        let model = cells.text("model")?;
        let known = all.iter().position(|answers| answers.model == model);
        let answers = match known {
            Some(known) => &mut all[known],
            None => {
                all.push(cells.answers(model, &labels)?);
                all.last_mut().expect("one was added")
            }
        };
        answers.rows.push(cells.answer(&labels)?);
    }
    Ok(all)
}

/// One line of a predictions file.
struct Cells<'a> {
    path: &'a Path,
    line: u64,
    values: &'a [Value],
    places: &'a BTreeMap<String, usize>,
}

impl Cells<'_> {
    fn get(&self, column: &str) -> Option<&Value> {
        let value = self.places.get(column).and_then(|&place| self.values.get(place));
        value.filter(|value| value.as_text().is_some())
    }

    fn wrong(&self, column: &str, expected: &'static str) -> FileError {
        let (path, line) = (self.path.to_owned(), self.line);
        FileError::Cell { path, line, column: column.to_owned(), expected }
    }

    fn optional_text(&self, column: &str) -> Option<String> {
        self.get(column).and_then(Value::as_text).map(|text| text.into_owned())
    }

    fn text(&self, column: &str) -> Result<String, FileError> {
        self.optional_text(column).ok_or_else(|| self.wrong(column, "text"))
    }

    fn optional_float(&self, column: &str) -> Result<Option<f64>, FileError> {
        let Some(value) = self.get(column) else { return Ok(None) };
        let number = match value {
            Value::Float(value) => Some(*value),
            Value::Integer(value) => Some(*value as f64),
            // CSV has texts only.
            Value::Text(text) | Value::Number(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Nested(_) => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(column, "a number"))
    }

    fn float(&self, column: &str) -> Result<f64, FileError> {
        self.optional_float(column)?.ok_or_else(|| self.wrong(column, "a number"))
    }

    fn by_class(&self, prefix: &str, labels: &[String]) -> Result<Vec<f64>, FileError> {
        labels.iter().map(|label| self.float(&format!("{prefix}.{label}"))).collect()
    }

    fn whole<T: std::str::FromStr>(&self, column: &str) -> Result<T, FileError> {
        self.text(column)?.parse().map_err(|_| self.wrong(column, "a whole number"))
    }

    fn bool(&self, column: &str) -> Result<bool, FileError> {
        match self.text(column)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong(column, "true or false")),
        }
    }

    fn class(&self, name: &str, column: &str, labels: &[String]) -> Result<u32, FileError> {
        let place = labels.iter().position(|label| label == name);
        place.map(|place| place as u32).ok_or_else(|| self.wrong(column, "a class of the file"))
    }

    /// What all lines of a model have in common.
    fn answers(&self, model: String, labels: &[String]) -> Result<Answers, FileError> {
        Ok(Answers {
            model,
            dataset: self.text("dataset")?,
            split: self.text("split")?,
            seed: self.whole("seed")?,
            temperature: self.float("temperature")?,
            alpha: self.optional_float("alpha")?,
            bound_rows: match self.get("bound_rows") {
                Some(_) => Some(self.whole("bound_rows")?),
                None => None,
            },
            labels: labels.to_vec(),
            rows: Vec::new(),
        })
    }

    fn answer(&self, labels: &[String]) -> Result<Answer, FileError> {
        let truth = match self.optional_text("ood") {
            Some(source) => Truth::OutOfScope { source },
            None => Truth::Label {
                label: self.class(&self.text("label")?, "label", labels)?,
                probability_c: match self.get(&format!("truth.{}", labels[0])) {
                    Some(_) => Some(self.by_class("truth", labels)?),
                    None => None,
                },
                seen: self.bool("seen")?,
            },
        };
        let set = self.optional_text("set").map(|text| {
            let names: Vec<String> =
                serde_json::from_str(&text).map_err(|_| self.wrong("set", "a list of classes"))?;
            names.iter().map(|name| self.class(name, "set", labels)).collect()
        });
        let novelty = (self.optional_float("novelty")?).zip(self.optional_float("novelty_p")?);
        Ok(Answer {
            truth,
            row: self.whole("row")?,
            probability_c: self.by_class("p", labels)?,
            logit_c: self.by_class("logit", labels)?,
            total: self.float("total")?,
            aleatoric: self.optional_float("aleatoric")?,
            epistemic: self.optional_float("epistemic")?,
            set: set.transpose()?,
            novelty: novelty.map(|(score, p_value)| Novelty { score, p_value }),
            truncated: self.bool("truncated")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::tests::answers;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let mut second = answers();
        second.model = "b".to_owned();
        for row in &mut second.rows {
            (row.aleatoric, row.epistemic, row.set, row.novelty) = (None, None, None, None);
        }
        (second.alpha, second.bound_rows) = (None, None);
        for name in ["a.jsonl", "a.parquet", "a.csv", "a.tsv"] {
            let path = folder.path().join(name);
            write(&path, &[&answers(), &second]).unwrap();
            assert_eq!(read(&path).unwrap(), [answers(), second.clone()], "{name}");
        }
    }

    #[test]
    fn models_with_other_labels_need_a_file_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut other = answers();
        other.labels.reverse();
        assert!(matches!(write(&path, &[&answers(), &other]), Err(FileError::Labels)));
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_cell_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        write(&path, &[&answers()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, what) in [
            ("\"row\":20", "\"row\":\"x\"", "line 3: column `row` must be a whole number"),
            ("\"seen\":true", "\"seen\":1", "line 3: column `seen` must be true or false"),
            ("\"truncated\":true", "\"truncated\":null", "line 5: column `truncated` must be text"),
            ("\"temperature\"", "\"heat\"", "line 1: column `temperature` must be a number"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text);
            std::fs::write(&path, damaged).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }
}
