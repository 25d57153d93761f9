//! The keys of an experiment file: which exist, and how `--set` changes one.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::Experiment;
use crate::method::PosteriorConfig;
use crate::model::{FROM_SCRATCH, SIZES};
use crate::suggest::nearest;

/// All keys with a value of their type, as `section.key`.
pub fn known() -> Vec<(String, Value)> {
    let example = Table::try_from(Experiment::example()).expect("a config is plain data");
    let mut keys = Vec::new();
    for (section, value) in example {
        match value {
            Value::Table(mut table) => {
                if section == "posterior" {
                    table.extend(PosteriorConfig::keys());
                }
                keys.extend(
                    table.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)),
                );
            }
            value => keys.push((section, value)),
        }
    }
    keys
}

/// All keys of an experiment that are set, as `section.key`.
pub(super) fn flat(experiment: &Experiment) -> BTreeMap<String, Value> {
    named(Table::try_from(experiment).expect("a config is plain data"))
}

/// The same of a file.
pub(super) fn named(table: Table) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    for (section, value) in table {
        match value {
            Value::Table(table) => {
                let full = |(key, value)| (format!("{section}.{key}"), value);
                keys.extend(table.into_iter().map(full));
            }
            value => drop(keys.insert(section, value)),
        }
    }
    keys
}

/// Refuses unknown keys by name.
pub fn check(table: &Table) -> Result<(), String> {
    let known = known();
    let is_section = |name: &str| known.iter().any(|(key, _)| key.starts_with(&format!("{name}.")));
    for (section, value) in table {
        match value {
            Value::Table(inner) if is_section(section) => {
                for key in inner.keys() {
                    check_key(&format!("{section}.{key}"), &known)?;
                }
            }
            _ if is_section(section) => {
                return Err(format!("`{section}` is a table; write `[{section}]`"));
            }
            _ => check_key(section, &known)?,
        }
    }
    Ok(())
}

fn check_key(name: &str, known: &[(String, Value)]) -> Result<(), String> {
    if known.iter().any(|(key, _)| key == name) {
        return Ok(());
    }
    // The right key in the wrong section.
    let own = name.rsplit('.').next().unwrap_or_default();
    let mut elsewhere = known.iter().filter(|(key, _)| key.rsplit('.').next() == Some(own));
    if let (Some((key, _)), None) = (elsewhere.next(), elsewhere.next()) {
        return Err(format!("unknown key `{name}`; did you mean `{key}`?"));
    }
    let sections = known.iter().filter_map(|(key, _)| key.split_once('.')).map(|(own, _)| own);
    let candidates = known.iter().map(|(key, _)| key.as_str()).chain(sections);
    match nearest(name, candidates) {
        Some(key) => Err(format!("unknown key `{name}`; did you mean `{key}`?")),
        None => Err(format!("unknown key `{name}`; `bayes train --print-config` shows all keys")),
    }
}

/// An encoder that exists and the sizes of a new one exclude each other: where settings name one of
/// the two, the file's other one makes way. Gives the keys that did.
pub fn make_way(table: &mut Table, settings: &[String]) -> BTreeSet<String> {
    let sets = |key: &str| {
        let named = |setting: &&String| {
            setting.split_once('=').is_some_and(|(name, _)| name.trim() == format!("model.{key}"))
        };
        settings.iter().rfind(named).and_then(|setting| setting.split_once('='))
    };
    let Some(Value::Table(model)) = table.get_mut("model") else { return BTreeSet::new() };
    let mut gave_way = BTreeSet::new();
    if sets("init").is_some_and(|(_, init)| init.trim().trim_matches('"') != FROM_SCRATCH) {
        let of_new = model.keys().filter(|key| SIZES.contains(&key.as_str()));
        gave_way.extend(of_new.map(|key| format!("model.{key}")));
        model.retain(|key, _| !SIZES.contains(&key));
    }
    if SIZES.iter().any(|key| sets(key).is_some()) && model.remove("init").is_some() {
        gave_way.insert("model.init".to_owned());
    }
    gave_way
}

/// Applies `section.key=value`. A value is text where the key's type is text, else TOML.
pub fn set(table: &mut Table, setting: &str) -> Result<(), String> {
    let Some((name, written)) = setting.split_once('=') else {
        return Err("expected KEY=VALUE, such as `train.learning_rate=3e-5`".to_owned());
    };
    let (name, written) = (name.trim(), written.trim());
    let known = known();
    if !name.contains('.') && known.iter().any(|(key, _)| key.starts_with(&format!("{name}."))) {
        return Err(format!("`{name}` is a table; set one of its keys, as `{name}.KEY=VALUE`"));
    }
    check_key(name, &known)?;
    let example = known.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let value = match example {
        // In quotes as in a file, else as it is.
        Some(Value::String(_)) => match parsed(written) {
            Some(text @ Value::String(_)) => text,
            _ => Value::String(written.to_owned()),
        },
        _ => parsed(written).ok_or_else(|| {
            format!("`{written}` is not a valid value for `{name}`{}", kind(example))
        })?,
    };
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
        }
        Some((section, key)) => {
            let own = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let own = own.as_table_mut().ok_or_else(|| format!("`{section}` is not a table"))?;
            own.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

/// What to give where the key has such a value; nothing where it is not known.
fn kind(example: Option<&Value>) -> String {
    match example {
        Some(Value::Integer(_)) => "; give a whole number".to_owned(),
        Some(Value::Float(_)) => "; give a number".to_owned(),
        Some(Value::Boolean(_)) => "; give true or false".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => {
            "; give a list, such as `[\"en\"]`".to_owned()
        }
        Some(list @ Value::Array(_)) => format!("; give a list, such as `{list}`"),
        _ => String::new(),
    }
}

/// One value as TOML has it.
pub(super) fn parsed(written: &str) -> Option<Value> {
    let line: Table = toml::from_str(&format!("value = {written}")).ok()?;
    if line.len() == 1 { line.into_iter().next().map(|(_, value)| value) } else { None }
}
