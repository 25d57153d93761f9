//! Files that a command may replace: those that it has written itself.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::evaluate::{REPORT_FILES, is_report};

/// Refuses a result file that exists and is of another kind, such as the data that the command reads: `ours` says
/// whether it is one of those that the flag writes.
pub fn check(flag: &str, path: &Path, what: &str, ours: impl FnOnce(&Path) -> bool) -> Result<()> {
    // A device or a pipe is written to, not replaced, and nothing is lost with an empty file.
    let holds_something =
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
    if holds_something && !ours(path) {
        bail!(
            "{flag}: `{}` exists and is not {what}, so it is not replaced; choose a different name, or \
             remove the file",
            path.display()
        );
    }
    Ok(())
}

/// Refuses two results that would be written to one file, of which the second one would replace the first.
pub fn check_distinct(files: &[(&str, Option<PathBuf>)]) -> Result<()> {
    // A device or a pipe takes both.
    let is_kept = |file: &&PathBuf| !file.exists() || file.is_file();
    let given =
        || files.iter().filter_map(|(flag, file)| Some((flag, file.as_ref().filter(is_kept)?)));
    for (place, (flag, file)) in given().enumerate() {
        if let Some((other, _)) = given().take(place).find(|(_, one)| real(one) == real(file)) {
            bail!(
                "{other} and {flag} both write `{}`; choose a different file for one of them",
                file.display()
            );
        }
    }
    Ok(())
}

/// Where a file is, or will be.
fn real(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    let future = folder.ok().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    let absolute = || std::path::absolute(path).unwrap_or(path.to_owned());
    path.canonicalize().ok().or(future).unwrap_or_else(absolute)
}

/// Refuses a folder in which a report would replace other files.
pub fn check_report(flag: &str, folder: &Path) -> Result<()> {
    REPORT_FILES
        .iter()
        .try_for_each(|name| check(flag, &folder.join(name), "a report of `bayes`", is_report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_not_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let check = |one: Option<&str>, other: &str| {
            let [one, other] = [one, Some(other)].map(|name| Some(folder.path().join(name?)));
            check_distinct(&[("--save", one), ("--dump", other)])
        };
        for written in [false, true] {
            assert!(check(None, "a.json").is_ok() && check(Some("b.json"), "a.json").is_ok());
            assert!(
                check(Some("new/a.json"), "./new/a.json").is_err(),
                "in a folder that is not there"
            );
            for same in ["a.json", "./a.json", "sub/../a.json"] {
                let message = check(Some("a.json"), same).unwrap_err().to_string();
                assert!(message.starts_with("--save and --dump both write"), "{message}");
            }
            if !written {
                std::fs::write(folder.path().join("a.json"), "").unwrap();
            }
        }
        let null = || Some(PathBuf::from("/dev/null"));
        assert!(check_distinct(&[("--save", null()), ("--dump", null())]).is_ok());
    }

    #[test]
    fn only_what_is_ours_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let check = |ours| check("--predictions", &path, "a predictions file", |_| ours);
        assert!(check(false).is_ok(), "it does not exist");
        std::fs::write(&path, "").unwrap();
        assert!(check(false).is_ok(), "it is empty");
        std::fs::write(&path, "text,label\n").unwrap();
        assert!(check(true).is_ok());
        let message = check(false).unwrap_err().to_string();
        assert!(message.contains("rows.csv` exists and is not a predictions file"), "{message}");
    }
}
