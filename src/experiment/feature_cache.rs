//! Features of a part of the data on disk, so that a second fit does not encode again.
//!
//! `features/KEY.safetensors` beside the token cache: `features`, f32 `[n, d]`, `novelty`, f32
//! `[n, e]`, `tokens`, i64 `[n]`, `uniforms`, f64 `[n]`, and, where a last layer reads hidden states, `wide`, f32
//! `[n, e]`, with their SHA-256 as `sha256`, u8 `[32]`. The key is a hash of
//! everything that they are a function of: the weights, their config, the tokenizer, how texts are cut,
//! the texts themselves, and the version of the tool.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::prepare::unkept;
use super::{Features, Progress};
use crate::artifact::Preprocessing;
use crate::data::{self, FolderTokenizer};
use crate::model::{HiddenStates, Pooling, adapter_base, weight_files};
use crate::store::{
    StoreError, forget_unused, mark_used, sha256, sha256_file, sha256_of_parts, write_atomically,
};

/// The tensors of every file.
const PARTS: [&str; 4] = ["features", "novelty", "tokens", "uniforms"];

/// Of some.
const WIDE: &str = "wide";

/// The files of a model's folder that its features follow from, besides those of its tokenizer and weights in other
/// forms.
const FILES: [&str; 2] = ["config.json", "model.safetensors"];

/// The cache of one model.
#[derive(Clone, Debug)]
pub(super) struct FeatureCache {
    folder: PathBuf,
    model: String,
}

impl FeatureCache {
    /// For a model folder, its preprocessing and how its feature is made.
    pub(super) fn new(
        model: &Path,
        preprocessing: &Preprocessing,
        pooling: Pooling,
    ) -> Result<Self, StoreError> {
        let mut key = format!("bayes {}\nfile 3\n", env!("CARGO_PKG_VERSION"));
        key += &content_of(model)?;
        key += &serde_json::to_string(&(preprocessing, pooling)).expect("settings are plain data");
        Ok(Self { folder: data::cache_folder().with_file_name("features"), model: key })
    }

    /// For features that have those of the encoder before fine-tuning beside them, whose weights have this
    /// hash.
    pub(super) fn with_reference(self, sha256: &str) -> Self {
        Self { model: format!("{}\nreference {sha256}\n", self.model), ..self }
    }

    /// For features that are the logits of these labels.
    pub(super) fn with_labels(self, labels: &str) -> Self {
        Self { model: format!("{}\nlabels {labels}\n", self.model), ..self }
    }

    /// The file for texts of this hash, with these hidden states beside the feature.
    pub(super) fn path(&self, texts: &str, states: HiddenStates) -> PathBuf {
        let states = match states.is_empty() {
            true => String::new(),
            false => format!("\nhidden states {}", states.words()),
        };
        let key = sha256(format!("{}\n{texts}{states}", self.model).as_bytes());
        self.folder.join(format!("{key}.safetensors"))
    }
}

/// The files of a model's folder that its features follow from, each with its hash.
pub(super) fn content_of(model: &Path) -> Result<String, StoreError> {
    let mut content = String::new();
    // The base of an adapter is a folder of its own; one that is not there is missed where it is read.
    let base = adapter_base(model).ok().flatten();
    for folder in [Some(model), base.as_deref()].into_iter().flatten() {
        // Whatever form the tokenizer has, and the weights.
        let named = FILES.into_iter().chain(FolderTokenizer::files(folder));
        let named = named.map(|file| folder.join(file)).filter(|path| path.is_file());
        let weights = weight_files(folder).into_iter().filter(|path| !path.ends_with(FILES[1]));
        for path in named.chain(weights) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            content += &format!("{name} {}\n", sha256_file(&path)?);
        }
    }
    Ok(content)
}

/// Reads the features of rows with these labels, `width` wide; `None` where there is no such file or
/// it is damaged.
pub(super) fn read(path: &Path, labels: Vec<u32>, width: usize) -> Option<Features> {
    let bytes = std::fs::read(path).ok()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let rows = labels.len();
    mark_used(path);
    let stored = file.tensor("sha256").ok()?;
    let parts = PARTS.map(|name| Some(file.tensor(name).ok()?.data()));
    let [Some(features), Some(novelty), Some(tokens), Some(uniforms)] = parts else { return None };
    let wide = file.tensor(WIDE).ok().map(|wide| wide.data());
    let all = [features, novelty, tokens, uniforms].into_iter().chain(wide);
    if stored.data() != sha256_of_parts(all) {
        return None;
    }
    let single = |name: &str, width: Option<usize>| -> Option<Vec<f32>> {
        let tensor = file.tensor(name).ok()?;
        let [found, wide] = *tensor.shape() else { return None };
        let fits = tensor.dtype() == Dtype::F32 && found == rows;
        if !fits || width.is_some_and(|width| width != wide) {
            return None;
        }
        let numbers = tensor.data().chunks_exact(4);
        Some(numbers.map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect())
    };
    let numbers = |name: &str, dtype: Dtype| -> Option<Vec<[u8; 8]>> {
        let tensor = file.tensor(name).ok()?;
        let fits = tensor.dtype() == dtype && tensor.shape() == [rows];
        fits.then(|| tensor.data().as_chunks::<8>().0.to_vec())
    };
    let tokens = numbers("tokens", Dtype::I64)?.into_iter();
    let tokens = tokens.map(|eight| u32::try_from(i64::from_le_bytes(eight)).ok());
    let uniforms = numbers("uniforms", Dtype::F64)?.into_iter();
    Some(Features {
        feature_nd: single("features", Some(width))?,
        wide_ne: if wide.is_some() { single(WIDE, None)? } else { Vec::new() },
        sample_nsd: Vec::new(),
        novelty_ne: single("novelty", None)?,
        reference: false,
        tokens: tokens.collect::<Option<_>>()?,
        labels,
        uniforms: uniforms.map(f64::from_le_bytes).collect(),
    })
}

/// Writes features where that can be; the work goes on without.
pub(super) fn keep(path: &Path, rows: &Features, width: usize, show: &mut dyn FnMut(Progress<'_>)) {
    if let Err(error) = write(path, rows, width) {
        let source = error.source().map(|source| format!(": {source}"));
        let why = format!("{error}{}", source.unwrap_or_default());
        show(Progress::Warning(unkept(&why)));
    }
}

/// Writes features, but for the labels.
fn write(path: &Path, rows: &Features, width: usize) -> Result<(), StoreError> {
    let single = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let (features, novelty) = (single(&rows.feature_nd), single(&rows.novelty_ne));
    let wide = single(&rows.wide_ne);
    let tokens: Vec<u8> =
        rows.tokens.iter().flat_map(|&count| i64::from(count).to_le_bytes()).collect();
    let uniforms: Vec<u8> = rows.uniforms.iter().flat_map(|value| value.to_le_bytes()).collect();
    let n = rows.len();
    let columns = |values: &[f32]| values.len() / n.max(1);
    let view = |dtype, shape, bytes| {
        TensorView::new(dtype, shape, bytes).expect("the bytes were made from the shape")
    };
    let all = [&*features, &*novelty, &*tokens, &*uniforms].into_iter();
    let sha256 = sha256_of_parts(all.chain((!wide.is_empty()).then_some(&*wide)));
    let mut tensors = vec![
        ("sha256", view(Dtype::U8, vec![32], &sha256)),
        ("features", view(Dtype::F32, vec![n, width], &features)),
        ("novelty", view(Dtype::F32, vec![n, columns(&rows.novelty_ne)], &novelty)),
        ("tokens", view(Dtype::I64, vec![n], &tokens)),
        ("uniforms", view(Dtype::F64, vec![n], &uniforms)),
    ];
    if !wide.is_empty() {
        tensors.push((WIDE, view(Dtype::F32, vec![n, columns(&rows.wide_ne)], &wide)));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(tensors, Some(metadata)).expect("valid tensors");
    if let Some(folder) = path.parent() {
        forget_unused(folder);
    }
    write_atomically(path, &file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some").join("features.safetensors");
        assert_eq!(read(&path, vec![0, 1], 3), None);
        let features = Features {
            feature_nd: vec![1.0, -2.5, 3e-8, 0.0, 5.0, 6.0],
            wide_ne: vec![0.5, -1.0, 2.0, 4.0],
            sample_nsd: Vec::new(),
            novelty_ne: (0..18).map(|value| value as f32 / 7.0).collect(),
            reference: false,
            tokens: vec![3, 70_000],
            labels: vec![0, 1],
            uniforms: vec![0.25, 1.0 / 3.0],
        };
        write(&path, &features, 3).unwrap();
        assert_eq!(read(&path, vec![0, 1], 3).unwrap(), features);
        assert_eq!(read(&path, vec![0, 1, 0], 2), None, "another shape");
        assert_eq!(read(&path, vec![0, 1], 2), None, "another width");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read(&path, vec![0, 1], 3), None, "cut short");
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            let found = read(&path, vec![0, 1], 3);
            assert!(found.is_none_or(|found| found == features), "bit of byte {place}");
        }
    }
}
