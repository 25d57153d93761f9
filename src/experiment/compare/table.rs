//! Means over seeds with their intervals, and differences to the reference at the same seeds.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Entry;
use super::cell::Cell;

/// A mean over seeds. The interval is mean ± t · s/√n with the 97.5 % point of Student's t of n − 1 degrees of
/// freedom: 95 % where the seeds' values are normal. One seed has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// The value at each seed.
    pub values: Vec<f64>,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub label: String,
    pub method: String,
    /// Keys that were set for it.
    pub settings: Vec<String>,
    /// What a student learned from: another method by its label, or the folder of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// By key; a figure that is not defined at every seed is left out.
    pub figures: BTreeMap<String, Estimate>,
    /// This method less the reference, seed by seed.
    pub differences: BTreeMap<String, Estimate>,
}

/// All methods, the reference first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The label of the method that the others are compared with.
    pub reference: String,
    pub rows: Vec<Row>,
}

impl Estimate {
    /// `None` for no values.
    pub(super) fn of(values: Vec<f64>) -> Option<Self> {
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        if values.len() == 1 {
            return Some(Self { mean, low: None, high: None, values });
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        let t = StudentsT::new(0.0, 1.0, n - 1.0).expect("at least one degree of freedom");
        let half = t.inverse_cdf(0.975) * error;
        Some(Self { mean, low: Some(mean - half), high: Some(mean + half), values })
    }
}

impl Table {
    /// Of cells: for each entry one at each seed.
    pub(super) fn new(
        entries: &[Entry],
        cells: &[Vec<Cell>],
        teacher: impl Fn(&Entry) -> Option<String>,
    ) -> Self {
        let reference = cells.first().map_or(&[][..], Vec::as_slice);
        let row = |(entry, own): (&Entry, &Vec<Cell>)| Row {
            label: entry.label.clone(),
            method: entry.method.name().to_owned(),
            settings: entry.settings.clone(),
            teacher: teacher(entry),
            figures: estimates(own, |cell, key| cell.figures.get(key).copied().flatten()),
            differences: match std::ptr::eq(own.as_slice(), reference) {
                true => BTreeMap::new(),
                false => estimates(own, |cell, key| {
                    let before = reference.iter().find(|other| other.seed == cell.seed)?;
                    let value = |cell: &Cell| cell.figures.get(key).copied().flatten();
                    Some(value(cell)? - value(before)?)
                }),
            },
        };
        Self {
            reference: entries.first().map_or(String::new(), |entry| entry.label.clone()),
            rows: entries.iter().zip(cells).map(row).collect(),
        }
    }
}

/// Of every key that each cell has a value for.
fn estimates(
    cells: &[Cell],
    value: impl Fn(&Cell, &str) -> Option<f64>,
) -> BTreeMap<String, Estimate> {
    let keys = cells.first().into_iter().flat_map(|cell| cell.figures.keys());
    let of_key = |key: &String| {
        let values: Option<Vec<f64>> = cells.iter().map(|cell| value(cell, key)).collect();
        Some((key.clone(), Estimate::of(values?)?))
    };
    keys.filter_map(of_key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.10: t.ppf(0.975, 2) = 4.302652729911275.
    #[test]
    fn an_interval_is_that_of_students_t() {
        let found = Estimate::of(vec![1.0, 2.0, 3.0]).unwrap();
        let half = 4.302_652_729_911_275 / 3f64.sqrt();
        assert_eq!(found.mean, 2.0);
        assert!((found.low.unwrap() - (2.0 - half)).abs() < 1e-9, "{found:?}");
        assert!((found.high.unwrap() - (2.0 + half)).abs() < 1e-9, "{found:?}");
        assert_eq!(Estimate::of(vec![1.5]).unwrap().low, None);
        assert_eq!(Estimate::of(vec![]), None);
    }
}
