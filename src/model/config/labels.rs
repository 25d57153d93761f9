//! The classes that a `config.json` names, and whether they are classes at all: a softmax over anything
//! else is a probability of nothing.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The most characters of a class's name, and the most classes.
const LONGEST: usize = 1000;
const MOST: usize = 1 << 16;

/// Refuses names that cannot be told apart, or that nobody could read.
pub fn check_labels(names: &[String]) -> Result<(), String> {
    if names.len() > MOST {
        return Err(format!("there are {} classes, and {MOST} are the most", names.len()));
    }
    let mut seen = HashSet::new();
    for (id, name) in names.iter().enumerate() {
        let length = name.chars().count();
        if length > LONGEST {
            return Err(format!(
                "the name of class {id} has {length} characters, and {LONGEST} are the most"
            ));
        }
        if name.trim().is_empty() {
            return Err(format!("class {id} has no name"));
        }
        if !seen.insert(name) {
            return Err(format!(
                "two classes are called `{name}`: give each a name of its own, since probabilities are \
                 listed by name"
            ));
        }
    }
    Ok(())
}

/// What the file says of its classes.
pub(super) struct Stated<'a> {
    pub problem_type: Option<&'a str>,
    pub num_labels: Option<&'a Value>,
    pub id2label: Option<&'a Map<String, Value>>,
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
                "`num_labels` is {count}, but `id2label` names {}: say the same in both, or leave out \
                 `num_labels`",
                names.len()
            ));
        }
        Ok(names)
    }

    /// Why the outputs of this model are no distribution over classes, if they are none.
    pub(super) fn other_task(&self, labels: usize) -> Option<String> {
        let kind = self.problem_type.unwrap_or("");
        let what = match kind {
            "multi_label_classification" => "each label has a probability of its own",
            "regression" => "its outputs are numbers and not classes",
            "" | "single_label_classification" if labels == 1 => {
                return Some(
                    "names one label: transformers takes that for a regression; a classifier has two \
                     labels or more"
                        .to_owned(),
                );
            }
            "" | "single_label_classification" => return None,
            _ => "it is not known here",
        };
        let kind: String = kind.chars().take(60).collect();
        Some(format!(
            "`problem_type` is `{kind}`: {what}; only `single_label_classification` is answered"
        ))
    }
}

fn count(value: &Value) -> Result<usize, String> {
    let fits = |&count: &u64| count <= MOST as u64;
    value.as_u64().filter(fits).map(|count| count as usize).ok_or_else(|| {
        let shown: String = value.to_string().chars().take(60).collect();
        format!("`num_labels` is {shown}: a whole number up to {MOST} is expected")
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

    use super::*;

    fn labels(file: &Value) -> Result<Vec<String>, String> {
        let stated = Stated {
            problem_type: file["problem_type"].as_str(),
            num_labels: file.get("num_labels").filter(|value| !value.is_null()),
            id2label: file["id2label"].as_object(),
        };
        let labels = stated.labels()?;
        stated.other_task(labels.len()).map_or(Ok(labels), Err)
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
        let one = json!({"id2label": {"0": "score"}});
        assert!(labels(&one).unwrap_err().contains("regression"));
        assert!(labels(&json!({"num_labels": 1})).unwrap_err().contains("regression"));
        let stated = json!({"problem_type": "single_label_classification", "id2label": two});
        assert!(labels(&stated).is_ok());
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
}
