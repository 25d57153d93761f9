//! Writing a table, row by row. A file appears under its name only when it is whole.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::error::TableError;
use super::parquet_writer::ParquetWriter;
use super::sink::Sink;
use super::value::Cells;
use super::{Format, Value};

/// What a column takes. Null fits every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any value; in Parquet it is written as its text.
    Text,
    Float,
    Bool,
    Integer,
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Text, _) | (_, Value::Null | Value::Bytes) => true,
            (Kind::Float, value) => matches!(value, Value::Float(_) | Value::Integer(_)),
            (Kind::Bool, value) => matches!(value, Value::Bool(_)),
            (Kind::Integer, value) => matches!(value, Value::Integer(_)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Float => "a float",
            Kind::Bool => "a boolean",
            Kind::Integer => "an integer",
        }
    }
}

/// A name for each, the same where it is free, and with `input_` before it where it is taken or empty.
pub fn distinct_names<'a>(taken: &[&str], names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        let mut free = name.clone();
        while free.is_empty() || taken.contains(&&*free) || distinct.contains(&free) {
            free = format!("input_{free}");
        }
        distinct.push(free);
    }
    distinct
}

/// A table that is being written. Call [`Writer::finish`]: a file that was dropped without it
/// leaves nothing behind, and what stood under its name before stays.
pub struct Writer {
    path: String,
    columns: Vec<(String, Kind)>,
    encoder: Encoder,
    rows: u64,
}

enum Encoder {
    Delimited(Box<csv::Writer<Sink>>),
    JsonLines(Sink),
    Parquet(Box<ParquetWriter>),
}

impl Writer {
    /// Begins a file in the format that the extension of `path` names, as a temporary file in the
    /// same folder. The folder must exist.
    ///
    /// # Errors
    /// When the extension is unknown or of a packed file, two columns have one name, the folder cannot be written, or
    /// `path` is there and is no regular file.
    pub fn create(path: &Path, columns: &[(&str, Kind)]) -> Result<Writer, TableError> {
        let format = Format::of_output(path)?;
        let name = path.display().to_string();
        let failed = |source| TableError::Write { path: name.clone(), source };
        let sink = Sink::file(path).map_err(failed)?;
        Writer::new(sink, format, name, columns)
    }

    /// Writes to a stream, such as stdout; `name` stands for it in messages.
    ///
    /// # Errors
    /// When two columns have one name, or the stream refuses the header.
    pub fn stream(
        output: Box<dyn Write + Send>,
        format: Format,
        name: &str,
        columns: &[(&str, Kind)],
    ) -> Result<Writer, TableError> {
        Writer::new(Sink::stream(output), format, name.to_owned(), columns)
    }

    fn new(
        sink: Sink,
        format: Format,
        path: String,
        columns: &[(&str, Kind)],
    ) -> Result<Writer, TableError> {
        for (index, (name, _)) in columns.iter().enumerate() {
            if columns[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(TableError::RepeatedColumn { name: (*name).to_owned() });
            }
        }
        let columns: Vec<(String, Kind)> =
            columns.iter().map(|&(name, kind)| (name.to_owned(), kind)).collect();
        let delimited = |delimiter, sink| {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(sink);
            let header = writer.write_record(columns.iter().map(|(name, _)| name));
            header
                .map(|()| Encoder::Delimited(Box::new(writer)))
                .map_err(|error| csv_failed(&path, error))
        };
        let encoder = match format {
            Format::Csv => delimited(b',', sink)?,
            Format::Tsv => delimited(b'\t', sink)?,
            Format::JsonLines => Encoder::JsonLines(sink),
            Format::Parquet => {
                Encoder::Parquet(Box::new(ParquetWriter::new(sink, &path, &columns)?))
            }
        };
        Ok(Writer { path, columns, encoder, rows: 0 })
    }

    /// Writes one row: one value for each column. In CSV and TSV null is the empty field.
    ///
    /// # Errors
    /// `RowLength` and `Kind` when the values do not fit the columns; `Write` and `WriteParquet`
    /// when they cannot be written, for instance because the disk is full.
    pub fn write(&mut self, values: &[Value]) -> Result<(), TableError> {
        if values.len() != self.columns.len() {
            return Err(TableError::RowLength {
                path: self.path.clone(),
                expected: self.columns.len(),
                found: values.len(),
            });
        }
        for ((column, kind), value) in self.columns.iter().zip(values) {
            if !kind.takes(value) {
                return Err(TableError::Kind {
                    path: self.path.clone(),
                    column: column.clone(),
                    expected: kind.name(),
                    found: value.kind(),
                });
            }
        }
        self.rows += 1;
        match &mut self.encoder {
            Encoder::Delimited(writer) => {
                let fields: Vec<_> = values.iter().map(Value::written).collect();
                let fields = fields.iter().map(|field| field.as_bytes());
                writer.write_record(fields).map_err(|error| csv_failed(&self.path, error))
            }
            Encoder::JsonLines(sink) => {
                let names: Vec<String> =
                    self.columns.iter().map(|(name, _)| name.clone()).collect();
                json_line(sink, &Cells { names: &names, values })
                    .map_err(|source| TableError::Write { path: self.path.clone(), source })
            }
            Encoder::Parquet(writer) => writer.write(&self.path, values),
        }
    }

    /// Writes one object: to JSONL as it is, whatever the columns are; to the other formats its keys
    /// that are columns, nested values as their JSON text.
    ///
    /// # Errors
    /// `NotAnObject` for anything but an object; else as [`Writer::write`].
    pub fn write_object(&mut self, object: &impl Serialize) -> Result<(), TableError> {
        if let Encoder::JsonLines(sink) = &mut self.encoder {
            self.rows += 1;
            return json_line(sink, object)
                .map_err(|source| TableError::Write { path: self.path.clone(), source });
        }
        let Ok(Json::Object(map)) = serde_json::to_value(object) else {
            let (path, line) = (self.path.clone(), self.rows + 1);
            return Err(TableError::NotAnObject { path, line, found: "another value".to_owned() });
        };
        let value = |(name, _): &(String, Kind)| {
            let json = map.get(name).and_then(|json| RawValue::from_string(json.to_string()).ok());
            json.and_then(|json| Value::from_json(&json).ok()).unwrap_or(Value::Null)
        };
        let values: Vec<Value> = self.columns.iter().map(value).collect();
        self.write(&values)
    }

    /// Hands on what is buffered, so that a reader at the other end of a pipe sees whole rows.
    /// Parquet goes out by row groups only.
    ///
    /// # Errors
    /// `Write` when the bytes cannot be written.
    pub fn flush(&mut self) -> Result<(), TableError> {
        let flushed = match &mut self.encoder {
            Encoder::Delimited(writer) => writer.flush(),
            Encoder::JsonLines(sink) => sink.flush(),
            Encoder::Parquet(_) => Ok(()),
        };
        flushed.map_err(|source| TableError::Write { path: self.path.clone(), source })
    }

    /// Writes the rest, puts it on the disk, and gives the file its name.
    ///
    /// # Errors
    /// `Write` and `WriteParquet`; then no file appears.
    pub fn finish(self) -> Result<(), TableError> {
        let failed = |source| TableError::Write { path: self.path.clone(), source };
        let sink = match self.encoder {
            Encoder::Delimited(writer) => {
                writer.into_inner().map_err(|error| failed(error.into_error()))?
            }
            Encoder::JsonLines(sink) => sink,
            Encoder::Parquet(writer) => writer.finish(&self.path)?,
        };
        sink.finish().map_err(failed)
    }
}

fn json_line(sink: &mut Sink, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, object)?;
    sink.write_all(b"\n")
}

fn csv_failed(path: &str, error: csv::Error) -> TableError {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => io::Error::other(format!("{other:?}")),
    };
    TableError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
