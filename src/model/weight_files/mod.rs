//! The files that the weights of a folder are in, whatever their form, as one list of tensors.
//!
//! In the order of transformers: one safetensors file, several with an index, one pickle, several with an index.
//! With `adapter_config.json` beside them a LoRA adapter is laid over them (see [`super::adapter`]).

mod file;
mod index;
mod pickle;
mod safetensors;
mod stream;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use ::safetensors::tensor::Dtype;

use self::file::WeightsFile;
use self::index::Opened;
use super::ModelError;
use super::adapter::{self, Adapter, Delta, Place};
use super::save::steps_of;

pub(super) use self::index::shards;

/// The names of transformers, the first that is there is read.
pub const FORMS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// What a file says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorInfo {
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

impl TensorInfo {
    /// Bytes of its numbers, if each stands for itself.
    fn bytes(&self) -> usize {
        let count = self.shape.iter().fold(1, |all: usize, &axis| all.saturating_mul(axis));
        count.saturating_mul(self.dtype.bitsize()) / 8
    }
}

/// What is wrong with a file that begins as the one that Git keeps in the place of a large file.
fn pointer(beginning: &[u8]) -> Option<String> {
    beginning.starts_with(b"version ").then(|| {
        "it is what Git has in the place of a large file; run `git lfs pull` in its folder"
            .to_owned()
    })
}

/// Whether a tensor is kept.
type Keep<'a> = dyn Fn(&str) -> bool + 'a;
/// Takes name and bytes of a tensor, row by row and little-endian.
pub(super) type Take<'a> = dyn FnMut(&str, &TensorInfo, &[u8]) -> Result<(), ModelError> + 'a;

/// As much of a name as a message shows.
fn shown(name: &str) -> String {
    name.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// All files, and which of them has which tensor.
#[derive(Debug)]
pub(super) struct WeightFiles {
    files: Vec<WeightsFile>,
    tensors: HashMap<String, (usize, TensorInfo)>,
    /// The file that stands for all in messages.
    path: PathBuf,
    adapter: Option<Adapter>,
    /// What a person should know of them.
    pub remarks: Vec<String>,
    /// What a manifest says of where they come from; nothing for safetensors.
    pub origin: Option<String>,
}

/// Values by name, and the SHA-256 of each file.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub values: HashMap<String, Vec<f32>>,
    pub sha256: BTreeMap<String, String>,
}

impl WeightFiles {
    /// One safetensors file.
    pub(super) fn of_file(path: &Path) -> Result<Self, ModelError> {
        let label = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::of(path, vec![WeightsFile::open(path, label)?]))
    }

    /// Those of a folder, with an adapter laid over them where it has one.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, ModelError> {
        let Some(adapter) = Adapter::of(folder)? else { return Self::plain(folder, "") };
        let base = adapter.base()?;
        let label = if base == folder { "" } else { "base/" };
        let mut all = Self::plain(&base, label)?;
        let mut over = Self::of_file(&adapter.weights()?)?;
        for mut file in over.files {
            file.prefix = adapter::PREFIX;
            let number = all.files.len();
            let mut seen = HashSet::new();
            for (name, info) in file.tensors() {
                if !seen.insert(name.clone()) {
                    let twice = format!("it has `{}` under two names", shown(&name));
                    return Err(adapter.unmerged(&twice));
                }
                all.tensors.insert(name, (number, info.clone()));
            }
            all.files.push(file);
        }
        all.remarks.extend(adapter.remarks(base == folder));
        all.remarks.append(&mut over.remarks);
        let merged = format!("a LoRA adapter merged into {}", adapter.shown_base());
        let pickles = [all.origin, over.origin].into_iter().flatten();
        let origin = std::iter::once(merged).chain(pickles.map(|one| format!("read from {one}")));
        all.origin = Some(origin.collect::<Vec<_>>().join(", "));
        (all.path, all.adapter) = (over.path, Some(adapter));
        Ok(all)
    }

    fn plain(folder: &Path, label: &str) -> Result<Self, ModelError> {
        let has = |name: &str| folder.join(name).exists();
        let Some(form) = FORMS.into_iter().find(|form| has(form)) else {
            return Err(without_weights(folder));
        };
        let path = folder.join(form);
        if form.ends_with(".json") {
            let Opened { files, outside, remarks } = index::open(&path, label)?;
            let mut all = Self::of(&path, files);
            outside.iter().for_each(|name| drop(all.tensors.remove(name)));
            all.remarks.extend(remarks);
            return Ok(all);
        }
        Ok(Self::of(&path, vec![WeightsFile::open(&path, format!("{label}{form}"))?]))
    }

    fn of(path: &Path, files: Vec<WeightsFile>) -> Self {
        let mut tensors = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            tensors.extend(file.tensors().map(|(name, info)| (name, (number, info.clone()))));
        }
        let pickled = files.iter().any(WeightsFile::is_pickle);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Of several the index stands for all.
        let name = name.strip_suffix(".index.json").unwrap_or(&name);
        let remark = format!(
            "the weights come from a pickle, `{name}`: only numbers were read and nothing was run; what `bayes` \
             writes is safetensors"
        );
        Self {
            files,
            tensors,
            path: path.to_owned(),
            adapter: None,
            remarks: if pickled { vec![remark] } else { Vec::new() },
            origin: pickled.then(|| format!("a pickle (`{name}`)")),
        }
    }

    /// The file that has a tensor, or stands for all.
    pub(super) fn path(&self, name: &str) -> &Path {
        self.tensors.get(name).map_or(&self.path, |(file, _)| &self.files[*file].path)
    }

    /// Bytes of all files.
    pub(super) fn length(&self) -> u64 {
        self.files.iter().map(WeightsFile::length).sum()
    }

    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name).map(|(_, info)| info)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether a file is one safetensors file that is used as it is.
    pub(super) fn is_plain(&self) -> bool {
        let [file] = self.files.as_slice() else { return false };
        self.adapter.is_none() && !file.is_pickle()
    }

    pub(super) fn is_pickled(&self) -> bool {
        self.files.iter().any(WeightsFile::is_pickle)
    }

    pub(super) fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// What an adapter adds to the tensor that is spelled in one of these ways.
    ///
    /// # Errors
    /// It adds something that is not its product.
    pub(super) fn delta(
        &self,
        spellings: &[String],
        shape: &[usize],
    ) -> Result<Option<Delta>, ModelError> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        adapter.delta(spellings, shape, &|name| self.info(name))
    }

    /// Whether an adapter has it, and not the base.
    pub(super) fn is_of_adapter(&self, name: &str) -> bool {
        let last = self.files.len() - 1;
        self.adapter.is_some() && self.tensors.get(name).is_some_and(|(file, _)| *file == last)
    }

    /// What a person should know of an adapter without the tensors that its config has.
    ///
    /// # Errors
    /// Without them it is not whole.
    pub(super) fn lacking(
        &self,
        places: impl Iterator<Item = Place>,
    ) -> Result<Option<String>, ModelError> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        let mut modules = Vec::new();
        for place in places {
            // Of a classifier all is trained, whatever its base has.
            let there = place.spellings.iter().any(|name| self.info(name).is_some());
            if there || adapter.is_classifier() {
                modules.extend(adapter.lacks(&place, &|name| self.is_of_adapter(name))?);
            }
        }
        let (count, first) = (modules.len(), modules.first());
        Ok(first.map(|first| {
            let (what, others) = if count == 1 { ("it", "") } else { ("them", " and others") };
            format!(
                "the adapter has no weights for {count} of the modules that its config names, `{first}`{others}: \
                 the base stays as it is there, as in PEFT; get the adapter again if it should change {what}"
            )
        }))
    }

    /// Refuses an adapter with tensors that are neither used nor left out on purpose: it would not be merged whole.
    pub(super) fn check_adapter(
        &self,
        used: &HashSet<String>,
        left_out: &HashSet<String>,
    ) -> Result<(), ModelError> {
        let Some(adapter) = &self.adapter else { return Ok(()) };
        let own = self.tensors.keys().filter(|name| self.is_of_adapter(name));
        match own.filter(|name| !used.contains(*name) && !left_out.contains(*name)).min() {
            Some(name) => Err(adapter.unmerged(&format!("it changes `{}`", shown(name)))),
            None => Ok(()),
        }
    }

    /// Reads all of it, one file after another; hands over the tensors of these names, and returns the SHA-256
    /// of each file.
    pub(super) fn each(
        &self,
        wanted: &HashSet<String>,
        take: &mut Take<'_>,
    ) -> Result<BTreeMap<String, String>, ModelError> {
        let mut all = BTreeMap::new();
        for (number, file) in self.files.iter().enumerate() {
            let here = |name: &str| {
                self.tensors.get(name).is_some_and(|(file, _)| *file == number)
                    && wanted.contains(name)
            };
            all.insert(file.label.clone(), file.read(&here, take)?);
        }
        Ok(all)
    }

    /// Reads all of it; keeps the tensors of these names, as f32.
    pub(super) fn read(&self, wanted: &HashSet<String>) -> Result<Values, ModelError> {
        let mut values = HashMap::new();
        let sha256 = self.each(wanted, &mut |name, info, bytes| {
            let path = || self.path(name).to_owned();
            // Integers are weights only with their steps.
            let known = info.dtype != Dtype::I8 || wanted.contains(&steps_of(name));
            let Some(own) = numbers(bytes, info.dtype).filter(|_| known) else {
                let found = format!("{:?}", info.dtype);
                return Err(ModelError::Type { path: path(), name: name.to_owned(), found });
            };
            if own.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite { path: path(), name: name.to_owned() });
            }
            values.insert(name.to_owned(), own);
            Ok(())
        })?;
        Ok(Values { values, sha256 })
    }
}

/// What a folder has instead of weights that are read.
fn without_weights(folder: &Path) -> ModelError {
    let has = |name: &str| folder.join(name).exists();
    let hint = if has("tf_model.h5") || has("flax_model.msgpack") {
        "its weights are in TensorFlow or Flax format; load and save the model with transformers, \
         which writes `model.safetensors`"
    } else {
        "give a folder with `model.safetensors` or `pytorch_model.bin`, in one file or in several with an index"
    };
    ModelError::Missing { folder: folder.to_owned(), file: "model.safetensors", hint }
}

/// The files that the weights of a folder, and nothing else, follow from: those that are there, those of an
/// adapter's base too.
pub(super) fn paths(folder: &Path) -> Vec<PathBuf> {
    let there = |name: &str| folder.join(name).is_file();
    let mut all = Vec::new();
    if let Some(form) = FORMS.into_iter().find(|form| there(form)) {
        let path = folder.join(form);
        if form.ends_with(".json") {
            // An index that is none is refused where it is read.
            all.extend(shards(&path).unwrap_or_default().iter().map(|name| folder.join(name)));
        }
        all.push(path);
    }
    all.extend(adapter::FILES.into_iter().filter(|name| there(name)).map(|name| folder.join(name)));
    all
}

/// The outputs of a linear layer in a file of an adapter, if it has that layer.
pub(super) fn outputs(path: &Path, layer: &str) -> Result<Option<usize>, ModelError> {
    let mut file = WeightsFile::open(path, String::new())?;
    file.prefix = adapter::PREFIX;
    let name = format!("{layer}.weight");
    let found = file.tensors().find(|(own, _)| *own == name);
    Ok(found.and_then(|(_, info)| info.shape.first().copied()))
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
        // Each is so many steps.
        Dtype::I8 => all(bytes, |[one]: [u8; 1]| f32::from(one.cast_signed())),
        _ => return None,
    })
}
