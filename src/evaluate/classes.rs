//! Every class by name, and which is taken for which.

use serde::Serialize;

use crate::metrics::{self, Scored, SetReport};

/// Confusions in the report.
const CONFUSIONS: usize = 20;

/// How one class fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    pub label: String,
    pub rows: u64,
    /// Rows that are predicted as it.
    pub predicted: u64,
    /// The share of those that are of it; null where it is never predicted.
    pub precision: Option<f64>,
    /// The share of its rows that are found; null where it has none.
    pub recall: Option<f64>,
    /// The harmonic mean of both; null where neither rows nor predictions are of it.
    pub f1: Option<f64>,
    /// The share of its rows whose prediction set holds it, where there are sets.
    pub coverage: Option<f64>,
}

/// Rows of one class that are predicted as another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfusionReport {
    /// The class that is true.
    pub label: String,
    /// The class that is predicted.
    pub predicted: String,
    pub rows: u64,
    /// As a share of the rows of the true class.
    pub share: f64,
}

/// Every class, in the order of the labels.
pub(super) fn by_class(
    scored: &Scored,
    labels: &[String],
    sets: Option<&SetReport>,
) -> Vec<ClassReport> {
    let coverage = |class: usize| sets?.by_class.get(class)?.map(|one| one.coverage);
    let report = |(class, score): (usize, metrics::ClassScore)| ClassReport {
        label: labels[class].clone(),
        rows: score.rows,
        predicted: score.predicted,
        precision: score.precision,
        recall: score.recall,
        f1: score.f1,
        coverage: coverage(class),
    };
    metrics::by_class(scored).into_iter().enumerate().map(report).collect()
}

/// The most frequent confusions.
pub(super) fn confusions(
    scored: &Scored,
    labels: &[String],
    by_class: &[ClassReport],
) -> Vec<ConfusionReport> {
    let report = |one: metrics::Confusion| ConfusionReport {
        label: labels[one.label].clone(),
        predicted: labels[one.predicted].clone(),
        rows: one.rows,
        share: one.rows as f64 / by_class[one.label].rows as f64,
    };
    metrics::confusions(scored, CONFUSIONS).into_iter().map(report).collect()
}

/// Those that have rows or predictions, the lowest F1 first; of equal ones the class with more rows.
pub fn worst_first(classes: &[ClassReport]) -> Vec<&ClassReport> {
    let mut known: Vec<&ClassReport> = classes.iter().filter(|one| one.f1.is_some()).collect();
    known.sort_by(|a, b| {
        let f1 = |one: &ClassReport| one.f1.unwrap_or_default();
        f1(a).total_cmp(&f1(b)).then(b.rows.cmp(&a.rows))
    });
    known
}

/// Which classes the macro F1 is about, where those are not all: one without rows and predictions has none.
pub fn without_absent(classes: &[ClassReport]) -> Option<String> {
    let absent = classes.iter().filter(|one| one.f1.is_none()).count();
    let (all, occurring) = (classes.len(), classes.len() - absent);
    (absent > 0).then(|| format!("over {occurring} of {all} classes"))
}

/// The class whose prediction sets hold it least often.
pub fn least_covered(classes: &[ClassReport]) -> Option<(&str, f64)> {
    let covered = classes.iter().filter_map(|one| Some((one.label.as_str(), one.coverage?)));
    covered.min_by(|(_, a), (_, b)| a.total_cmp(b))
}
