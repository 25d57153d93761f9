//! Tables of labelled text in files: Parquet, CSV, TSV and JSONL, read and written row by row, so
//! that the size of a file does not matter.
//!
//! [`open`] gives a [`Table`], an iterator of [`Row`]s; [`detect`] says which columns hold the text
//! and the label; a [`Writer`] writes a table that appears under its name only when it is whole.

mod byte_source;
mod column_names;
mod column_search;
mod columns;
mod delimited;
mod error;
mod escapes;
mod foreign;
mod gzip;
mod header;
mod held;
mod json_lines;
mod later_header;
mod made;
mod marks;
mod meant;
mod parquet;
mod parquet_names;
mod parquet_reader;
mod parquet_writer;
mod reading;
mod reshaped;
mod row_groups;
mod scan;
mod sink;
mod sniff;
mod spaces;
mod swallowed;
mod text;
mod value;
mod watched;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use self::delimited::DelimitedRows;
use self::header::repeats;
use self::json_lines::JsonLinesRows;
use self::parquet_names::ClassNames;
use self::parquet_reader::ParquetRows;
use self::reshaped::ReshapedRows;
use self::text::Utf8;
use self::watched::Watched;

pub use self::byte_source::is_url;
pub(in crate::data) use self::column_search::{ACCEPTED, refuse_answers, verdict};
pub(in crate::data) use self::columns::pair_beside;
pub use self::columns::{ColumnNames, Columns, SAMPLE_ROWS, check_numbers, detect, detect_usual};
pub use self::error::TableError;
pub use self::header::Names;
pub use self::held::Held;
pub use self::later_header::{Later, LaterHeader, are_names, few};
pub use self::reading::{Header, Quoting, Reading};
pub use self::row_groups::RowGroups;
pub use self::value::{Cells, Value};
pub use self::write::{Kind, Writer, distinct_names};

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
    /// Apache Parquet, uncompressed or with snappy, zstd, gzip, brotli or lz4.
    Parquet,
    /// Comma-separated values; written with a header and quoted as in RFC 4180.
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
        let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        // `a.csv.gz` is what `a.csv` is; of Parquet only the pages are packed.
        let inner = if packed { path.with_extension("") } else { path.to_owned() };
        let text =
            packed && !inner.extension().is_some_and(|inner| inner.eq_ignore_ascii_case("parquet"));
        let named = if text && inner.extension().is_some() { &inner } else { path };
        let extension =
            named.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("parquet") => Ok(Format::Parquet),
            Some("csv") => Ok(Format::Csv),
            Some("tsv") => Ok(Format::Tsv),
            Some("jsonl" | "ndjson") => Ok(Format::JsonLines),
            other => Err(TableError::UnknownFormat {
                path: path.display().to_string(),
                found: match other {
                    Some(extension) => format!("the unsupported extension `.{extension}`"),
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

/// Extensions of what is packed.
const PACKED: [&str; 7] = ["gz", "gzip", "zst", "bz2", "xz", "zip", "lz4"];

impl Format {
    /// The format of a file that is to be written.
    ///
    /// # Errors
    /// `PackedOutput` where the extension promises a packed file; else as [`Format::of`].
    pub fn of_output(path: &Path) -> Result<Format, TableError> {
        let extension = path.extension().unwrap_or_default();
        if PACKED.into_iter().any(|packed| extension.eq_ignore_ascii_case(packed)) {
            let plain = path.with_extension("");
            let plain =
                if Format::of(&plain).is_ok() { plain } else { plain.with_extension("csv") };
            let (path, plain) = (path.display().to_string(), plain.display().to_string());
            return Err(TableError::PackedOutput { path, plain });
        }
        Format::of(path)
    }
}

/// A table that is being read: an iterator of its rows. A row that is bad is passed by, and those behind
/// it follow; after any other error the table ends.
pub struct Table {
    /// The names of the columns, in the order of the values of a row. They may repeat.
    pub columns: Vec<String>,
    /// How the file is written, for people, where that was found out.
    pub described: String,
    class_names: ClassNames,
    rows: Rows,
    finished: bool,
    watched: Option<Watched>,
}

enum Rows {
    Delimited(Box<DelimitedRows>),
    JsonLines(JsonLinesRows),
    Parquet(Box<ParquetRows>),
    Reshaped(Box<ReshapedRows>),
}

/// Opens a file in the format that its extension names, and reads its columns.
///
/// # Errors
/// When the extension is unknown, the file cannot be read, or there is nothing in it.
pub fn open(path: &Path) -> Result<Table, TableError> {
    open_as(path, &Reading::default())
}

/// The same for a file of which something is said.
///
/// # Errors
/// As [`open`], and where what is said cannot be.
pub fn open_as(path: &Path, reading: &Reading) -> Result<Table, TableError> {
    let format = Format::of(path)?;
    let name = path.display().to_string();
    let file = open_regular(path)?;
    let watched = Watched::new(&file, &name);
    let table = match format {
        Format::Parquet => Table::new(Rows::Parquet(Box::new(ParquetRows::open(file, name)?)), &[]),
        _ => Table::from_reader(Box::new(file), format, &name, reading)?,
    };
    Ok(Table { watched, ..table })
}

/// Reads a stream of lines as a text file is read: unpacked, decoded, and without byte order marks.
///
/// # Errors
/// It cannot be read, is no text, is JSON, or is in an encoding that nobody named.
pub fn lines(
    reader: Box<dyn Read + Send>,
    name: &str,
    reading: &Reading,
) -> Result<Box<dyn Read + Send>, TableError> {
    let Utf8 { reader, .. } = text::open(reader, reading, name)?;
    let path = || name.to_owned();
    let (head, reader) =
        text::peek(reader).map_err(|source| TableError::Read { path: path(), source })?;
    match foreign::json(&head) {
        Some(found) => Err(TableError::OtherFormat { path: path(), found }),
        None => Ok(reader),
    }
}

/// What a row of a file is called where it stands: Parquet has no lines.
pub fn unit(path: impl AsRef<Path>) -> &'static str {
    let extension = path.as_ref().extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("parquet") { "row" } else { "line" }
}

/// A line as text. `name` stands for what it is from, and lines count from 1.
///
/// # Errors
/// It is not UTF-8, or has a run of NUL.
pub fn utf8<'a>(bytes: &'a [u8], name: &str, line: u64) -> Result<&'a str, TableError> {
    text::refuse_nul(bytes, name, line)?;
    std::str::from_utf8(bytes).map_err(|error| TableError::NotUtf8 {
        path: name.to_owned(),
        line,
        place: format!("byte {}", error.valid_up_to() + 1),
        reads: text::guess(bytes),
    })
}

/// Opens a file; a pipe would wait for its writer, and a device may have no end.
pub(in crate::data) fn open_regular(path: &Path) -> Result<File, TableError> {
    let name = || path.display().to_string();
    let failed = |source| TableError::Read { path: name(), source };
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TableError::NotThere { path: name() },
        _ => failed(source),
    })?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(TableError::NotRegular { path: name(), found: kind_of(&metadata) });
    }
    File::open(path).map_err(failed)
}

#[cfg(unix)]
fn kind_of(metadata: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match metadata.file_type() {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn kind_of(_: &std::fs::Metadata) -> &'static str {
    "something else"
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
        reading: &Reading,
    ) -> Result<Table, TableError> {
        let name = name.to_owned();
        if format == Format::Parquet {
            return Err(TableError::NotAFile { path: name });
        }
        let Utf8 { reader, done } = text::open(reader, reading, &name)?;
        let own = match format {
            Format::JsonLines => {
                return Ok(Table::new(Rows::JsonLines(JsonLinesRows::open(reader, name)?), &done));
            }
            Format::Tsv => b'\t',
            Format::Csv | Format::Parquet => b',',
        };
        let rows = DelimitedRows::open(reader, own, name, reading)?;
        let described: Vec<String> = done.into_iter().chain(rows.described()).collect();
        Ok(Table::new(Rows::Delimited(Box::new(rows)), &described))
    }

    fn new(rows: Rows, described: &[String]) -> Table {
        let (columns, class_names) = match &rows {
            Rows::Delimited(rows) => (rows.columns().to_vec(), ClassNames::default()),
            Rows::JsonLines(rows) => (rows.columns().to_vec(), ClassNames::default()),
            Rows::Parquet(rows) => (rows.columns(), rows.class_names()),
            // It is given its own.
            Rows::Reshaped(_) => (Vec::new(), ClassNames::default()),
        };
        Table {
            columns,
            described: described.join(", "),
            class_names,
            rows,
            finished: false,
            watched: None,
        }
    }

    /// A table with other columns, whose rows are made of those of this one. What the file calls its classes is not
    /// known of a column that is made.
    pub fn reshaped(
        self,
        columns: [&str; 3],
        make: impl FnMut(&Row) -> Result<Vec<Row>, TableError> + Send + 'static,
    ) -> Table {
        let described = self.described.clone();
        let rows = Rows::Reshaped(Box::new(ReshapedRows::new(self, Box::new(make))));
        Table { columns: columns.map(str::to_owned).to_vec(), described, ..Table::new(rows, &[]) }
    }

    /// What was in rows so far and is in none of the columns, or may be a row of its own, for people; and whether the
    /// file changed meanwhile.
    pub fn lost(&self) -> Vec<String> {
        let lost = match &self.rows {
            Rows::JsonLines(rows) => rows.lost().into_iter().collect(),
            Rows::Delimited(rows) => rows.lost(),
            Rows::Reshaped(rows) => rows.source.lost(),
            Rows::Parquet(_) => Vec::new(),
        };
        let changed = self.watched.as_ref().and_then(Watched::changed);
        lost.into_iter().chain(changed).collect()
    }

    /// Where the names of the columns come from.
    pub fn names(&self) -> Names {
        match &self.rows {
            Rows::Delimited(rows) => rows.names(),
            Rows::Reshaped(rows) => rows.source.names(),
            Rows::JsonLines(_) | Rows::Parquet(_) => Names::OfTheFormat,
        }
    }

    /// Whether a row has the names of the columns once more, as files have that were joined from others.
    pub fn repeats_names(&self, row: &Row) -> bool {
        let cells: Vec<_> = row.values.iter().map(Value::written).collect();
        self.names_in_lines() && repeats(&cells, &self.columns)
    }

    /// Whether the names stand in a line of the file, so that a later line may have names too.
    pub fn names_in_lines(&self) -> bool {
        matches!(self.names(), Names::FirstLine | Names::Guessed | Names::Doubted)
    }

    /// What a column holds in every row, where the file promises it; else anything.
    pub fn kind(&self, column: usize) -> Kind {
        match &self.rows {
            Rows::Delimited(_) | Rows::JsonLines(_) | Rows::Reshaped(_) => Kind::Text,
            Rows::Parquet(rows) => rows.kinds().get(column).copied().unwrap_or(Kind::Text),
        }
    }

    /// The names of the integers in a column, where the file has them.
    pub fn class_names(&self, column: usize) -> &[String] {
        let names = self.columns.get(column).and_then(|column| self.class_names.get(column));
        names.map_or(&[], Vec::as_slice)
    }
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
            Rows::Reshaped(rows) => rows.next_row(),
        };
        self.finished = match &row {
            Ok(row) => row.is_none(),
            Err(error) => !error.is_of_a_row(),
        };
        row.transpose()
    }
}

#[cfg(test)]
mod tests;
