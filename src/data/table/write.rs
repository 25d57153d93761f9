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
    /// Floats and integers.
    Float,
    /// True and false.
    Bool,
    /// Integers.
    Integer,
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Text, _) | (_, Value::Null) => true,
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
    /// When the extension is unknown, two columns have one name, the folder cannot be written, or
    /// `path` is there and is no regular file.
    pub fn create(path: &Path, columns: &[(&str, Kind)]) -> Result<Writer, TableError> {
        let format = Format::of(path)?;
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
mod tests {
    use super::*;
    use crate::data::table::{Row, open};

    const COLUMNS: [(&str, Kind); 4] = [
        ("text", Kind::Text),
        ("confidence", Kind::Float),
        ("accepted", Kind::Bool),
        ("rank", Kind::Integer),
    ];

    fn rows() -> Vec<[Value; 4]> {
        let text = |text: &str| Value::Text(text.into());
        vec![
            [
                text("a \"quoted\",\ttext\r\nover lines\r"),
                Value::Float(0.1),
                Value::Bool(true),
                Value::Integer(-5),
            ],
            [text("naïve ✓ 🎬"), Value::Float(1e-7), Value::Bool(false), Value::Integer(i64::MAX)],
            [Value::Null, Value::Null, Value::Null, Value::Null],
        ]
    }

    fn write(path: &Path) -> Result<(), TableError> {
        let mut writer = Writer::create(path, &COLUMNS)?;
        for row in rows() {
            writer.write(&row)?;
        }
        writer.finish()
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.parquet", "a.jsonl", "a.csv", "a.tsv"] {
            let path = folder.path().join(name);
            write(&path).unwrap();
            let table = open(&path).unwrap();
            assert_eq!(table.columns, ["text", "confidence", "accepted", "rank"]);
            let read: Vec<Row> = table.map(|row| row.unwrap()).collect();
            assert_eq!(read.len(), 3);
            for (row, written) in read.iter().zip(rows()) {
                let as_read = |value: &Value| match name {
                    "a.parquet" | "a.jsonl" => value.clone(),
                    _ => Value::Text(value.written().into_owned()),
                };
                assert_eq!(row.values, written.iter().map(as_read).collect::<Vec<_>>(), "{name}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.csv", "a.jsonl", "a.parquet"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "before").unwrap();
            let mut writer = Writer::create(&path, &COLUMNS).unwrap();
            writer.write(&rows()[0]).unwrap();
            assert_eq!(names_in(folder.path()).len(), 2);
            drop(writer);
            assert_eq!(names_in(folder.path()), [name]);
            assert_eq!(std::fs::read(&path).unwrap(), b"before");
            write(&path).unwrap();
            assert_ne!(std::fs::read(&path).unwrap(), b"before");
            assert_eq!(names_in(folder.path()), [name]);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn an_object_goes_whole_to_jsonl_and_by_columns_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let object = serde_json::json!({"text": "fine", "prediction_set": ["a", "b"], "p": 0.5});
        let lines = folder.path().join("a.jsonl");
        let mut writer = Writer::create(&lines, &[]).unwrap();
        writer.write_object(&object).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&lines).unwrap(), format!("{object}\n"));

        let table = folder.path().join("a.csv");
        let mut writer =
            Writer::create(&table, &[("prediction_set", Kind::Text), ("q", Kind::Float)]).unwrap();
        writer.write_object(&object).unwrap();
        let refused = writer.write_object(&serde_json::json!([1])).unwrap_err();
        assert!(matches!(refused, TableError::NotAnObject { line: 2, .. }), "{refused}");
        writer.finish().unwrap();
        let written = std::fs::read_to_string(&table).unwrap();
        assert_eq!(written, "prediction_set,q\n\"[\"\"a\"\",\"\"b\"\"]\",\n");
    }

    #[test]
    fn values_that_do_not_fit_the_columns_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut writer = Writer::create(&path, &COLUMNS).unwrap();
        assert!(matches!(
            writer.write(&[Value::Null]),
            Err(TableError::RowLength { found: 1, .. })
        ));
        let mut row = rows()[0].clone();
        row[2] = Value::Text("yes".into());
        let message = writer.write(&row).unwrap_err().to_string();
        assert!(message.ends_with("takes a boolean, found text"), "{message}");
        let twice = Writer::create(&path, &[("a", Kind::Text), ("a", Kind::Bool)]);
        assert!(matches!(twice, Err(TableError::RepeatedColumn { .. })));
    }

    #[test]
    fn a_target_that_is_no_file_and_a_missing_folder_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::create_dir(&path).unwrap();
        for path in [path, folder.path().join("missing/a.csv")] {
            let message = Writer::create(&path, &COLUMNS).err().unwrap().to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_path() {
        for format in [Format::Csv, Format::Tsv, Format::JsonLines, Format::Parquet] {
            let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
            let mut writer = Writer::stream(Box::new(full), format, "out.table", &COLUMNS).unwrap();
            let written = writer.write(&rows()[0]).and_then(|()| writer.finish());
            let Err(TableError::Write { path, source }) = written else {
                panic!("{format:?}: {written:?}")
            };
            assert_eq!(path, "out.table");
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_open_as_any_other_and_a_link_stays_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let (path, link) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        write(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::write(&path, "").unwrap();
        write(&link).unwrap();
        assert!(link.is_symlink() && std::fs::metadata(&path).unwrap().len() > 0);
    }
}
