//! CSV and TSV, record by record, in the dialect that was found out or asked for.

mod refusals;
mod watch;

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};

use csv::{ByteRecord, ReaderBuilder};

use self::watch::Watch;
use super::columns::{SAMPLE_ROWS, invented_name};
use super::error::TableError;
use super::escapes::Escapes;
use super::foreign;
use super::header::{Names, has_a_value, is_header, is_long, is_named};
use super::meant::Meant;
use super::reading::{Header, Quoting, Reading};
use super::scan::{Dialect, Record};
use super::sniff::{Sniffed, sniff};
use super::spaces::WithoutSpaces;
use super::swallowed::{Swallowed, Values};
use super::text;
use super::{Row, Value};

/// What is looked at to find out the dialect.
const LOOK: u64 = 4 << 20;

/// The records of one CSV or TSV file.
pub(super) struct DelimitedRows {
    path: String,
    reader: csv::Reader<Watch>,
    record: ByteRecord,
    dialect: Dialect,
    /// Whether white space before quotes is passed over.
    spaced: bool,
    columns: Vec<String>,
    names: Names,
    /// Rows that were looked at to tell the header from a row.
    looked_at: VecDeque<Result<Row, TableError>>,
    /// The values of the rows so far, against which quoted lines are held; `None` where somebody said how fields
    /// are quoted.
    values: Option<Values>,
    /// Rows whose quoted lines may be rows, and the line of the first.
    doubtful: (u64, u64),
}

impl DelimitedRows {
    /// Finds out how the file is written, and reads its header. Blank lines are skipped.
    pub(super) fn open(
        mut input: Box<dyn Read + Send>,
        own: u8,
        path: String,
        reading: &Reading,
    ) -> Result<DelimitedRows, TableError> {
        let mut head = Vec::new();
        if let Err(source) = input.by_ref().take(LOOK).read_to_end(&mut head) {
            return Err(TableError::Read { path, source });
        }
        if let Some(found) = foreign::json(&head) {
            return Err(TableError::OtherFormat { path, found });
        }
        let whole = (head.len() as u64) < LOOK;
        let Sniffed { dialect, skipped, spaced } =
            sniff(&head, own, whole, reading).map_err(TableError::Reading)?;
        let lines = head[..skipped]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
            .max(usize::from(skipped > 0));
        let mut rest: Box<dyn Read + Send> =
            Box::new(Cursor::new(head.split_off(skipped)).chain(input));
        if spaced {
            rest = Box::new(WithoutSpaces::reader(rest, dialect));
        }
        if dialect.quoting == Quoting::Backslash {
            rest = Box::new(Escapes::reader(rest, dialect.delimiter));
        }
        let watch = Watch::new(rest, dialect, lines as u64);
        let reader = ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quoting(dialect.quoting != Quoting::None)
            .escape((dialect.quoting == Quoting::Backslash).then_some(b'\\'))
            .has_headers(false)
            // Field counts are checked here, where the line is known exactly.
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(watch);
        let mut rows = DelimitedRows {
            path,
            reader,
            record: ByteRecord::new(),
            dialect,
            spaced,
            columns: Vec::new(),
            names: Names::FirstLine,
            looked_at: VecDeque::new(),
            values: (reading.quoting == Quoting::Auto).then(Values::default),
            doubtful: (0, 0),
        };
        rows.first(own, reading)?;
        rows.look_for_rows();
        Ok(rows)
    }

    /// The names of the columns, from the first record where it has them.
    fn first(&mut self, own: u8, reading: &Reading) -> Result<(), TableError> {
        let Some((line, first)) = self.fields()? else {
            let expected = "it needs at least one row or a line with the column names";
            return Err(TableError::Empty { path: self.path.clone(), expected });
        };
        self.columns = first;
        let mut cells = Vec::new();
        while self.looked_at.len() < SAMPLE_ROWS {
            let row = self.read_row().transpose();
            let Some(row) = row else { break };
            let fatal = row.as_ref().is_err_and(|error| !error.is_of_a_row());
            if let Ok(row) = &row {
                let text = |value: &Value| value.as_text().unwrap_or_default().into_owned();
                cells.push(row.values.iter().map(text).collect::<Vec<_>>());
            }
            self.looked_at.push_back(row);
            if fatal {
                break;
            }
        }
        if reading.quoting == Quoting::Auto {
            self.refuse_single_quotes(&cells)?;
        }
        self.refuse_other_width()?;
        self.refuse_title(line, &cells, reading)?;
        let named = self.columns.iter().any(|cell| is_named(cell, reading));
        if reading.header == Header::Auto && !named {
            self.refuse_prose()?;
        }
        self.names = match reading.header {
            Header::Yes => Names::FirstLine,
            Header::Auto if is_header(&self.columns, &cells, &reading.names) => {
                if named && !has_a_value(&self.columns, &cells, reading) {
                    Names::FirstLine
                } else if self.columns.iter().any(|cell| is_long(cell.trim())) {
                    Names::Doubted
                } else {
                    Names::Guessed
                }
            }
            Header::Auto | Header::No => Names::Numbered,
        };
        if self.names == Names::Numbered {
            let names = (1..=self.columns.len()).map(invented_name).collect();
            let first = std::mem::replace(&mut self.columns, names);
            let values = first.into_iter().map(Value::Text).collect();
            self.looked_at.push_front(Ok(Row { line, values }));
        } else if let [column] = &self.columns[..]
            && column.contains([',', ';', '\t', '|'])
        {
            let delimiter = if own == b'\t' { "a tab" } else { "`,`" };
            let (path, column) = (self.path.clone(), column.clone());
            return Err(TableError::Delimiter { path, column, delimiter });
        }
        Ok(())
    }

    /// Looks again at the rows that were looked at, now that their values are known.
    fn look_for_rows(&mut self) {
        let rows = std::mem::take(&mut self.looked_at);
        for row in rows.iter().flatten() {
            self.values.iter_mut().for_each(|values| values.see(&row.values));
        }
        self.looked_at =
            rows.into_iter().map(|row| row.and_then(|row| self.believed(row))).collect();
    }

    /// The row, unless there seem to be rows in its quotes.
    fn believed(&mut self, row: Row) -> Result<Row, TableError> {
        let delimiter = char::from(self.dialect.delimiter);
        let values = self.values.as_ref().filter(|_| has_lines(&row));
        match values.and_then(|values| values.swallowed(&row.values, delimiter)) {
            Some(Swallowed { lines, certain: true }) => {
                Err(TableError::Swallowed { path: self.path.clone(), line: row.line, lines })
            }
            Some(Swallowed { certain: false, .. }) => {
                let (rows, first) = self.doubtful;
                self.doubtful = (rows + 1, if rows == 0 { row.line } else { first });
                Ok(row)
            }
            None => Ok(row),
        }
    }

    /// What may have been swallowed so far, or a row that may have been taken for names, for people.
    pub(super) fn lost(&self) -> Vec<String> {
        let (rows, line) = self.doubtful;
        let more = if rows > 1 { format!(", and {} others", rows - 1) } else { String::new() };
        let names = (self.names == Names::Doubted).then(|| {
            format!(
                "`{}`: the first line is read as the column names, although it looks like a row; if it is one, set \
                 `data.header` (`--header`) to `no`; `yes` hides this warning",
                self.path
            )
        });
        let swallowed = (rows > 0).then(|| {
            format!(
                "`{}` line {line}{more}: a line in a quoted field ends or begins like a row of the \
                 table; it is read as part of the text; if a quote is one too many, correct it, or \
                 set `data.quoting` (`--quoting`) to `none`; `double` hides this warning",
                self.path
            )
        });
        names.into_iter().chain(swallowed).collect()
    }

    /// Where the names of the columns come from.
    pub(super) fn names(&self) -> Names {
        self.names
    }

    /// The names of the columns.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How the file is written, for people.
    pub(super) fn described(&self) -> Vec<String> {
        let separated = match self.dialect.delimiter {
            b'\t' => "delimiter tab".to_owned(),
            delimiter => format!("delimiter `{}`", char::from(delimiter)),
        };
        let quotes = match self.dialect.quoting {
            Quoting::Backslash => "with `\\\"` for a quote in quotes",
            Quoting::None => "with quotes as ordinary characters",
            Quoting::Double | Quoting::Auto => "RFC 4180 quoting",
        };
        let header = match self.names {
            Names::Numbered => "without column names",
            names => names.doubt().unwrap_or("column names in the first line"),
        };
        let spaces = self.spaced.then(|| "without the spaces before quotes".to_owned());
        let quotes = [quotes.to_owned()].into_iter().chain(spaces);
        [separated].into_iter().chain(quotes).chain([header.to_owned()]).collect()
    }

    /// The next record, `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        if let Some(row) = self.looked_at.pop_front() {
            return row.map(Some);
        }
        let Some(row) = self.read_row()? else { return Ok(None) };
        self.values.iter_mut().for_each(|values| values.see(&row.values));
        self.believed(row).map(Some)
    }

    fn read_row(&mut self) -> Result<Option<Row>, TableError> {
        let Some((line, fields)) = self.fields()? else { return Ok(None) };
        if fields.len() != self.columns.len() {
            return Err(TableError::FieldCount {
                path: self.path.clone(),
                line,
                expected: self.columns.len(),
                found: fields.len(),
                meant: Meant::of(&fields, &self.columns),
            });
        }
        Ok(Some(Row { line, values: fields.into_iter().map(Value::Text).collect() }))
    }

    /// The line where the next record begins, and its fields.
    fn fields(&mut self) -> Result<Option<(u64, Vec<String>)>, TableError> {
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let source = match error.into_kind() {
                csv::ErrorKind::Io(source) => source,
                other => io::Error::other(format!("{other:?}")),
            };
            TableError::Read { path: self.path.clone(), source }
        })?;
        if !more {
            return Ok(None);
        }
        let seen =
            self.reader.get_mut().next().expect("the csv crate and the walk see the same records");
        let line = seen.line;
        // Before the quotes: one that was lost with the rest is not what is to be corrected.
        for field in &self.record {
            text::refuse_nul(field, &self.path, line)?;
        }
        if let Some(what) = wrong_quotes(&seen) {
            return Err(TableError::Quote { path: self.path.clone(), line, what });
        }
        let field = |(index, bytes): (usize, &[u8])| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(TableError::NotUtf8 {
                path: self.path.clone(),
                line,
                place: match self.columns.get(index) {
                    Some(column) => format!("column `{column}`"),
                    None => format!("field {}", index + 1),
                },
                reads: text::guess(bytes),
            }),
        };
        let fields = self.record.iter().enumerate().map(field).collect::<Result<_, _>>()?;
        Ok(Some((line, fields)))
    }
}

/// Whether a field has a line break.
fn has_lines(row: &Row) -> bool {
    let breaks = |value: &Value| matches!(value, Value::Text(text) if text.contains(['\n', '\r']));
    row.values.iter().any(breaks)
}

/// Why a record is not believed.
fn wrong_quotes(record: &Record) -> Option<&'static str> {
    if record.broken {
        return Some("there is text after a closing quote");
    }
    record.open.then_some("this quote is never closed")
}

#[cfg(test)]
mod tests;
