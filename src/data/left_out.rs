//! What a repository of the Hub, or a copy of one, has and is not read: other tables, and files that its own README names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fetch::{README, split_name, split_of};
use super::remark::{Remark, some};
use super::table::Format;

/// The most bytes of a README that are looked at.
const MOST_BYTES: u64 = 4 << 20;

/// What to say of a repository with these files, of which `read` are those of the splits.
pub(super) fn remarks(id: &str, others: &[&str], read: &[&str], readme: &Path) -> Vec<Remark> {
    let others: Vec<&str> = others.iter().copied().filter(|path| is_data(path)).collect();
    let unused = (!others.is_empty()).then(|| {
        Remark::Note(format!("files of `{id}` on the Hub that are not used: {}", some(others)))
    });
    let strange = strange(&format!("`{id}`"), read, readme, "download those files, name them");
    unused.into_iter().chain(strange).collect()
}

/// What to say of the splits of a local folder, by the README in it.
pub(super) fn of_folder(folder: &Path, splits: &BTreeMap<String, Vec<PathBuf>>) -> Option<Remark> {
    let inside = |path: &PathBuf| Some(path.strip_prefix(folder).ok()?.to_str()?.to_owned());
    let read: Vec<String> = splits.values().flatten().filter_map(inside).collect();
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    let name = format!("`{}`", folder.display());
    strange(&name, &read, &folder.join(README), "copy those files, name them")
}

/// Warns of files that are read and that the README of the data set does not name.
fn strange(name: &str, read: &[&str], readme: &Path, remedy: &str) -> Option<Remark> {
    let small = std::fs::metadata(readme).is_ok_and(|found| found.len() <= MOST_BYTES);
    let text = if small { std::fs::read_to_string(readme).ok() } else { None };
    let patterns = patterns(&text.unwrap_or_default());
    let of_none = |path: &&str| !patterns.iter().any(|pattern| matches(pattern, path));
    let strange: Vec<&str> = read.iter().copied().filter(of_none).collect();
    (!patterns.is_empty() && !strange.is_empty()).then(|| {
        Remark::Warning(format!(
            "{} of {name} is read, but the data of that data set are {} (`configs` in its `README.md`); if that is \
             wrong, {remedy} `train` and `test`, and give their folder",
            some(strange),
            some(patterns.iter().map(String::as_str))
        ))
    })
}

/// Whether a file is a table, or looks like a split in a format that is not read.
fn is_data(path: &str) -> bool {
    const OTHERS: [&str; 6] = ["md", "py", "yaml", "yml", "sh", "ipynb"];
    let path = Path::new(path);
    let is_text = || path.extension().is_some_and(|end| OTHERS.iter().any(|own| end == *own));
    Format::of(path).is_ok() || (split_name(&split_of(path)).is_some() && !is_text())
}

/// The patterns of paths under `configs` in the YAML at the beginning of a README: `data_files`, `path` and
/// `data_dir`, whatever the configuration and the split.
fn patterns(readme: &str) -> Vec<String> {
    let mut lines = readme.trim_start_matches('\u{feff}').lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let front = lines.take_while(|line| line.trim_end() != "---");
    let block = front.skip_while(|line| !line.starts_with("configs:")).skip(1);
    let inside = |line: &&str| line.is_empty() || line.starts_with([' ', '-', '#', '\r']);
    let (mut found, mut in_list) = (Vec::new(), false);
    for line in block.take_while(inside) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        // `- split: train` as well as `- [train.csv, more.csv]`.
        let item = line.strip_prefix('-').map(str::trim);
        for part in item.unwrap_or(line).split([',', '[', ']', '{', '}']).map(str::trim) {
            let (key, value) = match part.split_once(':') {
                Some((key, value)) if !key.contains('/') => (Some(key.trim()), value.trim()),
                _ => (None, part),
            };
            in_list = match key {
                Some("path" | "data_files") => true,
                Some("data_dir") => {
                    found.push(format!("{}/*", unquoted(value).trim_end_matches('/')));
                    false
                }
                Some(_) => false,
                None => in_list,
            };
            if in_list && !value.is_empty() {
                found.push(unquoted(value).to_owned());
            }
        }
    }
    found
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

/// Whether a pattern may mean a path: `*` is any text. What is no plain pattern may mean anything.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    if pattern.contains("://") || pattern.contains(['?', '!']) {
        return true;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        // `**/` is no folder too.
        let part = part.strip_prefix('/').filter(|_| last == Some("")).unwrap_or(part);
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
        last = Some(part);
    }
    match last {
        Some(part) => part.is_empty() || rest.is_empty() || path.ends_with(part),
        None => rest.is_empty() || rest.starts_with('/') || pattern.ends_with('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_all_configurations_are_found() {
        for (yaml, expected) in [
            ("configs:\n- config_name: a\n  data_files: a/*.csv", &["a/*.csv"][..]),
            (
                "configs:\n  - config_name: default\n    data_files:\n    - split: train\n      path: \"data/train-*\"\n    - split: test\n      path:\n      - x.csv # one\n      - 'y.csv'\n    default: true\nlicense: mit",
                &["data/train-*", "x.csv", "y.csv"],
            ),
            ("configs:\n- data_files: [a.csv, \"b.csv\"]\n  sep: x", &["a.csv", "b.csv"]),
            ("configs:\n- data_files:\n  - {split: train, path: a.csv}", &["a.csv"]),
            ("configs:\n- config_name: x\n  data_dir: x/", &["x/*"]),
            ("license: mit\ntags:\n- path: x", &[]),
        ] {
            assert_eq!(patterns(&format!("---\n{yaml}\n---\n# path: z\n")), expected, "{yaml}");
        }
        assert!(patterns("# configs:\n- data_files: a").is_empty());
    }

    #[test]
    fn a_pattern_means_the_paths_that_it_can() {
        for (pattern, path, expected) in [
            ("data/train-*", "data/train-00000-of-00001.parquet", true),
            ("data/train-*", "other/train-00000-of-00001.parquet", false),
            ("b/*.parquet", "a/train.parquet", false),
            ("**/*.parquet", "a/b/train.parquet", true),
            ("**/train*", "train.csv", true),
            ("*.csv", "train.csv.gz", false),
            ("en", "en/train.csv", true),
            ("en", "english/train.csv", false),
            ("./train.csv", "train.csv", true),
            ("train.csv", "train.csv.gz", false),
            ("hf://datasets/x/train.csv", "train.csv", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
