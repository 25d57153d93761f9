//! What pages name exists: flags, keys, files, headings. And they stay short.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use bayes::experiment::known_keys;

use super::home::text;
use super::page::{Page, root};

const COMMANDS: [&str; 21] = [
    "audit",
    "train",
    "fit",
    "eval",
    "compare",
    "bench",
    "predict",
    "publish",
    "quantize",
    "recalibrate",
    "serve",
    "feedback",
    "feedback export",
    "dataset list",
    "dataset info",
    "dataset fetch",
    "dataset head",
    "dataset prepare",
    "info",
    "completions",
    "dataset",
];
/// Flags of other programs that pages speak of.
const FOREIGN: [&str; 4] = ["--build-arg", "--features", "--peers", "--steps"];

/// Ends of files whose names begin like a section.
const FILES: [&str; 4] = ["json", "parquet", "safetensors", "toml"];
/// The page that is as long as there are keys.
const LIST: &str = "docs/configuration.md";

/// The long flags of each command.
fn flags() -> BTreeMap<&'static str, BTreeSet<String>> {
    let of = |command: &'static str| {
        let mut help = Command::new(env!("CARGO_BIN_EXE_bayes"));
        let output = help.args(command.split(' ')).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command}");
        (command, long(&text(&output.stdout)))
    };
    COMMANDS.into_iter().map(of).collect()
}

fn long(text: &str) -> BTreeSet<String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c: char| !inside(c)).filter(|word| word.starts_with("--"));
    words.filter(|word| word.len() > 2).map(str::to_owned).collect()
}

#[test]
fn flags_that_pages_name_exist() {
    let known = flags();
    let all: BTreeSet<&String> = known.values().flatten().collect();
    let mut missing = Vec::new();
    for page in Page::all() {
        for code in page.code() {
            let words = code.strip_prefix("bayes ");
            let own = known.iter().filter(|(name, _)| {
                words.is_some_and(|words| words == **name || words.starts_with(&format!("{name} ")))
            });
            let own = own.max_by_key(|(name, _)| name.len());
            assert!(words.is_none() || own.is_some(), "{}: `{code}`", page.name);
            let starts = code.starts_with("--");
            for flag in long(&code).iter().filter(|_| own.is_some() || starts) {
                let exists = match own {
                    Some((_, flags)) => flags.contains(flag),
                    None => all.contains(flag) || FOREIGN.contains(&&**flag),
                };
                if !exists {
                    missing.push(format!("{}: `{flag}` of `{code}`", page.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "there are no such flags: {missing:#?}");
}

#[test]
fn keys_that_pages_name_exist() {
    let keys: BTreeSet<String> = known_keys().into_iter().map(|(key, _)| key).collect();
    let sections: BTreeSet<&str> =
        keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let inside = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let mut missing = BTreeSet::new();
    for page in Page::all() {
        for code in page.code().into_iter().chain(page.commands()) {
            for word in code.split(|c| !inside(c)) {
                let Some((section, key)) = word.split_once('.') else { continue };
                let file = FILES.contains(&key) || key.contains('.');
                let ours = sections.contains(section) && !file;
                if ours && !keys.contains(word) {
                    missing.insert(format!("{}: `{word}`", page.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "there are no such keys: {missing:#?}");
}

#[test]
fn links_lead_somewhere() {
    let mut missing = Vec::new();
    for page in Page::all() {
        for link in page.links().iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { root().join(&page.name) } else { page.beside(file) };
            let known = path.exists() && anchor.is_empty()
                || path.is_file() && {
                    let name = path.canonicalize().unwrap();
                    let name =
                        name.strip_prefix(root().canonicalize().unwrap()).unwrap().to_owned();
                    Page::read(name.to_str().unwrap()).anchors().iter().any(|one| one == anchor)
                };
            if !known {
                missing.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert!(missing.is_empty(), "there are no such files or headings: {missing:#?}");
}

#[test]
fn pages_are_short_and_the_readme_leads_to_all_of_them() {
    let links = Page::read("README.md").links();
    for page in Page::all() {
        let most = if page.name == "README.md" { 165 } else { 200 };
        let long = page.lines() > most && page.name != LIST;
        assert!(!long, "{} has {} lines of {most}", page.name, page.lines());
        let linked = |link: &String| link.split('#').next() == Some(page.name.as_str());
        assert!(page.name == "README.md" || links.iter().any(linked), "{}", page.name);
    }
}

#[test]
fn the_page_of_the_server_has_every_setting_with_its_default() {
    let help = Command::new(env!("CARGO_BIN_EXE_bayes")).args(["serve", "-h"]).output().unwrap();
    let help = text(&help.stdout);
    let page = std::fs::read_to_string("docs/serving.md").unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `--")).collect();
    let common = ["--device", "--threads", "--json", "--quiet", "--verbose", "--check", "--health"];
    let mut seen = 0;
    let mut lines = help.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let flag = line.split(' ').next().unwrap();
        if !flag.starts_with("--") || common.contains(&flag) {
            continue;
        }
        seen += 1;
        let own = format!("`{flag}`");
        let row = rows.iter().find(|row| row.contains(&own));
        let row = row.unwrap_or_else(|| panic!("{own} is missing in docs/serving.md"));
        // A long description goes over several lines.
        let mut about = String::new();
        while let Some(more) = lines.next_if(|line| !line.is_empty() && !line.starts_with('-')) {
            about = about + more + " ";
        }
        let Some((_, default)) = about.split_once("[default: ") else { continue };
        let default = default.split(']').next().unwrap();
        let cells: Vec<&str> = row.split('|').collect();
        let place = cells[1].split(", ").position(|flag| flag.trim() == own).unwrap();
        let found = cells[2].split(", ").nth(place).unwrap_or(cells[2]).replace('`', "");
        assert_eq!(found.trim(), default, "the default of {own} in docs/serving.md");
    }
    assert!(seen > 25, "{seen} flags were read in the help");
}
