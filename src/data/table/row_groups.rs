//! Parquet by row groups, from disk or over HTTP: a group is fetched in one piece, and no other part of
//! the file is.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::record::reader::TreeBuilder;
use ureq::Agent;
use ureq::http::StatusCode;

use super::Row;
use super::error::TableError;
use super::parquet_reader::{cell, failed, guarded};

/// What is read of the end of a file first; the directory of most files fits into it.
const TAIL: u64 = 64 << 10;
/// How often a range is asked for before it is given up.
const ATTEMPTS: usize = 3;
/// How long one range may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// A Parquet file of which only the directory has been read.
pub struct RowGroups {
    name: String,
    source: Source,
    metadata: ParquetMetaData,
    /// Rows before each group.
    before: Vec<u64>,
}

/// Where the bytes are.
enum Source {
    Disk(Mutex<File>, u64),
    Http { agent: Agent, url: String, length: u64 },
}

/// Whether a place is an address and not a path.
pub fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

impl RowGroups {
    /// Reads the directory of a file, or of what an address names.
    ///
    /// # Errors
    /// It cannot be read, the server does not give ranges, or it is no Parquet file.
    pub fn open(place: &str) -> Result<Self, TableError> {
        let name = place.to_owned();
        let read = |source| TableError::Read { path: name.clone(), source };
        let (source, mut tail) = Source::open(place).map_err(read)?;
        let length = source.length();
        let mut reader = ParquetMetaDataReader::new();
        loop {
            match guarded(|| reader.try_parse_sized(&tail, length)) {
                Ok(()) => break,
                Err(ParquetError::NeedMoreData(needed)) if needed > tail.len() => {
                    tail = source.bytes(length - needed as u64, needed).map_err(read)?;
                }
                Err(error) => return Err(failed(&name, String::new(), error)),
            }
        }
        let metadata = reader.finish().map_err(|error| failed(&name, String::new(), error))?;
        let mut rows = 0;
        let before = metadata.row_groups().iter().map(|group| {
            rows += group.num_rows() as u64;
            rows - group.num_rows() as u64
        });
        Ok(Self { before: before.collect(), name, source, metadata })
    }

    /// The top-level columns.
    pub fn columns(&self) -> Vec<String> {
        let schema = self.metadata.file_metadata().schema();
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// The rows of each group.
    pub fn sizes(&self) -> Vec<usize> {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as usize).collect()
    }

    /// Fetches a group; a row's line is its number in the file, from 1.
    pub fn fetch(&self, group: usize) -> Result<Vec<Row>, TableError> {
        let metadata = self.metadata.row_group(group);
        let (start, end) = extent(metadata);
        let bytes = self.source.bytes(start, (end - start) as usize);
        let bytes = bytes.map_err(|source| TableError::Read { path: self.name.clone(), source })?;
        let first = self.before[group] + 1;
        let part = Arc::new(Part { start, bytes });
        guarded(|| {
            let properties = Arc::new(ReaderProperties::builder().build());
            let index = self.metadata.page_index_for_row_group(group);
            let reader = SerializedRowGroupReader::new(part, metadata, index, properties)?;
            let schema = self.metadata.file_metadata().schema_descr_ptr();
            let rows = TreeBuilder::new().as_iter(schema, &reader)?;
            let row = |(index, row): (usize, Result<parquet::record::Row, ParquetError>)| {
                let values = row?.into_columns().into_iter().map(|(_, field)| cell(field));
                Ok(Row { line: first + index as u64, values: values.collect() })
            };
            rows.enumerate().map(row).collect()
        })
        .map_err(|error| failed(&self.name, format!(" in row group {group}"), error))
    }
}

/// Where the columns of a group begin and end in the file.
fn extent(group: &RowGroupMetaData) -> (u64, u64) {
    let ranges = group.columns().iter().map(|column| column.byte_range());
    ranges
        .fold((u64::MAX, 0), |(start, end), (own, length)| (start.min(own), end.max(own + length)))
}

impl Source {
    /// The source, and the end of the file.
    fn open(place: &str) -> io::Result<(Self, Bytes)> {
        if !is_url(place) {
            let file = File::open(Path::new(place))?;
            let length = file.metadata()?.len();
            let source = Self::Disk(Mutex::new(file), length);
            let size = length.min(TAIL);
            let tail = source.bytes(length - size, size as usize)?;
            return Ok((source, tail));
        }
        let agent: Agent = Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let (tail, length) = persistently(|| ranged(&agent, place, &format!("bytes=-{TAIL}")))?;
        Ok((Self::Http { agent, url: place.to_owned(), length }, tail))
    }

    fn length(&self) -> u64 {
        match self {
            Self::Disk(_, length) | Self::Http { length, .. } => *length,
        }
    }

    fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::Disk(file, _) => {
                let mut file = file.lock().expect("nothing panics while it reads");
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
            Self::Http { agent, url, length: whole } => {
                let range = format!("bytes={start}-{}", start + length as u64 - 1);
                let (bytes, found) = persistently(|| ranged(agent, url, &range))?;
                if found != *whole || bytes.len() != length {
                    return Err(io::Error::other("the file has changed on the server"));
                }
                Ok(bytes)
            }
        }
    }
}

/// A range of a remote file, and the length of the whole.
fn ranged(agent: &Agent, url: &str, range: &str) -> io::Result<(Bytes, u64)> {
    let mut response = agent.get(url).header("Range", range).call().map_err(io::Error::other)?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Err(io::Error::other(format!(
            "the server answers {} to a request for a range: fetch the file first",
            response.status()
        )));
    }
    let whole = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
    let whole = whole.and_then(|value| value.rsplit_once('/')?.1.parse().ok());
    let whole = whole.ok_or_else(|| io::Error::other("the answer has no `Content-Range`"))?;
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
    Ok((body.map_err(io::Error::other)?.into(), whole))
}

/// A line that was cut is tried again.
fn persistently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut last = attempt();
    for _ in 1..ATTEMPTS {
        if last.is_ok() {
            break;
        }
        last = attempt();
    }
    last
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
        let end = first.map(|first| length.map_or(self.bytes.len(), |length| first + length));
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
