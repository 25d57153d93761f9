//! Metrics of probabilistic classification: pure functions of predicted probabilities and labels.
//!
//! Everything is computed in `f64` and knows nothing of models, files or other modules. The
//! definitions are scikit-learn's where it has one (`tests/python/golden_metrics.py` makes the
//! expected values); where packages differ, the function's comment says which form it is.

mod by_class;
mod calibration;
mod calibration_error;
mod classification;
mod detection;
mod floors;
mod headline;
mod paired;
mod ranking;
mod resample;
mod scores;
mod selective;
mod sets;
mod smooth_ece;
mod summary;
mod table;

pub use by_class::{ClassScore, Confusion, by_class, confusions};
pub use calibration::{
    Bin, ece, entropy, mean_confidence, mean_entropy, positive_ece, reliability, top_label_ece,
    wilson,
};
pub use calibration_error::{LargestGap, adaptive_ece, class_wise_ece, mce};
pub use classification::{
    accuracy, argmax, best_accuracy, brier, f1_of_class, improbable, macro_f1, mcc, nll,
};
pub use detection::{Detection, auroc, detect};
pub use floors::{AboveFloor, CalibrationErrors, calibration_errors};
pub use headline::{differences, summarise};
pub use paired::{Sides, auroc_difference, mean_difference};
pub use ranking::Ranking;
pub use resample::{Floor, Interval, bootstrapped, interval, noise_floor, top_label_floor};
pub use scores::Scores;
pub use selective::RiskPoint;
pub use sets::{SetReport, SizeStratum, Stratum, sets};
pub use smooth_ece::smooth_ece;
pub use summary::{Calibration, infinite_as_null};
pub use table::{Better, HEADLINE, Metric, Summary};

/// Equal-width bins of `ece` and of the reliability data.
pub const BINS: usize = 15;
/// Equal-width bins of the second figure, `expected_calibration_error`.
pub const COARSE_BINS: usize = 10;
/// Bootstrap resamples behind a 95 % interval.
pub const RESAMPLES: usize = 1000;
/// Resamples behind a noise floor.
pub const FLOOR_RESAMPLES: usize = 200;

/// How far a row of probabilities may be from summing to 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// Why numbers cannot be scored. Rows and classes count from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// There is nothing to average over.
    #[error("there are no {what}: a metric needs at least one")]
    Empty {
        /// What is missing, in the plural.
        what: &'static str,
    },
    /// The flat array is not rows × classes.
    #[error(
        "{found} probabilities cannot be {rows} rows of {classes} classes: expected {expected}"
    )]
    Shape {
        /// Length of the array.
        found: usize,
        /// Number of labels, or of whole rows where there are no labels.
        rows: usize,
        classes: usize,
        /// The length that would fit.
        expected: usize,
    },
    /// Not a number in [0, 1], give or take the rounding allowed for a row's sum.
    #[error("row {row}, class {class}: `{found}` is not a probability between 0 and 1")]
    NotProbability { row: usize, class: usize, found: f64 },
    /// A row that is no distribution.
    #[error("row {row}: the probabilities sum to `{found}`, not to 1 within 1e-6")]
    Sum { row: usize, found: f64 },
    /// A label that names no class.
    #[error("row {row}: label `{found}` is not one of the classes 0 to {last}")]
    Label { row: usize, found: u32, last: usize },
    /// A score that cannot be ordered.
    #[error("{side} {index}: the score is not a number")]
    Score {
        /// `negative` or `positive`.
        side: &'static str,
        /// Place in its slice.
        index: usize,
    },
}

/// Predicted probabilities beside the labels that came true, checked once.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    probability_nc: &'a [f64],
    classes: usize,
    labels: &'a [u32],
}

impl<'a> Scored<'a> {
    /// Takes N × K probabilities (`probability_nc`, row major) and N labels below K.
    ///
    /// # Errors
    /// No rows or classes, lengths that do not agree, a number that is no probability, a row that
    /// does not sum to 1 within 1e-6, a label out of range.
    pub fn new(
        probability_nc: &'a [f64],
        classes: usize,
        labels: &'a [u32],
    ) -> Result<Self, MetricsError> {
        if labels.is_empty() {
            return Err(MetricsError::Empty { what: "rows" });
        }
        check_rows(probability_nc, classes, labels.len())?;
        match labels.iter().position(|&label| label as usize >= classes) {
            Some(row) => Err(MetricsError::Label { row, found: labels[row], last: classes - 1 }),
            None => Ok(Self { probability_nc, classes, labels }),
        }
    }

    /// Number of rows, N.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Number of classes, K.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Each row's probabilities (K) and its label.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [f64], usize)> + use<'a> {
        let labels = self.labels.iter().map(|&label| label as usize);
        self.probability_nc.chunks_exact(self.classes).zip(labels)
    }

    /// The mean over rows of `value(probabilities, label)`.
    fn mean(&self, value: impl Fn(&[f64], usize) -> f64) -> f64 {
        let sum: f64 = self.iter().map(|(probability_c, label)| value(probability_c, label)).sum();
        sum / self.rows() as f64
    }
}

/// Refuses what is not `rows` distributions over `classes` classes.
fn check_rows(probability_nc: &[f64], classes: usize, rows: usize) -> Result<(), MetricsError> {
    if classes == 0 {
        return Err(MetricsError::Empty { what: "classes" });
    }
    let (found, expected) = (probability_nc.len(), rows.saturating_mul(classes));
    if found != expected {
        return Err(MetricsError::Shape { found, rows, classes, expected });
    }
    let allowed = -SUM_TOLERANCE..=1.0 + SUM_TOLERANCE;
    for (row, probability_c) in probability_nc.chunks_exact(classes).enumerate() {
        // A NaN is in no range, so this refuses what is not finite too.
        if let Some(class) = probability_c.iter().position(|p| !allowed.contains(p)) {
            return Err(MetricsError::NotProbability { row, class, found: probability_c[class] });
        }
        let found: f64 = probability_c.iter().sum();
        if (found - 1.0).abs() > SUM_TOLERANCE {
            return Err(MetricsError::Sum { row, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
