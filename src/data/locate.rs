//! From the name of a data set to its files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::fetch::{self, Cached, Fetched, fetch};
use super::folder::Splits;
use super::known::{self, Known};
use super::remark::some;
use super::table::{self, Format, is_url};
use super::{DataError, Remark, labels, left_out, way_out};
use crate::hub;
use crate::suggest::nearest;

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
    /// What a person should know of the choice.
    pub remarks: Vec<Remark>,
}

impl Located {
    /// One file, or one address.
    fn single(name: &str) -> Self {
        let splits = BTreeMap::from([("train".to_owned(), vec![PathBuf::from(name)])]);
        Self { name: name.to_owned(), known: None, splits, labels_file: None, remarks: Vec::new() }
    }
}

/// Finds a known data set (in `BAYES_DATA_DIR`, then in the Hub's cache), a file or folder, or a
/// Hub id.
pub fn locate(name: &str) -> Result<Located, DataError> {
    if let Some(known) = known::find(name) {
        let own = own_folder(known);
        refuse_both(name, own.as_deref())?;
        return of_known(known, own);
    }
    let path = Path::new(name);
    if is_url(name) {
        return Ok(Located::single(name));
    }
    if path.is_dir() {
        let mut found = in_folder(name, None, path)?;
        found.remarks.extend(left_out::of_folder(path, &found.splits));
        return Ok(found);
    }
    if path.exists() {
        Format::of(path)?;
        table::open_regular(path)?;
        let beside = path.with_file_name("labels.json");
        let (labels_file, remarks) = match labels::read_names(&beside) {
            _ if !beside.exists() => (None, Vec::new()),
            Ok(_) => (Some(beside.clone()), vec![named_by(&beside)]),
            // It may belong to another file of that folder.
            Err(error) => (None, vec![not_names(&beside, &error)]),
        };
        return Ok(Located { labels_file, remarks, ..Located::single(name) });
    }
    let cached = hub::is_id(name).then(|| fetch::cached(name, None));
    match cached.unwrap_or(Cached::Nothing) {
        Cached::Whole(folder, remarks) => {
            let mut found = in_folder(name, None, &folder)?;
            found.remarks.splice(0..0, remarks);
            Ok(found)
        }
        Cached::Several(folders) => {
            let folders = folders.iter().map(|folder| folder.display().to_string());
            let folders = folders.collect::<Vec<_>>().join("`, `");
            Err(DataError::ManyCached { id: name.to_owned(), folders })
        }
        _ if is_path(name) => Err(no_file(name)),
        _ if known::is_of_suite(name) => Err(unknown(name)),
        _ if hub::is_id(name) => Err(DataError::NotCached { id: name.to_owned() }),
        _ => Err(unknown(name)),
    }
}

/// Whether a known data set is on this machine.
pub fn is_here(known: &'static Known) -> bool {
    of_known(known, own_folder(known)).is_ok()
}

/// Where somebody keeps a known data set.
fn own_folder(known: &Known) -> Option<PathBuf> {
    std::env::var_os("BAYES_DATA_DIR").map(|dir| Path::new(&dir).join(known.name))
}

fn of_known(known: &'static Known, own: Option<PathBuf>) -> Result<Located, DataError> {
    if known.hub_id.is_empty() {
        let single = Located::single(known.name);
        return Ok(Located { known: Some(known), splits: BTreeMap::new(), ..single });
    }
    let cached = match fetch::cached(known.hub_id, Some(known)) {
        Cached::Whole(folder, _) => Some(folder),
        _ => None,
    };
    let folders: Vec<PathBuf> = own.into_iter().chain(cached).collect();
    match folders.iter().find(|folder| folder.is_dir()) {
        Some(folder) => in_folder(known.name, Some(known), folder),
        None => Err(DataError::NotHere { name: known.name, hub_id: known.hub_id }),
    }
}

/// Refuses a name that has a meaning of its own where a file or a folder is called the same: which is meant is
/// not known. `own` is where the data of that name lie.
pub fn refuse_both(name: &str, own: Option<&Path>) -> Result<(), DataError> {
    let Ok(real) = Path::new(name).canonicalize() else { return Ok(()) };
    if own.and_then(|own| own.canonicalize().ok()).is_some_and(|own| own == real) {
        return Ok(());
    }
    let id = known::find(name).map(|known| known.hub_id).filter(|&id| id != name);
    let id = id.filter(|id| known::find(id).is_some() && !Path::new(id).exists());
    Err(DataError::BothNameAndPath {
        name: name.to_owned(),
        what: if real.is_dir() { "folder" } else { "file" },
        id: id.map_or(String::new(), |id| format!("write `{id}`, or ")),
    })
}

/// Whether somebody who writes this means a place on this machine: it looks like the name of a file, or
/// the folder that it begins with is there. What is only on the Hub looks like `owner/name`.
fn is_path(name: &str) -> bool {
    const ENDS: [&str; 9] =
        [".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".xlsx"];
    let lower = name.to_lowercase();
    let begins = ["/", "./", "../", "~"].iter().any(|start| name.starts_with(start));
    let above = name.split_once('/').is_some_and(|(first, _)| Path::new(first).is_dir());
    begins || above || ENDS.iter().any(|end| lower.ends_with(end)) || name.ends_with('/')
}

fn no_file(name: &str) -> DataError {
    let hint = if name.starts_with('~') {
        "; the shell expands `~` to your home folder only outside quotes".to_owned()
    } else {
        near(Path::new(name))
            .map_or(String::new(), |near| format!("; did you mean `{}`?", near.display()))
    };
    DataError::NoFile { name: name.to_owned(), hint }
}

/// What lies beside where a path leads and is called nearly so.
fn near(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let asked = path.file_name()?.to_string_lossy().to_lowercase();
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names: BTreeMap<String, OsString> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().to_lowercase(), entry.file_name()))
        .collect();
    let found = &names[nearest(&asked, names.keys())?];
    Some(folder.map_or(PathBuf::from(found), |folder| folder.join(found)))
}

/// The same; what is only on the Hub is fetched first.
pub fn obtain(name: &str) -> Result<Located, DataError> {
    match locate(name) {
        Err(DataError::NotHere { name, hub_id }) => match fetch(name, None, None) {
            Ok(fetched) => of_fetched(name, known::find(name), fetched),
            Err(DataError::Hub(source)) => {
                let columns = known::find(name).map_or(Vec::new(), |known| known.form.needed());
                let columns = format!("`{}`", columns.join("`, `"));
                Err(DataError::NotFetched { name, hub_id, columns, source })
            }
            Err(error) => Err(error),
        },
        Err(DataError::NotCached { id }) => match fetch(&id, None, None) {
            Ok(fetched) => of_fetched(&id, None, fetched),
            Err(DataError::Hub(source)) => Err(match fetch::cached(&id, None) {
                Cached::Part(folder) => DataError::CachedInPart { id, folder, source },
                _ => DataError::NotObtained { id, source },
            }),
            Err(error) => Err(error),
        },
        located => located,
    }
}

/// What was fetched just now.
fn of_fetched(
    name: &str,
    known: Option<&'static Known>,
    fetched: Fetched,
) -> Result<Located, DataError> {
    let mut found = in_folder(name, known, &fetched.folder)?;
    found.remarks.splice(0..0, fetched.remarks);
    Ok(found)
}

fn unknown(name: &str) -> DataError {
    let names: Vec<&str> = known::all().map(|known| known.name).collect();
    let plain = name.strip_prefix("glue/").unwrap_or(name);
    let near = nearest(plain, &names).map(|known| format!(" did you mean `{known}`?"));
    let suggestion = match plain {
        "stsb" => " STS-B is a regression, and `bayes` gives each text a class;".to_owned(),
        _ => near.unwrap_or_default(),
    };
    DataError::Unknown { name: name.to_owned(), suggestion, known: names.join("`, `") }
}

/// Files of a folder by split: `train.csv`, `test-00000-of-00002.parquet`, ….
fn in_folder(
    name: &str,
    known: Option<&'static Known>,
    folder: &Path,
) -> Result<Located, DataError> {
    let found = Splits::in_folder(folder, known.is_some())?;
    let reported = known.map_or("", |known| known.reported);
    if !found.is_trainable() && !found.splits.contains_key(reported) {
        let hint = way_out::hint(folder, &found.passed);
        return Err(DataError::NoSplits { path: folder.to_owned(), hint });
    }
    let mut remarks = match (known, found.passed.as_slice()) {
        // What else lies beside a known data set is known too.
        (Some(_), _) | (_, []) => Vec::new(),
        (None, passed) => {
            let shown = some(passed.iter().map(String::as_str));
            vec![Remark::Note(format!(
                "ignored, because they are not train, validation or test files that `bayes` reads: {shown}"
            ))]
        }
    };
    let labels_file = Some(folder.join("labels.json")).filter(|path| path.exists());
    if known.is_none() {
        remarks.extend(labels_file.iter().map(|path| named_by(path)));
    }
    Ok(Located { known, splits: found.splits, labels_file, remarks, ..Located::single(name) })
}

fn named_by(path: &Path) -> Remark {
    Remark::Note(format!("class names are taken from `{}`", path.display()))
}

fn not_names(path: &Path, error: &DataError) -> Remark {
    let why = match (error, std::error::Error::source(error)) {
        (DataError::NoNames { .. }, _) => " (it is empty)".to_owned(),
        (_, Some(why)) => format!(" ({why})"),
        (_, None) => String::new(),
    };
    Remark::Warning(format!(
        "`{}` is no list of class names{why} and is not used: write `[\"first\", \"second\"]`, in the order of the \
         integers, or keep the file elsewhere",
        path.display()
    ))
}

/// What is in a folder, in the order of the names.
pub(super) fn sorted(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = |source| DataError::Folder { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(read)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(read)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_names_beside_a_table_is_used_or_said_not_to_be() {
        let home = tempfile::tempdir().unwrap();
        let (table, names) = (home.path().join("rows.csv"), home.path().join("labels.json"));
        std::fs::write(&table, "text,label\na,0\nb,1\n").unwrap();
        let find = || locate(table.to_str().unwrap()).unwrap();
        assert_eq!(find().remarks, []);
        std::fs::write(&names, r#"["no", "yes"]"#).unwrap();
        assert_eq!(find().labels_file.as_ref(), Some(&names));
        for other in [r#"{"0": "no"}"#, "{no", "[1, 2]", "[]"] {
            std::fs::write(&names, other).unwrap();
            let found = find();
            assert_eq!(found.labels_file, None, "{other}");
            let [Remark::Warning(text)] = &found.remarks[..] else { panic!("{:?}", found.remarks) };
            assert!(text.contains("labels.json` is no list of class names ("), "{text}");
        }
    }

    #[test]
    fn a_copy_of_a_data_set_whose_readme_names_other_files_is_warned_of() {
        let home = tempfile::tempdir().unwrap();
        for name in ["train.csv", "v2.csv"] {
            std::fs::write(home.path().join(name), "text,label\na,0\nb,1\n").unwrap();
        }
        for (files, warned) in [("v2.csv", true), ("train*", false), ("train.csv", false)] {
            let readme =
                format!("---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n");
            std::fs::write(home.path().join("README.md"), readme).unwrap();
            let remarks = locate(home.path().to_str().unwrap()).unwrap().remarks;
            let found = remarks.iter().any(|remark| match remark {
                Remark::Warning(text) => {
                    text.contains("train.csv` of `") && text.contains("v2.csv")
                }
                Remark::Note(_) => false,
            });
            assert_eq!(found, warned, "{files}: {remarks:?}");
        }
    }

    #[test]
    fn a_path_is_not_looked_for_on_the_hub() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("train.csv"), "text,label\n").unwrap();
        let typo = home.path().join("trian.csv").display().to_string();
        let message = locate(&typo).unwrap_err().to_string();
        assert!(
            message.contains("trian.csv` not found; did you mean") && message.contains("train.csv"),
            "{message}"
        );
        for path in
            ["~/rows.csv", "./data", "../up/rows", "tickets.csv", "a/b.jsonl", "src/none", "sets/"]
        {
            assert!(is_path(path), "{path}");
            assert!(matches!(locate(path), Err(DataError::NoFile { .. })), "{path}");
        }
        for id in ["stanfordnlp/imdb", "owner/name", "imdb", "squad"] {
            assert!(!is_path(id), "{id}");
        }
    }
}
