//! What a precision costs: the same held-out rows at f32 and at that precision, each with what was fitted at it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calibrate::Calibration;
use crate::calibrate::drift::DriftReference;
use crate::method::FitRecord;
use crate::metrics::{Interval, infinite_as_null};
use crate::numbers::grouped;
use crate::posterior::Posterior;

/// How much mean NLL a precision may cost, in nats.
pub const MOST_NLL: f64 = 0.002;
/// So many held-out rows say something.
pub const LEAST_ROWS: usize = 100;

/// What was fitted at a precision other than f32: temperature and scale, prediction sets, novelty and limits.
#[derive(Clone, Debug)]
pub struct FittedAt {
    /// The model's posterior, but for its scaling.
    pub posterior: Posterior,
    pub calibration: Calibration,
    /// What the model says of the calibration rows at the precision; it is not kept beside the two, only in a folder
    /// that is stored at the precision.
    pub drift: Option<DriftReference>,
}

/// A figure at f32 and at a precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    #[serde(with = "infinite_as_null")]
    pub f32: f64,
    /// At the precision.
    #[serde(with = "infinite_as_null")]
    pub own: f64,
    /// The second minus the first, with a 95 % interval over resamples that both share.
    pub difference: Interval,
}

/// The coverage of prediction sets whose thresholds come from other rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoverageChange {
    #[serde(flatten)]
    pub change: Change,
    /// The share of sets that should hold the label.
    pub target: f64,
    /// What 99 % of draws of so many rows have at least, if the promise holds.
    pub least: f64,
}

/// The check of a precision on rows that no weight behind their probabilities was fitted to, and, but where every row
/// trained the last layer, neither was temperature and scale. Novelty and decisions rest on all rows there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Held-out rows.
    pub rows: usize,
    pub accuracy: Change,
    /// Mean negative log-likelihood, nats.
    pub nll: Change,
    pub ece: Change,
    /// The ECE that a calibrated model has with so many rows.
    pub ece_floor: f64,
    /// Absent for a model without prediction sets.
    pub coverage: Option<CoverageChange>,
    /// AUROC of these rows against generated texts on other topics; absent for a model without novelty, and for pairs.
    pub novelty_auroc: Option<Change>,
    /// The share of rows with another label.
    pub changed_labels: f64,
    /// The share of rows that are accepted at one precision alone; absent where nothing is decided.
    pub changed_decisions: Option<f64>,
    /// What the model has in f32 and not at the precision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// What was fitted at the precision.
    pub fit: FitRecord,
}

/// Whether a precision may stand for f32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub granted: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Whether the model was calibrated anew since: it was checked with the weights that it has, and with another
    /// temperature, other sets and other limits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before_recalibration: bool,
}

impl Certificate {
    pub fn verdict(&self) -> Verdict {
        let mut reasons = Vec::new();
        if self.rows < LEAST_ROWS {
            reasons.push(format!(
                "{} held-out rows say too little; {LEAST_ROWS} are needed",
                self.rows
            ));
        }
        let rise = self.nll.own - self.nll.f32;
        // What is no number is no proof.
        if rise.is_nan() || rise > MOST_NLL {
            reasons
                .push(format!("the NLL rises by {rise:.4} nats; at most {MOST_NLL} are allowed"));
        }
        if let Some(CoverageChange { change, target, least }) = self.coverage
            && change.own < least
        {
            reasons.push(format!(
                "prediction sets hold the label in {:.1} % of the rows; of {:.0} % at least {:.1} % are expected",
                100.0 * change.own,
                100.0 * target,
                100.0 * least
            ));
        }
        reasons.extend(
            self.lost.iter().map(|what| format!("the rows do not bear {what}, as they do in f32")),
        );
        Verdict { granted: reasons.is_empty(), reasons, before_recalibration: false }
    }

    /// The verdict and what it rests on, in one sentence.
    pub fn words(&self) -> String {
        let Self { rows, nll, changed_labels, .. } = self;
        let Verdict { granted, reasons, .. } = self.verdict();
        let figures = format!(
            "on {} held-out rows the NLL is {:.4} ({:.4} in f32), and {:.2} % of the labels change",
            grouped(*rows),
            nll.own,
            nll.f32,
            100.0 * changed_labels
        );
        match granted {
            true => format!("certificate granted: {figures}"),
            false => format!("certificate refused: {}; {figures}", reasons.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;

    fn change(f32: f64, own: f64) -> Change {
        Change {
            f32,
            own,
            difference: Interval { value: own - f32, low: own - f32, high: own - f32 },
        }
    }

    #[test]
    fn a_certificate_is_refused_for_each_broken_promise() {
        let good = Certificate {
            rows: 100,
            accuracy: change(0.9, 0.8),
            nll: change(0.3, 0.302 - 1e-12),
            ece: change(0.01, 0.02),
            ece_floor: 0.01,
            coverage: Some(CoverageChange { change: change(0.9, 0.85), target: 0.9, least: 0.85 }),
            novelty_auroc: None,
            changed_labels: 0.0,
            changed_decisions: None,
            lost: Vec::new(),
            fit: FitRecord::new(Method::Map),
        };
        let granted = Verdict { granted: true, reasons: Vec::new(), before_recalibration: false };
        assert_eq!(good.verdict(), granted);
        let low = CoverageChange { change: change(0.9, 0.849), target: 0.9, least: 0.85 };
        for (bad, words) in [
            (Certificate { rows: 99, ..good.clone() }, "99 held-out rows"),
            (Certificate { nll: change(0.3, 0.3021), ..good.clone() }, "rises by 0.0021 nats"),
            (Certificate { nll: change(0.3, f64::NAN), ..good.clone() }, "rises by NaN"),
            (Certificate { coverage: Some(low), ..good.clone() }, "in 84.9 % of the rows"),
            (Certificate { lost: vec!["limits".to_owned()], ..good.clone() }, "do not bear limits"),
        ] {
            let verdict = bad.verdict();
            assert!(!verdict.granted && verdict.reasons[0].contains(words), "{verdict:?}");
        }
    }
}
