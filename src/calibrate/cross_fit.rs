//! Every row both fits and is predicted, but never by itself: what few rows are best used for.
//!
//! The rows are divided into folds; a row is predicted by what was fitted on the other folds, and
//! what is kept is fitted on all of them. Conformal scores made this way are those of cross-conformal
//! prediction (Vovk, "Cross-conformal predictors", 2015): the promise 1 − α is then nearly but not
//! exactly kept, since the rows were scored by slightly different fits; 1 − 2α is certain.

use std::collections::BTreeSet;

use crate::compute::Noise;
use crate::data::split::{RowKey, carve};

/// Fewer rows in all than this, and calibration is cross-fitted.
pub const SMALL: usize = 2000;

/// The number of folds.
pub const FOLDS: usize = 5;
/// Numbers this division among those of one seed.
const DIVISION: u64 = 3;

/// Rows that are judged by what was fitted on others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    pub train: Vec<usize>,
    /// The rows that are judged, ascending.
    pub judged: Vec<usize>,
}

/// Divides rows into folds, stratified by label; rows with the same text share one. A row whose class
/// has no row in the other folds is judged by nobody: none could know the class. `None` where there
/// are too few rows for folds.
pub fn folds(keys: &[RowKey], noise: &Noise) -> Option<Vec<Fold>> {
    let shares = [1.0 / FOLDS as f64; FOLDS];
    let parts = carve(keys, &shares, noise, DIVISION).ok()?;
    let fold = |judged: Vec<usize>| {
        let other = |row: &usize| judged.binary_search(row).is_err();
        let train: Vec<usize> = (0..keys.len()).filter(other).collect();
        let known: BTreeSet<u32> = train.iter().map(|&row| keys[row].label).collect();
        let judged = judged.into_iter().filter(|&row| known.contains(&keys[row].label)).collect();
        Fold { train, judged }
    };
    Some(parts.into_iter().map(fold).collect())
}

/// Predicts each of the rows by what `fit` makes of the other folds' rows. The folds are stratified
/// by label, and rows with the same text share one. `None` where there are too few rows for folds.
pub fn out_of_fold<F, P>(
    keys: &[RowKey],
    noise: &Noise,
    fit: impl Fn(&[usize]) -> F,
    predict: impl Fn(&F, usize) -> P,
) -> Option<Vec<P>> {
    let shares = [1.0 / FOLDS as f64; FOLDS];
    let folds = carve(keys, &shares, noise, DIVISION).ok()?;
    let mut predicted: Vec<Option<P>> = keys.iter().map(|_| None).collect();
    for fold in &folds {
        let others: Vec<usize> =
            (0..keys.len()).filter(|row| fold.binary_search(row).is_err()).collect();
        let fitted = fit(&others);
        for &row in fold {
            predicted[row] = Some(predict(&fitted, row));
        }
    }
    predicted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_predicted_by_a_fit_that_saw_it_or_its_text() {
        // Rows 0 and 1 hold the same text.
        let keys: Vec<RowKey> =
            (0..40).map(|row| RowKey { label: row % 2, text: u64::from(row.max(1)) }).collect();
        let saw = |rows: &[usize]| rows.to_vec();
        let predicted = out_of_fold(&keys, &Noise::new(1), saw, |seen: &Vec<usize>, row| {
            assert!(!seen.contains(&row));
            assert!(row > 1 || !(seen.contains(&0) || seen.contains(&1)));
            (row, seen.len())
        });
        let predicted = predicted.unwrap();
        assert!(predicted.iter().enumerate().all(|(row, &(own, _))| row == own));
        assert!(predicted.iter().all(|&(_, seen)| (31..=33).contains(&seen)), "{predicted:?}");
        let few = out_of_fold(&keys[..3], &Noise::new(1), saw, |_: &Vec<usize>, row| row);
        assert_eq!(few, None);
    }
}
