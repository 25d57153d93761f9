//! Was the prediction right, and how probable was what came true.

use super::{MetricsError, Scored, check_rows};

/// The largest value's index; of equal values the lowest index. Every metric predicts with it.
///
/// An empty slice gives 0; a NaN is never chosen over a number before it.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// What accuracy, F1 and MCC need to know of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassCount {
    /// Rows of this class that were predicted as such.
    pub hits: u64,
    /// Rows predicted as this class.
    pub predicted: u64,
    /// Rows of this class.
    pub actual: u64,
}

/// Counts a row that stands there `times` times.
pub(super) fn count(counts_c: &mut [ClassCount], predicted: usize, label: usize, times: u64) {
    counts_c[predicted].predicted += times;
    counts_c[label].actual += times;
    counts_c[label].hits += times * u64::from(predicted == label);
}

fn counts(scored: &Scored) -> Vec<ClassCount> {
    let mut counts_c = vec![ClassCount::default(); scored.classes()];
    for (probability_c, label) in scored.iter() {
        count(&mut counts_c, argmax(probability_c), label, 1);
    }
    counts_c
}

/// Share of rows whose predicted class is the label.
pub fn accuracy(scored: &Scored) -> f64 {
    accuracy_of(&counts(scored))
}

pub(super) fn accuracy_of(counts_c: &[ClassCount]) -> f64 {
    let hits: u64 = counts_c.iter().map(|class| class.hits).sum();
    let rows: u64 = counts_c.iter().map(|class| class.actual).sum();
    hits as f64 / rows as f64
}

/// Unweighted mean of the F1 of the classes that occur among the labels or the predictions
/// (scikit-learn's `f1_score` with `average="macro"`). A class that does neither has no F1, and a class
/// that is never predicted rightly has 0.
pub fn macro_f1(scored: &Scored) -> f64 {
    macro_f1_of(&counts(scored))
}

pub(super) fn macro_f1_of(counts_c: &[ClassCount]) -> f64 {
    let occurring = counts_c.iter().filter(|class| class.predicted + class.actual > 0);
    let f1 = |class: &ClassCount| 2.0 * class.hits as f64 / (class.predicted + class.actual) as f64;
    let (sum, classes) =
        occurring.fold((0.0, 0u32), |(sum, classes), class| (sum + f1(class), classes + 1));
    sum / f64::from(classes)
}

/// F1 of one class, row `n` standing `times_n[n]` times: 2 hits / (rows + predicted), and 0 where it neither occurs nor is
/// predicted (scikit-learn's `f1_score` with that class as `pos_label`).
///
/// # Panics
/// When the slices differ in length.
pub fn f1_of_class(class: usize, predicted_n: &[usize], label_n: &[u32], times_n: &[u32]) -> f64 {
    assert_eq!((predicted_n.len(), label_n.len()), (times_n.len(), times_n.len()));
    let mut count = ClassCount::default();
    for ((&predicted, &label), &times) in predicted_n.iter().zip(label_n).zip(times_n) {
        let (is_predicted, is_label) = (predicted == class, label as usize == class);
        count.predicted += u64::from(times) * u64::from(is_predicted);
        count.actual += u64::from(times) * u64::from(is_label);
        count.hits += u64::from(times) * u64::from(is_predicted && is_label);
    }
    match count.predicted + count.actual {
        0 => 0.0,
        both => 2.0 * count.hits as f64 / both as f64,
    }
}

/// Matthews's correlation coefficient in Gorodkin's multi-class form, on [−1, 1]; 0 when all rows
/// have one label or one predicted class, where it is not defined.
///
/// Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient"
/// (Computational Biology and Chemistry, 2004).
pub fn mcc(scored: &Scored) -> f64 {
    mcc_of(&counts(scored))
}

pub(super) fn mcc_of(counts_c: &[ClassCount]) -> f64 {
    let sum = |term: fn(&ClassCount) -> u64| counts_c.iter().map(|k| term(k) as f64).sum::<f64>();
    let product = |term: fn(&ClassCount) -> (u64, u64)| -> f64 {
        counts_c.iter().map(term).map(|(a, b)| a as f64 * b as f64).sum()
    };
    let (hits, rows) = (sum(|k| k.hits), sum(|k| k.actual));
    let covariance = hits * rows - product(|k| (k.predicted, k.actual));
    let predicted = rows * rows - product(|k| (k.predicted, k.predicted));
    let actual = rows * rows - product(|k| (k.actual, k.actual));
    // Sums of whole numbers: exact below 2^53, so a factor that should be 0 is 0.
    if predicted == 0.0 || actual == 0.0 {
        return 0.0;
    }
    covariance / (predicted * actual).sqrt()
}

/// Mean negative log-likelihood, −ln p(label), in nats. Nothing is clipped: one label of
/// probability 0 makes it infinite. See [`improbable`].
pub fn nll(scored: &Scored) -> f64 {
    scored.mean(nll_of)
}

pub(super) fn nll_of(probability_c: &[f64], label: usize) -> f64 {
    // `max` because a probability may be below 0 by the rounding that `Scored` allows, and + 0.0
    // because −ln 1 is −0.
    -probability_c[label].max(0.0).ln() + 0.0
}

/// Number of rows whose label was given a probability below 1e-12: the rows that other tools would
/// have clipped. To be printed beside the negative log-likelihood.
pub fn improbable(scored: &Scored) -> usize {
    scored.iter().filter(|(probability_c, label)| probability_c[*label] < 1e-12).count()
}

/// Brier score in its multi-class form, the mean of Σ_k (p_k − 1[label = k])², on [0, 2]. For two
/// classes it is twice scikit-learn's `brier_score_loss`.
pub fn brier(scored: &Scored) -> f64 {
    scored.mean(brier_of)
}

pub(super) fn brier_of(probability_c: &[f64], label: usize) -> f64 {
    let target = |class| if class == label { 1.0 } else { 0.0 };
    probability_c.iter().enumerate().map(|(class, p)| (p - target(class)).powi(2)).sum()
}

/// The accuracy that no classifier can exceed in expectation when the true distribution of each
/// row's label is known: the mean over rows of the largest of `truth_nc` (N × K, row major).
///
/// # Errors
/// No rows or classes, a length that is no multiple of `classes`, rows that are no distributions.
pub fn best_accuracy(truth_nc: &[f64], classes: usize) -> Result<f64, MetricsError> {
    if truth_nc.is_empty() {
        return Err(MetricsError::Empty { what: "rows" });
    }
    let rows = truth_nc.len().div_ceil(classes.max(1));
    check_rows(truth_nc, classes, rows)?;
    let largest = |truth_c: &[f64]| truth_c[argmax(truth_c)];
    Ok(truth_nc.chunks_exact(classes).map(largest).sum::<f64>() / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::ten;

    #[test]
    fn ten_rows_by_hand() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        assert_eq!(accuracy(&scored), 0.7);
        // Class 1: 4 hits, 5 predicted, 6 actual; class 0: 3 hits, 5 predicted, 4 actual.
        assert!((macro_f1(&scored) - (8.0 / 11.0 + 6.0 / 9.0) / 2.0).abs() < 1e-15);
        assert!((mcc(&scored) - 10.0 / 600f64.sqrt()).abs() < 1e-15);
        let product: f64 = [0.9, 0.8, 0.3, 0.6, 0.5, 0.6, 0.7, 0.2, 0.9, 1.0].iter().product();
        assert!((nll(&scored) + product.ln() / 10.0).abs() < 1e-14);
        assert!((brier(&scored) - 0.37).abs() < 1e-15);
    }

    #[test]
    fn of_equal_probabilities_the_lowest_index_wins() {
        assert_eq!(argmax(&[0.25; 4]), 0);
        assert_eq!(argmax(&[0.1, 0.45, 0.45]), 1);
        assert_eq!(argmax(&[0.1, 0.2, 0.7]), 2);
    }

    #[test]
    fn a_label_of_probability_zero_is_infinitely_bad_and_is_counted() {
        let probability_nc = [0.0, 1.0, 1e-13, 1.0 - 1e-13, 0.5, 0.5];
        let scored = Scored::new(&probability_nc, 2, &[0, 0, 0]).unwrap();
        assert_eq!(nll(&scored), f64::INFINITY);
        assert_eq!(improbable(&scored), 2);
        let scored = Scored::new(&probability_nc, 2, &[1, 1, 0]).unwrap();
        assert!((nll(&scored) - 2f64.ln() / 3.0).abs() < 1e-12);
        assert_eq!(improbable(&scored), 0);
    }

    #[test]
    fn certain_predictions_reach_the_ends_of_every_scale() {
        let probability_nc = [1.0, 0.0, 0.0, 1.0];
        let right = Scored::new(&probability_nc, 2, &[0, 1]).unwrap();
        assert_eq!((accuracy(&right), macro_f1(&right)), (1.0, 1.0));
        assert_eq!((mcc(&right), nll(&right), brier(&right)), (1.0, 0.0, 0.0));
        let wrong = Scored::new(&probability_nc, 2, &[1, 0]).unwrap();
        assert_eq!((accuracy(&wrong), macro_f1(&wrong)), (0.0, 0.0));
        assert_eq!((mcc(&wrong), nll(&wrong), brier(&wrong)), (-1.0, f64::INFINITY, 2.0));
    }

    #[test]
    fn a_constant_prediction_has_no_correlation_and_half_an_f1() {
        let scored = Scored::new(&[0.8, 0.2, 0.7, 0.3, 0.9, 0.1, 0.6, 0.4], 2, &[0, 0, 0, 1]);
        let scored = scored.unwrap();
        assert_eq!(mcc(&scored), 0.0);
        assert_eq!(macro_f1(&scored), 6.0 / 7.0 / 2.0);
    }

    #[test]
    fn the_best_accuracy_is_the_mean_of_the_largest_true_probability() {
        let truth_nc = [0.9, 0.1, 0.5, 0.5, 0.3, 0.7];
        assert!((best_accuracy(&truth_nc, 2).unwrap() - 2.1 / 3.0).abs() < 1e-15);
        assert_eq!(best_accuracy(&[], 2), Err(MetricsError::Empty { what: "rows" }));
        assert_eq!(best_accuracy(&[1.0], 0), Err(MetricsError::Empty { what: "classes" }));
        assert!(matches!(
            best_accuracy(&truth_nc[..5], 2),
            Err(MetricsError::Shape { found: 5, rows: 3, classes: 2, expected: 6 })
        ));
    }
}
