//! The pages of a row group, each looked at before it is unpacked: a file of 4 kB can unpack to
//! gigabytes, and a page of a few bytes claim billions of values.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, RowGroupReader, SerializedPageReader};
use parquet::record::reader::{ReaderIter, RowIter, TreeBuilder};
use parquet::schema::types::{SchemaDescPtr, Type as SchemaType};

use super::delta;
use super::thrift::{Compact, I32};

/// What a page may unpack to, whatever it is packed in.
const PAGE: u64 = 256 << 20;
/// What the pages that are held at once may, one of each column.
const HELD: u64 = 1 << 30;
/// What a column of a row group may, page after page.
const CHUNK: u64 = 4 << 30;
/// Beyond these bounds: as many times its packed size. Text packs to a tenth.
const RATIO: u64 = 100;
/// The most bytes of the header of a page; it may quote a long text as the smallest.
const HEADER: u64 = 16 << 20;
/// Values of a page in an encoding whose lengths are unpacked at once.
const LENGTHS: u64 = 4 << 20;
/// Rows that the record reader takes at once; fewer where texts are made of the text before, which may
/// be long each.
const ROWS: usize = 1024;
const FEW_ROWS: usize = 16;

/// What a message about a bound ends with.
pub(in super::super) const BOUND: &str = "is the most that is read";

/// The rows of a group of columns.
pub(in super::super) fn rows<R: ChunkReader + 'static>(
    schema: SchemaDescPtr,
    metadata: &RowGroupMetaData,
    reader: Arc<R>,
) -> Result<ReaderIter, ParquetError> {
    let chained = |column: &ColumnChunkMetaData| announces(column, Encoding::DELTA_BYTE_ARRAY);
    let batch = if metadata.columns().iter().any(chained) { FEW_ROWS } else { ROWS };
    let group = Group { metadata, reader, held: Arc::default() };
    TreeBuilder::new().with_batch_size(batch).as_iter(schema, &group)
}

fn announces(column: &ColumnChunkMetaData, encoding: Encoding) -> bool {
    column.encodings().any(|own| own == encoding)
}

struct Group<'a, R> {
    metadata: &'a RowGroupMetaData,
    reader: Arc<R>,
    held: Arc<AtomicU64>,
}

impl<R: ChunkReader + 'static> RowGroupReader for Group<'_, R> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        let column = self.metadata.column(i);
        let rows = self.metadata.num_rows() as usize;
        let inner = SerializedPageReader::new(Arc::clone(&self.reader), column, rows, None)?;
        let (next, length) = column.byte_range();
        Ok(Box::new(Pages {
            inner,
            reader: Arc::clone(&self.reader),
            column: column.clone(),
            next,
            end: next + length,
            budget: Budget::new(
                column.compressed_size() as u64,
                self.metadata.compressed_size() as u64,
                Arc::clone(&self.held),
            ),
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, _: Option<SchemaType>) -> Result<RowIter<'_>, ParquetError> {
        Err(ParquetError::General("rows come from the tree of readers".to_owned()))
    }
}

/// The pages of one column.
struct Pages<R: ChunkReader> {
    inner: SerializedPageReader<R>,
    reader: Arc<R>,
    column: ColumnChunkMetaData,
    /// Where the header of the next page stands, and where the column ends.
    next: u64,
    end: u64,
    budget: Budget,
}

/// What the pages of a column unpack to, against what is read.
struct Budget {
    /// Bytes of all pages so far, of the last one, and of the dictionary.
    unpacked: u64,
    page: u64,
    dictionary: u64,
    most_unpacked: u64,
    /// Bytes that the columns of the group hold.
    held: Arc<AtomicU64>,
    most_held: u64,
}

impl Budget {
    /// For a column and a group with so many packed bytes.
    fn new(column: u64, group: u64, held: Arc<AtomicU64>) -> Self {
        Self {
            unpacked: 0,
            page: 0,
            dictionary: 0,
            most_unpacked: CHUNK.max(RATIO.saturating_mul(column)),
            held,
            most_held: HELD.max(RATIO.saturating_mul(group)),
        }
    }

    /// Counts a page. The error is what is too much, how much it is, and what the most is.
    fn take(
        &mut self,
        bytes: u64,
        packed: u64,
        dictionary: bool,
    ) -> Result<(), (&'static str, u64, u64)> {
        let most = PAGE.max(RATIO.saturating_mul(packed));
        if bytes > most {
            return Err(("a page", bytes, most));
        }
        self.unpacked = self.unpacked.saturating_add(bytes);
        if self.unpacked > self.most_unpacked {
            return Err(("a row group", self.unpacked, self.most_unpacked));
        }
        // The page before is given back; a dictionary stays.
        let before = if dictionary { &mut self.dictionary } else { &mut self.page };
        self.held.fetch_sub(std::mem::replace(before, bytes), Ordering::Relaxed);
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.most_held {
            return Err(("with the other columns, a page", held, self.most_held));
        }
        Ok(())
    }
}

/// What a page says of itself.
#[derive(Default)]
struct Header {
    length: u64,
    kind: i64,
    unpacked: i64,
    packed: i64,
}

const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;

impl Header {
    fn read(reader: impl Read, most: u64) -> std::io::Result<Self> {
        let mut compact = Compact::new(reader, most.min(HEADER));
        let (mut header, mut last) = (Self::default(), 0);
        while let Some((kind, number)) = compact.field(&mut last)? {
            match (kind, number) {
                (I32, 1) => header.kind = compact.integer()?,
                (I32, 2) => header.unpacked = compact.integer()?,
                (I32, 3) => header.packed = compact.integer()?,
                _ => compact.skip(kind)?,
            }
        }
        header.length = compact.read();
        Ok(header)
    }
}

impl<R: ChunkReader> Pages<R> {
    fn refused(&self, what: &str, bytes: u64, most: u64) -> ParquetError {
        let name: String = self.column.column_path().string().chars().take(60).collect();
        ParquetError::General(format!(
            "{what} of column `{name}` unpacks to {bytes} bytes, and {most} {BOUND}"
        ))
    }

    /// Looks at the page that comes next, and passes over its index pages.
    fn look(&mut self) -> Result<(), ParquetError> {
        while self.next < self.end {
            let header = Header::read(self.reader.get_read(self.next)?, self.end - self.next);
            let header = header.map_err(|error| {
                ParquetError::General(format!("the header of a page is damaged: {error}"))
            })?;
            let start = self.next + header.length;
            let packed = u64::try_from(header.packed).ok();
            let end = packed.and_then(|packed| start.checked_add(packed));
            let (Some(packed), Some(end)) = (packed, end.filter(|&end| end <= self.end)) else {
                return Err(ParquetError::EOF("a page reaches beyond its column".to_owned()));
            };
            self.next = end;
            if header.kind == INDEX {
                continue;
            }
            let unpacked = u64::try_from(header.unpacked).unwrap_or(u64::MAX).max(packed);
            return self.take(unpacked, packed, header.kind == DICTIONARY);
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64, packed: u64, dictionary: bool) -> Result<(), ParquetError> {
        let bytes =
            if self.column.compression() == Compression::UNCOMPRESSED { packed } else { bytes };
        let taken = self.budget.take(bytes, packed, dictionary);
        taken.map_err(|(what, bytes, most)| self.refused(what, bytes, most))
    }

    /// Numbers of values that memory is taken by.
    fn check(&self, page: &Page) -> Result<(), ParquetError> {
        let claimed = |values: u64| {
            Err(ParquetError::General(format!(
                "a page claims {values} values, more than its bytes hold"
            )))
        };
        let (buffer, values, encoding) = match page {
            Page::DictionaryPage { buf, num_values, .. } => {
                let values = u64::from(*num_values);
                let fits = values.saturating_mul(self.least_width()) <= buf.len() as u64;
                return if fits { Ok(()) } else { claimed(values) };
            }
            Page::DataPage { num_values, encoding, .. }
            | Page::DataPageV2 { num_values, encoding, .. } => {
                (self.behind_levels(page), u64::from(*num_values), *encoding)
            }
        };
        if encoding == Encoding::DELTA_BYTE_ARRAY && !announces(&self.column, encoding) {
            return Err(ParquetError::General(
                "a page has an encoding that its column does not announce".to_owned(),
            ));
        }
        let lists = match encoding {
            Encoding::DELTA_BINARY_PACKED => return self.check_delta(&buffer, values, 1, u64::MAX),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => return Ok(()),
        };
        self.check_delta(&buffer, values, lists, LENGTHS)
    }

    fn check_delta(
        &self,
        buffer: &[u8],
        values: u64,
        lists: u32,
        most: u64,
    ) -> Result<(), ParquetError> {
        let mut rest = buffer;
        for _ in 0..lists {
            let damaged = || ParquetError::General("a list of lengths is damaged".to_owned());
            let (count, behind) = delta::list(rest, values.min(most)).ok_or_else(damaged)?;
            debug_assert!(count <= values);
            rest = behind;
        }
        Ok(())
    }

    /// The bytes of the values of a data page.
    fn behind_levels(&self, page: &Page) -> Bytes {
        let descriptor = self.column.column_descr();
        match page {
            Page::DataPage { buf, .. } => {
                let levels = [descriptor.max_rep_level(), descriptor.max_def_level()];
                let mut rest = buf.clone();
                for _ in levels.into_iter().filter(|&most| most > 0) {
                    let length =
                        rest.first_chunk().map_or(0, |four| u32::from_le_bytes(*four) as usize);
                    rest = rest.slice((4 + length).min(rest.len())..);
                }
                rest
            }
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                buf.slice(levels.min(buf.len())..)
            }
            Page::DictionaryPage { buf, .. } => buf.clone(),
        }
    }

    /// The fewest bytes of a value in a dictionary.
    fn least_width(&self) -> u64 {
        match self.column.column_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => {
                u64::try_from(self.column.column_descr().type_length()).unwrap_or(0).max(1)
            }
        }
    }
}

impl<R: ChunkReader> Iterator for Pages<R> {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for Pages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        self.look()?;
        let page = self.inner.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.look()?;
        self.inner.skip_next_page()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_pages_are_bounded_one_by_one_in_a_column_and_in_a_group() {
        let page = 200 << 20;
        let new = |held: &Arc<AtomicU64>| Budget::new(1000, 9000, Arc::clone(held));
        let held = Arc::default();
        assert_eq!(new(&held).take(PAGE + 1, 8, false).unwrap_err(), ("a page", PAGE + 1, PAGE));
        // Text that packs to a tenth is no attack, however long it is.
        new(&Arc::default()).take(PAGE + 1, PAGE / 10, false).unwrap();

        let mut column = new(&held);
        let pages = (0..100).take_while(|_| column.take(page, 8, false).is_ok()).count();
        assert_eq!(pages, 20, "4 GiB of 200 MiB each");
        assert_eq!(column.take(page, 8, false).unwrap_err().0, "a row group");

        // Pages of one column come one after another, those of several stand beside each other.
        let held = Arc::default();
        let mut columns: Vec<Budget> = (0..6).map(|_| new(&held)).collect();
        columns[0].take(page, 8, false).unwrap();
        columns[0].take(page, 8, true).unwrap();
        for column in &mut columns[0..4] {
            column.take(page, 8, false).unwrap();
        }
        let (what, bytes, most) = columns[4].take(page, 8, false).unwrap_err();
        assert_eq!((what, bytes, most), ("with the other columns, a page", 6 * page, HELD));
    }

    #[test]
    fn the_header_of_a_page_has_an_end() {
        // A text of twenty million bytes, and the end of the structure.
        let long = || (&[0x18, 0x80, 0xda, 0xc4, 9][..]).chain(std::io::repeat(0).take(20_000_001));
        let refused = Header::read(long(), u64::MAX).err().unwrap();
        assert!(refused.to_string().contains("longer than its place"), "{refused}");
        assert!(Header::read(&[0x18, 2, 0, 0, 0][..], 5).is_ok());
        assert!(Header::read(&[0x18, 2, 0, 0, 0][..], 4).is_err());
    }
}
