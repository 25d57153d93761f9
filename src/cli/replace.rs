//! Files that a command may replace: those that it has written itself.

use std::path::Path;

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
