//! Whether an answer is given or left to a person.

use serde::{Deserialize, Serialize};

/// What an answer must meet to be accepted. What is `None` is not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The least confidence.
    pub min_confidence: Option<f64>,
    /// The largest epistemic uncertainty, in nats.
    pub max_epistemic: Option<f64>,
    /// A novelty p-value up to this one is too strange.
    pub ood_p: Option<f64>,
    /// The most labels in the prediction set; an empty set is refused with it.
    pub max_set_size: Option<usize>,
}

/// Why an answer is not given, in the words of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The model's weights leave the answer open.
    Epistemic,
    /// The answer is not sure enough.
    Confidence,
    /// The text is unlike those that the model was trained on.
    Ood,
    /// The prediction set is too large, or empty.
    SetSize,
}

/// What is known of an answer. What is `None` cannot be known, and no limit refuses it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Probability of the label.
    pub confidence: f64,
    /// Epistemic uncertainty in nats.
    pub epistemic: Option<f64>,
    pub ood_p: Option<f64>,
    /// Labels in the prediction set.
    pub set_size: Option<usize>,
}

impl Limits {
    /// The limits that an answer misses; none means that it is accepted.
    pub fn reasons(&self, answer: &Answer) -> Vec<Reason> {
        let over = |found: Option<f64>, limit: Option<f64>| {
            found.zip(limit).is_some_and(|(found, limit)| found > limit)
        };
        let strange = answer.ood_p.zip(self.ood_p).is_some_and(|(found, limit)| found <= limit);
        let unsure = self.min_confidence.is_some_and(|limit| answer.confidence < limit);
        let size = answer.set_size.zip(self.max_set_size);
        let checks = [
            (over(answer.epistemic, self.max_epistemic), Reason::Epistemic),
            (unsure, Reason::Confidence),
            (strange, Reason::Ood),
            (size.is_some_and(|(size, most)| size == 0 || size > most), Reason::SetSize),
        ];
        checks.into_iter().filter(|(misses, _)| *misses).map(|(_, reason)| reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_reason_and_what_is_unknown_is_not_held_against_an_answer() {
        let limits = Limits {
            min_confidence: Some(0.7),
            max_epistemic: Some(0.2),
            ood_p: Some(0.01),
            max_set_size: Some(1),
        };
        let good =
            Answer { confidence: 0.7, epistemic: Some(0.2), ood_p: Some(0.011), set_size: Some(1) };
        assert_eq!(limits.reasons(&good), []);
        let bad = Answer {
            confidence: 0.69,
            epistemic: Some(0.21),
            ood_p: Some(0.01),
            set_size: Some(0),
        };
        let all = [Reason::Epistemic, Reason::Confidence, Reason::Ood, Reason::SetSize];
        assert_eq!(limits.reasons(&bad), all);
        assert_eq!(Limits::default().reasons(&bad), []);
        let unknown = Answer { epistemic: None, ood_p: None, set_size: None, ..bad };
        assert_eq!(limits.reasons(&unknown), [Reason::Confidence]);
        assert_eq!(serde_json::to_string(&all[2..]).unwrap(), r#"["ood","set_size"]"#);
    }
}
