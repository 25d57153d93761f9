//! The cache's file: written whole or not at all, and believed only after it has been checked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors, View};

use super::{CacheError, Origin};
use crate::data::tokenizer::Encoded;
use crate::store::{sha256_of_parts, temporary_file};

/// What a file must agree with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) rows: usize,
    pub(super) max_length: usize,
    pub(super) vocabulary: usize,
}

impl Expected {
    fn token_type(self) -> Dtype {
        if self.vocabulary <= 1 << 16 { Dtype::U16 } else { Dtype::U32 }
    }
}

/// The bytes of a cache.
#[derive(Debug)]
enum Content {
    Map(Mmap),
    /// Where nothing can be written.
    Memory(Vec<u8>),
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

/// The tokens of a split, mapped from a file.
#[derive(Debug)]
pub struct Tokens {
    map: Content,
    rows: usize,
    /// Bytes of one token.
    width: usize,
    tokens: Range<usize>,
    type_ids: Option<Range<usize>>,
    offsets: Range<usize>,
    full_lengths: Range<usize>,
    truncated: usize,
    origin: Origin,
    unkept: Option<String>,
}

/// One row of [`Tokens`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    tokens: &'a [u8],
    width: usize,
    type_ids: Option<&'a [u8]>,
}

impl Row<'_> {
    /// Token ids with special tokens.
    pub fn ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        self.append_ids(&mut ids);
        ids
    }

    /// Segment of each token, as long as [`ids`](Self::ids).
    pub fn type_ids(&self) -> Vec<u32> {
        let mut type_ids = Vec::new();
        self.append_type_ids(&mut type_ids);
        type_ids
    }

    /// Appends [`ids`](Self::ids) to those of a packed batch.
    pub fn append_ids(&self, ids: &mut Vec<u32>) {
        ids.extend(decode(self.tokens, self.width));
    }

    /// Appends [`type_ids`](Self::type_ids) to those of a packed batch.
    pub fn append_type_ids(&self, type_ids: &mut Vec<u32>) {
        match self.type_ids {
            Some(bytes) => type_ids.extend(bytes.iter().map(|&byte| u32::from(byte))),
            None => type_ids.resize(type_ids.len() + self.tokens.len() / self.width, 0),
        }
    }
}

/// Little-endian numbers of two or four bytes.
fn decode(bytes: &[u8], width: usize) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(width).map(|b| b.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte)))
}

impl Tokens {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A row. Panics unless `i` is below [`rows`](Self::rows).
    pub fn get(&self, i: usize) -> Row<'_> {
        let Range { start, end } = self.span(i);
        Row {
            tokens: &self.map[self.tokens.clone()][start * self.width..end * self.width],
            width: self.width,
            type_ids: self.type_ids.clone().map(|range| &self.map[range][start..end]),
        }
    }

    /// Tokens of a row.
    pub fn length(&self, i: usize) -> usize {
        self.span(i).len()
    }

    /// Tokens of each row.
    pub fn lengths(&self) -> Vec<u32> {
        (0..self.rows).map(|i| self.length(i) as u32).collect()
    }

    /// Tokens that a row had before it was truncated.
    pub fn full_length(&self, i: usize) -> usize {
        let bytes = &self.map[self.full_lengths.clone()][4 * i..4 * i + 4];
        u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize
    }

    /// Rows that lost tokens to truncation.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Whether the file was found or made.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Why they are in memory only, where they are.
    pub fn unkept(&self) -> Option<&str> {
        self.unkept.as_deref()
    }

    fn span(&self, i: usize) -> Range<usize> {
        self.offset(i)..self.offset(i + 1)
    }

    fn offset(&self, i: usize) -> usize {
        let bytes = &self.map[self.offsets.clone()][8 * i..8 * i + 8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes")) as usize
    }

    /// Maps a file and checks all of it: header, offsets, lengths and ids.
    pub(super) fn open(
        path: &Path,
        expected: Expected,
        origin: Origin,
    ) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Io { doing: "read", path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the file was renamed into place complete, and nothing of ours writes to it again:
        // a new one replaces the name, not the content.
        #[expect(unsafe_code, reason = "mapping a file has no safe form")]
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Self::check(Content::Map(map), expected, origin)
            .map_err(|reason| CacheError::Damaged { path: path.to_path_buf(), reason })
    }

    /// From the bytes of a file that could not be written.
    pub(super) fn in_memory(
        bytes: Vec<u8>,
        expected: Expected,
        why: &CacheError,
    ) -> Result<Self, String> {
        let mut tokens = Self::check(Content::Memory(bytes), expected, Origin::Built)?;
        tokens.unkept = Some(match why {
            CacheError::Io { source, .. } => format!("{why}: {source}"),
            why => why.to_string(),
        });
        Ok(tokens)
    }

    fn check(map: Content, expected: Expected, origin: Origin) -> Result<Self, String> {
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|e| e.to_string())?;
        let rows = expected.rows;
        let find = |name: &str, dtype: Dtype| find(&metadata, header, name, dtype);
        let (tokens, count) = find("tokens", expected.token_type())?;
        let (offsets, offset_count) = find("offsets", Dtype::U64)?;
        let (full_lengths, length_count) = find("full_lengths", Dtype::U32)?;
        let type_ids = match metadata.info("type_ids") {
            None => None,
            Some(_) => match find("type_ids", Dtype::U8)? {
                (range, n) if n == count => Some(range),
                (_, n) => return Err(format!("{n} segments for {count} tokens")),
            },
        };
        let (expected_hash, 32) = find("sha256", Dtype::U8)? else {
            return Err("the length of its hash differs".to_owned());
        };
        let always = [&full_lengths, &offsets, &tokens].into_iter();
        let parts = always.chain(&type_ids).map(|range| &map[range.clone()]);
        if sha256_of_parts(parts) != map[expected_hash] {
            return Err("its contents have changed since it was written".to_owned());
        }
        if (offset_count, length_count) != (rows + 1, rows) {
            return Err(format!("{length_count} rows instead of {rows}"));
        }

        let width = expected.token_type().bitsize() / 8;
        let mut checked = Self {
            map,
            rows,
            width,
            tokens,
            type_ids,
            offsets,
            full_lengths,
            truncated: 0,
            origin,
            unkept: None,
        };
        if checked.offset(0) != 0 || checked.offset(rows) != count {
            return Err("offsets that do not span the tokens".to_string());
        }
        for i in 0..rows {
            let Range { start, end } = checked.span(i);
            if start > end || end > count || end - start > expected.max_length {
                return Err(format!("row {i} reaches from token {start} to {end}"));
            }
            if checked.full_length(i) < end - start {
                return Err(format!("row {i} has more tokens than before truncation"));
            }
            checked.truncated += usize::from(checked.full_length(i) > end - start);
        }
        let ids = &checked.map[checked.tokens.clone()];
        if let Some(id) = decode(ids, width).find(|&id| id as usize >= expected.vocabulary) {
            return Err(format!("token id {id} in a vocabulary of {}", expected.vocabulary));
        }
        Ok(checked)
    }
}

/// The bytes of a one-dimensional tensor and its length.
fn find(
    metadata: &Metadata,
    header: usize,
    name: &str,
    dtype: Dtype,
) -> Result<(Range<usize>, usize), String> {
    let info = metadata.info(name).ok_or_else(|| format!("no tensor `{name}`"))?;
    match info.shape[..] {
        [count] if info.dtype == dtype => {
            let first = 8 + header; // the header's length stands before it, in eight bytes
            Ok((first + info.data_offsets.0..first + info.data_offsets.1, count))
        }
        _ => Err(format!("`{name}` is {} of shape {:?}", info.dtype, info.shape)),
    }
}

/// Collects rows in the bytes of the file.
pub(super) struct Builder {
    token_type: Dtype,
    tokens: Vec<u8>,
    type_ids: Vec<u8>,
    offsets: Vec<u8>,
    full_lengths: Vec<u8>,
    count: u64,
}

impl Builder {
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            token_type: expected.token_type(),
            tokens: Vec::new(),
            type_ids: Vec::new(),
            offsets: 0u64.to_le_bytes().into(),
            full_lengths: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn push(&mut self, encoded: &Encoded) {
        let width = self.token_type.bitsize() / 8;
        for id in &encoded.ids {
            self.tokens.extend_from_slice(&id.to_le_bytes()[..width]);
        }
        self.type_ids.extend(encoded.type_ids.iter().map(|&type_id| type_id as u8));
        self.count += encoded.ids.len() as u64;
        self.offsets.extend(self.count.to_le_bytes());
        self.full_lengths.extend(encoded.full_length.to_le_bytes());
    }

    /// Writes beside `path`, on the same file system, and renames.
    pub(super) fn write(&self, folder: &Path, path: &Path) -> Result<(), CacheError> {
        let failed = |source| CacheError::Io { doing: "write", path: path.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(|source| CacheError::Io {
            doing: "make the folder of",
            path: folder.to_path_buf(),
            source,
        })?;
        let temporary = temporary_file(folder, ".tokens-").map_err(failed)?;
        safetensors::serialize_to_file(
            self.tensors(&self.hash()),
            Self::metadata(),
            temporary.path(),
        )
        .map_err(|error| failed(std::io::Error::other(error)))?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(path).map_err(|error| failed(error.error))?;
        // The rename itself is lost in a power failure unless the folder is written too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// What the file would hold.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        safetensors::serialize(self.tensors(&self.hash()), Self::metadata())
            .expect("the tensors are whole")
    }

    fn metadata() -> Option<HashMap<String, String>> {
        Some(HashMap::from([("format".to_string(), "pt".to_string())]))
    }

    /// Only where any is not 0.
    fn type_ids(&self) -> Option<&[u8]> {
        let segments = self.type_ids.iter().any(|&type_id| type_id != 0);
        segments.then_some(&*self.type_ids)
    }

    fn hash(&self) -> [u8; 32] {
        // In the order of their names.
        let always: [&[u8]; 3] = [&self.full_lengths, &self.offsets, &self.tokens];
        sha256_of_parts(always.into_iter().chain(self.type_ids()))
    }

    fn tensors<'a>(&'a self, sha256: &'a [u8; 32]) -> Vec<(&'static str, Bytes<'a>)> {
        let mut tensors = vec![
            ("tokens", Bytes::new(self.token_type, &self.tokens)),
            ("offsets", Bytes::new(Dtype::U64, &self.offsets)),
            ("full_lengths", Bytes::new(Dtype::U32, &self.full_lengths)),
        ];
        if let Some(type_ids) = self.type_ids() {
            tensors.push(("type_ids", Bytes::new(Dtype::U8, type_ids)));
        }
        tensors.push(("sha256", Bytes::new(Dtype::U8, sha256)));
        tensors
    }
}

/// A one-dimensional tensor that is already in the bytes of the file.
struct Bytes<'a> {
    dtype: Dtype,
    shape: [usize; 1],
    data: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn new(dtype: Dtype, data: &'a [u8]) -> Self {
        Self { dtype, shape: [data.len() * 8 / dtype.bitsize()], data }
    }
}

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests;
