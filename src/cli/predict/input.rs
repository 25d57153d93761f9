//! The texts that `bayes predict` is given, with what stands beside them.

use std::io::{self, BufReader, Read};

use anyhow::Result;

use super::lines::Lines;
use super::{Options, SHOWN_FAULTS, Stdin};
use crate::cli::output::note;
use crate::data::table::{self, Columns, Format, Kind, Row, SAMPLE_ROWS, Table, TableError, Value};
use crate::data::{DataConfig, is_blank};
use crate::predict::Pairs;

/// A text to classify, and where it came from.
pub(super) struct Item {
    pub(super) text: String,
    pub(super) pair: Option<String>,
    pub(super) line: u64,
    pub(super) rest: Vec<Value>,
    /// Why it cannot be answered.
    pub(super) fault: Option<String>,
}

/// All of them.
pub(super) struct Input<'a> {
    pub(super) items: Box<dyn Iterator<Item = Result<Item>> + 'a>,
    /// What to call their source in a message, before a number.
    pub(super) place: String,
    /// Whether there are second texts.
    pub(super) paired: bool,
    /// The names of the other columns, and what they hold.
    pub(super) rest: Vec<(String, Kind)>,
    /// Which columns were taken for what, and what is doubtful about it; empty for texts without a table.
    pub(super) described: String,
}

impl<'a> Input<'a> {
    /// Opens what the flags name. `config` has the columns that the model knows.
    pub(super) fn open(options: &'a Options, config: &DataConfig, pairs: Pairs) -> Result<Self> {
        let lines = |items: Box<dyn Iterator<Item = Result<Item>> + 'a>, place: &str| Self {
            items,
            place: place.to_owned(),
            paired: false,
            rest: Vec::new(),
            described: String::new(),
        };
        if !options.texts.is_empty() {
            let texts = options.texts.iter().zip(1..);
            let items = texts.map(|(text, line)| Ok(Item::of_line(text.clone(), line)));
            return Ok(lines(Box::new(items), "text"));
        }
        match (&options.input, options.format()) {
            (Some(path), _) => {
                let table = table::open_as(path, &config.reading())?;
                Self::of_table(table, config, pairs, format!("`{}` line", path.display()))
            }
            (None, Stdin::Lines) => {
                let text = table::lines(Box::new(io::stdin()), "stdin", &config.reading())?;
                Ok(lines(Box::new(lines_of(text)), "stdin line"))
            }
            (None, format) => {
                let format = match format {
                    Stdin::Csv | Stdin::Lines => Format::Csv,
                    Stdin::Tsv => Format::Tsv,
                    Stdin::Jsonl => Format::JsonLines,
                };
                let stdin = Box::new(io::stdin());
                let table = Table::from_reader(stdin, format, "stdin", &config.reading())?;
                Self::of_table(table, config, pairs, "stdin line".to_owned())
            }
        }
    }

    fn of_table(
        mut table: Table,
        config: &DataConfig,
        pairs: Pairs,
        place: String,
    ) -> Result<Self> {
        // Bad rows too, in their places; what ends the table is an error at once.
        let mut looked_at = Vec::new();
        for row in table.by_ref().take(SAMPLE_ROWS) {
            match row {
                Err(error) if !error.is_of_a_row() => return Err(error.into()),
                row => looked_at.push(row),
            }
        }
        let sample: Vec<Row> =
            looked_at.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let (wanted, usual) = (config.column_names(), &config.usual_columns);
        let columns = table::detect_usual(&table.columns, &sample, &wanted, usual, false)?;
        let Columns { text, pair, .. } = columns;
        if pair.is_none() && !usual.pair.is_empty() {
            anyhow::bail!(
                "this model classifies pairs (`{}`, `{}`), but there is no column `{}`; name the \
                 second text column with `--text-pair-column`",
                usual.text,
                usual.pair,
                usual.pair
            );
        }
        if let (Some(pair), Pairs::Never) = (pair, pairs) {
            anyhow::bail!(
                "this model classifies single texts, but `{}` and `{}` form a pair; give only the \
                 text column with `--text-column`",
                table.columns[text],
                table.columns[pair]
            );
        }
        let others =
            (0..table.columns.len()).filter(|&column| column != text && Some(column) != pair);
        let others: Vec<usize> = others.collect();
        let rest = others.iter();
        let rest =
            rest.map(|&column| (table.columns[column].clone(), table.kind(column))).collect();
        let mut described = Columns { label: None, ..columns }.describe(&table.columns);
        if let Some(doubt) = table.names().doubt() {
            described += &format!("; {doubt}");
        }
        let item = move |row: Result<Row, TableError>| match row {
            Ok(row) => Ok(Item::of_row(row, text, pair, &others)),
            Err(error) if error.is_of_a_row() => {
                let rest = vec![Value::Null; others.len()];
                let line = error.line().unwrap_or(0);
                let (text, pair) = (String::new(), pair.map(|_| String::new()));
                Ok(Item { text, pair, line, rest, fault: Some(error.to_string()) })
            }
            Err(error) => Err(error.into()),
        };
        let (mut first, mut repeats, of) = (looked_at.into_iter(), 0, place.clone());
        let mut told = false;
        let items = Box::new(std::iter::from_fn(move || {
            loop {
                let Some(row) = first.next().or_else(|| table.next()) else {
                    let lost = table.lost().filter(|_| !std::mem::replace(&mut told, true));
                    let told = lost.map(|lost| note(&format!("warning: {lost}")));
                    return told.and_then(Result::err).map(Err);
                };
                let Some(line) = row.as_ref().ok().filter(|row| table.repeats_names(row)) else {
                    return Some(item(row));
                };
                repeats += 1;
                if let Err(error) = tell_repeated(&of, line.line, repeats) {
                    return Some(Err(error));
                }
            }
        }));
        Ok(Self { items, place, paired: pair.is_some(), rest, described })
    }
}

/// Says that a line is no row; of many lines only the first ones.
fn tell_repeated(place: &str, line: u64, repeats: usize) -> Result<()> {
    let more = if repeats == SHOWN_FAULTS { ", and others may too" } else { "" };
    if repeats > SHOWN_FAULTS {
        return Ok(());
    }
    note(&format!("{place} {line} repeats the column names and is skipped{more}"))
}

/// Why a cell is no text, where its kind is the reason.
fn wrong_kind(value: &Value) -> Option<String> {
    if *value == Value::Bytes {
        return Some("the text has bytes that are not UTF-8: write the column as texts".to_owned());
    }
    let found = value.nested()?;
    Some(format!("the text is {found}; write the text itself, or name another text column"))
}

impl Item {
    fn of_line(text: String, line: u64) -> Self {
        let mut item = Self { text, pair: None, line, rest: Vec::new(), fault: None };
        item.check();
        item
    }

    fn of_row(mut row: Row, text: usize, pair: Option<usize>, others: &[usize]) -> Self {
        let rest =
            others.iter().map(|&column| std::mem::replace(&mut row.values[column], Value::Null));
        let rest = rest.collect();
        let value = |column: usize| {
            let value = row.values.get(column).and_then(Value::as_text);
            value.map(|text| text.into_owned()).unwrap_or_default()
        };
        let nested = [Some(text), pair].into_iter().flatten();
        let fault = nested.filter_map(|column| wrong_kind(row.values.get(column)?)).next();
        let (text, pair) = (value(text), pair.map(value));
        let mut item = Self { text, pair, line: row.line, rest, fault };
        item.check();
        item
    }

    fn check(&mut self) {
        let empty = |text: &String| is_blank(text);
        if self.fault.is_some() {
            return;
        }
        if empty(&self.text) {
            self.fault = Some("the text is empty".to_owned());
        } else if self.pair.as_ref().is_some_and(empty) {
            self.fault = Some("the second text is empty".to_owned());
        }
    }
}

/// Lines of a text; those without content, such as the last one, are no texts.
fn lines_of(text: impl Read) -> impl Iterator<Item = Result<Item>> {
    let item = |(bytes, number): (io::Result<Vec<u8>>, u64)| {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                return Some(Err(anyhow::Error::from(error).context("cannot read stdin")));
            }
        };
        match table::utf8(&bytes, "stdin", number) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Ok(Item::of_line(text.to_owned(), number))),
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let (pair, rest, fault) = (None, Vec::new(), Some(error.to_string()));
                Some(Ok(Item { text, pair, line: number, rest, fault }))
            }
        }
    };
    Lines::new(BufReader::new(text)).zip(1..).filter_map(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_other_bytes_is_not_said_to_be_empty() {
        let fault = |value| Item::of_row(Row { line: 1, values: vec![value] }, 0, None, &[]).fault;
        assert_eq!(fault(Value::Null).unwrap(), "the text is empty");
        assert!(fault(Value::Bytes).unwrap().contains("bytes that are not UTF-8"));
        assert_eq!(fault(Value::Text("a".to_owned())), None);
    }
}
