//! `--model NAME=FOLDER`, for a server of several models.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::model_folder;
use crate::serve::{ForwardSettings, ModelFolder};

/// The longest name.
const LONGEST: usize = 64;

/// The folders that are named, or the newest model where none is.
pub fn folders(given: &[PathBuf]) -> Result<Vec<ModelFolder>> {
    if given.is_empty() {
        return Ok(vec![ModelFolder { name: None, folder: model_folder(None)? }]);
    }
    let mut all: Vec<(Option<String>, PathBuf)> = Vec::new();
    for given in given {
        all.extend(parts(given)?);
    }
    for (place, (name, _)) in all.iter().enumerate() {
        let before = all[..place].iter().any(|(other, _)| name.is_some() && other == name);
        ensure!(!before, "--model names `{}` twice", name.as_deref().unwrap_or_default());
    }
    let folder = |(name, folder): (_, PathBuf)| {
        Ok(ModelFolder { name, folder: model_folder(Some(&folder))? })
    };
    all.into_iter().map(folder).collect()
}

/// A name and a folder, or a folder alone; several of the former, separated by commas, as a variable has them. What
/// is there as it stands is a folder, and so is what begins like a path.
fn parts(given: &Path) -> Result<Vec<(Option<String>, PathBuf)>> {
    let whole = || Ok(vec![(None, given.to_owned())]);
    let Some(text) = given.to_str().filter(|_| !given.exists()) else { return whole() };
    let named_all: Option<Vec<_>> = text.split(',').map(|part| named(part.trim())).collect();
    if let Some(all) = named_all.or_else(|| Some(vec![named(text)?])) {
        return Ok(all);
    }
    ensure!(
        !text.contains('=') || text.starts_with(['.', '/']),
        "--model `{text}` is no folder, and a name before `=` consists of up to {LONGEST} ASCII letters, digits, `.`, \
         `_` and `-`, and begins with a letter or a digit"
    );
    whole()
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
pub fn check(
    models: &[ModelFolder],
    has_labels: bool,
    forward: Option<&ForwardSettings>,
) -> Result<()> {
    ensure!(
        models.len() == 1 || !has_labels,
        "--labels makes a classifier of one model; leave it out, or serve that model alone"
    );
    if let Some(forward) = forward {
        forward.target.suits(models.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let text_of = |(name, folder): (_, PathBuf)| (name, folder.to_string_lossy().into_owned());
        parts(Path::new(text)).unwrap().into_iter().map(text_of).collect()
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
        assert_eq!(read("a=x, b=y"), [one("a", "x"), one("b", "y")]);
        for wrong in ["a=", "my topic=runs/a", "größe=runs/a", "=runs/a", "-a=runs/a"] {
            let told = parts(Path::new(wrong)).unwrap_err().to_string();
            assert!(told.contains("ASCII letters"), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_folder_that_is_there_is_one_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(parts(&path).unwrap(), [(None, path.clone())]);
    }
}
