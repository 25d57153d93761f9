//! The classes that a `config.json` names, and whether they are classes at all: a softmax over anything
//! else is a probability of nothing.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::class::{CLASSIFIER, other_head};
use crate::task::Task;

/// The most characters of a class's name, and the most classes.
const LONGEST: usize = 1000;
const MOST: usize = 1 << 16;

/// Refuses names that cannot be told apart, or that nobody could read.
pub fn check_labels(names: &[String]) -> Result<(), String> {
    if names.len() > MOST {
        return Err(format!("there are {} classes; the maximum is {MOST}", names.len()));
    }
    let mut seen = HashSet::new();
    for (id, name) in names.iter().enumerate() {
        let length = name.chars().count();
        if length > LONGEST {
            return Err(format!(
                "the name of class {id} has {length} characters; the maximum is {LONGEST}"
            ));
        }
        if name.trim().is_empty() {
            return Err(format!("class {id} has no name"));
        }
        if !seen.insert(name) {
            return Err(format!(
                "two classes are called `{name}`; give each a different name, because \
                 probabilities are listed by name"
            ));
        }
    }
    Ok(())
}

/// What to do with a head that is no classifier's.
const NEW_HEAD: &str = "`bayes train DATA --init FOLDER` makes a classifier from its encoder";

/// What the file says of its classes.
pub(super) struct Stated<'a> {
    /// The classes of transformers that have these weights.
    pub classes: Vec<&'a str>,
    pub problem_type: Option<&'a str>,
    pub num_labels: Option<&'a Value>,
    pub id2label: Option<&'a Map<String, Value>>,
    pub label2id: Option<&'a Map<String, Value>>,
}

impl Stated<'_> {
    /// Class names in the order of their ids; none where nothing is said of them. Without names
    /// transformers numbers them, `LABEL_0` and so on.
    pub(super) fn labels(&self) -> Result<Vec<String>, String> {
        let count = self.num_labels.map(count).transpose()?;
        let Some(by_id) = self.id2label else {
            return Ok((0..count.unwrap_or(0)).map(|id| format!("LABEL_{id}")).collect());
        };
        let names = in_order(by_id)?;
        if let Some(count) = count.filter(|&count| count != names.len()) {
            return Err(format!(
                "`num_labels` is {count}, but `id2label` names {}; make them agree, or remove \
                 `num_labels`",
                names.len()
            ));
        }
        if let Some(ids) = self.label2id {
            check_ids(ids, &names)?;
        }
        Ok(names)
    }

    /// What its outputs are for; the error says why they are no distribution over classes.
    pub(super) fn task(&self, labels: &[String]) -> Result<Task, String> {
        if let Some(class) = other_head(&self.classes) {
            let class: String = class.chars().take(60).collect();
            return Err(format!(
                "`architectures` has `{class}`, which is not a text classifier; only \
                 `…{CLASSIFIER}` is supported; {NEW_HEAD}"
            ));
        }
        // Some families have the same tensors for both, and a file need not say which it is.
        let says = self.classes.iter().any(|class| class.ends_with(CLASSIFIER));
        if !says && let Some(tag) = tag(labels) {
            return Err(format!(
                "`id2label` has `{}`, so its labels are tags of words, not of texts, and `architectures` does not \
                 say `…{CLASSIFIER}`; {NEW_HEAD}",
                short(tag)
            ));
        }
        let Some(task) = Task::of_problem_type(self.problem_type) else {
            let kind = self.problem_type.unwrap_or_default();
            let what = match kind {
                "multi_label_classification" => "each label has an independent probability",
                "regression" => "its outputs are numbers, not classes",
                _ => "it is unknown",
            };
            let kind: String = kind.chars().take(60).collect();
            let known = Task::ALL.map(|task| format!("`{}`", task.problem_type())).join(" or ");
            return Err(format!(
                "`problem_type` is `{kind}`: {what}; only {known} is supported; {NEW_HEAD}"
            ));
        };
        // No labels are those of an encoder without a head.
        match task {
            Task::SingleLabel if (1..task.fewest_classes()).contains(&labels.len()) => {
                Err(format!(
                    "names one label, which transformers reads as a regression; a classifier needs at \
                 least two labels; {NEW_HEAD}"
                ))
            }
            Task::SingleLabel => Ok(task),
        }
    }
}

/// A tag that stands for the inside of a name, where all labels are such tags: taggers of words begin a name with `B-`,
/// go on with `I-`, may end it with others, and have `O` for all other words.
fn tag(labels: &[String]) -> Option<&str> {
    const BEGIN: [&str; 6] = ["B-", "I-", "E-", "S-", "L-", "U-"];
    let is_tag =
        |label: &String| label == "O" || BEGIN.iter().any(|begin| label.starts_with(begin));
    let inside = labels.iter().find(|label| label.starts_with("I-"))?;
    let begins = labels.iter().any(|label| label.starts_with("B-") || label == "O");
    (begins && labels.iter().all(is_tag)).then_some(inside)
}

/// Whether `label2id` says the same as `id2label`. Left at the names that transformers gives to classes
/// without names, it says nothing.
fn check_ids(ids: &Map<String, Value>, names: &[String]) -> Result<(), String> {
    let id = |value: &Value| match value {
        Value::String(text) => text.parse::<u64>().ok(),
        number => number.as_u64(),
    };
    if ids.iter().all(|(name, own)| id(own).is_some_and(|id| *name == format!("LABEL_{id}"))) {
        return Ok(());
    }
    for (name, own) in ids {
        let place = id(own).and_then(|id| usize::try_from(id).ok());
        let there = place.and_then(|place| names.get(place));
        if there != Some(name) {
            let there =
                there.map_or("not a class".to_owned(), |there| format!("`{}`", short(there)));
            return Err(format!(
                "`label2id` contradicts `id2label`: one calls class {} `{}`, but in the other it \
                 is {there}; find out which is correct, and make them agree",
                short(&own.to_string()),
                short(name)
            ));
        }
    }
    Ok(())
}

/// As much of a word as a message shows.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn count(value: &Value) -> Result<usize, String> {
    let fits = |&count: &u64| count <= MOST as u64;
    value.as_u64().filter(fits).map(|count| count as usize).ok_or_else(|| {
        let shown: String = value.to_string().chars().take(60).collect();
        format!("`num_labels` is {shown}; use a whole number up to {MOST}")
    })
}

/// The ids must be 0, 1, 2, ….
fn in_order(by_id: &Map<String, Value>) -> Result<Vec<String>, String> {
    let mut names = vec![None; by_id.len()];
    for (id, name) in by_id {
        let place = id.parse::<usize>().ok().and_then(|id| names.get_mut(id));
        match (place, name.as_str()) {
            (Some(place @ None), Some(name)) => *place = Some(name.to_owned()),
            _ => {
                let id: String = id.chars().take(60).collect();
                return Err(format!(
                    "`id2label` is not a list of names for the ids from 0 to {}: `{id}`",
                    by_id.len().saturating_sub(1)
                ));
            }
        }
    }
    let names: Vec<String> = names.into_iter().flatten().collect();
    check_labels(&names).map_err(|message| format!("`id2label`: {message}"))?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::class::classes;
    use super::*;

    fn labels(file: &Value) -> Result<Vec<String>, String> {
        let stated = Stated {
            classes: file.as_object().map(classes).unwrap_or_default(),
            problem_type: file["problem_type"].as_str(),
            num_labels: file.get("num_labels").filter(|value| !value.is_null()),
            id2label: file["id2label"].as_object(),
            label2id: file["label2id"].as_object(),
        };
        let labels = stated.labels()?;
        stated.task(&labels)?;
        Ok(labels)
    }

    #[test]
    fn classes_are_named_or_numbered_as_transformers_does() {
        assert_eq!(labels(&json!({})).unwrap(), [""; 0]);
        assert_eq!(labels(&json!({"num_labels": 2})).unwrap(), ["LABEL_0", "LABEL_1"]);
        let named = json!({"id2label": {"1": "yes", "0": "no"}, "num_labels": 2});
        assert_eq!(labels(&named).unwrap(), ["no", "yes"]);
    }

    #[test]
    fn outputs_that_are_no_classes_are_refused_by_their_kind() {
        let two = json!({"0": "a", "1": "b"});
        for kind in ["multi_label_classification", "regression", "token_classification"] {
            let message = labels(&json!({"problem_type": kind, "id2label": two})).unwrap_err();
            assert!(message.contains(kind), "{message}");
        }
        for class in ["BertForTokenClassification", "RobertaForMaskedLM", "BertForPreTraining"] {
            let file = json!({"architectures": [class], "id2label": two});
            let message = labels(&file).unwrap_err();
            assert!(message.contains(class), "{message}");
        }
        for class in ["BertForSequenceClassification", "BertModel"] {
            let file = json!({"architectures": [class], "id2label": two});
            assert_eq!(labels(&file).unwrap(), ["a", "b"]);
        }
        let one = json!({"id2label": {"0": "score"}});
        assert!(labels(&one).unwrap_err().contains("regression"));
        assert!(labels(&json!({"num_labels": 1})).unwrap_err().contains("regression"));
        let stated = json!({"problem_type": "single_label_classification", "id2label": two});
        assert!(labels(&stated).is_ok());
    }

    #[test]
    fn tags_of_words_are_classes_of_texts_only_where_the_file_says_so() {
        let tags = json!({"0": "O", "1": "B-PER", "2": "I-PER"});
        for class in [json!(null), json!(["ModernBertModel"]), json!(["MyTagger"])] {
            let message = labels(&json!({"architectures": class, "id2label": tags})).unwrap_err();
            assert!(message.contains("`I-PER`") && message.contains("tags of words"), "{message}");
        }
        let stated =
            json!({"architectures": ["ModernBertForSequenceClassification"], "id2label": tags});
        assert!(labels(&stated).is_ok());
        for others in [
            json!({"0": "O", "1": "A", "2": "B"}),
            json!({"0": "B-class", "1": "C-class"}),
            json!({"0": "I-95", "1": "other"}),
        ] {
            assert!(labels(&json!({"id2label": others})).is_ok(), "{others}");
        }
    }

    #[test]
    fn contradictions_and_names_that_nobody_can_use_are_refused() {
        for (file, words) in [
            (json!({"id2label": {"0": "a", "1": "b"}, "num_labels": 3}), "`num_labels` is 3"),
            (json!({"id2label": {"0": "a", "2": "b"}}), "`2`"),
            (json!({"id2label": {"0": "a", "1": 5}}), "`1`"),
            (json!({"id2label": {"0": "a", "00": "b"}}), "`00`"),
            (json!({"id2label": {"0": "a", "1": "a"}}), "two classes are called `a`"),
            (json!({"id2label": {"0": "a", "1": " "}}), "class 1 has no name"),
            (json!({"id2label": {"0": "a".repeat(1 << 20), "1": "b"}}), "characters"),
            (json!({"num_labels": 1_000_000_000}), "1000000000"),
            (json!({"num_labels": -2}), "-2"),
            (json!({"num_labels": 2.5}), "2.5"),
        ] {
            let message = labels(&file).unwrap_err();
            assert!(message.contains(words) && message.len() < 300, "{message}");
        }
    }
    #[test]
    fn two_lists_of_names_that_contradict_each_other_are_refused_with_both() {
        let with =
            |label2id: Value| json!({"id2label": {"0": "no", "1": "yes"}, "label2id": label2id});
        for agreed in [
            json!({"yes": 1, "no": 0}),
            json!({"yes": "1"}),
            json!({}),
            // Nobody filled it in.
            json!({"LABEL_0": 0, "LABEL_1": 1}),
        ] {
            assert_eq!(labels(&with(agreed)).unwrap(), ["no", "yes"]);
        }
        for (contradiction, parts) in [
            (json!({"yes": 0, "no": 1}), ["class 0 `yes`", "`no`"]),
            (json!({"no": 0, "maybe": 1}), ["class 1 `maybe`", "`yes`"]),
            (json!({"no": 0, "yes": 1, "maybe": 2}), ["class 2 `maybe`", "not a class"]),
            (json!({"no": 0, "yes": 1.5}), ["class 1.5 `yes`", "not a class"]),
            (json!({"LABEL_0": 1, "LABEL_1": 0}), ["class 1 `LABEL_0`", "`yes`"]),
        ] {
            let message = labels(&with(contradiction)).unwrap_err();
            assert!(message.starts_with("`label2id` contradicts `id2label`"), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
