//! A safetensors file, read once from its beginning to its end, tensor by tensor.
//!
//! It is not mapped: whoever writes over a mapped file in place ends the process that reads it. What is
//! hashed is what is used, since both see the same bytes.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use super::ModelError;

/// The most bytes of a header: that of the largest encoder has a hundredth of it.
const LONGEST_HEADER: u64 = 16 << 20;

/// A file whose header has been read and checked against its length.
pub(super) struct WeightsFile {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    /// In the order of their bytes.
    tensors: Vec<(String, TensorInfo)>,
    places: HashMap<String, usize>,
}

/// Values by the names that they have in the file, and the file's SHA-256.
pub(super) struct Content {
    pub values: HashMap<String, Vec<f32>>,
    pub sha256: String,
}

impl WeightsFile {
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
        let header_length = u64::from_le_bytes(size);
        if header_length > LONGEST_HEADER.min(length - 8) {
            return Err(corrupt(format!(
                "its header should have {header_length} bytes, but the file has only {length}"
            )));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| corrupt(error.to_string()))?;
        let tensors = in_order(&metadata).map_err(corrupt)?;
        let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64);
        if length - 8 - header_length != end {
            return Err(corrupt(format!(
                "its header describes {end} bytes of tensors, but {} follow",
                length - 8 - header_length
            )));
        }
        let hasher = Sha256::new().chain_update(size).chain_update(&header);
        let places = tensors.iter().zip(0..).map(|((name, _), place)| (name.clone(), place));
        let places = places.collect();
        Ok(Self { path: path.to_owned(), file, hasher, length, tensors, places })
    }

    /// Bytes of the whole file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.places.get(name).map(|&place| &self.tensors[place].1)
    }

    /// Reads all of it; keeps the tensors of these names, as f32.
    pub(super) fn read(mut self, wanted: &HashSet<String>) -> Result<Content, ModelError> {
        let mut values = HashMap::new();
        let mut bytes = Vec::new();
        for (name, info) in std::mem::take(&mut self.tensors) {
            let (start, end) = info.data_offsets;
            bytes.resize(end - start, 0);
            let read = self.file.read_exact(&mut bytes);
            read.map_err(|source| ModelError::Read { path: self.path.clone(), source })?;
            self.hasher.update(&bytes);
            if wanted.contains(&name) {
                let own = numbers(&bytes, info.dtype).ok_or_else(|| ModelError::Type {
                    path: self.path.clone(),
                    name: name.clone(),
                    found: format!("{:?}", info.dtype),
                })?;
                if own.iter().any(|value| !value.is_finite()) {
                    return Err(ModelError::NotFinite { path: self.path, name });
                }
                values.insert(name, own);
            }
        }
        let sha256 = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Content { values, sha256 })
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
            let name: String = name.chars().take(100).collect();
            return Err(format!("tensor `{name}` does not lie where its shape says"));
        }
        start = end;
        tensors.push((name, info.clone()));
    }
    Ok(tensors)
}

fn numbers(bytes: &[u8], kind: Dtype) -> Option<Vec<f32>> {
    fn all<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
    }
    Some(match kind {
        Dtype::F32 => all(bytes, f32::from_le_bytes),
        Dtype::F16 => all(bytes, |two| half::f16::from_le_bytes(two).to_f32()),
        Dtype::BF16 => all(bytes, |two| half::bf16::from_le_bytes(two).to_f32()),
        Dtype::F64 => all(bytes, |eight| f64::from_le_bytes(eight) as f32),
        _ => return None,
    })
}
