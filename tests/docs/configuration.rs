//! `docs/configuration.md`: keys, types and defaults as the code has them, with its doc comments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bayes::experiment::{Experiment, known_keys};
use bayes::method::{Method, PosteriorConfig};
use toml::{Table, Value};

use super::page::root;

const PAGE: &str = "docs/configuration.md";
const MARK: &str = "<!-- from here on written by `UPDATE_DOCS=1 cargo test --test docs` -->\n";

/// A name with its doc comment, and what stands after the colon.
#[derive(Clone, Debug, Default, PartialEq)]
struct Item {
    name: String,
    kind: String,
    doc: String,
}

/// All Rust files under `src`, one after another.
struct Source(String);

impl Source {
    fn read() -> Self {
        let mut text = String::new();
        add(&root().join("src"), &mut text);
        Self(text)
    }

    /// The fields of a struct, or the variants of an enum, after the item itself.
    fn items(&self, kind: &str, name: &str) -> Option<Vec<Item>> {
        let start = format!("pub {kind} {name} {{");
        let (before, after) = self.0.split_once(&format!("\n{start}\n"))?;
        let above: Vec<&str> = before.lines().rev().take_while(|line| !line.is_empty()).collect();
        let (body, _) = after.split_once("\n}")?;
        let mut items = Vec::new();
        let mut doc: Vec<&str> = Vec::new();
        let lines = above.into_iter().rev().chain([start.as_str()]).chain(body.lines());
        for line in lines.map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                doc.push(words.trim());
            } else if !line.is_empty() && !line.starts_with(['#', '/', ')', ']']) {
                let item = line.strip_prefix("pub ").unwrap_or(line).trim_end_matches([',', '{']);
                let (name, kind) = item.split_once(": ").unwrap_or((item, ""));
                let doc = std::mem::take(&mut doc).join(" ");
                items.push(Item { name: name.to_owned(), kind: kind.to_owned(), doc });
            }
        }
        Some(items)
    }

    /// The keys of the Bayesian methods, as the registry lists these. One that several have stands where the first
    /// has it, with the default of each other.
    fn keys_of_methods(&self) -> Vec<Item> {
        let (_, list) = self.0.split_once("\nregistry! {\n").unwrap();
        let (list, _) = list.split_once("\n}").unwrap();
        let mut items: Vec<Item> = Vec::new();
        for line in list.lines() {
            let (path, name) = line.trim().trim_end_matches(',').split_once(" = ").unwrap();
            let path = path.split_once('(').unwrap().1.trim_end_matches(')');
            let settings = path.rsplit("::").next().unwrap();
            let name = name.trim_matches('"');
            for item in self.items("struct", settings).unwrap_or_default().into_iter().skip(1) {
                let doc = format!("For `{name}`: {}", item.doc);
                match items.iter_mut().find(|known| known.name == item.name) {
                    Some(known) => {
                        let own = defaults_of(name);
                        let default = shown(own.get(&item.name));
                        known.doc +=
                            &format!(" {} (default {default}).", doc.trim_end_matches('.'));
                    }
                    None => items.push(Item { doc, ..item }),
                }
            }
        }
        items
    }

    /// The value of a constant.
    fn constant(&self, name: &str) -> Option<&str> {
        let (_, after) = self.0.split_once(&format!("const {name}: "))?;
        Some(after.split_once(';')?.0.split_once(" = ")?.1)
    }

    /// A doc comment as a sentence of the page: links become what they lead to.
    fn plain(&self, doc: &str, written: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        let mut rest = doc;
        while let Some((before, link)) = rest.split_once("[`") {
            let (link, after) = link.split_once("`]").unwrap();
            let last = link.rsplit("::").next().unwrap();
            let own = written.get(last).map(|name| format!("`{name}`"));
            let value = || self.constant(last).map(str::to_owned);
            let shown =
                own.or_else(value).unwrap_or_else(|| panic!("`{link}` means nothing here: {doc}"));
            text += &(before.to_owned() + &shown);
            rest = after;
        }
        (text + rest).replace('|', "\\|")
    }
}

fn add(folder: &Path, text: &mut String) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|one| one.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &(fs::read_to_string(path).unwrap() + "\n");
        }
    }
}

/// The values that a key may have, if these are few: the parser lists them when it sees another.
fn choices(key: &str) -> Option<Vec<String>> {
    let error = Experiment::parse("", "", &[format!("{key}=\"?\"")]).err()?.to_string();
    let of_section = || error.split_once("unknown variant `?`, expected ");
    let of_key = error.split_once("is `?`; use ").filter(|(_, listed)| {
        let alone = listed.ends_with('`') && listed.matches('`').count() == 2;
        listed.starts_with("one of `")
            || listed.starts_with('`') && (listed.contains("` or `") || alone)
    });
    let (_, listed) = of_key.or_else(of_section)?;
    Some(listed.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The defaults of a method.
fn defaults_of(method: &str) -> Table {
    let method = Method::ALL.iter().find(|one| one.name() == method).unwrap();
    Table::try_from(PosteriorConfig::from(*method)).unwrap()
}

/// In words, by the type in the source; by the value where that is a type of our own.
fn kind(written: &str, value: &Value) -> String {
    let inner = written.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>'));
    let words = match (inner.unwrap_or(written), value) {
        ("Vec<f64>", _) => "list of numbers",
        ("Vec<String>", _) => "list of texts",
        ("BTreeMap<String, String>", _) => "table of texts",
        ("HiddenStates", _) => "list of whole numbers",
        ("RiskLevels", _) => "number, or list of numbers",
        ("ScaleRule", _) => "`gain`, `largest`, or number",
        ("Steps", _) => "whole number, or share",
        (_, Value::Boolean(_)) => "`true` or `false`",
        (_, Value::Integer(_)) => "whole number",
        (_, Value::Float(_)) => "number",
        (_, Value::String(_)) => "text",
        (_, Value::Array(_)) => "list",
        (written, value) => panic!("what is `{written}`, {value}?"),
    };
    words.to_owned()
}

fn one_of(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The page that is being written.
struct Reference {
    source: Source,
    keys: BTreeMap<String, Value>,
    written: Vec<String>,
    page: String,
}

impl Reference {
    /// All sections.
    fn write() -> String {
        let keys = known_keys().into_iter().collect();
        let mut own =
            Self { source: Source::read(), keys, written: Vec::new(), page: String::new() };
        let defaults = Table::try_from(Experiment::default()).unwrap();
        let sections = own.source.items("struct", "Experiment").unwrap();
        own.section("", &sections[1..], &defaults);
        for section in &sections[1..] {
            let Some(Value::Table(defaults)) = defaults.get(&section.name) else { continue };
            let mut items = own.source.items("struct", &section.kind).unwrap();
            let mut defaults = defaults.clone();
            if section.kind == "PosteriorConfig" {
                items.extend(own.source.keys_of_methods());
                for (key, value) in PosteriorConfig::keys() {
                    defaults.entry(key).or_insert(value);
                }
            }
            let doc = own.source.plain(&items[0].doc, &BTreeMap::new());
            own.page += &format!("\n## `[{}]`\n\n{doc}\n", section.name);
            own.section(&section.name, &items[1..], &defaults);
        }
        own.written.sort();
        assert_eq!(own.written, own.keys.into_keys().collect::<Vec<_>>(), "a key was not found");
        own.page
    }

    /// The table of a section, and the values of keys that have few.
    fn section(&mut self, section: &str, items: &[Item], defaults: &Table) {
        let mut lists = String::new();
        self.page += "\n| key | type | default | what it is |\n|---|---|---|---|\n";
        for Item { name, kind: written, doc } in items {
            let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            let Some(value) = self.keys.get(&key) else { continue };
            assert!(!doc.is_empty(), "`{key}` has no doc comment");
            let kind = match choices(&key) {
                Some(names) => {
                    lists += &self.list(&key, written, &names);
                    one_of(&names)
                }
                None => kind(written, value),
            };
            let doc = self.source.plain(doc, &BTreeMap::new());
            self.page +=
                &format!("| `{name}` | {kind} | {} | {doc} |\n", shown(defaults.get(name)));
            self.written.push(key);
        }
        self.page += &lists;
    }

    /// The values of a key, each with its comment.
    fn list(&self, key: &str, written: &str, names: &[String]) -> String {
        let inner = match written {
            "Settings" => "Method",
            _ => written.trim_start_matches("Option<").trim_end_matches('>'),
        };
        let variants = self.source.items("enum", inner).unwrap_or_else(|| panic!("no {inner}"));
        let variants = &variants[1..];
        assert_eq!(variants.len(), names.len(), "{key}: {variants:?}, {names:?}");
        let pairs = variants.iter().map(|one| one.name.clone()).zip(names.iter().cloned());
        let by_variant: BTreeMap<String, String> = pairs.collect();
        let mut list = format!("\n`{key}`:\n\n");
        for (variant, name) in variants.iter().zip(names) {
            list += &format!("- `{name}`: {}\n", self.source.plain(&variant.doc, &by_variant));
        }
        list
    }
}

fn shown(default: Option<&Value>) -> String {
    match default {
        None => "not set".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "empty".to_owned(),
        Some(Value::Table(table)) if table.is_empty() => "empty".to_owned(),
        Some(Value::Float(small)) if *small != 0.0 && *small < 1e-3 => format!("`{small:e}`"),
        Some(value) => format!("`{}`", value.to_string().trim_matches('"')),
    }
}

#[test]
fn the_list_of_keys_is_that_of_the_code() {
    let path = root().join(PAGE);
    let found = fs::read_to_string(&path).unwrap();
    let (words, list) = found.split_once(MARK).expect("the page has the mark");
    let expected = Reference::write();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{words}{MARK}{expected}")).unwrap();
        return;
    }
    let line = list.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        list == expected,
        "`{PAGE}` is not what the code says: run `UPDATE_DOCS=1 cargo test --test docs`\n{line:#?}"
    );
}

#[test]
fn structs_enums_and_constants_are_read_as_they_are_written() {
    let source = "\n/// All.\n#[derive(Clone)]\npub struct One {\n    /// First\n    /// line, [`Two::B`].\n    \
                  #[serde(skip)]\n    pub a: Vec<f64>,\n    /// Second.\n    pub b: bool,\n}\n\n\
                  /// Kinds.\npub enum Two {\n    /// For [`MANY`] | more.\n    #[default]\n    A,\n    /// b\n    \
                  B,\n}\npub const MANY: usize = 10;\n";
    let source = Source(source.to_owned());
    let one = source.items("struct", "One").unwrap();
    let kinds: Vec<_> = one[1..].iter().map(|item| (&*item.name, &*item.kind)).collect();
    assert_eq!(kinds, [("a", "Vec<f64>"), ("b", "bool")]);
    let by_variant = BTreeMap::from([("B".to_owned(), "b".to_owned())]);
    assert_eq!(source.plain(&one[1].doc, &by_variant), "First line, `b`.");
    assert_eq!((&*one[0].doc, &*one[2].doc), ("All.", "Second."));
    let two = source.items("enum", "Two").unwrap();
    assert_eq!((&*two[1].name, &*two[2].name), ("A", "B"));
    assert_eq!(source.plain(&two[1].doc, &by_variant), "For 10 \\| more.");
    assert_eq!(source.items("enum", "Three"), None);
}

#[test]
fn the_parser_says_which_values_a_key_has() {
    assert_eq!(choices("posterior.method").unwrap()[0], "map");
    assert_eq!(choices("train.seed"), None);
    assert_eq!(one_of(&["a", "b", "c"].map(str::to_owned)), "`a`, `b` or `c`");
}
