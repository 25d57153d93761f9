//! What a folder without splits seems to be, and what to do with it.

use std::path::{Path, PathBuf};

use super::fetch::split_name;
use super::folder::Splits;
use super::table::Format;

/// The end of a message about a folder that has no splits; empty where nothing is known of it.
pub(super) fn hint(folder: &Path, passed: &[String]) -> String {
    let inside = entries(folder);
    let saved = |folder: &Path| folder.join("state.json").exists() && has(folder, &is_arrow);
    if folder.join("dataset_dict.json").exists() || saved(folder) || has(folder, &is_arrow) {
        let split = if saved(folder) { "" } else { "[\"train\"]" };
        return format!(
            "; it is a folder of Arrow files, as written by `save_to_disk` of Python's `datasets`; \
             save each split as Parquet, \
             `datasets.load_from_disk(\"{}\"){split}.to_parquet(\"train.parquet\")`",
            folder.display()
        );
    }
    let has_splits = |inner: &&PathBuf| {
        inner.is_dir() && Splits::in_folder(inner, false).is_ok_and(|found| found.is_trainable())
    };
    let splits: Vec<String> = inside.iter().filter(has_splits).map(|path| shown(path)).collect();
    if !splits.is_empty() {
        return format!("; did you mean {}?", splits.join(" or "));
    }
    // `train/neg/1.txt` as well as `neg/1.txt`.
    let is_split = |path: &&PathBuf| split_name(&name(path)).is_some();
    let classes = [classes(folder)].into_iter();
    let mut classes = classes.chain(inside.iter().filter(is_split).map(|path| self::classes(path)));
    if let Some(classes) = classes.find(|classes| classes.len() > 1) {
        let shown: Vec<String> =
            classes.iter().take(3).map(|class| format!("`{class}/`")).collect();
        return format!(
            "; its folders {} seem to hold one text per file, the layout that scikit-learn's \
             `load_files` reads; write one table, with the content of each file in a column `text` and the name \
             of its folder in a column `label`",
            shown.join(", ")
        );
    }
    let is_table = |path: &&PathBuf| path.is_file() && Format::of(path).is_ok();
    if let Some(table) = inside.iter().find(is_table) {
        return format!("; give one of its files, such as {}", shown(table));
    }
    match passed {
        [] => String::new(),
        passed => {
            format!(
                "; it contains `{}`",
                passed.iter().take(5).cloned().collect::<Vec<_>>().join("`, `")
            )
        }
    }
}

/// The folders in it that hold files of which none is a table.
fn classes(folder: &Path) -> Vec<String> {
    let is_text = |path: &Path| {
        path.is_file()
            && path.extension().is_none_or(|extension| extension.eq_ignore_ascii_case("txt"))
    };
    let folders = entries(folder).into_iter().filter(|path| path.is_dir() && has(path, &is_text));
    folders.map(|path| name(&path)).filter(|name| !name.starts_with('.')).collect()
}

fn has(folder: &Path, test: &dyn Fn(&Path) -> bool) -> bool {
    entries(folder).iter().any(|path| test(path))
}

fn is_arrow(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("arrow"))
}

/// What is in a folder that can be read, in the order of the names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_splits_is_told_by_what_is_in_it() {
        for (files, says) in [
            (&["data/train.csv", "README.md"][..], "did you mean `F/data`?"),
            (&["a/train.csv", "b/test.jsonl"], "did you mean `F/a` or `F/b`?"),
            (&["data/tickets.csv", "notes.md"], "it contains `data/`"),
            (&["tickets.csv", "other.csv"], "such as `F/other.csv`"),
            (
                &["neg/1.txt", "pos/2.txt"],
                "its folders `neg/`, `pos/` seem to hold one text per file",
            ),
            (&["alt.atheism/49960", "sci.med/5"], "`load_files`"),
            (&["train/neg/1.txt", "train/pos/2.txt"], "its folders `neg/`, `pos/`"),
            (&["neg/1.txt", ".git/HEAD"], ""),
            (&["state.json", "data-00000-of-00001.arrow"], "load_from_disk(\"F\").to_parquet"),
            (&["dataset_dict.json", "train/data-00000-of-00001.arrow"], "(\"F\")[\"train\"].to_p"),
            (&["README.md"], ""),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "text,label\na,b\n").unwrap();
            }
            let passed = Splits::in_folder(folder.path(), false).unwrap().passed;
            let hint = hint(folder.path(), &passed);
            let hint = hint.replace(&folder.path().display().to_string(), "F");
            assert!(hint.contains(says) && hint.is_empty() == says.is_empty(), "{files:?}: {hint}");
        }
    }
}
