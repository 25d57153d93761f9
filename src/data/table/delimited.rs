//! CSV and TSV, record by record. TSV differs from CSV by its delimiter only: quotes mean the same
//! in both, as pandas and spreadsheets write them.

use std::collections::VecDeque;
use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::error::TableError;
use super::{Row, Value};

/// The records of one CSV or TSV file.
pub(super) struct DelimitedRows {
    path: String,
    reader: csv::Reader<LineStarts>,
    record: ByteRecord,
    columns: Vec<String>,
}

impl DelimitedRows {
    /// Reads the header. Blank lines are skipped.
    pub(super) fn open(
        input: Box<dyn Read + Send>,
        delimiter: u8,
        path: String,
    ) -> Result<DelimitedRows, TableError> {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            // Field counts are checked here, where the line is known exactly.
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(LineStarts::new(input));
        let mut rows =
            DelimitedRows { path, reader, record: ByteRecord::new(), columns: Vec::new() };
        let Some((_, header)) = rows.fields()? else {
            let expected = "expected a header line with the names of the columns";
            return Err(TableError::Empty { path: rows.path, expected });
        };
        rows.columns = header;
        if let [column] = &rows.columns[..]
            && column.contains([',', ';', '\t'])
        {
            let delimiter = if delimiter == b'\t' { "a tab" } else { "`,`" };
            return Err(TableError::Delimiter {
                path: rows.path,
                column: column.clone(),
                delimiter,
            });
        }
        Ok(rows)
    }

    /// The names in the header.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next record, `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        let Some((line, fields)) = self.fields()? else { return Ok(None) };
        if fields.len() != self.columns.len() {
            return Err(TableError::FieldCount {
                path: self.path.clone(),
                line,
                expected: self.columns.len(),
                found: fields.len(),
            });
        }
        Ok(Some(Row { line, values: fields.into_iter().map(Value::Text).collect() }))
    }

    /// The line where the next record begins, and its fields.
    fn fields(&mut self) -> Result<Option<(u64, Vec<String>)>, TableError> {
        let start = self.reader.position().byte();
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
        let line = self.reader.get_mut().line_of(start);
        let field = |(index, bytes): (usize, &[u8])| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(TableError::NotUtf8 {
                path: self.path.clone(),
                line,
                place: match self.columns.get(index) {
                    Some(column) => format!("column `{column}`"),
                    None => format!("field {}", index + 1),
                },
            }),
        };
        let fields = self.record.iter().enumerate().map(field).collect::<Result<_, _>>()?;
        Ok(Some((line, fields)))
    }
}

/// Passes bytes on and remembers where lines that are not blank begin, until they are asked for.
/// The csv crate's own line number is that of the position behind the last record: one too small
/// after `\r\n`, and that of the first blank line where blank lines follow.
struct LineStarts {
    inner: Box<dyn Read + Send>,
    offset: u64,
    line: u64,
    previous: u8,
    /// (offset of the first byte, line number), not yet passed by a record.
    starts: VecDeque<(u64, u64)>,
}

impl LineStarts {
    fn new(inner: Box<dyn Read + Send>) -> LineStarts {
        LineStarts { inner, offset: 0, line: 1, previous: b'\n', starts: VecDeque::new() }
    }

    /// The line of the first record that begins at or behind `offset`.
    fn line_of(&mut self, offset: u64) -> u64 {
        while let Some(&(start, line)) = self.starts.front() {
            if start >= offset {
                return line;
            }
            self.starts.pop_front();
        }
        self.line
    }
}

impl Read for LineStarts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for &byte in &buffer[..count] {
            let after_break = matches!(self.previous, b'\n' | b'\r');
            // A line ends behind `\n`, and behind a `\r` that no `\n` follows.
            if self.offset > 0 && after_break && !(self.previous == b'\r' && byte == b'\n') {
                self.line += 1;
            }
            if after_break && !matches!(byte, b'\n' | b'\r') {
                self.starts.push_back((self.offset, self.line));
            }
            self.previous = byte;
            self.offset += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &[u8]) -> Result<DelimitedRows, TableError> {
        DelimitedRows::open(Box::new(io::Cursor::new(text.to_vec())), b',', "a.csv".into())
    }

    fn rows(text: &[u8]) -> Vec<Row> {
        let mut rows = open(text).unwrap();
        std::iter::from_fn(|| rows.next_row().unwrap()).collect()
    }

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn a_quoted_field_may_hold_lines_delimiters_and_quotes() {
        let rows = rows(b"text,label\n\"one\ntwo, \"\"three\"\"\",1\nfour,2\n");
        assert_eq!(rows[0].values, [text("one\ntwo, \"three\""), text("1")]);
        assert_eq!((rows[0].line, rows[1].line), (2, 4));
    }

    #[test]
    fn lines_are_counted_with_every_line_ending_and_across_blank_lines() {
        for ending in ["\n", "\r\n", "\r"] {
            let lines = ["", "text,label", "a,1", "", "\"b", "c\",2", "", "d,3"].join(ending);
            let starts: Vec<u64> = rows(lines.as_bytes()).iter().map(|row| row.line).collect();
            assert_eq!(starts, [3, 5, 8], "{ending:?}");
        }
    }

    #[test]
    fn a_row_with_another_number_of_fields_is_refused_by_line() {
        let mut rows = open(b"text,label\r\na,1\r\nb,2,3\r\n").unwrap();
        rows.next_row().unwrap();
        let message = rows.next_row().unwrap_err().to_string();
        assert!(message.starts_with("`a.csv` line 3 has 3 fields, the header has 2"), "{message}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_by_line_and_column() {
        let mut rows = open(b"text,label\na,1\n\ncaf\xe9,1\n").unwrap();
        rows.next_row().unwrap();
        let message = rows.next_row().unwrap_err().to_string();
        assert!(message.starts_with("`a.csv` line 4, column `text`: not UTF-8"), "{message}");
        assert!(matches!(open(b"caf\xe9,label\n"), Err(TableError::NotUtf8 { line: 1, .. })));
    }

    #[test]
    fn an_empty_file_and_a_foreign_delimiter_are_refused() {
        for nothing in [&b""[..], b"\n\n"] {
            assert!(matches!(open(nothing), Err(TableError::Empty { .. })), "{nothing:?}");
        }
        assert!(matches!(open(b"text;label\na;1\n"), Err(TableError::Delimiter { .. })));
        assert!(rows(b"text,label\n").is_empty());
    }
}
