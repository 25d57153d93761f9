//! The search behind [`detect`](super::columns::detect): known names, and what a sample says of a
//! column.

use std::collections::HashSet;

use super::column_names::{HEADS, LABELS, PAIRS, TEXTS, is_called, tells_no_label};
use super::error::{TableError, listed};
use super::{Row, Value};

pub(super) const TEXT_KEY: &str = "data.text_column";
pub(super) const PAIR_KEY: &str = "data.text_pair_column";
pub(super) const LABEL_KEY: &str = "data.label_column";

/// The column in which Prodigy writes what a person said of a row, and what it may be; and the one of the
/// choices.
const VERDICT: (&str, [&str; 3]) = ("answer", [ACCEPTED, "reject", "ignore"]);
pub(in crate::data) const ACCEPTED: &str = "accept";

/// What a person said, whatever its case and the white space around it.
pub(in crate::data) fn verdict(written: &str) -> String {
    written.trim().to_lowercase()
}

/// Columns that stand together beside the labels that `bayes predict` has written.
const ANSWERS: [&str; 4] = ["confidence", "uncertainty", "decision", "prediction_set"];

/// Refuses answers of a model as the labels that nobody named: it would be measured against itself.
pub(in crate::data) fn refuse_answers(columns: &[String], label: usize) -> Result<(), TableError> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    if columns[label] != "label" || !ANSWERS.iter().all(|name| has(name)) {
        return Ok(());
    }
    let truth = match has("input_label") {
        true => "`input_label`, which contains the labels of the input".to_owned(),
        false => {
            let own = |column: &&String| *column != "label" && !ANSWERS.contains(&column.as_str());
            let own: Vec<&str> = columns.iter().filter(own).map(String::as_str).collect();
            format!("the column of the true labels (the others are {})", listed(own.into_iter()))
        }
    };
    let [first, .., last] = ANSWERS;
    Err(TableError::Answers { label: columns[label].clone(), first, last, truth })
}

/// A text is the longer one where its mean length is so many times that of the other.
const LONGER: f64 = 2.0;
/// A text is as long as another where it has at least this share of its mean length.
const AS_LONG: f64 = 0.8;
/// The longest mean length of a label, in characters, and the most labels.
const LABEL_CHARACTERS: f64 = 60.0;
const MOST_LABELS: usize = 1000;

/// What a sample says of one column.
struct Statistics {
    /// Rows that have a value.
    filled: usize,
    distinct: usize,
    /// Mean length of a value, in characters.
    length: f64,
    /// Values that have words: no numbers, no booleans, no moments of time.
    words: usize,
    /// Values of several words.
    phrases: usize,
    /// Numbers with a fraction.
    fractions: usize,
    nested: usize,
    /// Words of a person about the row.
    verdicts: usize,
}

impl Statistics {
    fn of(sample: &[Row], column: usize) -> Statistics {
        let values: Vec<_> =
            sample.iter().filter_map(|row| row.values.get(column)?.as_text()).collect();
        let count = |test: &dyn Fn(&str) -> bool| values.iter().filter(|value| test(value)).count();
        let number = |value: &str| value.trim().parse::<f64>().ok();
        let characters: usize = values.iter().map(|value| value.chars().count()).sum();
        Statistics {
            filled: values.len(),
            distinct: values.iter().collect::<HashSet<_>>().len(),
            length: characters as f64 / values.len().max(1) as f64,
            words: count(&|value| {
                number(value).is_none() && !matches!(value, "true" | "false") && has_words(value)
            }),
            phrases: count(&|value| value.split_whitespace().nth(1).is_some()),
            fractions: count(&|value| number(value).is_some_and(|number| number.fract() != 0.0)),
            verdicts: count(&|value| {
                let said = verdict(value);
                // The name of the column is that of a later header.
                said == VERDICT.0 || VERDICT.1.contains(&said.as_str())
            }),
            nested: sample
                .iter()
                .filter(|row| row.values.get(column).and_then(Value::nested).is_some())
                .count(),
        }
    }

    fn is_text(&self) -> bool {
        2 * self.words > self.filled
    }

    fn is_label(&self, rows: usize) -> bool {
        let most = (rows / 5).clamp(2, MOST_LABELS);
        self.filled > 0
            && self.distinct <= most
            && self.length <= LABEL_CHARACTERS
            && self.fractions == 0
    }
}

/// Whether somebody says something: there are letters or pictures, and not only those of a moment of time. A telephone
/// number, a place on a map and a list of numbers say nothing.
pub(super) fn has_words(value: &str) -> bool {
    const NAMES: [&str; 19] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    const OTHERS: [&str; 19] = [
        "a", "am", "bst", "cdt", "cest", "cet", "cst", "edt", "est", "gmt", "mdt", "mst", "p",
        "pdt", "pm", "pst", "t", "utc", "z",
    ];
    // Arrows and pictures begin there.
    let says = |letter: char| letter.is_alphabetic() || letter >= '\u{2190}';
    if !value.contains(|letter: char| letter.is_ascii_digit()) {
        return value.contains(says);
    }
    let mut words = value.split(|letter| !says(letter)).filter(|word| !word.is_empty());
    words.any(|word| {
        let word = word.to_ascii_lowercase();
        let is_name = word.len() > 2 && NAMES.iter().any(|name| name.starts_with(&word));
        !(is_name || OTHERS.contains(&word.as_str()))
    })
}

/// The columns of one table and what its sample says of them. `taken` are the columns that have a
/// role already.
pub(super) struct Search<'a> {
    columns: &'a [String],
    statistics: Vec<Statistics>,
    rows: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(columns: &'a [String], sample: &[Row]) -> Search<'a> {
        let statistics = (0..columns.len()).map(|column| Statistics::of(sample, column)).collect();
        Search { columns, statistics, rows: sample.len() }
    }

    /// The column of exactly this name.
    pub(super) fn named(&self, name: &str, key: &'static str) -> Result<usize, TableError> {
        let mut found = (0..self.columns.len()).filter(|&column| self.columns[column] == name);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (Some(_), Some(_)) => Err(TableError::RepeatedColumn { name: name.to_owned() }),
            (None, _) => Err(TableError::UnknownColumn {
                name: name.to_owned(),
                key,
                suggestion: suggestion(name, self.columns),
                columns: listed(self.columns.iter().map(String::as_str)),
            }),
        }
    }

    /// The column of a known name, in any case. Two that differ by case alone are ambiguous.
    fn known(
        &self,
        name: &str,
        role: &'static str,
        key: &'static str,
        taken: &[usize],
    ) -> Result<Option<usize>, TableError> {
        let same =
            |&column: &usize| is_called(&self.columns[column], name) && !taken.contains(&column);
        let found: Vec<usize> = (0..self.columns.len()).filter(same).collect();
        self.only(&found, role, key)
    }

    fn first_known(
        &self,
        names: &[&str],
        role: &'static str,
        key: &'static str,
        taken: &[usize],
    ) -> Result<Option<usize>, TableError> {
        for name in names {
            if let Some(column) = self.known(name, role, key, taken)? {
                return Ok(Some(column));
            }
        }
        Ok(None)
    }

    /// The label under a known name.
    pub(super) fn known_label(&self, taken: &[usize]) -> Result<Option<usize>, TableError> {
        let found = self.first_known(&LABELS, "label", LABEL_KEY, taken)?;
        let Some(first) = found.filter(|&column| self.statistics[column].distinct == 1) else {
            return Ok(found);
        };
        // One value in all rows of the sample: another column of a known name may be meant.
        for name in LABELS {
            if let Some(other) = self.known(name, "label", LABEL_KEY, taken)?
                && self.statistics[other].distinct > 1
                && self.statistics[other].is_label(self.rows)
            {
                return self.only(&[first, other], "label", LABEL_KEY);
            }
        }
        Ok(found)
    }

    /// What a person said of the row to an annotation tool: it is called `answer` and holds hardly anything else, such
    /// as an answer of the person's own.
    pub(super) fn verdict(&self, taken: &[usize]) -> Option<usize> {
        let is = |column: &usize| {
            is_called(&self.columns[*column], VERDICT.0)
                && !taken.contains(column)
                && 2 * self.statistics[*column].verdicts > self.statistics[*column].filled
        };
        (0..self.columns.len()).find(is)
    }

    /// The label that was chosen of several, beside such a verdict.
    pub(super) fn accepted(&self, taken: &[usize]) -> Result<Option<usize>, TableError> {
        self.known(ACCEPTED, "label", LABEL_KEY, taken)
    }

    /// Two texts under the names of a known pair.
    pub(super) fn known_pair(&self, taken: &[usize]) -> Result<Option<(usize, usize)>, TableError> {
        for (first, second) in PAIRS {
            let text = self.known(first, "text", TEXT_KEY, taken)?;
            let pair = self.known(second, "second text", PAIR_KEY, taken)?;
            if let (Some(text), Some(pair)) = (text, pair)
                && self.may_be_text(text)
                && self.may_be_text(pair)
            {
                return Ok(Some((text, pair)));
            }
        }
        Ok(None)
    }

    /// The known pair that a text is one of.
    pub(super) fn pair_of(
        &self,
        text: usize,
        taken: &[usize],
    ) -> Result<Option<[usize; 2]>, TableError> {
        for (first, second) in PAIRS {
            let first = self.known(first, "text", TEXT_KEY, taken)?;
            let second = self.known(second, "second text", PAIR_KEY, taken)?;
            if let (Some(first), Some(second)) = (first, second)
                && [first, second].contains(&text)
                && self.may_be_text(first)
                && self.may_be_text(second)
            {
                return Ok(Some([first, second]));
            }
        }
        Ok(None)
    }

    /// The first text that belongs to a named second one.
    pub(super) fn partner(
        &self,
        pair: usize,
        taken: &[usize],
    ) -> Result<Option<usize>, TableError> {
        let name = self.columns[pair].trim();
        for (first, _) in PAIRS.iter().filter(|(_, second)| is_called(name, second)) {
            if let Some(text) = self.known(first, "text", TEXT_KEY, taken)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Identifiers also stand under names such as `document`: numbers are no text.
    fn may_be_text(&self, column: usize) -> bool {
        self.statistics[column].filled == 0 || self.statistics[column].is_text()
    }

    /// The text, by name and else by content.
    pub(super) fn text(&self, taken: &[usize]) -> Result<usize, TableError> {
        let numbers = (0..self.columns.len()).filter(|&column| !self.may_be_text(column));
        let no_text: Vec<usize> = taken.iter().copied().chain(numbers).collect();
        let known = self.first_known(&TEXTS, "text", TEXT_KEY, &no_text)?;
        if let Some(column) = known.filter(|&column| !self.is_head(column, &no_text)) {
            return Ok(column);
        }
        if self.columns.len() == 1 && taken.is_empty() {
            return Ok(0);
        }
        // A known label is no text, however long its names are.
        let label = self.known_label(taken)?;
        let free = (0..self.columns.len()).filter(|column| {
            let statistics = &self.statistics[*column];
            !no_text.contains(column)
                && label != Some(*column)
                && statistics.is_text()
                && statistics.nested == 0
                && 2 * statistics.distinct > statistics.filled
        });
        // Texts have several words; names of files, links and identifiers have one.
        let (phrases, words): (Vec<usize>, Vec<usize>) = free.partition(|&column| {
            2 * self.statistics[column].phrases > self.statistics[column].filled
        });
        let candidates = if phrases.is_empty() { words } else { phrases };
        let length = |column: &usize| self.statistics[*column].length;
        let longest = candidates.iter().map(length).fold(0.0, f64::max);
        let best: Vec<usize> =
            candidates.into_iter().filter(|column| length(column) >= AS_LONG * longest).collect();
        self.only(&best, "text", TEXT_KEY)?.ok_or_else(|| self.none("text", TEXT_KEY))
    }

    /// Whether a text is the head of a longer one in another column.
    fn is_head(&self, column: usize, no_text: &[usize]) -> bool {
        let length = self.statistics[column].length;
        HEADS.iter().any(|name| is_called(&self.columns[column], name))
            && (0..self.columns.len()).filter(|other| !no_text.contains(other)).any(|other| {
                let statistics = &self.statistics[other];
                statistics.length > LONGER * length
                    && statistics.is_text()
                    && statistics.nested == 0
                    && 2 * statistics.phrases > statistics.filled
                    && 2 * statistics.distinct > statistics.filled
            })
    }

    /// The label, by content.
    pub(super) fn label(&self, taken: &[usize]) -> Result<usize, TableError> {
        let free = (0..self.columns.len()).filter(|column| {
            !taken.contains(column)
                && self.statistics[*column].is_label(self.rows)
                && !tells_no_label(&self.columns[*column])
        });
        // A constant column is a label only where nothing else is: files may be sorted by label.
        let (varied, constant): (Vec<usize>, Vec<usize>) =
            free.partition(|&column| self.statistics[column].distinct > 1);
        let best = if varied.is_empty() { constant } else { varied };
        self.only(&best, "label", LABEL_KEY)?.ok_or_else(|| self.none("label", LABEL_KEY))
    }

    fn only(
        &self,
        candidates: &[usize],
        role: &'static str,
        key: &'static str,
    ) -> Result<Option<usize>, TableError> {
        match candidates {
            [] => Ok(None),
            [column] => Ok(Some(*column)),
            [first, others @ ..]
                if others.iter().any(|&other| self.columns[other] == self.columns[*first]) =>
            {
                Err(TableError::RepeatedColumn { name: self.columns[*first].clone() })
            }
            several => Err(TableError::AmbiguousColumn {
                role,
                key,
                candidates: listed(several.iter().map(|&column| self.columns[column].as_str())),
            }),
        }
    }

    fn none(&self, role: &'static str, key: &'static str) -> TableError {
        if let ([only], "label") = (self.columns, role) {
            return TableError::OneColumn { name: only.chars().take(40).collect() };
        }
        let columns = listed(self.columns.iter().map(String::as_str));
        TableError::NoColumn { role, key, columns }
    }
}

/// `; did you mean …?` for the nearest name, or `;` where none is near.
fn suggestion(name: &str, columns: &[String]) -> String {
    let lower = name.trim().to_lowercase();
    let near = columns
        .iter()
        .map(|column| (strsim::damerau_levenshtein(&lower, &column.trim().to_lowercase()), column))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (lower.chars().count() / 3).max(1));
    near.map_or(";".to_owned(), |(_, column)| format!("; did you mean `{column}`?"))
}
