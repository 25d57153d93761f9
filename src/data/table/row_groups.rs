//! Parquet by row groups, from disk or over HTTP: a group is fetched in one piece, and no other part of
//! the file is.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::byte_source::Source;
use super::error::TableError;
use super::held::Held;
use super::parquet::{BOUND, END, decode, footer_length, guarded, rows};
use super::parquet_names::class_names;
use super::parquet_reader::{bounded, cells, failed};
use super::{Row, Value};
use crate::store::{sha256, sha256_file};

/// The most bytes of the columns of a row group that are fetched at once.
const MOST_GROUP: u64 = 4 << 30;

/// The most bytes of files on disk that are hashed whole: a few seconds.
const MOST_HASHED: u64 = 8 << 30;

/// Parquet files of one schema, one after another, of which only the directories have been read.
pub struct RowGroups {
    files: Vec<ParquetFile>,
    groups: Vec<Group>,
}

/// A row group.
struct Group {
    file: usize,
    /// Its number in the file.
    number: usize,
    /// Rows of all groups before.
    before: u64,
}

struct ParquetFile {
    name: String,
    /// SHA-256 of the directory at its end, as it is written.
    directory: String,
    source: Source,
    metadata: ParquetMetaData,
}

impl RowGroups {
    /// Reads the directories of files, or of what addresses name.
    ///
    /// # Errors
    /// One cannot be read, its server does not give ranges, it is no Parquet file, or its columns are not
    /// those of the first.
    pub fn open<P: AsRef<str>>(places: &[P]) -> Result<Self, TableError> {
        let open = |place: &P| ParquetFile::open(place.as_ref());
        let files = places.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let (mut groups, mut before) = (Vec::new(), 0);
        for (file, own) in files.iter().enumerate() {
            if own.columns() != files[0].columns() {
                let (path, first) = (own.name.clone(), files[0].name.clone());
                return Err(TableError::OtherColumns { path, first });
            }
            for (number, group) in own.metadata.row_groups().iter().enumerate() {
                groups.push(Group { file, number, before });
                before += group.num_rows() as u64;
            }
        }
        Ok(Self { files, groups })
    }

    pub fn columns(&self) -> Vec<String> {
        self.files.first().map_or(Vec::new(), ParquetFile::columns)
    }

    /// The names of the integers in a column, of each file; none where it has none.
    pub fn class_names(&self, column: usize) -> Vec<Vec<String>> {
        let of = |file: &ParquetFile| {
            let name = file.columns().into_iter().nth(column);
            let mut names = class_names(file.metadata.file_metadata());
            name.and_then(|name| names.remove(&name)).unwrap_or_default()
        };
        self.files.iter().map(of).collect()
    }

    /// SHA-256 over what the files hold: over their bytes where all are on disk and together not too large to be read
    /// once more, else over their directories, which say how long and where every column of every group is, and most
    /// often its least and greatest values.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn content(&self) -> Result<String, TableError> {
        let on_disk: Option<u64> = self.files.iter().map(|file| file.source.on_disk()).sum();
        let whole = on_disk.is_some_and(|bytes| bytes <= MOST_HASHED);
        let of_file = |file: &ParquetFile| match whole {
            true => sha256_file(Path::new(&file.name)).map_err(|error| TableError::Read {
                path: file.name.clone(),
                source: io::Error::other(error),
            }),
            false => Ok(format!("{} {}", file.source.length(), file.directory)),
        };
        let files = self.files.iter().map(of_file).collect::<Result<Vec<_>, _>>()?;
        Ok(sha256(files.join("\n").as_bytes()))
    }

    /// The rows of each group.
    pub fn sizes(&self) -> Vec<usize> {
        let rows = |group: &Group| {
            let metadata = self.files[group.file].metadata.row_group(group.number);
            metadata.num_rows() as usize
        };
        self.groups.iter().map(rows).collect()
    }

    /// Fetches a group; a row's line is its number in all files together, from 1.
    pub fn fetch(&self, group: usize) -> Result<Vec<Row>, TableError> {
        let Group { file, number, before } = self.groups[group];
        let mut rows = self.files[file].fetch(number, None)?;
        rows.iter_mut().for_each(|row| row.line += before);
        Ok(rows)
    }

    /// Fetches one column of a group, by its number, and nothing else. Lines are as in [`Self::fetch`].
    pub fn column(&self, group: usize, column: usize) -> Result<Vec<(u64, Value)>, TableError> {
        let Group { file, number, before } = self.groups[group];
        let rows = self.files[file].fetch(number, Some(column))?;
        let cell = |row: Row| Some((row.line + before, row.values.into_iter().next()?));
        Ok(rows.into_iter().filter_map(cell).collect())
    }

    /// The file of a row, and its line there, by its line in all files together.
    pub fn place(&self, line: u64) -> (usize, u64) {
        let next = self.groups.partition_point(|group| group.before < line);
        let file = next.checked_sub(1).map_or(0, |group| self.groups[group].file);
        let first = self.groups.partition_point(|group| group.file < file);
        (file, line - self.groups.get(first).map_or(0, |group| group.before))
    }
}

impl ParquetFile {
    fn open(place: &str) -> Result<Self, TableError> {
        let name = place.to_owned();
        let read = |source| TableError::Read { path: name.clone(), source };
        let (source, mut tail) = Source::open(place).map_err(read)?;
        let length = source.length();
        let damaged = |error| failed(&name, String::new(), error);
        let footer = footer_length(&tail, length).map_err(damaged)?;
        if footer + END > tail.len() {
            tail = source.bytes(length - (footer + END) as u64, footer + END).map_err(read)?;
        }
        let start = tail.len() - END - footer;
        let written = &tail[start..tail.len() - END];
        let metadata = decode(written, length).map_err(damaged)?;
        Ok(Self { directory: sha256(written), name, source, metadata })
    }

    fn columns(&self) -> Vec<String> {
        let schema = self.metadata.file_metadata().schema();
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// The rows of a group, or of one of its columns; lines from 1.
    fn fetch(&self, group: usize, column: Option<usize>) -> Result<Vec<Row>, TableError> {
        let metadata = self.metadata.row_group(group);
        let whole = self.metadata.file_metadata().schema_descr_ptr();
        let failed = |error| failed(&self.name, format!(" in row group {group}"), error);
        let schema = match column {
            None => whole,
            Some(column) => Arc::new(only(whole.root_schema(), column).map_err(failed)?),
        };
        let (start, end) = extent(metadata, &schema);
        if end.saturating_sub(start) > MOST_GROUP {
            let bytes = end - start;
            return Err(failed(ParquetError::General(format!(
                "a row group has {bytes} bytes, and {MOST_GROUP} {BOUND} at once"
            ))));
        }
        let bytes = self.source.bytes(start, end.saturating_sub(start) as usize);
        let bytes = bytes.map_err(|source| TableError::Read { path: self.name.clone(), source })?;
        let part = Arc::new(Part { start, bytes });
        let root = schema.root_schema_ptr();
        let mut held = Held::default();
        let rows = guarded(|| {
            let row = |(line, row): (u64, Result<parquet::record::Row, ParquetError>)| {
                let values = cells(row?, &root).map(bounded).collect::<Result<Vec<_>, _>>()?;
                held.add(&values).map_err(ParquetError::General)?;
                Ok(Row { line, values })
            };
            (1..).zip(rows(schema, metadata, part)?).map(row).collect()
        });
        rows.map_err(failed)
    }
}

/// The schema of one top-level column.
fn only(schema: &Type, column: usize) -> Result<SchemaDescriptor, ParquetError> {
    let field = schema.get_fields()[column].clone();
    let root = Type::group_type_builder(schema.name()).with_fields(vec![field]).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

/// Where the columns of a schema begin and end in the file, for one group.
fn extent(group: &RowGroupMetaData, schema: &SchemaDescriptor) -> (u64, u64) {
    let wanted = |path| schema.columns().iter().any(|column| column.path() == path);
    let columns = group.columns().iter().filter(|column| wanted(column.column_path()));
    let ranges = columns.map(|column| column.byte_range());
    ranges
        .fold((u64::MAX, 0), |(start, end), (own, length)| (start.min(own), end.max(own + length)))
}

/// A piece of a file, for a reader that counts from the file's beginning.
struct Part {
    start: u64,
    bytes: Bytes,
}

impl Part {
    fn from(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let first = start.checked_sub(self.start).map(|first| first as usize);
        let first = first.filter(|&first| first <= self.bytes.len());
        let whole = self.bytes.len();
        let end = first.and_then(|first| length.map_or(Some(whole), |own| first.checked_add(own)));
        match (first, end) {
            (Some(first), Some(end)) if end <= self.bytes.len() => Ok(self.bytes.slice(first..end)),
            _ => Err(ParquetError::EOF("a column lies outside its row group".to_owned())),
        }
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Part {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Cursor::new(self.from(start, None)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.from(start, Some(length))
    }
}
