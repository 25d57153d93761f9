//! `--model NAME=FOLDER`, for a server of several models.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::model_folder;
use crate::serve::ModelFolder;

/// The longest name.
const LONGEST: usize = 64;

/// The folders that are named, or the newest model where none is.
pub fn folders(given: &[PathBuf]) -> Result<Vec<ModelFolder>> {
    if given.is_empty() {
        return Ok(vec![ModelFolder { name: None, folder: model_folder(None)? }]);
    }
    let all = given.iter().flat_map(|given| parts(given));
    all.map(|(name, folder)| Ok(ModelFolder { name, folder: model_folder(Some(&folder))? }))
        .collect()
}

/// A name and a folder, or a folder alone; several of the former, separated by commas, as a variable has them. What
/// is there as it stands is a folder.
fn parts(given: &Path) -> Vec<(Option<String>, PathBuf)> {
    let whole = || vec![(None, given.to_owned())];
    let Some(text) = given.to_str().filter(|_| !given.exists()) else { return whole() };
    let named: Option<Vec<_>> = text.split(',').map(named).collect();
    named.or_else(|| Some(vec![self::named(text)?])).unwrap_or_else(whole)
}

fn named(text: &str) -> Option<(Option<String>, PathBuf)> {
    let (name, folder) = text.split_once('=')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=LONGEST).contains(&name.len())
        && name.bytes().all(fits)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    (is_name && !folder.is_empty()).then(|| (Some(name.to_owned()), folder.into()))
}

/// Refuses what holds for one model alone.
pub fn check(models: &[ModelFolder], has_labels: bool) -> Result<()> {
    ensure!(
        models.len() == 1 || !has_labels,
        "--labels makes a classifier of one model; leave it out, or serve that model alone"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let text_of = |(name, folder): (_, PathBuf)| (name, folder.to_string_lossy().into_owned());
        parts(Path::new(text)).into_iter().map(text_of).collect()
    }

    fn one(name: &str, folder: &str) -> (Option<String>, String) {
        (Some(name.to_owned()), folder.to_owned())
    }

    #[test]
    fn names_are_told_from_folders() {
        assert_eq!(read("runs/a"), [(None, "runs/a".to_owned())]);
        assert_eq!(read("a=runs/a"), [one("a", "runs/a")]);
        assert_eq!(read("a=runs/a,b-2=user/model"), [one("a", "runs/a"), one("b-2", "user/model")]);
        // A comma or an equals sign of a folder is its own.
        assert_eq!(read("a=runs/x,y"), [one("a", "runs/x,y")]);
        assert_eq!(read("a=runs/x=y"), [one("a", "runs/x=y")]);
        assert_eq!(read("./a=b"), [(None, "./a=b".to_owned())]);
        assert_eq!(read("a="), [(None, "a=".to_owned())]);
    }

    #[test]
    fn a_folder_that_is_there_is_one_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(parts(&path), [(None, path.clone())]);
    }
}
