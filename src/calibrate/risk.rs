//! From which confidence on answers may be accepted.
//!
//! Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then test" (2021), for the selective risk of
//! Geifman and El-Yaniv (NeurIPS 2017). Each of a fixed list of thresholds is the null hypothesis
//! "of the texts with at least this confidence a larger share than r is answered wrong". Given how
//! many held-out rows a threshold accepts, their errors are binomial, so the hypothesis has the exact
//! p-value P(Bin(accepted, r) ≤ errors). The thresholds are tested from the strictest to the widest
//! by the fallback procedure (Wiens, 2003): each has a share of δ, and what a rejection used is free
//! for the next. The widest that is rejected is taken.
//!
//! The promise: with probability at least 1 − δ over the draw of the held-out rows, at most a share
//! r of the texts whose confidence is at least the threshold is answered wrong, for texts from the
//! same distribution. It is a promise about confidence alone; other limits only take texts away.
//! Departure from Geifman and El-Yaniv: their search for a threshold among the rows' own confidences
//! chooses what it tests by what it has seen; a fixed list does not.

use statrs::distribution::{Binomial, DiscreteCDF};

/// With this probability a promise may be broken, over draws of the held-out rows.
pub const DELTA: f64 = 0.05;

/// Thresholds that are tested: confidences 1 − 2^(−j/2), so that each step removes the same share
/// of the doubt.
const STEPS: i32 = 20;

/// Confidence and correctness of held-out rows.
pub type Answers<'a> = &'a [(f64, bool)];

/// The smallest confidence of the list from which on at most a share `risk` of the answers is wrong;
/// `None` where the rows prove that for no threshold.
pub fn confidence_threshold(answers: Answers<'_>, risk: f64) -> Option<f64> {
    let mut free = 0.0;
    let mut widest = None;
    for step in (0..=STEPS).rev() {
        free += DELTA / f64::from(STEPS + 1);
        let threshold = 1.0 - 0.5f64.powf(f64::from(step) / 2.0);
        if p_value(answers, threshold, risk) <= free {
            widest = Some(threshold);
        } else {
            free = 0.0;
        }
    }
    widest
}

/// How likely so few errors are where a share `risk` is wrong.
fn p_value(answers: Answers<'_>, threshold: f64, risk: f64) -> f64 {
    let accepted = answers.iter().filter(|(confidence, _)| *confidence >= threshold);
    let (count, errors) = accepted
        .fold((0, 0), |(count, errors), (_, right)| (count + 1, errors + u64::from(!right)));
    Binomial::new(risk, count).map_or(1.0, |binomial| binomial.cdf(errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose, Stream};

    /// Confidence from 0.5 to 1; the answer is wrong with that doubt.
    fn draw(stream: &mut Stream, n: usize) -> Vec<(f64, bool)> {
        let mut answer = || {
            let confidence = 1.0 - 0.5 * stream.uniform();
            (confidence, stream.uniform() < confidence)
        };
        (0..n).map(|_| answer()).collect()
    }

    /// The true risk of a threshold t is (1 − t)/2 here: it may exceed the target in at most a share
    /// δ of the draws.
    #[test]
    fn the_promise_is_broken_no_more_often_than_allowed() {
        let mut stream = Noise::new(8).stream(Purpose::Bootstrap, 0, 0);
        let (repetitions, risk) = (1000, 0.1);
        let (mut broken, mut found) = (0, 0);
        for _ in 0..repetitions {
            if let Some(threshold) = confidence_threshold(&draw(&mut stream, 3000), risk) {
                found += 1;
                broken += i32::from((1.0 - threshold.max(0.5)) / 2.0 > risk);
            }
        }
        let error = (DELTA * (1.0 - DELTA) / f64::from(repetitions)).sqrt();
        let share = f64::from(broken) / f64::from(repetitions);
        assert!(share < DELTA + 4.0 * error, "{share}");
        assert!(found > repetitions * 9 / 10, "the test has power: {found}");
    }

    #[test]
    fn more_rows_allow_a_wider_threshold_and_few_rows_none() {
        let mut stream = Noise::new(9).stream(Purpose::Bootstrap, 0, 0);
        let answers = draw(&mut stream, 20_000);
        let threshold = |n, risk| confidence_threshold(&answers[..n], risk);
        assert_eq!(threshold(100, 0.01), None);
        let few = threshold(4000, 0.1).unwrap();
        assert!(threshold(20_000, 0.1).unwrap() <= few);
        assert!(threshold(20_000, 0.05).unwrap() > threshold(20_000, 0.1).unwrap());
        assert_eq!(threshold(20_000, 0.5), Some(0.0), "everything may be accepted");
        assert_eq!(confidence_threshold(&[], 0.1), None);
    }

    /// 298 right answers are no proof of 2 % at the first share of δ = 0.05 / 21, 299 are:
    /// 0.98^299 = 0.00238.
    #[test]
    fn the_p_value_is_the_binomial_tail() {
        let right = |n| vec![(1.0, true); n];
        let expected = 0.98f64.powi(299);
        assert!((p_value(&right(299), 0.9, 0.02) - expected).abs() < 1e-12);
        assert_eq!(confidence_threshold(&right(299), 0.02), Some(0.0));
        let mut answers = right(299);
        answers.push((0.95, false));
        let one = p_value(&answers, 0.9, 0.02);
        let expected = 0.98f64.powi(300) + 300.0 * 0.02 * 0.98f64.powi(299);
        assert!((one - expected).abs() < 1e-12, "{one}");
    }
}
