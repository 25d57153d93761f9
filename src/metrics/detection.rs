//! Does a score tell two groups apart: out-of-distribution texts from others, errors from right
//! answers.

use serde::{Deserialize, Serialize};

use super::ranking::Order;
use super::resample::resample;
use super::{Interval, MetricsError, Ranking, interval};

/// The share of one side that a threshold is set to keep, in the metrics with a 95 in their name.
const KEPT: f64 = 0.95;

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
/// one half (Mann and Whitney's U by mid-ranks). Higher scores mean "positive"; infinite scores are
/// allowed.
///
/// # Errors
/// Either slice is empty, or a score is NaN.
pub fn auroc(negatives: &[f64], positives: &[f64]) -> Result<f64, MetricsError> {
    for (what, scores) in [("negatives", negatives), ("positives", positives)] {
        if scores.is_empty() {
            return Err(MetricsError::Empty { what });
        }
    }
    Ok(Ranking::new(negatives, positives)?.auroc())
}

/// Each of these is NaN where one of the two sides has no rows.
impl Ranking {
    /// See [`auroc`].
    pub fn auroc(&self) -> f64 {
        // Twice U, in whole numbers: positives × (2 · negatives below + tied) of each group.
        let (mut below, mut twice) = (0u64, 0u128);
        for group in self.groups.iter().rev() {
            twice += u128::from(group.positives) * u128::from(2 * below + group.negatives);
            below += group.negatives;
        }
        twice as f64 / (2.0 * self.negatives as f64 * self.positives as f64)
    }

    /// Area under the precision-recall curve as average precision, Σ (R_i − R_{i−1}) P_i over the
    /// distinct thresholds (scikit-learn's `average_precision_score`), and not by trapezoids, which
    /// are too optimistic. For the area with the negatives as positive class ask
    /// [`Ranking::reversed`].
    pub fn average_precision(&self) -> f64 {
        if !self.two_sided() {
            return f64::NAN;
        }
        let (mut found, mut taken, mut sum) = (0, 0, 0.0);
        for group in &self.groups {
            found += group.positives;
            taken += group.rows();
            sum += group.positives as f64 * (found as f64 / taken as f64);
        }
        sum / self.positives as f64
    }

    /// FPR95 of out-of-distribution detection: the share of positives that are accepted when the
    /// threshold is the lowest one that accepts at least 95 % of the negatives. Accepted is what
    /// scores at the threshold or below. "False positive" is a positive taken for in-domain.
    pub fn accepted_at_95(&self) -> f64 {
        if !self.two_sided() {
            return f64::NAN;
        }
        let (mut kept, mut accepted) = (0, 0);
        for group in self.groups.iter().rev() {
            kept += group.negatives;
            accepted += group.positives;
            if kept as f64 / self.negatives as f64 >= KEPT {
                break;
            }
        }
        accepted as f64 / self.positives as f64
    }

    /// The converse, which some papers call FPR95 too: the share of negatives that are rejected
    /// when the threshold is the highest one that rejects at least 95 % of the positives.
    pub fn rejected_at_95(&self) -> f64 {
        self.reversed().accepted_at_95()
    }
}

/// How well a score tells texts of no class (positives) from the others, with 95 % intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// See [`Ranking::auroc`].
    pub auroc: Interval,
    /// See [`Ranking::average_precision`]; texts of no class are the positives.
    pub aupr: Interval,
    /// The same with the in-domain texts as positives: papers differ.
    pub aupr_in: Interval,
    /// See [`Ranking::accepted_at_95`].
    pub fpr95: Interval,
    /// See [`Ranking::rejected_at_95`].
    pub rejected_at_95: Interval,
}

/// Several scores of the same rows: for each score the negatives' and the positives' values. Both
/// sides are resampled, each by itself and once for all scores.
///
/// # Errors
/// A side is empty, or a score is NaN.
///
/// # Panics
/// When the scores are not about the same numbers of rows.
pub fn detect(
    scores: &[(Vec<f64>, Vec<f64>)],
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Result<Vec<Detection>, MetricsError> {
    let Some((negatives, positives)) = scores.first() else { return Ok(Vec::new()) };
    for (what, side) in [("negatives", negatives), ("positives", positives)] {
        if side.is_empty() {
            return Err(MetricsError::Empty { what });
        }
    }
    let orders: Vec<Order> = (scores.iter())
        .map(|(negatives, positives)| Order::of_sides(negatives, positives))
        .collect::<Result<_, _>>()?;
    let inside = negatives.len();
    let mut times_n = vec![1; inside + positives.len()];
    let measure = |order: &Order, times_n: &[u32]| {
        let ranking = order.ranking(&mut |row| times_n[row]);
        let reversed = ranking.reversed();
        [
            ranking.auroc(),
            ranking.average_precision(),
            reversed.average_precision(),
            ranking.accepted_at_95(),
            reversed.accepted_at_95(),
        ]
    };
    let values: Vec<[f64; 5]> = orders.iter().map(|order| measure(order, &times_n)).collect();
    let mut resampled: Vec<[Vec<f64>; 5]> = vec![Default::default(); orders.len()];
    for _ in 0..resamples {
        let (negatives, positives) = times_n.split_at_mut(inside);
        resample(negatives, uniform);
        resample(positives, uniform);
        for (order, lists) in orders.iter().zip(&mut resampled) {
            for (list, value) in lists.iter_mut().zip(measure(order, &times_n)) {
                list.push(value);
            }
        }
    }
    let detection = |(values, lists): ([f64; 5], [Vec<f64>; 5])| {
        let mut lists = lists.into_iter();
        let [auroc, aupr, aupr_in, fpr95, rejected_at_95] =
            values.map(|value| interval(value, lists.next().unwrap_or_default()));
        Detection { auroc, aupr, aupr_in, fpr95, rejected_at_95 }
    };
    Ok(values.into_iter().zip(resampled).map(detection).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::uniform;

    #[test]
    fn separation_ties_and_reversal() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Ok(1.0));
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), Ok(0.0));
        assert_eq!(auroc(&[1.0, 1.0, 1.0], &[1.0, 1.0]), Ok(0.5));
        // Six pairs: 2 over 1, 2 = 2, 2 under 3; 3 over 1, 3 over 2, 3 = 3.
        assert_eq!(auroc(&[1.0, 2.0, 3.0], &[2.0, 3.0]), Ok(4.0 / 6.0));
        assert_eq!(auroc(&[-0.0], &[0.0]), Ok(0.5));
        assert_eq!(auroc(&[f64::NEG_INFINITY, 0.0], &[f64::INFINITY]), Ok(1.0));
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_the_right_order() {
        let mut uniform = uniform(11);
        let mut scores =
            |n: usize| -> Vec<f64> { (0..n).map(|_| (uniform() * 20.0).floor()).collect() };
        let (negatives, positives) = (scores(37), scores(23));
        let mut pairs = 0.0;
        for negative in &negatives {
            for positive in &positives {
                pairs += match positive.total_cmp(negative) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        assert_eq!(auroc(&negatives, &positives), Ok(pairs / (37.0 * 23.0)));
    }

    #[test]
    fn ten_rows_by_hand() {
        // Scores descending: + − + (+ −) − −; three positives, four negatives.
        let ranking = Ranking::new(&[6.0, 4.0, 2.0, 1.0], &[7.0, 5.0, 4.0]).unwrap();
        let expected = (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0;
        assert!((ranking.average_precision() - expected).abs() < 1e-15);
        // From below: 1, 2, then the tie at 4, then 5, then 6 completes the four negatives.
        assert_eq!(ranking.accepted_at_95(), 2.0 / 3.0);
        // From above: 7, 6, 5 and the tie at 4, which completes the three positives.
        assert_eq!(ranking.rejected_at_95(), 2.0 / 4.0);
        let negatives_first = (1.0 + 1.0 + 3.0 / 4.0 + 4.0 / 6.0) / 4.0;
        assert!((ranking.reversed().average_precision() - negatives_first).abs() < 1e-15);
    }

    #[test]
    fn ninety_five_of_a_hundred_are_enough() {
        let negatives: Vec<f64> = (0..100).map(f64::from).collect();
        let ranking = Ranking::new(&negatives, &[93.5, 94.5, 200.0, 94.0]).unwrap();
        // The threshold is 94, the 95th lowest: 93.5 and 94 are accepted.
        assert_eq!(ranking.accepted_at_95(), 0.5);
    }

    #[test]
    fn a_constant_score_knows_nothing() {
        let ranking = Ranking::new(&[1.0; 30], &[1.0; 10]).unwrap();
        assert_eq!(ranking.auroc(), 0.5);
        assert_eq!(ranking.average_precision(), 0.25);
        assert_eq!((ranking.accepted_at_95(), ranking.rejected_at_95()), (1.0, 1.0));
    }

    #[test]
    fn an_empty_side_and_a_nan_are_refused() {
        assert_eq!(auroc(&[], &[1.0]), Err(MetricsError::Empty { what: "negatives" }));
        assert_eq!(auroc(&[1.0], &[]), Err(MetricsError::Empty { what: "positives" }));
        assert!(auroc(&[1.0], &[f64::NAN]).is_err());
        let ranking = Ranking::new(&[1.0], &[]).unwrap();
        assert!(ranking.auroc().is_nan() && ranking.average_precision().is_nan());
        assert!(ranking.accepted_at_95().is_nan() && ranking.rejected_at_95().is_nan());
    }

    #[test]
    fn the_intervals_hold_the_plain_values_and_narrow_with_the_rows() {
        let mut widths = Vec::new();
        for rows in [50, 5000] {
            let mut uniform = uniform(12);
            let negatives: Vec<f64> = (0..rows).map(|_| uniform()).collect();
            let positives: Vec<f64> = (0..rows / 2).map(|_| 0.4 + uniform()).collect();
            let ranking = Ranking::new(&negatives, &positives).unwrap();
            let constant = (vec![0.0; rows], vec![0.0; rows / 2]);
            let found = detect(&[(negatives, positives), constant], 100, &mut uniform).unwrap();
            let Detection { auroc, aupr, aupr_in, fpr95, rejected_at_95 } = found[0];
            assert_eq!(auroc.value, ranking.auroc());
            assert_eq!(aupr.value, ranking.average_precision());
            assert_eq!(aupr_in.value, ranking.reversed().average_precision());
            assert_eq!(fpr95.value, ranking.accepted_at_95());
            assert_eq!(rejected_at_95.value, ranking.rejected_at_95());
            assert!(auroc.low < auroc.value && auroc.value < auroc.high);
            widths.push(auroc.high - auroc.low);
            assert_eq!(found[1].auroc, Interval { value: 0.5, low: 0.5, high: 0.5 });
        }
        assert!((5.0..20.0).contains(&(widths[0] / widths[1])), "{widths:?}");
    }
}
