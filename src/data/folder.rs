//! Which files of a folder are splits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DataError;
use super::fetch::{is_whole, shard, split_name, split_of};
use super::locate::sorted;
use super::table::Format;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Splits {
    /// The files of each split, in the order of their names.
    pub(super) splits: BTreeMap<String, Vec<PathBuf>>,
    /// What looks like data and is passed over.
    pub(super) passed: Vec<String>,
}

/// Where files of one split come from: they may be many, but of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    /// The folder, or the beginning of the files' names.
    name: String,
    format: Format,
    /// Whether their names are numbered.
    numbered: bool,
}

impl Splits {
    /// Whether there is something to train or test with.
    pub(super) fn is_trainable(&self) -> bool {
        ["train", "test"].iter().any(|split| self.splits.contains_key(*split))
    }

    /// Looks at names; nothing is opened. Of a data set that is known, `validation_matched` is a split too;
    /// elsewhere `train_labels` may be anything.
    pub(super) fn in_folder(folder: &Path, known: bool) -> Result<Self, DataError> {
        let mut found = Self::default();
        let mut sources: BTreeMap<String, (Source, PathBuf)> = BTreeMap::new();
        for path in sorted(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            // The Hub keeps what it converts as `train/0000.parquet`.
            let files = match path.is_dir() {
                true if split_name(&name).is_none() => {
                    if sorted(&path)?.iter().any(|file| Format::of(file).is_ok()) {
                        found.passed.push(format!("{name}/"));
                    }
                    continue;
                }
                true if leads_back(&path, folder) => {
                    found.passed.push(format!("{name} (it leads back to its folder)"));
                    continue;
                }
                true => found.in_split(&name, &path)?,
                false => vec![path.clone()],
            };
            let inside = path.is_dir();
            for file in files {
                let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let stem = if inside { name.clone() } else { split_of(&file) };
                let variant =
                    known && stem.split_once('_').is_some_and(|(own, _)| split_name(own).is_some());
                let split = if variant { Some(stem.as_str()) } else { split_name(&stem) };
                let (format, split) = match (Format::of(&file), split) {
                    (Ok(format), Some(split)) => (format, split),
                    (Ok(_), None) => {
                        found.passed.push(own);
                        continue;
                    }
                    (Err(_), Some(_)) if !inside && !own.ends_with(".md") => {
                        found.passed.push(own);
                        continue;
                    }
                    (Err(_), _) => continue,
                };
                let source = match inside {
                    true => Source { name: format!("{name}/"), format, numbered: true },
                    false => source(&file, format),
                };
                let known =
                    sources.entry(split.to_owned()).or_insert((source.clone(), file.clone()));
                if known.0 != source {
                    let [first, second] = [&known.1, &file].map(|file| shown(file, folder));
                    return Err(DataError::SplitTwice { split: split.to_owned(), first, second });
                }
                found.splits.entry(split.to_owned()).or_default().push(file);
            }
        }
        for (split, files) in &found.splits {
            if let Some(twice) = twice(files) {
                let [first, second] = twice.map(|file| shown(file, folder));
                return Err(DataError::SplitTwice { split: split.clone(), first, second });
            }
            let names = files.iter().filter_map(|file| file.file_name()?.to_str());
            if !is_whole(names) {
                let path = folder.to_owned();
                return Err(DataError::Incomplete { path, split: split.clone() });
            }
        }
        Ok(found)
    }

    /// The files of a folder that is called like a split, but for what is passed over.
    fn in_split(&mut self, name: &str, path: &Path) -> Result<Vec<PathBuf>, DataError> {
        let mut files = Vec::new();
        for file in sorted(path)? {
            let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_table = Format::of(&file).is_ok();
            match file.is_dir() {
                _ if own.starts_with('.') => {}
                true => self.passed.push(format!("{name}/{own}/")),
                false if is_table => files.push(file),
                false if own.ends_with(".md") => {}
                false => self.passed.push(format!("{name}/{own}")),
            }
        }
        Ok(files)
    }
}

/// Two files of a split with the same rows, as far as their names tell: one of them packed, or of two counts of parts,
/// or with one number.
fn twice(files: &[PathBuf]) -> Option<[&Path; 2]> {
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let same = |one: &Path, other: &Path| {
        let [one, other] = [one, other].map(name);
        let plain = |name: &str| name.strip_suffix(".gz").unwrap_or(name).to_owned();
        match (shard(&one), shard(&other)) {
            (Some((one, number, of)), Some((other, again, of_other))) => {
                one == other && (of != of_other || number == again)
            }
            _ => plain(&one) == plain(&other),
        }
    };
    let mut pairs = files.iter().enumerate().flat_map(|(place, one)| {
        files[place + 1..].iter().map(move |other| [one.as_path(), other.as_path()])
    });
    pairs.find(|[one, other]| same(one, other))
}

/// `train-00000-of-00002` is one of many; `train-clean` and `train-raw` are two different ones.
fn source(file: &Path, format: Format) -> Source {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    match stem.split_once('-') {
        Some((name, rest)) if number(rest) => {
            Source { name: name.to_owned(), format, numbered: true }
        }
        _ => Source { name: stem, format, numbered: false },
    }
}

/// Whether a folder is the one that it lies in, or one above.
fn leads_back(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    match (real(path), real(folder)) {
        (Some(path), Some(folder)) => folder.starts_with(path),
        _ => false,
    }
}

fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(names: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text,label\n").unwrap();
        }
        let found = Splits::in_folder(folder.path(), false).map_err(|error| error.to_string())?;
        let files = |(split, files): (&String, &Vec<PathBuf>)| {
            format!(
                "{split} {}",
                files.iter().map(|file| shown(file, folder.path())).collect::<Vec<_>>().join(" ")
            )
        };
        Ok((found.splits.iter().map(files).collect(), found.passed))
    }

    #[test]
    fn files_that_are_no_splits_are_passed_over_and_named() {
        let names = [
            "train.csv",
            "test.csv",
            "dev.csv",
            "sample_submission.csv",
            "gender.parquet",
            "README.md",
            "labels.json",
            "train.xlsx",
            ".train.csv",
            "notes/train.csv",
        ];
        let (found, passed) = splits(&names).unwrap();
        assert_eq!(found, ["test test.csv", "train train.csv", "validation dev.csv"]);
        assert_eq!(passed, ["gender.parquet", "notes/", "sample_submission.csv", "train.xlsx"]);
    }

    #[test]
    fn what_is_passed_over_inside_a_folder_of_a_split_is_named() {
        let names = [
            "train/a.csv",
            "train/b.csv",
            "train/.c.csv",
            "train/2024/d.csv",
            "train/e.csv.bak",
            "train/labels.json",
            "train/README.md",
            "test.csv",
        ];
        let (found, passed) = splits(&names).unwrap();
        assert_eq!(found, ["test test.csv", "train train/a.csv train/b.csv"]);
        assert_eq!(passed, ["train/2024/", "train/e.csv.bak", "train/labels.json"]);
        let (found, passed) = splits(&["train/1/a.csv", "test.csv"]).unwrap();
        assert_eq!((found.len(), &*passed), (1, &["train/1/".to_owned()][..]));
        let marked = ["train-00000-of-00002-1a.csv", "train-00001-of-00002-2b.csv"];
        assert_eq!(splits(&marked).unwrap().0.len(), 1);
    }

    #[test]
    fn a_known_data_set_has_splits_of_other_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train.parquet", "validation.parquet", "validation_out_of_domain.parquet"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(Splits::in_folder(folder.path(), true).unwrap().splits.len(), 3);
        assert_eq!(Splits::in_folder(folder.path(), false).unwrap().splits.len(), 2);
    }

    #[test]
    fn one_split_from_two_sources_is_refused() {
        for names in [
            &["train.csv", "train.jsonl"][..],
            &["train.csv", "train.csv.gz"],
            &["train.csv", "training.csv"],
            &["train.csv", "Train.csv"],
            &["train.parquet", "train-00000-of-00001.parquet"],
            &["train.csv", "train/0.csv"],
            &["train/0.csv", "train/0.parquet"],
            &["train-clean.csv", "train-raw.csv"],
            &["train.csv", "dev.csv", "val.csv"],
            &["train/a.csv", "train/a.csv.gz"],
            &["train-00000-of-00001.csv", "train-00000-of-00002.csv", "train-00001-of-00002.csv"],
            &["train-00000-of-00001-1a.csv", "train-00000-of-00001-2b.csv"],
        ] {
            let message = splits(names).unwrap_err();
            assert!(message.contains("count twice"), "{names:?}: {message}");
        }
    }

    #[test]
    fn numbered_files_are_one_split_and_all_of_them_must_be_there() {
        let (found, _) = splits(&["train-00000-of-00002.csv", "train-00001-of-00002.csv"]).unwrap();
        assert_eq!(found, ["train train-00000-of-00002.csv train-00001-of-00002.csv"]);
        let (found, _) = splits(&["train/0000.parquet", "train/0001.parquet", "test.csv"]).unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            splits(&["train-00001-of-00002.csv"])
                .unwrap_err()
                .contains("has only some of the files")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_links_to_itself_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("data");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("test.csv"), "text,label\n").unwrap();
        std::os::unix::fs::symlink(".", inner.join("train")).unwrap();
        std::os::unix::fs::symlink(folder.path(), inner.join("validation")).unwrap();
        let found = Splits::in_folder(&inner, false).unwrap();
        assert_eq!((found.splits.len(), found.passed.len()), (1, 2), "{found:?}");
    }
}
