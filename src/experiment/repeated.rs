//! Keys that are set more than once: of two values one would have no effect.

use std::collections::BTreeMap;

use toml::Value;

use super::keys::parsed;

/// The only key whose value is a table.
const LABEL_MAP: &str = "data.label_map";

/// Refuses `key=value` settings that give a key two values. The same value twice says nothing else.
///
/// # Errors
/// A message with the key and both values.
pub fn check_repeated(settings: &[String]) -> Result<(), String> {
    match repeated(settings).first() {
        Some((key, values)) => Err(format!("{values}; {}", remedy(key))),
        None => Ok(()),
    }
}

/// What to say of settings that give a key two values, where the last one counts, as a command line that another one
/// was added to is meant.
///
/// # Errors
/// The value is a table, of which the first would be lost.
pub fn told_repeated(settings: &[String]) -> Result<Vec<String>, String> {
    let all = repeated(settings);
    match all.iter().find(|(key, _)| *key == LABEL_MAP) {
        Some((key, values)) => Err(format!("{values}; {}", remedy(key))),
        None => Ok(all
            .into_iter()
            .map(|(_, values)| format!("{values}; the last one counts"))
            .collect()),
    }
}

fn remedy(key: &str) -> &'static str {
    match key {
        LABEL_MAP => "write all renamings in one, or use `--label-map`",
        _ => "remove one of the two",
    }
}

/// Keys with another value than before, and both values in words.
fn repeated(settings: &[String]) -> Vec<(&str, String)> {
    let (mut seen, mut found) = (BTreeMap::new(), Vec::new());
    for (key, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        if let Some(before) = seen.insert(key, value).filter(|before| meant(before) != meant(value))
        {
            found.push((key, format!("`{key}` is set twice, to `{before}` and to `{value}`")));
        }
    }
    found
}

/// A value without the ways to write it.
fn meant(written: &str) -> Value {
    parsed(written).unwrap_or_else(|| Value::String(written.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[&str]) -> Result<(), String> {
        let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
        check_repeated(&settings)
    }

    #[test]
    fn a_key_with_two_values_is_refused_with_both() {
        for (settings, words) in [
            (
                &["train.seed=1", "name=x", "train.seed=2"][..],
                "`train.seed` is set twice, to `1` and to `2`",
            ),
            (&["train.seed = 1", " train.seed= 2"], "`train.seed` is set twice, to `1` and to `2`"),
            (&["name=a", "name=A"], "to `a` and to `A`"),
            (&["data.delimiter==", "data.delimiter=;"], "to `=` and to `;`"),
            (&["data.label_map={a=\"x\"}", "data.label_map={b=\"x\"}"], "`--label-map`"),
            // The third is the other one.
            (&["name=a", "name=a", "name=b"], "to `a` and to `b`"),
        ] {
            let message = check(settings).unwrap_err();
            assert!(message.contains(words), "{message}");
            let all: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
            match told_repeated(&all) {
                Ok(said) => assert!(said.len() == 1 && said[0].contains(words), "{said:?}"),
                Err(refused) => assert_eq!(refused, message),
            }
        }
    }

    #[test]
    fn the_same_value_twice_is_no_contradiction() {
        for settings in [
            &["train.seed=1", "train.seed = 1"][..],
            &["train.learning_rate=3e-5", "train.learning_rate=0.00003"],
            &["name=a", "name=\"a\""],
            &["data.label_map={a=\"x\"}", "data.label_map={ a = \"x\" }"],
            &["train.seed=1", "data.seed=2"],
            &["no value", "no value"],
        ] {
            assert_eq!(check(settings), Ok(()), "{settings:?}");
        }
    }
}
