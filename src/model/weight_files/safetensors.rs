//! A safetensors file: its header first, then its tensors from the beginning of the file to its end.
//!
//! It is not mapped: whoever writes over a mapped file in place ends the process that reads it. What is
//! hashed is what is used, since both see the same bytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;

use super::stream::Stream;
use super::{Keep, Take, TensorInfo, pointer, shown};
use crate::model::ModelError;

/// The most bytes of a header: that of the largest encoder has a hundredth of it.
const LONGEST_HEADER: u64 = 16 << 20;

/// A file whose header has been read and checked against its length.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    path: PathBuf,
    /// Its length, and the header itself.
    header: Vec<u8>,
    length: u64,
    /// In the order of their bytes.
    tensors: Vec<(String, TensorInfo)>,
}

impl SafetensorsFile {
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read { path: path.to_owned(), source };
        let corrupt = |message: String| ModelError::Corrupt { path: path.to_owned(), message };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        if length < 8 {
            return Err(corrupt(format!("it has only {length} bytes")));
        }
        file.read_exact(&mut size).map_err(failed)?;
        if let Some(message) = pointer(&size) {
            return Err(corrupt(message));
        }
        let header_length = u64::from_le_bytes(size);
        if header_length > LONGEST_HEADER.min(length - 8) {
            return Err(corrupt(format!(
                "its header should have {header_length} bytes, but the file has only {length}"
            )));
        }
        let mut header = vec![0; 8 + header_length as usize];
        header[..8].copy_from_slice(&size);
        file.read_exact(&mut header[8..]).map_err(failed)?;
        let metadata: Metadata =
            serde_json::from_slice(&header[8..]).map_err(|error| corrupt(error.to_string()))?;
        let tensors = in_order(&metadata).map_err(corrupt)?;
        let end = metadata.data_len() as u64;
        if length - 8 - header_length != end {
            return Err(corrupt(format!(
                "its header describes {end} bytes of tensors, but {} follow",
                length - 8 - header_length
            )));
        }
        Ok(Self { path: path.to_owned(), header, length, tensors })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// Reads all of it, hands over what is kept, and returns its SHA-256.
    pub(super) fn read(&self, keep: &Keep<'_>, take: &mut Take<'_>) -> Result<String, ModelError> {
        let mut stream = Stream::open(&self.path, self.length)?;
        stream.expect(&self.header)?;
        for (name, info) in &self.tensors {
            let count = info.bytes() as u64;
            if keep(name) {
                let bytes = stream.take(count)?;
                take(name, info, &bytes)?;
            } else {
                stream.skip(count)?;
            }
        }
        stream.end()
    }
}

/// The tensors in the order of their bytes, which must follow one another without a hole.
fn in_order(metadata: &Metadata) -> Result<Vec<(String, TensorInfo)>, String> {
    let mut start = 0;
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let (own, end) = info.data_offsets;
        let count = info.shape.iter().try_fold(1_usize, |all, &axis| all.checked_mul(axis));
        let bits = count.and_then(|count| count.checked_mul(info.dtype.bitsize()));
        let fits = bits.is_some_and(|bits| {
            own == start && end >= own && bits.is_multiple_of(8) && bits / 8 == end - own
        });
        if !fits {
            return Err(format!("tensor `{}` does not lie where its shape says", shown(&name)));
        }
        start = end;
        tensors.push((name, TensorInfo { shape: info.shape.clone(), dtype: info.dtype }));
    }
    Ok(tensors)
}
