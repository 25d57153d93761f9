//! The model that a command is about: `--model`, the variable of the environment, or the newest one; and
//! `--model NAME=FOLDER`, for a server of several.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::environment::MODEL;
use super::{CHECKPOINTS, note};
use crate::model;
use crate::serve::{ForwardSettings, ModelFolder};

/// Variables that change what a server answers, and no other command.
const OF_SERVER: [&str; 5] = [
    "BAYES_LABELS",
    "BAYES_TEMPLATE",
    "BAYES_ABSTAIN_MIN_CONFIDENCE",
    "BAYES_ABSTAIN_MAX_EPISTEMIC",
    "BAYES_ABSTAIN_OOD_P",
];

/// The longest name.
const LONGEST: usize = 64;

/// The model folder or Hub id that was named, or that of the environment, or the newest one that is complete; the
/// latter two are named on stderr.
pub fn model_folder(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(model::obtain(&named.to_string_lossy())?);
    }
    if let Some(named) = of_environment()? {
        note(&format!("model: {} ({MODEL})", named.display()))?;
        let others: Vec<String> = OF_SERVER
            .into_iter()
            .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
            .map(|name| format!("`{name}`"))
            .collect();
        if !others.is_empty() {
            note(&format!(
                "warning: only `bayes serve` reads {}, so answers of this model may differ from the server's",
                others.join(", ")
            ))?;
        }
        return model::obtain(&named.to_string_lossy())
            .with_context(|| format!("the environment variable `{MODEL}` names the model"));
    }
    let manifest = |folder: &Path| folder.join("model").join("bayes").join("manifest.json");
    let newest = std::fs::read_dir(CHECKPOINTS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((std::fs::metadata(manifest(&path)).ok()?.modified().ok()?, path)))
        .max();
    let Some((_, path)) = newest else {
        bail!(
            "you gave no model and there is none under `{CHECKPOINTS}`; train one with `bayes \
             train`, or give `--model FOLDER`"
        );
    };
    let folder = path.join("model");
    note(&format!("model: {}", folder.display()))?;
    Ok(folder)
}

/// The one model that the environment names.
///
/// # Errors
/// It names several, or nothing that can be a folder.
pub fn of_environment() -> Result<Option<PathBuf>> {
    let value = std::env::var_os(MODEL).filter(|value| !value.is_empty());
    value.map(|value| the_one(Path::new(&value))).transpose()
}

/// A server may have several; other commands are about one.
fn the_one(given: &Path) -> Result<PathBuf> {
    let mut all = parts(given)?;
    ensure!(
        all.len() == 1,
        "`{MODEL}` names {} models, `{}`; choose one of them with --model",
        all.len(),
        given.display()
    );
    Ok(all.remove(0).1)
}

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
    fn the_environment_names_one_model_with_or_without_a_name() {
        let one = |text| the_one(Path::new(text)).map_err(|error| error.to_string());
        assert_eq!(one("runs/a").unwrap(), Path::new("runs/a"));
        assert_eq!(one("a=runs/a").unwrap(), Path::new("runs/a"));
        let told = one("a=runs/a,b=runs/b").unwrap_err();
        assert!(told.contains("2 models, `a=runs/a,b=runs/b`"), "{told}");
    }

    #[test]
    fn a_folder_that_is_there_is_one_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(parts(&path).unwrap(), [(None, path.clone())]);
    }
}
