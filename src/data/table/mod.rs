//! Tables of labelled text in files: Parquet, CSV, TSV and JSONL, read and written row by row, so
//! that the size of a file does not matter.
//!
//! [`open`] gives a [`Table`], an iterator of [`Row`]s; [`detect`] says which columns hold the text
//! and the label; a [`Writer`] writes a table that appears under its name only when it is whole.

mod byte_source;
mod column_search;
mod columns;
mod delimited;
mod error;
mod json_lines;
mod parquet_reader;
mod parquet_writer;
mod row_groups;
mod sink;
mod value;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use self::delimited::DelimitedRows;
use self::json_lines::JsonLinesRows;
use self::parquet_reader::ParquetRows;

pub use self::byte_source::is_url;
pub use self::columns::{ColumnNames, Columns, SAMPLE_ROWS, detect};
pub use self::error::TableError;
pub use self::row_groups::RowGroups;
pub use self::value::Value;
pub use self::write::{Kind, Writer};

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The 1-based line of a text file where the record begins; the 1-based row of a Parquet file.
    pub line: u64,
    /// One value for each column of the table.
    pub values: Vec<Value>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, uncompressed or with snappy or zstd.
    Parquet,
    /// Comma-separated values with a header, quoted as in RFC 4180.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// The format that the extension of `path` names, in lower or upper case.
    ///
    /// # Errors
    /// `UnknownFormat` for any other extension, or none.
    pub fn of(path: &Path) -> Result<Format, TableError> {
        let extension =
            path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("parquet") => Ok(Format::Parquet),
            Some("csv") => Ok(Format::Csv),
            Some("tsv") => Ok(Format::Tsv),
            Some("jsonl" | "ndjson") => Ok(Format::JsonLines),
            other => Err(TableError::UnknownFormat {
                path: path.display().to_string(),
                found: match other {
                    Some(extension) => format!("the extension `.{extension}`"),
                    None => "no extension".into(),
                },
                hint: match other {
                    Some("json") => "; write one object per line and name the file `.jsonl`",
                    Some("gz" | "zst" | "bz2" | "xz" | "zip") => "; decompress it first",
                    Some("txt" | "tab") => "; name it `.tsv` if its fields are separated by tabs",
                    Some("xls" | "xlsx" | "ods") => "; save the sheet as `.csv`",
                    _ => "",
                },
            }),
        }
    }
}

/// A table that is being read: an iterator of its rows. It ends after its first error.
pub struct Table {
    /// The names of the columns, in the order of the values of a row. They may repeat.
    pub columns: Vec<String>,
    rows: Rows,
    finished: bool,
}

enum Rows {
    Delimited(DelimitedRows),
    JsonLines(JsonLinesRows),
    Parquet(Box<ParquetRows>),
}

/// Opens a file in the format that its extension names, and reads its columns.
///
/// # Errors
/// When the extension is unknown, the file cannot be read, or there is nothing in it.
pub fn open(path: &Path) -> Result<Table, TableError> {
    let format = Format::of(path)?;
    let name = path.display().to_string();
    let failed = |source| TableError::Read { path: name.clone(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if format == Format::Parquet {
        return Ok(Table::new(Rows::Parquet(Box::new(ParquetRows::open(file, name)?))));
    }
    Table::from_reader(Box::new(file), format, &name)
}

impl Table {
    /// Reads a stream of CSV, TSV or JSONL; `name` stands for it in messages.
    ///
    /// # Errors
    /// `NotAFile` for Parquet, which has its directory at the end; else as [`open`].
    pub fn from_reader(
        reader: Box<dyn Read + Send>,
        format: Format,
        name: &str,
    ) -> Result<Table, TableError> {
        let name = name.to_owned();
        let reader = match without_mark(reader) {
            Ok(reader) => reader,
            Err(source) => return Err(TableError::Read { path: name, source }),
        };
        let rows = match format {
            Format::Csv => Rows::Delimited(DelimitedRows::open(reader, b',', name)?),
            Format::Tsv => Rows::Delimited(DelimitedRows::open(reader, b'\t', name)?),
            Format::JsonLines => Rows::JsonLines(JsonLinesRows::open(reader, name)?),
            Format::Parquet => return Err(TableError::NotAFile { path: name }),
        };
        Ok(Table::new(rows))
    }

    fn new(rows: Rows) -> Table {
        let columns = match &rows {
            Rows::Delimited(rows) => rows.columns().to_vec(),
            Rows::JsonLines(rows) => rows.columns().to_vec(),
            Rows::Parquet(rows) => rows.columns(),
        };
        Table { columns, rows, finished: false }
    }
}

/// Drops the byte order mark that Windows programs put before UTF-8. Done here because the csv
/// crate misses a mark that arrives in pieces.
fn without_mark(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    reader.by_ref().take(3).read_to_end(&mut head)?;
    if head == b"\xef\xbb\xbf" {
        head.clear();
    }
    Ok(Box::new(io::Cursor::new(head).chain(reader)))
}

impl Iterator for Table {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Result<Row, TableError>> {
        if self.finished {
            return None;
        }
        let row = match &mut self.rows {
            Rows::Delimited(rows) => rows.next_row(),
            Rows::JsonLines(rows) => rows.next_row(),
            Rows::Parquet(rows) => rows.next_row(),
        };
        self.finished = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow pipe may.
    struct Trickle(io::Cursor<&'static [u8]>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn the_extension_names_the_format() {
        for (name, format) in [
            ("a.parquet", Format::Parquet),
            ("b/A.CSV", Format::Csv),
            ("a.b.tsv", Format::Tsv),
            ("a.jsonl", Format::JsonLines),
            ("a.ndjson", Format::JsonLines),
        ] {
            assert_eq!(Format::of(Path::new(name)).unwrap(), format);
        }
        let message = |name: &str| Format::of(Path::new(name)).unwrap_err().to_string();
        assert_eq!(
            message("a.json"),
            "`a.json` has the extension `.json`: expected `.parquet`, `.csv`, `.tsv`, `.jsonl` or \
             `.ndjson`; write one object per line and name the file `.jsonl`"
        );
        assert!(message("a").starts_with("`a` has no extension"));
    }

    #[test]
    fn a_byte_order_mark_is_dropped_even_when_it_arrives_in_pieces() {
        let csv = b"\xef\xbb\xbftext,label\na,1\n";
        let json = b"\xef\xbb\xbf{\"text\":\"a\",\"label\":\"1\"}\n";
        for (format, bytes) in [(Format::Csv, &csv[..]), (Format::JsonLines, &json[..])] {
            let slow = Box::new(Trickle(io::Cursor::new(bytes)));
            let table = Table::from_reader(slow, format, "standard input").unwrap();
            assert_eq!(table.columns, ["text", "label"]);
            let rows: Vec<Row> = table.map(|row| row.unwrap()).collect();
            assert_eq!(rows[0].values, [Value::Text("a".into()), Value::Text("1".into())]);
        }
    }

    #[test]
    fn a_table_ends_after_its_first_error() {
        let bytes = io::Cursor::new(b"text,label\na,1\nb\nc,2\n");
        let table = Table::from_reader(Box::new(bytes), Format::Csv, "a.csv").unwrap();
        let good: Vec<bool> = table.map(|row| row.is_ok()).collect();
        assert_eq!(good, [true, false]);
    }

    #[test]
    fn parquet_is_not_read_from_a_stream() {
        let refused = Table::from_reader(Box::new(io::empty()), Format::Parquet, "stdin");
        assert!(matches!(refused, Err(TableError::NotAFile { .. })));
    }

    #[test]
    fn a_missing_file_a_folder_and_an_empty_file_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("folder.csv")).unwrap();
        for name in ["missing.csv", "missing.parquet", "folder.csv"] {
            let error = open(&path(name)).err().unwrap();
            assert!(matches!(error, TableError::Read { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name));
        }
        for name in ["a.csv", "a.tsv", "a.jsonl", "a.parquet"] {
            std::fs::write(path(name), "").unwrap();
            let error = open(&path(name)).err().unwrap();
            assert!(matches!(error, TableError::Empty { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_table_may_be_read_in_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Table>();
        is_send::<Writer>();
    }
}
