//! Reading a predictions file.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::Lines;
use super::{FIRST, FileError, LAST, LATER, LINK, PRECISION, QUESTION, SET_METHOD};
use crate::calibrate::conformal::ConformalMethod;
use crate::compute::Precision;
use crate::data::Remark;
use crate::data::table::{self, Format, Reading, Value};
use crate::evaluate::{Answer, Answers, Link, Novelty, Truth};
use crate::metrics::{MetricsError, Scored};
use crate::task::Task;

/// Reads the answers of every model in a file, in the order of their first lines, and says what is doubtful
/// about them.
///
/// # Errors
/// It cannot be read, is no predictions file, or its lines contradict each other.
pub fn read(path: &Path) -> Result<(Vec<Answers>, Vec<Remark>), FileError> {
    let delimiter = if Format::of(path)? == Format::Tsv { '\t' } else { ',' };
    let table = table::open_as(path, &Reading::written(delimiter))?;
    let columns = table.columns.clone();
    let place = |column: &str| columns.iter().position(|name| name == column);
    let missing = |column: &str| FileError::Column { path: path.into(), column: column.into() };
    if let Some(column) = (1..columns.len()).find(|&one| columns[..one].contains(&columns[one])) {
        let what = format!("the column `{}` occurs twice", columns[column]);
        return Err(FileError::Contradiction { path: path.into(), line: 1, what });
    }
    let labels: Vec<String> =
        columns.iter().filter_map(|name| name.strip_prefix("p.")).map(str::to_owned).collect();
    if labels.is_empty() {
        return Err(missing("p.CLASS"));
    }
    let fixed = FIRST.iter().chain(&LAST).map(|(name, _)| (*name).to_owned());
    let logits = labels.iter().map(|label| format!("logit.{label}"));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for name in fixed.chain(logits).chain(labels.iter().map(|label| format!("p.{label}"))) {
        match place(&name) {
            Some(found) => places.extend([(name, found)]),
            // Files of earlier versions have none.
            None if LATER.contains(&name.as_str()) => {}
            None => return Err(missing(&name)),
        }
    }
    let more = |name: &&String| name.starts_with("truth.") || *name == QUESTION;
    for name in columns.iter().filter(more) {
        places.extend(place(name).map(|found| (name.clone(), found)));
    }
    let (mut all, mut lines): (Vec<Answers>, Lines) = Default::default();
    for row in table {
        let row = row?;
        let cells = Cells { path, line: row.line, values: &row.values, places: &places };
        let model = cells.text("model")?;
        lines.common(&model, &cells)?;
        let known = all.iter().position(|answers| answers.model == model);
        let answers = match known {
            Some(known) => &mut all[known],
            None => {
                all.push(cells.answers(model, &labels)?);
                all.last_mut().expect("one was added")
            }
        };
        let answer = cells.answer(answers.task, &labels)?;
        lines.answer(answers, &answer, &cells)?;
        answers.rows.push(answer);
    }
    let remarks = lines.remarks(path, &all);
    Ok((all, remarks))
}

/// One line of a predictions file.
pub(super) struct Cells<'a> {
    path: &'a Path,
    pub(super) line: u64,
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

    /// What cannot be, beside other cells.
    pub(super) fn contradiction(&self, what: String) -> FileError {
        FileError::Contradiction { path: self.path.to_owned(), line: self.line, what }
    }

    pub(super) fn optional_text(&self, column: &str) -> Option<String> {
        self.get(column).and_then(Value::as_text).map(|text| text.into_owned())
    }

    pub(super) fn text(&self, column: &str) -> Result<String, FileError> {
        self.optional_text(column).ok_or_else(|| self.wrong(column, "text"))
    }

    fn optional_float(&self, column: &str) -> Result<Option<f64>, FileError> {
        let Some(value) = self.get(column) else { return Ok(None) };
        let number = match value {
            Value::Float(value) => Some(*value),
            Value::Integer(value) => Some(*value as f64),
            // CSV has texts only.
            Value::Text(text) | Value::Number(text) => text.parse().ok(),
            Value::Null | Value::Bytes | Value::Bool(_) | Value::Nested(_) => None,
        };
        let finite = number.filter(|number| number.is_finite());
        finite.map(Some).ok_or_else(|| self.wrong(column, "a number"))
    }

    fn float(&self, column: &str) -> Result<f64, FileError> {
        self.optional_float(column)?.ok_or_else(|| self.wrong(column, "a number"))
    }

    fn share(&self, column: &str) -> Result<Option<f64>, FileError> {
        let number = self.optional_float(column)?;
        match number.is_none_or(|share| (0.0..=1.0).contains(&share)) {
            true => Ok(number),
            false => Err(self.wrong(column, "a number from 0 to 1")),
        }
    }

    fn by_class(&self, prefix: &str, labels: &[String]) -> Result<Vec<f64>, FileError> {
        labels.iter().map(|label| self.float(&format!("{prefix}.{label}"))).collect()
    }

    /// Probabilities, which sum to 1.
    fn distribution(&self, prefix: &str, labels: &[String]) -> Result<Vec<f64>, FileError> {
        let probability_c = self.by_class(prefix, labels)?;
        let what = match Scored::new(&probability_c, labels.len(), &[0]) {
            Ok(_) => return Ok(probability_c),
            Err(MetricsError::NotProbability { class, found, .. }) => {
                format!("`{prefix}.{}` is {found}, which is not a probability", labels[class])
            }
            Err(MetricsError::Sum { found, .. }) => {
                format!("the columns `{prefix}.…` add up to {found}, not to 1")
            }
            Err(other) => other.to_string(),
        };
        Err(self.contradiction(what))
    }

    pub(super) fn whole<T: std::str::FromStr>(&self, column: &str) -> Result<T, FileError> {
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

    fn choice<T>(
        &self,
        column: &str,
        named: impl Fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, FileError> {
        let Some(text) = self.optional_text(column) else { return Ok(None) };
        named(&text).map(Some).ok_or_else(|| self.wrong(column, expected))
    }

    /// What all lines of a model have in common.
    fn answers(&self, model: String, labels: &[String]) -> Result<Answers, FileError> {
        Ok(Answers {
            model,
            dataset: self.text("dataset")?,
            split: self.text("split")?,
            seed: self.whole("seed")?,
            precision: self
                .choice(PRECISION, Precision::named, "f32, bf16 or int8")?
                .unwrap_or_default(),
            temperature: match self.float("temperature")? {
                temperature if temperature > 0.0 => temperature,
                _ => return Err(self.wrong("temperature", "a number above 0")),
            },
            link: self.choice(LINK, Link::named, "softmax, scaled, mean or mean_field")?,
            set_method: self.choice(
                SET_METHOD,
                ConformalMethod::named,
                "lac, mondrian, aps or raps",
            )?,
            alpha: self.share("alpha")?,
            bound_rows: match self.get("bound_rows") {
                Some(_) => Some(self.whole("bound_rows")?),
                None => None,
            },
            // One column has the label, and the probabilities add up to 1.
            task: Task::SingleLabel,
            labels: labels.to_vec(),
            renamed: BTreeMap::new(),
            rows: Vec::new(),
        })
    }

    fn answer(&self, task: Task, labels: &[String]) -> Result<Answer, FileError> {
        let truth = match self.optional_text("ood") {
            Some(source) => Truth::OutOfScope { source },
            None => Truth::Label {
                label: self.class(&self.text("label")?, "label", labels)?,
                probability_c: match self.get(&format!("truth.{}", labels[0])) {
                    Some(_) => Some(self.distribution("truth", labels)?),
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
        let novelty = (self.optional_float("novelty")?).zip(self.share("novelty_p")?);
        let row = self.whole("row")?;
        let probability_c = self.distribution("p", labels)?;
        Ok(Answer {
            truth,
            row,
            predicted: task.decision(&probability_c),
            probability_c,
            logit_c: self.by_class("logit", labels)?,
            total: self.float("total")?,
            aleatoric: self.optional_float("aleatoric")?,
            epistemic: self.optional_float("epistemic")?,
            set: set.transpose()?,
            novelty: novelty.map(|(score, p_value)| Novelty { score, p_value }),
            truncated: self.bool("truncated")?,
            question: match self.get(QUESTION) {
                Some(_) => Some(self.whole(QUESTION)?),
                None => None,
            },
        })
    }
}
