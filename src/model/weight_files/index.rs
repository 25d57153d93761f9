//! The index of weights in several files: which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::file::WeightsFile;
use super::shown;
use crate::model::ModelError;
use crate::store;

/// The most bytes of an index, and the most files that it names.
const LONGEST: u64 = 16 << 20;
const MOST_FILES: usize = 1000;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    metadata: Value,
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read { path: path.to_owned(), source };
        let refuse = |message| ModelError::Corrupt { path: path.to_owned(), message };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LONGEST {
            return Err(refuse(format!("it has more than {LONGEST} bytes")));
        }
        let index: Self = store::from_json(store::without_mark(&bytes))
            .map_err(|error| refuse(error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // `model.safetensors.index.json` is of `.safetensors` files.
        let end = name.strip_suffix(".index.json").and_then(|stem| Some(stem.rsplit_once('.')?.1));
        let end = format!(".{}", end.unwrap_or_default());
        for file in index.weight_map.values() {
            let plain = !file.contains(['/', '\\', ':', '\0']) && !file.starts_with('.');
            if !plain || !file.ends_with(&end) {
                return Err(refuse(format!(
                    "it names the file `{}`; only files `NAME{end}` in the same folder are read",
                    shown(file)
                )));
            }
        }
        if index.files().len() > MOST_FILES || index.weight_map.is_empty() {
            return Err(refuse(format!(
                "it names {} files; use 1 to {MOST_FILES}",
                index.files().len()
            )));
        }
        Ok(index)
    }

    fn files(&self) -> BTreeSet<&String> {
        self.weight_map.values().collect()
    }
}

/// The names of the files that an index names, each once.
pub(in crate::model) fn shards(path: &Path) -> Result<Vec<String>, ModelError> {
    Ok(Index::read(path)?.files().into_iter().cloned().collect())
}

/// The files of an index.
pub(super) struct Opened {
    pub files: Vec<WeightsFile>,
    /// Tensors that they have and it does not name.
    pub outside: Vec<String>,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Opens the files of an index, and holds it against them; `label` comes before their names in a manifest.
pub(super) fn open(path: &Path, label: &str) -> Result<Opened, ModelError> {
    let index = Index::read(path)?;
    let refuse = |message| ModelError::Corrupt { path: path.to_owned(), message };
    if let Some(name) = index.files().into_iter().find(|name| !path.with_file_name(name).is_file())
    {
        return Err(refuse(format!("it names `{name}`, which is missing")));
    }
    let mut files = Vec::new();
    let (mut outside, mut total) = (Vec::new(), 0_u64);
    let mut named: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (tensor, file) in &index.weight_map {
        named.entry(file).or_default().insert(tensor);
    }
    for (name, mut own) in named {
        let file = WeightsFile::open(&path.with_file_name(name), format!("{label}{name}"))?;
        for (tensor, info) in file.tensors() {
            match index.weight_map.get(&tensor) {
                Some(there) if there == name => {
                    own.remove(&tensor);
                    total = total.saturating_add(info.bytes() as u64);
                }
                Some(there) => {
                    return Err(refuse(format!(
                        "it says that tensor `{}` is in `{there}`, but `{name}` has it",
                        shown(&tensor)
                    )));
                }
                None => outside.push(tensor),
            }
        }
        if let Some(missing) = own.first() {
            return Err(refuse(format!(
                "it says that tensor `{}` is in `{name}`, which does not have it",
                shown(missing)
            )));
        }
        files.push(file);
    }
    let mut remarks = Vec::new();
    if let Some(first) = outside.first() {
        remarks.push(format!(
            "`{}` does not name {} of its files' tensors, such as `{}`; they are not used",
            path.display(),
            outside.len(),
            shown(first)
        ));
    }
    // In pickles tensors may share their numbers, and it was counted in several ways.
    let stated = index.metadata["total_size"].as_f64().filter(|&one| one != total as f64);
    if let Some(stated) = stated.filter(|_| files.iter().all(|file| !file.is_pickle())) {
        remarks.push(format!(
            "`{}` speaks of {stated} bytes of tensors (`total_size`), but its files have {total}",
            path.display()
        ));
    }
    Ok(Opened { files, outside, remarks })
}
