//! What is gained when the least confident answers are left to a person.
//!
//! A [`Ranking`] of doubt: positives are the wrong answers, a higher score means less confident, so
//! the first answers to be accepted are those of the last group. Within a group of equal confidence
//! there is no order: every count is its mean over all orders, which is linear.

use serde::{Deserialize, Serialize};

use super::Ranking;

/// One point of a risk-coverage curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskPoint {
    /// Share of rows that are accepted.
    pub coverage: f64,
    /// Share of wrong answers among them.
    pub risk: f64,
}

impl Ranking {
    /// Area under the risk-coverage curve: the mean over i = 1 … N of (wrong answers among the i
    /// most confident)/i. Geifman and El-Yaniv, "Selective classification for deep neural networks"
    /// (NeurIPS 2017). Packages that integrate by trapezoids give a slightly other number.
    pub fn aurc(&self) -> f64 {
        let (mut rows, mut errors, mut sum) = (0, 0, 0.0);
        for group in self.groups.iter().rev() {
            for i in 1..=group.rows() {
                // (errors · i)/size is a whole number, and exact, where all or none are errors.
                let inside = (group.positives * i) as f64 / group.rows() as f64;
                sum += (errors as f64 + inside) / (rows + i) as f64;
            }
            rows += group.rows();
            errors += group.positives;
        }
        sum / rows as f64
    }

    /// AURC above that of the perfect order of the same answers, the N-term sum and not its limit:
    /// exactly 0 where every wrong answer is less confident than every right one.
    pub fn e_aurc(&self) -> f64 {
        let errors = 1..=self.positives;
        let ideal: f64 = errors.map(|i| i as f64 / (self.negatives + i) as f64).sum();
        self.aurc() - ideal / self.rows() as f64
    }

    /// Area under the generalised risk-coverage curve, whose height is (wrong answers accepted)/N,
    /// from coverage 0 to 1 by trapezoids: (1 − AUROC)·a(1 − a) + (1 − a)²/2 with accuracy a. Traub
    /// et al., "Overcoming common flaws in the evaluation of selective classification systems"
    /// (NeurIPS 2024), equation 6. The sum over i = 1 … N would be (1 − a)/2N larger.
    pub fn augrc(&self) -> f64 {
        // Twice the area in units of 1/N².
        let (mut errors, mut twice) = (0u64, 0u128);
        for group in self.groups.iter().rev() {
            twice += u128::from(group.rows()) * u128::from(2 * errors + group.positives);
            errors += group.positives;
        }
        let rows = self.rows() as f64;
        twice as f64 / (2.0 * rows * rows)
    }

    /// Accuracy on the ⌈coverage · N⌉ most confident rows.
    ///
    /// # Panics
    /// When `coverage` is not in (0, 1] or there are no rows.
    pub fn selective_accuracy(&self, coverage: f64) -> f64 {
        assert!(coverage > 0.0 && coverage <= 1.0, "a coverage is above 0 and at most 1");
        // 0.07 · 100 is a little above 7.
        let wanted = ((coverage * self.rows() as f64 - 1e-9).ceil() as u64).max(1);
        let (mut rows, mut errors) = (0, 0.0);
        for group in self.groups.iter().rev() {
            let taken = group.rows().min(wanted - rows);
            errors += (group.positives * taken) as f64 / group.rows() as f64;
            rows += taken;
            if rows == wanted {
                break;
            }
        }
        1.0 - errors / rows as f64
    }

    /// The largest share of rows that some threshold accepts with at most `risk` of them wrong; 0
    /// where no threshold does. A threshold accepts all or none of a group of equal confidence.
    pub fn coverage_at_risk(&self, risk: f64) -> f64 {
        let (mut rows, mut errors, mut best) = (0, 0, 0);
        for group in self.groups.iter().rev() {
            rows += group.rows();
            errors += group.positives;
            if errors as f64 / rows as f64 <= risk {
                best = rows;
            }
        }
        best as f64 / self.rows() as f64
    }

    /// The risk-coverage curve at `points` equally spaced coverages up to 1.
    pub fn risk_curve(&self, points: usize) -> Vec<RiskPoint> {
        let coverage = |i: usize| i as f64 / points as f64;
        let point =
            |coverage| RiskPoint { coverage, risk: 1.0 - self.selective_accuracy(coverage) };
        (1..=points).map(coverage).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::uniform;

    /// Doubt of right and of wrong answers.
    fn ranking(right: &[f64], wrong: &[f64]) -> Ranking {
        Ranking::new(right, wrong).unwrap()
    }

    #[test]
    fn ten_rows_by_hand() {
        // By rising doubt: r r w r r r w r w w.
        let ranking = ranking(&[0.1, 0.2, 0.4, 0.5, 0.6, 0.8], &[0.3, 0.7, 0.9, 1.0]);
        let errors = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0];
        let aurc: f64 = errors.iter().zip(1..).map(|(e, i)| e / f64::from(i)).sum::<f64>() / 10.0;
        assert!((ranking.aurc() - aurc).abs() < 1e-15);
        let ideal = (1.0 / 7.0 + 2.0 / 8.0 + 3.0 / 9.0 + 4.0 / 10.0) / 10.0;
        assert!((ranking.e_aurc() - (aurc - ideal)).abs() < 1e-15);
        // Trapezoids of 0 0 0 1 1 1 1 2 2 3 4 tenths, a tenth wide each.
        assert!((ranking.augrc() - 0.13).abs() < 1e-15);
        assert_eq!(ranking.selective_accuracy(0.7), 1.0 - 2.0 / 7.0);
        // 0.65 · 10 rounds up to 7.
        assert_eq!(ranking.selective_accuracy(0.65), 1.0 - 2.0 / 7.0);
        assert_eq!(ranking.selective_accuracy(1.0), 0.6);
        assert_eq!(ranking.coverage_at_risk(0.0), 0.2);
        // 1 of 6 is wrong; the risk was higher at 1 of 3.
        assert_eq!(ranking.coverage_at_risk(0.2), 0.6);
        assert_eq!(ranking.coverage_at_risk(1.0), 1.0);
        let curve = ranking.risk_curve(10);
        assert_eq!(curve[9], RiskPoint { coverage: 1.0, risk: 0.4 });
        assert_eq!(curve[2].coverage, 0.3);
        assert!((curve[2].risk - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_perfect_order_has_no_excess_and_ties_of_one_kind_change_nothing() {
        let mut uniform = uniform(41);
        for (rights, wrongs) in [(93, 7), (1, 1), (500, 1), (3, 200), (10, 0), (0, 10)] {
            let right: Vec<f64> = (0..rights).map(|_| uniform()).collect();
            let wrong: Vec<f64> = (0..wrongs).map(|_| 1.0 + uniform()).collect();
            assert_eq!(ranking(&right, &wrong).e_aurc(), 0.0);
            assert_eq!(ranking(&vec![0.0; rights], &vec![1.0; wrongs]).e_aurc(), 0.0);
        }
    }

    /// r + (1 − r) ln(1 − r), the limit of the perfect order's area.
    #[test]
    fn the_perfect_area_has_the_known_limit() {
        let (rights, wrongs) = (186_000, 14_000);
        let best = ranking(&vec![0.0; rights], &vec![1.0; wrongs]).aurc();
        assert!((best - (0.07 + 0.93 * 0.93f64.ln())).abs() < 2e-7, "{best}");
    }

    #[test]
    fn augrc_is_the_closed_form_of_accuracy_and_auroc() {
        let mut uniform = uniform(42);
        for _ in 0..20 {
            let mut scores =
                |n: usize| -> Vec<f64> { (0..n).map(|_| (uniform() * 12.0).floor()).collect() };
            let ranking = ranking(&scores(40), &scores(9));
            let a = 40.0 / 49.0;
            let expected = (1.0 - ranking.auroc()) * a * (1.0 - a) + (1.0 - a) * (1.0 - a) / 2.0;
            assert!((ranking.augrc() - expected).abs() < 1e-15);
        }
    }

    /// The mean over all orders of four tied rows, one of them wrong.
    #[test]
    fn ties_are_the_mean_over_their_orders() {
        let tied = ranking(&[0.0, 1.0, 1.0, 1.0], &[1.0]);
        let one = |place: usize| {
            let doubt = |i: usize| 1.0 + i as f64;
            let right: Vec<f64> =
                [0.0].into_iter().chain((0..4).filter(|&i| i != place).map(doubt)).collect();
            ranking(&right, &[doubt(place)])
        };
        let mean = |value: &dyn Fn(&Ranking) -> f64| {
            (0..4).map(|place| value(&one(place))).sum::<f64>() / 4.0
        };
        assert!((tied.aurc() - mean(&Ranking::aurc)).abs() < 1e-15);
        assert!((tied.augrc() - mean(&Ranking::augrc)).abs() < 1e-15);
        let accuracy = |ranking: &Ranking| ranking.selective_accuracy(0.5);
        assert!((accuracy(&tied) - mean(&accuracy)).abs() < 1e-15);
        // A threshold cannot divide them.
        assert_eq!(tied.coverage_at_risk(0.1), 0.2);
        assert_eq!(tied.coverage_at_risk(0.2), 1.0);
    }
}
