//! From the name of a data set to its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DataError;
use super::fetch::{self, is_split, split_of};
use super::known::{self, Known};
use super::table::{Format, is_url};
use crate::hub;

/// Where a data set lies. Nothing has been read yet.
#[derive(Clone, Debug)]
pub struct Located {
    /// The name to show.
    pub name: String,
    /// The row of the table of known data sets, if it is one.
    pub known: Option<&'static Known>,
    /// The files of each split, in the order of their names; empty for the generated set.
    pub splits: BTreeMap<String, Vec<PathBuf>>,
    /// The list of class names that lies beside the files.
    pub labels_file: Option<PathBuf>,
}

/// Finds a known data set (in `BAYES_DATA_DIR`, then in the Hub's cache), a file or folder, or a
/// Hub id.
pub fn locate(name: &str) -> Result<Located, DataError> {
    let known = known::find(name);
    if known.is_some_and(|known| known.hub_id.is_empty()) {
        let name = name.to_owned();
        return Ok(Located { name, known, splits: BTreeMap::new(), labels_file: None });
    }
    if let Some(known) = known {
        let own = std::env::var_os("BAYES_DATA_DIR").map(|dir| Path::new(&dir).join(known.name));
        let cached = fetch::cached(known.hub_id, Some(known));
        let folders: Vec<PathBuf> = own.into_iter().chain(cached).collect();
        return match folders.iter().find(|folder| folder.is_dir()) {
            Some(folder) => in_folder(known.name, Some(known), folder),
            None => Err(DataError::NotHere { name: known.name, hub_id: known.hub_id }),
        };
    }
    let path = Path::new(name);
    if is_url(name) {
        return Ok(Located {
            name: name.to_owned(),
            known: None,
            splits: BTreeMap::from([("train".to_owned(), vec![path.to_owned()])]),
            labels_file: None,
        });
    }
    if path.is_dir() {
        return in_folder(name, None, path);
    }
    if path.is_file() {
        Format::of(path)?;
        return Ok(Located {
            name: name.to_owned(),
            known: None,
            splits: BTreeMap::from([("train".to_owned(), vec![path.to_owned()])]),
            labels_file: None,
        });
    }
    match hub::is_id(name).then(|| fetch::cached(name, None)).flatten() {
        Some(folder) => in_folder(name, None, &folder),
        None if hub::is_id(name) => Err(DataError::NotCached { id: name.to_owned() }),
        None => Err(unknown(name)),
    }
}

/// The same; what is only on the Hub is fetched first.
pub fn obtain(name: &str) -> Result<Located, DataError> {
    match locate(name) {
        Err(DataError::NotHere { name, hub_id }) => match fetch::fetch(name, None, None) {
            Ok(_) => locate(name),
            Err(DataError::Hub(source)) => Err(DataError::NotFetched { name, hub_id, source }),
            Err(error) => Err(error),
        },
        Err(DataError::NotCached { id }) => match fetch::fetch(&id, None, None) {
            Ok(_) => locate(&id),
            Err(DataError::Hub(source)) => Err(DataError::NotObtained { id, source }),
            Err(error) => Err(error),
        },
        located => located,
    }
}

fn unknown(name: &str) -> DataError {
    let names: Vec<&str> = known::KNOWN.iter().map(|known| known.name).collect();
    let near = names
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let suggestion = match near {
        Some((likeness, known)) if likeness > 0.8 => format!(" did you mean `{known}`?"),
        _ => String::new(),
    };
    DataError::Unknown { name: name.to_owned(), suggestion, known: names.join("`, `") }
}

/// Files of a folder by split: `train.csv`, `test-00000-of-00002.parquet`, ….
fn in_folder(
    name: &str,
    known: Option<&'static Known>,
    folder: &Path,
) -> Result<Located, DataError> {
    let mut splits: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in sorted(folder)? {
        // The Hub keeps what it converts as `train/0000.parquet`.
        let whole = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (split, files) = match path.is_dir() {
            true if is_split(&whole) => (whole, sorted(&path)?),
            true => continue,
            false => (split_of(&path), vec![path]),
        };
        let split = match split.as_str() {
            "val" | "valid" | "dev" => "validation".to_owned(),
            _ => split,
        };
        let tables = files.into_iter().filter(|file| Format::of(file).is_ok());
        for file in tables {
            splits.entry(split.clone()).or_default().push(file);
        }
    }
    // The Hub's copy of IMDB carries 50,000 reviews without labels.
    splits.remove("unsupervised");
    if !splits.contains_key("train") && !splits.contains_key("test") {
        return Err(DataError::NoSplits { path: folder.to_owned() });
    }
    let labels_file = Some(folder.join("labels.json")).filter(|path| path.is_file());
    Ok(Located { name: name.to_owned(), known, splits, labels_file })
}

/// What is in a folder, in the order of the names.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = |source| DataError::Folder { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(read)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(read)?;
    paths.sort();
    Ok(paths)
}
