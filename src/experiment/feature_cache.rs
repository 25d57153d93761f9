//! Features of a part of the data on disk, so that a second fit does not encode again.
//!
//! `features/KEY.safetensors` beside the token cache, tensor `features`, f32 `[n, d]`. The key is a
//! hash of everything that a feature is a function of: the weights, their config, the tokenizer, how
//! texts are cut, the texts themselves and the version of the tool.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::artifact::Preprocessing;
use crate::data;
use crate::store::{StoreError, sha256, sha256_file, write_atomically};

/// The cache of one model.
#[derive(Clone, Debug)]
pub(super) struct FeatureCache {
    folder: PathBuf,
    model: String,
}

impl FeatureCache {
    /// For a model folder and its preprocessing.
    pub(super) fn new(model: &Path, preprocessing: &Preprocessing) -> Result<Self, StoreError> {
        let mut key = format!("bayes {}\n", env!("CARGO_PKG_VERSION"));
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            key += &format!("{file} {}\n", sha256_file(&model.join(file))?);
        }
        key += &serde_json::to_string(preprocessing).expect("settings are plain data");
        Ok(Self { folder: data::cache_folder().with_file_name("features"), model: key })
    }

    /// The file for texts of this hash.
    pub(super) fn path(&self, texts: &str) -> PathBuf {
        let key = sha256(format!("{}\n{texts}", self.model).as_bytes());
        self.folder.join(format!("{key}.safetensors"))
    }
}

/// Reads features `[rows, width]`; `None` where there is no such file or it is damaged.
pub(super) fn read(path: &Path, rows: usize, width: usize) -> Option<Vec<f32>> {
    let bytes = std::fs::read(path).ok()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let tensor = file.tensor("features").ok()?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != [rows, width] {
        return None;
    }
    let numbers = tensor.data().chunks_exact(4);
    let values = numbers.map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")));
    Some(values.collect())
}

/// Writes features `[n, width]`.
pub(super) fn write(path: &Path, feature_nd: &[f32], width: usize) -> Result<(), StoreError> {
    let bytes: Vec<u8> = feature_nd.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![feature_nd.len() / width, width], &bytes);
    let view = view.expect("the bytes were made from the shape");
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize([("features", view)], Some(metadata));
    write_atomically(path, &file.expect("one valid tensor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some").join("features.safetensors");
        assert_eq!(read(&path, 2, 3), None);
        let feature_nd = [1.0, -2.5, 3e-8, 0.0, 5.0, 6.0];
        write(&path, &feature_nd, 3).unwrap();
        assert_eq!(read(&path, 2, 3).unwrap(), feature_nd);
        assert_eq!(read(&path, 3, 2), None, "another shape");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read(&path, 2, 3), None, "cut short");
    }
}
