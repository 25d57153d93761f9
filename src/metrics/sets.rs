//! Sets of classes that promise to hold the label with probability 1 − α.

use serde::{Deserialize, Serialize};

use super::{Interval, MetricsError, wilson};

/// Sizes that are taken together in [`SetReport::by_size`], both ends included: the strata of
/// Angelopoulos et al., "Uncertainty sets for image classifiers using conformal prediction" (ICLR
/// 2021), section 4.
const STRATA: [(usize, usize); 5] = [(0, 1), (2, 3), (4, 10), (11, 100), (101, usize::MAX)];

/// How sets kept their promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// The share of labels that the sets may miss.
    pub alpha: f64,
    /// Share of labels that lie in their set, with its 95 % Wilson interval.
    pub coverage: Interval,
    /// Mean number of classes in a set.
    pub mean_size: f64,
    /// Share of sets without a class.
    pub empty: f64,
    /// Share of sets of one class.
    pub singleton: f64,
    /// Share of sets of all classes: for two classes the share of "both".
    pub full: f64,
    /// Rows and coverage of each class; `None` for a class without rows.
    pub by_class: Vec<Option<Stratum>>,
    /// Rows and coverage by the size of the set, for sizes that occur.
    pub by_size: Vec<SizeStratum>,
    /// Size-stratified coverage violation: the largest |coverage − (1 − α)| of `by_size`. It cannot
    /// be small where sizes of all classes occur, since these cover always.
    pub sscv: f64,
    /// The lowest coverage of `by_size`.
    pub worst_size_coverage: f64,
}

/// Coverage on some of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// Rows.
    pub count: usize,
    /// Share of their labels that lie in their set.
    pub coverage: f64,
}

/// Coverage on the rows whose sets have a similar size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeStratum {
    /// Smallest size.
    pub from: usize,
    /// Largest size, K at most.
    pub to: usize,
    /// Rows.
    pub count: usize,
    /// Share of their labels that lie in their set.
    pub coverage: f64,
}

/// Scores one set of classes per row (no class twice) against labels below `classes`.
///
/// # Errors
/// No rows, lengths that do not agree, a label or a class out of range.
pub fn sets(
    sets: &[Vec<u32>],
    labels: &[u32],
    classes: usize,
    alpha: f64,
) -> Result<SetReport, MetricsError> {
    if labels.is_empty() {
        return Err(MetricsError::Empty { what: "rows" });
    }
    let (rows, found) = (labels.len(), sets.len());
    if rows != found {
        return Err(MetricsError::Shape { found, rows, classes: 1, expected: rows });
    }
    for (row, (set, label)) in sets.iter().zip(labels).enumerate() {
        if let Some(&found) = set.iter().chain([label]).find(|&&class| class as usize >= classes) {
            return Err(MetricsError::Label { row, found, last: classes.saturating_sub(1) });
        }
    }
    let covered: Vec<bool> = sets.iter().zip(labels).map(|(set, y)| set.contains(y)).collect();
    let stratum = |belongs: &dyn Fn(usize) -> bool| {
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| belongs(row)).collect();
        let hits = rows.iter().filter(|&&row| covered[row]).count();
        let coverage = hits as f64 / rows.len() as f64;
        (!rows.is_empty()).then_some(Stratum { count: rows.len(), coverage })
    };
    let share = |belongs: &dyn Fn(usize) -> bool| {
        sets.iter().filter(|set| belongs(set.len())).count() as f64 / rows as f64
    };
    let by_size: Vec<SizeStratum> = (STRATA.iter())
        .filter_map(|&(from, to)| {
            let Stratum { count, coverage } =
                stratum(&|row| (from..=to).contains(&sets[row].len()))?;
            Some(SizeStratum { from, to: to.min(classes), count, coverage })
        })
        .collect();
    let hits = covered.iter().filter(|&&covered| covered).count();
    let (low, high) = wilson(hits as u64, rows as u64);
    let violation = |one: &SizeStratum| (one.coverage - (1.0 - alpha)).abs();
    Ok(SetReport {
        alpha,
        coverage: Interval { value: hits as f64 / rows as f64, low, high },
        mean_size: sets.iter().map(Vec::len).sum::<usize>() as f64 / rows as f64,
        empty: share(&|size| size == 0),
        singleton: share(&|size| size == 1),
        full: share(&|size| size == classes),
        by_class: (0..classes as u32).map(|class| stratum(&|row| labels[row] == class)).collect(),
        sscv: by_size.iter().map(violation).fold(0.0, f64::max),
        worst_size_coverage: by_size.iter().map(|one| one.coverage).fold(1.0, f64::min),
        by_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_rows_by_hand() {
        let ten: [&[u32]; 10] =
            [&[0], &[1], &[0, 1], &[2], &[], &[1, 2], &[0, 1, 2], &[0], &[2], &[2, 1]];
        let labels = [0, 1, 1, 0, 2, 0, 2, 0, 2, 1];
        let report = sets(&ten.map(<[u32]>::to_vec), &labels, 4, 0.1).unwrap();
        assert_eq!(report.coverage.value, 0.7);
        assert_eq!((report.coverage.low, report.coverage.high), wilson(7, 10));
        assert_eq!((report.mean_size, report.empty, report.singleton), (1.4, 0.1, 0.5));
        assert_eq!(report.full, 0.0);
        let class = |count, coverage| Some(Stratum { count, coverage });
        assert_eq!(report.by_class, [class(4, 0.5), class(3, 1.0), class(3, 2.0 / 3.0), None]);
        let size = |from, to, count, coverage| SizeStratum { from, to, count, coverage };
        assert_eq!(report.by_size, [size(0, 1, 6, 4.0 / 6.0), size(2, 3, 4, 0.75)]);
        assert_eq!(report.worst_size_coverage, 4.0 / 6.0);
        assert!((report.sscv - (0.9 - 4.0 / 6.0)).abs() < 1e-15);
    }

    #[test]
    fn all_classes_cover_always() {
        let report = sets(&vec![vec![0, 1]; 5], &[0, 1, 1, 0, 1], 2, 0.05).unwrap();
        assert_eq!((report.coverage.value, report.full, report.mean_size), (1.0, 1.0, 2.0));
        assert!((report.sscv - 0.05).abs() < 1e-15);
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        assert!(sets(&[], &[], 2, 0.1).is_err());
        assert!(sets(&[vec![0]], &[0, 1], 2, 0.1).is_err());
        assert!(sets(&[vec![2]], &[0], 2, 0.1).is_err());
    }
}
