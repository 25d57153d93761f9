//! What a model said of its calibration rows: `bayes/drift.json` of a model folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grid::{cell, value};
use crate::posterior::{OwnDoubt, Predictive};
use crate::task::Task;

const VERSION: u32 = 1;
/// More rows than any calibration has.
const MOST_ROWS: u64 = 1 << 31;

/// How often each number occurs, cut to the grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Ascending.
    values: Vec<f32>,
    counts: Vec<u32>,
}

impl Histogram {
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
        for number in numbers {
            *counts.entry(cell(number)).or_default() += 1;
        }
        let (values, counts) = counts.into_iter().map(|(cell, rows)| (value(cell), rows)).unzip();
        Self { values, counts }
    }

    /// Each number that occurs, ascending, and its rows.
    pub fn iter(&self) -> impl Iterator<Item = (f64, u32)> + '_ {
        self.values.iter().map(|&value| f64::from(value)).zip(self.counts.iter().copied())
    }

    pub fn rows(&self) -> u64 {
        self.counts.iter().map(|&rows| u64::from(rows)).sum()
    }

    fn check(&self, rows: u64) -> Result<(), String> {
        let finite = self.values.iter().all(|value| value.is_finite());
        let ascending = self.values.is_sorted_by(|a, b| a < b);
        match finite && ascending && self.values.len() == self.counts.len() && self.rows() == rows {
            true => Ok(()),
            false => {
                Err(format!("a histogram is not {rows} rows of finite numbers in ascending order"))
            }
        }
    }
}

/// Histograms of the calibration rows. Novelty has its own in the calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftReference {
    version: u32,
    rows: u64,
    /// Of one minus the confidence, which the grid tells apart where confidences are near 1.
    pub(super) doubt: Histogram,
    /// Nats; `None` where the model does not know its own part of the uncertainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epistemic: Option<Histogram>,
    pub(super) tokens: Histogram,
    /// The places of predicted labels.
    pub(super) label: Histogram,
}

impl DriftReference {
    /// Of what is predicted for rows that no weight was fitted to, and their tokens; `None` without rows. Where the
    /// model does not know its own part of the uncertainty (`doubt`), a fold that rows were judged by may all the same.
    pub fn of(
        task: Task,
        predictive: &[Predictive],
        tokens: &[u32],
        doubt: OwnDoubt,
    ) -> Option<Self> {
        let known = predictive.iter().map(|one| one.epistemic);
        let epistemic: Option<Vec<f64>> = known.collect();
        let epistemic = epistemic.filter(|_| doubt == OwnDoubt::Known);
        let of = |value: &dyn Fn(&[f64]) -> f64| {
            Histogram::of(predictive.iter().map(|one| value(&one.probability_c)))
        };
        (!predictive.is_empty()).then(|| Self {
            version: VERSION,
            rows: predictive.len() as u64,
            doubt: of(&|probability_c| 1.0 - task.confidence(probability_c)),
            epistemic: epistemic.map(|all| Histogram::of(all.into_iter())),
            tokens: Histogram::of(tokens.iter().map(|&tokens| f64::from(tokens))),
            label: of(&|probability_c| task.decision(probability_c) as f64),
        })
    }

    /// Calibration rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain data is JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the file. The error says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let own: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if own.version != VERSION || !(1..MOST_ROWS).contains(&own.rows) {
            return Err(format!("it has version {} and {} rows", own.version, own.rows));
        }
        let all = [Some(&own.doubt), own.epistemic.as_ref(), Some(&own.tokens), Some(&own.label)];
        all.into_iter().flatten().try_for_each(|one| one.check(own.rows))?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictive(p: f64, epistemic: Option<f64>) -> Predictive {
        Predictive { probability_c: vec![1.0 - p, p], total: 0.5, aleatoric: None, epistemic }
    }

    #[test]
    fn a_reference_reads_back_and_a_damaged_one_is_refused() {
        let rows: Vec<Predictive> =
            (1..10).map(|row| predictive(f64::from(row) / 10.0, Some(0.01))).collect();
        let own = DriftReference::of(Task::SingleLabel, &rows, &[7; 9], OwnDoubt::Known).unwrap();
        assert_eq!(own.label.iter().collect::<Vec<_>>(), [(0.0, 5), (1.0, 4)]);
        assert_eq!(own.tokens.iter().collect::<Vec<_>>(), [(7.0, 9)]);
        let bytes = own.to_bytes();
        assert_eq!(DriftReference::from_bytes(&bytes), Ok(own));
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"rows\":9", "\"rows\":8"),
            ("[0.0,1.0]", "[1.0,0.0]"),
            ("[0.0,1.0]", "[0.0,1e99]"),
            ("[0.0,1.0]", "[0.0]"),
            ("{\"version\"", "{\"other\":1,\"version\""),
        ] {
            assert!(text.contains(from), "{text}");
            let damaged = text.replace(from, to);
            assert!(DriftReference::from_bytes(damaged.as_bytes()).is_err(), "{from} {to}");
        }
        let unknown = [predictive(0.3, None), predictive(0.3, Some(0.1))];
        let own =
            DriftReference::of(Task::SingleLabel, &unknown, &[1, 2], OwnDoubt::Known).unwrap();
        assert_eq!(own.epistemic, None);
        let left_out =
            DriftReference::of(Task::SingleLabel, &rows, &[7; 9], OwnDoubt::LeftOut).unwrap();
        assert_eq!(left_out.epistemic, None);
        assert_eq!(DriftReference::of(Task::SingleLabel, &[], &[], OwnDoubt::Known), None);
    }
}
