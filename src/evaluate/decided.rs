//! What the limits of a model do on labelled rows.

use serde::Serialize;

use super::{Answer, Truth};
use crate::calibrate::{self, Limits};

/// How much is accepted, and how good that is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// Labelled rows.
    pub rows: usize,
    /// The share of them that meets all limits.
    pub accepted: f64,
    /// The share of what is accepted that is wrong; `None` where nothing is accepted.
    pub error: Option<f64>,
    /// What that share was proved to be at most, on held-out rows and for the confidence alone.
    pub target_risk: Option<f64>,
}

impl Decided {
    /// `None` for no labelled row.
    pub fn new(limits: &Limits, target_risk: Option<f64>, rows: &[Answer]) -> Option<Self> {
        let (mut all, mut accepted, mut wrong) = (0usize, 0usize, 0usize);
        for answer in rows {
            let Truth::Label { label, .. } = answer.truth else { continue };
            all += 1;
            if limits.reasons(&answer.facts()).is_empty() {
                accepted += 1;
                wrong += usize::from(answer.predicted != label as usize);
            }
        }
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        (all > 0).then(|| Self {
            rows: all,
            accepted: share(accepted, all),
            error: (accepted > 0).then(|| share(wrong, accepted)),
            target_risk,
        })
    }
}

impl Answer {
    /// What a limit looks at.
    fn facts(&self) -> calibrate::Answer {
        calibrate::Answer {
            confidence: self.confidence(),
            epistemic: self.epistemic,
            ood_p: self.novelty.map(|novelty| novelty.p_value),
            set_size: self.set.as_ref().map(Vec::len),
        }
    }
}
