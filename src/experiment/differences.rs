//! What of a run is other than it was: keys, classes, rows.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::Experiment;
use super::keys::flat;
use crate::artifact::PartRecord;
use crate::data::some;

/// Keys that change neither the weights nor what is made of them.
const FREE: [&str; 11] = [
    "name",
    "data.num_workers",
    "train.save_steps",
    "train.save_total_limit",
    "train.logging_steps",
    "train.histogram_steps",
    "train.tensorboard",
    "train.baseline",
    "train.activation_checkpointing",
    "train.max_time",
    // Without it the run would have ended at the first such step.
    "train.skip_nonfinite",
];
/// Sections that come into play when the training is over.
const LATER: [&str; 2] = ["posterior.", "calibration."];

/// Keys with other values, as `key: before, now`. What is done after training counts only for a run
/// that is finished, unless the method follows the training or trains several networks.
pub(super) fn differences(before: &Experiment, now: &Experiment, finished: bool) -> Vec<String> {
    let follows = [before, now].iter().any(|one| one.shapes_training());
    // Another method has other keys, which say nothing more.
    let other_method = before.posterior.name() != now.posterior.name();
    changed(before, now, |key| {
        if other_method && key.starts_with("posterior.") && key != "posterior.method" {
            return false;
        }
        let shapes_training = follows && key.starts_with("posterior.");
        let later = !shapes_training && LATER.iter().any(|section| key.starts_with(section));
        !is_free(key) && (finished || !later)
    })
}

/// Keys that are no reason for another run, and that a finished one does not follow any more.
pub(super) fn without_effect(before: &Experiment, now: &Experiment) -> Vec<String> {
    changed(before, now, |key| is_free(key) && key != "name")
}

fn is_free(key: &str) -> bool {
    FREE.contains(&key) || key.starts_with("publish.")
}

/// Keys with another value, of those that count.
fn changed(before: &Experiment, now: &Experiment, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let (before, now) = (flat(before), flat(now));
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| counts(key) && before.get(*key) != now.get(*key))
        .map(|key| {
            format!("`{key}` was {} and is now {}", shown(before.get(key)), shown(now.get(key)))
        })
        .collect()
}

/// Class names that are others than they were, or in another order.
pub(super) fn other_labels(before: &[String], now: &[String]) -> Option<String> {
    let list = |labels: &[String]| some(labels.iter().map(String::as_str));
    let place = before.iter().zip(now).position(|(one, other)| one != other);
    let other = !before.is_empty() && before != now;
    other.then(|| match place {
        Some(place) => {
            format!("class {} was `{}` and is now `{}`", place + 1, before[place], now[place])
        }
        None => format!("the classes were {} and are now {}", list(before), list(now)),
    })
}

/// Parts whose rows are others than they were.
pub(super) fn other_parts(
    before: &BTreeMap<String, PartRecord>,
    now: &BTreeMap<String, PartRecord>,
) -> Vec<String> {
    let other = now.iter().filter(|(name, part)| before.get(*name) != Some(part));
    let other: Vec<&str> = other.map(|(name, _)| name.as_str()).collect();
    match other.as_slice() {
        [] => Vec::new(),
        all if all.len() == now.len() => vec!["the rows of all splits differ".to_owned()],
        [one] => vec![format!("the rows of the `{one}` split differ")],
        several => vec![format!("the rows of the splits `{}` differ", several.join("`, `"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_class_names_are_other_data() {
        let names =
            |labels: &str| -> Vec<String> { labels.split(' ').map(str::to_owned).collect() };
        let other = |before: &[String], now: &str| other_labels(before, &names(now));
        let known = names("a b c");
        assert_eq!(other(&known, "a b c"), None);
        assert_eq!(other(&known, "a c b").unwrap(), "class 2 was `b` and is now `c`");
        assert_eq!(
            other(&known, "a b").unwrap(),
            "the classes were `a`, `b`, `c` and are now `a`, `b`"
        );
        assert_eq!(other(&[], "a b"), None, "an earlier version did not write them down");
    }

    #[test]
    fn keys_that_change_the_trajectory_are_told_from_those_that_do_not() {
        let parse = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
            Experiment::parse("", "test", &settings).unwrap()
        };
        let base = parse(&[]);
        let free = parse(&[
            "train.save_steps=7",
            "train.logging_steps=1",
            "name=other",
            "publish.license=mit",
        ]);
        assert!(differences(&base, &free, true).is_empty());
        let later = parse(&["calibration.temperature=false"]);
        assert!(differences(&base, &later, false).is_empty());
        let swag = parse(&["posterior.method=swag"]);
        assert_eq!(
            differences(&base, &swag, false)[0],
            "`posterior.method` was \"laplace\" and is now \"swag\"",
            "its keys shape the training"
        );
        let ensemble = parse(&["posterior.method=ensemble"]);
        let faster = parse(&["posterior.method=ensemble", "posterior.learning_rate_factor=2.0"]);
        assert_eq!(
            differences(&ensemble, &faster, false),
            ["`posterior.learning_rate_factor` was 1.0 and is now 2.0"]
        );
        assert_eq!(
            differences(&base, &later, true),
            ["`calibration.temperature` was true and is now false"]
        );
        let other = parse(&["train.seed=7", "model.hidden_size=8"]);
        assert_eq!(
            differences(&base, &other, false),
            ["`model.hidden_size` was not set and is now 8", "`train.seed` was 42 and is now 7"]
        );
    }

    #[test]
    fn splits_with_other_rows_are_named_once() {
        let part = |rows: usize| PartRecord { rows, sha256: rows.to_string() };
        let parts = |rows: [usize; 3]| -> BTreeMap<String, PartRecord> {
            ["test", "train", "validation"]
                .map(str::to_owned)
                .into_iter()
                .zip(rows.map(part))
                .collect()
        };
        let known = parts([1, 2, 3]);
        assert_eq!(other_parts(&known, &known), [""; 0]);
        let said = |rows| other_parts(&known, &parts(rows)).concat();
        assert_eq!(said([1, 9, 3]), "the rows of the `train` split differ");
        assert_eq!(said([9, 9, 3]), "the rows of the splits `test`, `train` differ");
        assert_eq!(said([9, 9, 9]), "the rows of all splits differ");
    }
}
