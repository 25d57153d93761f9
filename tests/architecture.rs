//! The layer diagram of `src/lib.rs`, held to by reading the source.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules by height: one may use those that stand higher in number, not its neighbours.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["experiment"],
    &["audit"],
    &["evaluate", "bench", "serve", "publish"],
    &["predict"],
    &["artifact"],
    &["method"],
    &["calibrate"],
    &["posterior", "train"],
    &["model", "data"],
    &["compute", "hub"],
    &["store", "task"],
    &["metrics", "numbers", "suggest"],
];

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules of this crate that a text names: `crate::x` and `crate::{x, y::z}`.
fn used(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for (place, _) in text.match_indices("crate::") {
        let rest = &text[place + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in list.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => names.push(word(std::mem::take(&mut item).trim())),
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        names.push(word(item.trim()));
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn names_are_found_in_paths_and_lists() {
    assert_eq!(
        used("use crate::data::X; use crate::{compute, model::{A, B}, hub};"),
        ["data", "compute", "model", "hub"]
    );
}

#[test]
fn a_module_uses_only_the_modules_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let height: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(height, names)| names.iter().map(move |&name| (name, height)))
        .collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut checked, mut wrong) = (0, Vec::new());
    for file in files {
        let own = file.strip_prefix(&root).unwrap().components().next().unwrap();
        let own = own.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if own == "lib" || own == "main" {
            continue;
        }
        let here = *height.get(own.as_str()).unwrap_or_else(|| panic!("`{own}` is in no layer"));
        for name in used(&std::fs::read_to_string(&file).unwrap()) {
            checked += 1;
            let there = height.get(name.as_str()).copied();
            let there =
                there.unwrap_or_else(|| panic!("{}: `{name}` is in no layer", file.display()));
            if name != own && there <= here {
                wrong.push(format!("{} uses {name}", file.display()));
            }
        }
    }
    assert!(checked > 100, "only {checked} uses were found: the search is broken");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A panic costs its own request or batch: nothing of that holds in a build that aborts instead.
#[test]
fn a_panic_unwinds_in_every_build() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["Cargo.toml", ".cargo/config.toml", "Dockerfile"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(!text.contains("abort"), "{file}");
    }
}

/// Keys are compared in a time that does not tell how much of one was right.
#[test]
fn keys_are_compared_in_constant_time() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/keys.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    assert!(code.contains(".ct_eq(") && !code.contains(" == "), "{code}");
}

/// A read of a device stops the host: all go through `compute::fetch`, which counts them.
#[test]
fn the_device_engine_reads_through_one_function() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("train/on_device.rs"), root.join("train/updater.rs")];
    for folder in ["model/graph", "compute/ops/device"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 12, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for read in ["to_vec0", "to_vec1", "to_vec2", "to_vec3", "to_scalar"] {
            assert!(!text.contains(read), "{}: {read}", file.display());
        }
    }
}

/// Only `compute` asks which features were built; `bayes info` may show them.
#[test]
fn features_are_asked_for_in_compute_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let inside = file.starts_with(root.join("compute"));
        assert!(inside || !text.contains("feature ="), "{}", file.display());
    }
}
