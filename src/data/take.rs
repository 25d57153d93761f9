//! Rows of a file with their text and their label, or why one cannot be taken.

use std::path::Path;

use super::labels::{tidy, whole_number};
use super::read::Wanted;
use super::table::{ACCEPTED, Columns, Row, Value, verdict};
use super::{DataError, is_blank};

/// A row before the classes are known.
pub(super) struct Raw {
    pub(super) text: String,
    pub(super) pair: Option<String>,
    pub(super) label: String,
    /// File, by its place in [`Content::files`](super::read::Content::files), and line.
    pub(super) place: (u32, u64),
}

impl Raw {
    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let texts = [Some(&self.text), self.pair.as_ref(), Some(&self.label)];
        size_of::<Self>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// How rows of a file are taken.
pub(super) struct Take<'a> {
    pub(super) path: &'a Path,
    pub(super) header: &'a [String],
    pub(super) columns: Columns,
    pub(super) names: &'a [String],
    pub(super) file: u32,
    pub(super) wanted: Wanted,
}

impl Take<'_> {
    /// Text, pair and label.
    pub(super) fn raw(&self, row: &Row) -> Result<Raw, DataError> {
        let plain = |column: usize| match row.values[column].nested() {
            Some(found) => Err(self.nested(row, column, found)),
            None => {
                cell(row, column).ok_or_else(|| self.empty(&row.values[column], row.line, column))
            }
        };
        let Columns { text, pair, label, .. } = self.columns;
        let label = match self.wanted {
            Wanted::Labelled => {
                let label = label.expect("a label column was required");
                self.class(&row.values[label], row.line)?
            }
            Wanted::Texts => {
                let written = self.label(row).unwrap_or_default();
                named(written.trim(), self.names).to_owned()
            }
        };
        Ok(Raw {
            text: plain(text)?,
            pair: pair.map(plain).transpose()?,
            label,
            place: (self.file, row.line),
        })
    }

    /// The label in a cell of its column.
    pub(super) fn class(&self, value: &Value, line: u64) -> Result<String, DataError> {
        let column = self.columns.label.expect("a label column was required");
        let written = filled(value).filter(|written| !tidy(written).is_empty());
        let written = written.ok_or_else(|| self.empty(value, line, column))?;
        Ok(named(&written, self.names).to_owned())
    }

    fn empty(&self, value: &Value, line: u64, column: usize) -> DataError {
        let (path, column) = (self.path.to_owned(), self.header[column].clone());
        match value {
            Value::Bytes => DataError::NotText { path, line, column },
            _ => DataError::EmptyCell { path, line, column },
        }
    }

    fn nested(&self, row: &Row, column: usize, found: &'static str) -> DataError {
        let (path, column) = (self.path.to_owned(), self.header[column].clone());
        DataError::NestedText { path, line: row.line, column, found }
    }

    /// What a person said of a row that is not to be taken.
    pub(super) fn refused(&self, row: &Row) -> Option<String> {
        let column = self.columns.verdict?;
        let said = verdict(&cell(row, column).unwrap_or_default());
        // The name of the column is that of a later header.
        (said != ACCEPTED && said != verdict(&self.header[column])).then_some(said)
    }

    pub(super) fn label(&self, row: &Row) -> Option<String> {
        cell(row, self.columns.label?)
    }
}

pub(super) fn cell(row: &Row, column: usize) -> Option<String> {
    filled(row.values.get(column)?)
}

fn filled(value: &Value) -> Option<String> {
    value.as_text().filter(|text| !is_blank(text)).map(|text| text.into_owned())
}

/// The name of an integer that a file names itself; what has none stays as it is.
pub(super) fn named<'a>(written: &'a str, names: &'a [String]) -> &'a str {
    let digits = written.trim();
    let index = whole_number(digits).unwrap_or(digits).parse::<usize>();
    index.ok().and_then(|index| names.get(index)).map_or(written, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_other_bytes_is_not_said_to_be_empty() {
        let columns = Columns { text: 0, pair: None, label: Some(1), verdict: None };
        let header = ["text", "label"].map(str::to_owned).to_vec();
        let take = Take {
            path: Path::new("a.parquet"),
            header: &header,
            columns,
            names: &[],
            file: 0,
            wanted: Wanted::Labelled,
        };
        let message = |text: Value| {
            let values = vec![text, Value::Text("x".to_owned())];
            take.raw(&Row { line: 3, values }).err().unwrap().to_string()
        };
        assert!(message(Value::Null).contains("row 3: column `text` is empty"));
        assert!(
            message(Value::Bytes).contains("row 3: column `text` has bytes that are not UTF-8")
        );
    }
}
