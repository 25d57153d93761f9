//! The directory at the end of a Parquet file, looked through before the crate builds its tree and before
//! any number of it is used.

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::guarded;
use super::thrift::{Compact, I32, LIST, STRUCT};

/// Behind the directory: its length, and four letters.
pub(in super::super) const END: usize = 8;
/// The most bytes of a directory.
const LONGEST: u64 = 512 << 20;
/// How deep columns may lie in one another. Each level takes stack wherever the schema is walked.
const DEEPEST: usize = 48;
/// Columns, with those inside of others.
const MOST_COLUMNS: u64 = 20_000;
/// Rows of a file: more than any disk holds.
const MOST_ROWS: i64 = 1 << 40;

fn refused(message: String) -> ParquetError {
    ParquetError::General(message)
}

/// The length of the directory, from the last bytes of a file of this length.
pub(in super::super) fn footer_length(end: &[u8], length: u64) -> Result<usize, ParquetError> {
    let last: Option<&[u8; END]> = end.last_chunk();
    let Some([a, b, c, d, magic @ ..]) = last else {
        return Err(ParquetError::EOF(format!("a file of {length} bytes is not a Parquet file")));
    };
    match magic {
        b"PAR1" => {}
        b"PARE" => return Err(refused("its directory is encrypted".to_owned())),
        _ => return Err(refused("it does not end like a Parquet file".to_owned())),
    }
    let footer = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    if footer + END as u64 > length || footer > LONGEST {
        return Err(refused(format!(
            "its directory should have {footer} bytes, but the file has only {length}"
        )));
    }
    Ok(footer as usize)
}

/// Reads the directory of a file of this length.
pub(in super::super) fn decode(
    footer: &[u8],
    length: u64,
) -> Result<ParquetMetaData, ParquetError> {
    look_through(footer)?;
    let metadata = guarded(|| ParquetMetaDataReader::decode_metadata(footer))?;
    check(&metadata, length)?;
    Ok(metadata)
}

/// Walks the bytes: the schema must be a tree that is not too deep, and no list longer than its bytes.
fn look_through(footer: &[u8]) -> Result<(), ParquetError> {
    let mut compact = Compact::new(footer, footer.len() as u64);
    let mut last = 0;
    let mut walk = || -> std::io::Result<Result<(), ParquetError>> {
        while let Some((kind, number)) = compact.field(&mut last)? {
            // The schema: a flat list of elements, each with the number of its children.
            if (kind, number) != (LIST, 2) {
                compact.skip(kind)?;
                continue;
            }
            let (kind, size) = compact.list()?;
            if size > MOST_COLUMNS {
                return Ok(Err(refused(format!(
                    "it has {size} columns, but at most {MOST_COLUMNS} are read"
                ))));
            }
            let mut open: Vec<u64> = Vec::new();
            for index in 0..size {
                if kind != STRUCT {
                    compact.skip(kind)?;
                    continue;
                }
                let children = children(&mut compact)?;
                if children > size - index - 1 {
                    return Ok(Err(refused(format!(
                        "a column claims to have {children} columns inside it"
                    ))));
                }
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
                open.push(children);
                while open.last() == Some(&0) {
                    open.pop();
                }
                if open.len() > DEEPEST {
                    return Ok(Err(refused(format!(
                        "its columns are nested too deeply; at most {DEEPEST} levels are read"
                    ))));
                }
            }
        }
        Ok(Ok(()))
    };
    walk().map_err(|error| refused(format!("its directory is damaged: {error}")))?
}

fn children<R: std::io::Read>(compact: &mut Compact<R>) -> std::io::Result<u64> {
    let (mut last, mut children) = (0, 0);
    while let Some((kind, number)) = compact.field(&mut last)? {
        if (kind, number) == (I32, 5) {
            // A negative number is more than there can be.
            children = u64::try_from(compact.integer()?).unwrap_or(u64::MAX);
        } else {
            compact.skip(kind)?;
        }
    }
    Ok(children)
}

/// Numbers against the file, and against each other.
fn check(metadata: &ParquetMetaData, length: u64) -> Result<(), ParquetError> {
    let file = metadata.file_metadata();
    if file.schema().get_fields().is_empty() {
        return Err(refused("there are no columns".to_owned()));
    }
    let columns = file.schema_descr().num_columns();
    let (mut rows, mut bytes) = (0_i64, 0_u64);
    for group in metadata.row_groups() {
        let own = group.num_rows();
        rows = match rows.checked_add(own).filter(|&all| own >= 0 && all <= MOST_ROWS) {
            Some(rows) => rows,
            None => return Err(refused(format!("a row group claims to have {own} rows"))),
        };
        if group.num_columns() != columns {
            let found = group.num_columns();
            return Err(refused(format!(
                "a row group has {found} columns, but the file has {columns}"
            )));
        }
        bytes = check_group(group, length, bytes)?;
    }
    if rows != file.num_rows() {
        return Err(refused(format!(
            "the row groups hold {rows} rows, but the file claims {}",
            file.num_rows()
        )));
    }
    Ok(())
}

/// Columns must lie in the file, and all of them together cannot have more bytes than it: a few pages
/// that thousands of row groups share would be read as thousands of times as many rows.
fn check_group(group: &RowGroupMetaData, length: u64, mut bytes: u64) -> Result<u64, ParquetError> {
    for column in group.columns() {
        let name = || column.column_path().string().chars().take(60).collect::<String>();
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let (start, size) = (u64::try_from(start), u64::try_from(column.compressed_size()));
        let end = start.ok().zip(size.ok()).and_then(|(start, size)| start.checked_add(size));
        let inside = end.is_some_and(|end| end <= length);
        if !inside || column.data_page_offset() < 0 || column.num_values() < 0 {
            return Err(refused(format!(
                "column `{}` claims to lie outside the file, or to have a negative number of \
                 values",
                name()
            )));
        }
        bytes = bytes.saturating_add(size.unwrap_or(u64::MAX));
        if bytes > length {
            return Err(refused(format!(
                "its columns claim to have more bytes than the file, {length}; several row groups \
                 share their pages"
            )));
        }
    }
    Ok(bytes)
}
