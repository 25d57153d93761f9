//! What a classifier is asked: what a label, a probability vector, a decision and a set are.
//!
//! | | single label |
//! |---|---|
//! | a row's label | one class |
//! | outputs | a logit for each of at least two classes |
//! | loss | cross entropy |
//! | probabilities `[c]` | the softmax: they add up to 1 |
//! | a decision | the most probable class |
//! | a set | the classes that are not ruled out; it holds the label with the promised probability |
//! | uncertainty | the entropy of the probabilities |
//!
//! Data say which task they are for, then `config.json` and the manifest. What can be answered with numbers
//! and names alone is answered here. Where the answer is a computation of another module, that module has a
//! `match` without a wildcard, or says `let Task::SingleLabel = task` before code that holds for no other: for
//! one more variant the compiler lists all of these places.

use serde::{Deserialize, Serialize};

use crate::metrics::argmax;

/// What a classifier is asked. There is no default: whoever makes a model says what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Each text belongs to one class.
    SingleLabel,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::SingleLabel];

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "single_label",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// How `config.json` calls it, where transformers looks for it.
    pub fn problem_type(self) -> &'static str {
        match self {
            Self::SingleLabel => "single_label_classification",
        }
    }

    /// The one that `config.json` calls so, or says nothing of.
    pub fn of_problem_type(stated: Option<&str>) -> Option<Self> {
        match stated.unwrap_or_default() {
            "" => Some(Self::SingleLabel),
            name => Self::ALL.into_iter().find(|task| task.problem_type() == name),
        }
    }

    /// The pipeline that the Hub lists its models under.
    pub fn pipeline(self) -> &'static str {
        match self {
            Self::SingleLabel => "text-classification",
        }
    }

    /// With fewer classes there is nothing to tell apart.
    pub fn fewest_classes(self) -> usize {
        match self {
            Self::SingleLabel => 2,
        }
    }

    /// What probabilities `[c]` decide on: a class. Of equal ones it is the first.
    pub fn decision(self, probability_c: &[f64]) -> usize {
        match self {
            Self::SingleLabel => argmax(probability_c),
        }
    }

    /// The probability that the decision is right.
    pub fn confidence(self, probability_c: &[f64]) -> f64 {
        match self {
            Self::SingleLabel => probability_c[self.decision(probability_c)],
        }
    }

    /// Whether probabilities `[c]` decide on this label.
    pub fn is_right(self, probability_c: &[f64], label: u32) -> bool {
        match self {
            Self::SingleLabel => self.decision(probability_c) == label as usize,
        }
    }

    /// The uncertainty, in nats, of someone who knows nothing.
    pub fn largest_uncertainty(self, classes: usize) -> f64 {
        match self {
            Self::SingleLabel => (classes as f64).ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files_and_lead_back() {
        for task in Task::ALL {
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
            assert_eq!(Task::named(task.name()), Some(task));
            assert_eq!(Task::of_problem_type(Some(task.problem_type())), Some(task));
        }
        assert_eq!(Task::named("multi_label"), None);
        for other in ["multi_label_classification", "regression", "single_label"] {
            assert_eq!(Task::of_problem_type(Some(other)), None, "{other}");
        }
    }

    /// transformers writes it only when it trains, and then into the file of the checkpoint.
    #[test]
    fn a_config_that_says_nothing_is_for_single_labels() {
        for nothing in [None, Some("")] {
            assert_eq!(Task::of_problem_type(nothing), Some(Task::SingleLabel));
        }
    }

    #[test]
    fn the_decision_is_the_most_probable_class_and_confidence_its_probability() {
        let task = Task::SingleLabel;
        let probability_c = [0.2, 0.4, 0.4];
        assert_eq!(task.decision(&probability_c), 1);
        assert_eq!(task.confidence(&probability_c), 0.4);
        assert_eq!(
            [0, 1, 2].map(|label| task.is_right(&probability_c, label)),
            [false, true, false]
        );
        let uniform = vec![0.25; 4];
        let entropy = crate::metrics::entropy(&uniform);
        assert!((task.largest_uncertainty(4) - entropy).abs() < 1e-12);
    }
}
