//! A model beside the baseline, on the same rows.

use serde::{Deserialize, Serialize};

use crate::metrics::{Calibration, Interval};
use crate::numbers::grouped;

/// How good a linear classifier on the words of the training rows is, and what the model has over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineReport {
    /// Training rows that it was fitted on.
    pub rows: usize,
    /// Training rows that there are.
    pub of_rows: usize,
    /// Its features.
    pub features: usize,
    /// The inverse strength of its regularisation, scikit-learn's C.
    pub cost: f64,
    /// What its logits are divided by.
    pub temperature: f64,
    /// Its accuracy on the rows of the report.
    pub accuracy: Interval,
    /// Its negative log likelihood.
    pub nll: Interval,
    /// Its calibration error, 15 bins.
    pub ece: Calibration,
    /// Model − baseline.
    pub difference: Difference,
    /// Whether the model has the higher accuracy or the lower NLL, beyond chance, and neither the
    /// other way round.
    pub better: bool,
    /// Rows of the report.
    pub test_rows: usize,
}

/// Differences on the same rows, with 95 % intervals over resamples that both share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Above 0 the model is right more often.
    pub accuracy: Interval,
    /// Below 0 its probabilities are better; `None` where both are infinite.
    pub nll: Option<Interval>,
    /// Below 0 it is better calibrated.
    pub ece: Interval,
}

/// What the differences in accuracy and NLL say together. The calibration error does not count by
/// itself: NLL holds it, and the shares of the classes are perfectly calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Better,
    /// Nothing that so many rows can show.
    Alike,
    Worse,
    /// Better in one and worse in the other.
    Mixed,
}

impl Difference {
    pub(super) fn standing(&self) -> Standing {
        let accuracy = self.accuracy;
        let (mut better, mut worse) = (accuracy.low > 0.0, accuracy.high < 0.0);
        if let Some(nll) = self.nll {
            better |= nll.high < 0.0;
            worse |= nll.low > 0.0;
        }
        match (better, worse) {
            (true, false) => Standing::Better,
            (false, false) => Standing::Alike,
            (false, true) => Standing::Worse,
            (true, true) => Standing::Mixed,
        }
    }
}

impl BaselineReport {
    /// `all 168`, or `200 of the 1,000`.
    pub fn part_of_rows(&self) -> String {
        match self.rows == self.of_rows {
            true => format!("all {}", grouped(self.rows)),
            false => format!("{} of the {}", grouped(self.rows), grouped(self.of_rows)),
        }
    }

    /// What is to be said, in one sentence or two, where the model is not better.
    pub fn warning(&self) -> Option<String> {
        let rows = grouped(self.test_rows);
        let more = "more training rows, longer training, or another encoder (`model.init`)";
        Some(match self.difference.standing() {
            Standing::Better => return None,
            Standing::Alike => format!(
                "a linear baseline on the words does as well, as far as {rows} rows can show; try \
                 {more}"
            ),
            Standing::Worse => format!(
                "a linear baseline on the words does better and costs almost nothing; try {more}"
            ),
            Standing::Mixed if self.difference.accuracy.low > 0.0 => format!(
                "a linear baseline on the words has a lower accuracy but better probabilities; use \
                 more rows for the calibration, or try {more}"
            ),
            Standing::Mixed => format!(
                "a linear baseline on the words has a higher accuracy, although it is less \
                 confident; try {more}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(accuracy: (f64, f64), nll: Option<(f64, f64)>) -> BaselineReport {
        let interval = |(low, high)| Interval { value: 0.5 * (low + high), low, high };
        let some = interval((0.1, 0.2));
        let ece = Calibration { value: 0.1, low: 0.0, high: 0.2, floor: 0.1, floor_sd: 0.0 };
        let difference = Difference {
            accuracy: interval(accuracy),
            nll: nll.map(interval),
            ece: interval((-1.0, -0.5)),
        };
        BaselineReport {
            rows: 8,
            of_rows: 9,
            features: 7,
            cost: 4.0,
            temperature: 1.0,
            accuracy: some,
            nll: some,
            ece,
            better: difference.standing() == Standing::Better,
            difference,
            test_rows: 50,
        }
    }

    #[test]
    fn only_a_model_that_is_surely_better_is_spared_the_warning() {
        let (up, about, down) = ((0.1, 0.2), (-0.1, 0.1), (-0.2, -0.1));
        for (accuracy, nll, words) in [
            (up, Some(down), None),
            (up, Some(about), None),
            (about, Some(down), None),
            (up, None, None),
            (about, Some(about), Some("as well, as far as 50 rows")),
            ((0.0, 0.1), Some((-0.1, 0.0)), Some("as well")),
            (about, None, Some("as well")),
            (down, Some(about), Some("does better")),
            (about, Some(up), Some("does better")),
            (down, Some(up), Some("does better")),
            (up, Some(up), Some("lower accuracy")),
            (down, Some(down), Some("higher accuracy")),
        ] {
            let report = report(accuracy, nll);
            let warning = report.warning();
            assert_eq!(report.better, words.is_none(), "{accuracy:?} {nll:?}");
            match (words, &warning) {
                (Some(words), Some(warning)) => assert!(warning.contains(words), "{warning}"),
                (none, found) => assert_eq!(none.is_none(), found.is_none()),
            }
        }
    }

    #[test]
    fn a_report_reads_back_even_with_an_infinite_difference() {
        for nll in [None, Some((f64::INFINITY, f64::INFINITY)), Some((0.1, 0.3))] {
            let report = report((0.1, 0.2), nll);
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<BaselineReport>(&json).unwrap(), report, "{json}");
        }
    }
}
