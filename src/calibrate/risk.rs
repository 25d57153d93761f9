//! From which confidence on answers may be accepted.
//!
//! Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then test" (2021), for the selective risk of
//! Geifman and El-Yaniv (NeurIPS 2017). Each of a fixed list of thresholds t is, for each level r that was
//! asked for, the null hypothesis "of the texts with at least this confidence a larger share than r is
//! answered wrong". Given how many held-out rows a threshold accepts, their errors are binomial, so the
//! hypothesis has the exact p-value P(Bin(accepted, r) ≤ errors). The thresholds are tested from the
//! strictest to the widest by the fallback procedure (Wiens, 2003): each has a share of δ, and what a
//! threshold used is free for the next one where nothing is left to reject: where it was proved for the
//! strictest level. Of the levels that were proved for any threshold the strictest is taken, and for it the
//! widest threshold.
//!
//! The promise: with probability at least 1 − δ over the draw of the held-out rows, at most a share
//! r of the texts whose confidence is at least the threshold is answered wrong, for texts from the
//! same distribution, although level and threshold were chosen by these rows. It is a promise about
//! confidence alone; other limits only take texts away.
//!
//! Several levels cost nothing at one threshold: its p-value falls as r grows, so of the levels below its
//! true risk ρ(t) the largest is rejected wherever any is, and it is with probability a(t) at most, the
//! share of δ that stands there. As long as nothing was rejected wrongly, shares were passed on by
//! thresholds with ρ(t) at most the strictest level only, which have no true hypothesis; so the a(t) of the
//! others add up to δ at most. With one level this is the fallback procedure itself. To test every level by
//! a procedure of its own at δ and take the strictest would not keep the promise: their errors add up.
//!
//! Departure from Geifman and El-Yaniv: their search for a threshold among the rows' own confidences
//! chooses what it tests by what it has seen; a fixed list does not.

use statrs::distribution::{Binomial, DiscreteCDF};

/// With this probability a promise may be broken, over draws of the held-out rows.
pub const DELTA: f64 = 0.05;

/// Thresholds that are tested: confidences 1 − 2^(−j/2), so that each step removes the same share
/// of the doubt.
const STEPS: i32 = 20;

/// The share of δ of each threshold.
const SHARE: f64 = DELTA / (STEPS + 1) as f64;

/// Confidence and correctness of held-out rows.
pub type Answers<'a> = &'a [(f64, bool)];

/// What held-out rows prove.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// At most this share of the accepted answers is wrong.
    pub risk: f64,
    /// From this confidence on they are accepted.
    pub threshold: f64,
}

/// The strictest of the levels, ascending, that the rows prove for a confidence of the list, or for
/// `least` where that is higher; and the smallest such confidence. `None` where they prove none.
pub fn prove(answers: Answers<'_>, levels: &[f64], least: f64) -> Option<Proof> {
    // What so few rows could not prove without a single error takes no part: their number is no matter
    // of chance.
    let levels: Vec<f64> =
        levels.iter().copied().filter(|&risk| rows_needed(risk) <= answers.len()).collect();
    let strictest = *levels.first()?;
    let mut widest = vec![None; levels.len()];
    let mut free = 0.0;
    for step in (0..=STEPS).rev() {
        free += SHARE;
        let threshold = (1.0 - 0.5f64.powf(f64::from(step) / 2.0)).max(least);
        for (&risk, widest) in levels.iter().zip(&mut widest) {
            if p_value(answers, threshold, risk) <= free {
                *widest = Some(threshold);
            }
        }
        if p_value(answers, threshold, strictest) > free {
            free = 0.0;
        }
    }
    let proofs = levels.iter().zip(widest);
    let mut proofs = proofs.filter_map(|(&risk, widest)| Some(Proof { risk, threshold: widest? }));
    proofs.next()
}

/// Rows, all of them answered right, without which a level is not proved: (1 − r)^n ≤ the share of one
/// threshold.
pub fn rows_needed(risk: f64) -> usize {
    let alone = |n: u64| (1.0 - risk).powf(n as f64) <= SHARE;
    let about = (SHARE.ln() / (-risk).ln_1p()).ceil().max(1.0) as u64;
    // The logarithm may be off by a rounding error.
    let needed = if about > 1 && alone(about - 1) { about - 1 } else { about };
    usize::try_from(needed).unwrap_or(usize::MAX)
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

    fn threshold(answers: Answers<'_>, risk: f64) -> Option<f64> {
        prove(answers, &[risk], 0.0).map(|proof| proof.threshold)
    }

    /// In how large a share of repetitions something was proved, and the promise broken.
    fn shares(
        levels: &[f64],
        rows: usize,
        risk_of: impl Fn(f64) -> f64,
        mut draw: impl FnMut(usize) -> Vec<(f64, bool)>,
    ) -> (f64, f64) {
        let (mut found, mut broken) = (0, 0);
        for _ in 0..REPETITIONS {
            if let Some(proof) = prove(&draw(rows), levels, 0.0) {
                found += 1;
                broken += i32::from(risk_of(proof.threshold) > proof.risk);
            }
        }
        let share = |count: i32| f64::from(count) / f64::from(REPETITIONS);
        (share(found), share(broken))
    }

    const REPETITIONS: i32 = 1000;

    /// Four standard errors above what is allowed.
    fn allowed() -> f64 {
        DELTA + 4.0 * (DELTA * (1.0 - DELTA) / f64::from(REPETITIONS)).sqrt()
    }

    /// The true risk of a threshold t is (1 − t)/2 here: it may exceed the level in at most a share
    /// δ of the draws, for one level and for several of which the strictest is taken.
    #[test]
    fn the_promise_is_broken_no_more_often_than_allowed() {
        let mut stream = Noise::new(8).stream(Purpose::Bootstrap, 0, 0);
        let risk_of = |threshold: f64| (1.0 - threshold.max(0.5)) / 2.0;
        for levels in [&[0.1][..], &[0.01, 0.02, 0.05, 0.1], &[0.08, 0.09, 0.1, 0.11, 0.12]] {
            let (found, broken) = shares(levels, 3000, risk_of, |n| draw(&mut stream, n));
            assert!(broken < allowed(), "{levels:?}: {broken}");
            assert!(found > 0.9, "the test has power: {levels:?}: {found}");
        }
    }

    /// Where taking the strictest of several is most tempting: wherever one looks, answers are wrong a little
    /// more often than the stricter level allows, and all together a little more often than the wider one.
    /// Every proof of the one, and the widest of the other, is false.
    #[test]
    fn levels_that_are_just_missed_are_proved_no_more_often_than_allowed() {
        let mut stream = Noise::new(10).stream(Purpose::Bootstrap, 0, 0);
        let draw = |n: usize| -> Vec<(f64, bool)> {
            let mut answer = || {
                let doubt = 0.35 * stream.uniform().powi(4);
                let (confidence, wrong) =
                    if stream.uniform() < 0.5 { (1.0 - doubt, 0.0501) } else { (0.6, 0.1503) };
                (confidence, stream.uniform() >= wrong)
            };
            (0..n).map(|_| answer()).collect()
        };
        let risk_of = |threshold: f64| if threshold > 0.6 { 0.0501 } else { 0.1002 };
        let (found, broken) = shares(&[0.05, 0.1], 2000, risk_of, draw);
        assert!((0.005..allowed()).contains(&broken), "the test has power: {broken}");
        assert!(found > 0.9, "{found}");
    }

    #[test]
    fn the_strictest_level_that_the_rows_prove_is_taken() {
        let mut stream = Noise::new(9).stream(Purpose::Bootstrap, 0, 0);
        let answers = draw(&mut stream, 20_000);
        let levels = [0.001, 0.05, 0.1, 0.2];
        let taken = |n| prove(&answers[..n], &levels, 0.0).map(|proof| proof.risk);
        // (1 − 0.2)^28 < 0.05 / 21 < (1 − 0.2)^27: fewer rows prove nothing.
        assert_eq!(taken(27), None);
        assert_eq!(taken(1000), Some(0.2));
        assert_eq!(taken(20_000), Some(0.05));
        // One level by itself may be wider, and never narrower.
        let among = prove(&answers[..1000], &levels, 0.0).unwrap();
        assert!(threshold(&answers[..1000], 0.2).unwrap() <= among.threshold);
        // A level that no row could prove is not in the way of the others.
        let two = prove(&answers[..1000], &[1e-6, 0.2], 0.0);
        assert_eq!(two, prove(&answers[..1000], &[0.2], 0.0));
        assert_eq!(prove(&answers, &[], 0.0), None);
    }

    /// The promise is about the answers that are accepted in the end.
    #[test]
    fn a_least_confidence_of_ones_own_is_what_is_tested() {
        // Wrong between 0.9 and 0.95, right above.
        let rows = |confidence, right| vec![(confidence, right); 200];
        let answers = [rows(0.92, false), rows(0.99, true)].concat();
        assert!(threshold(&answers, 0.05).unwrap() > 0.92);
        let proof = prove(&answers, &[0.05], 0.95).unwrap();
        assert_eq!(proof.threshold, 0.95);
        assert_eq!(prove(&answers, &[0.05], 0.9999), None, "nothing is accepted there");
    }

    #[test]
    fn more_rows_allow_a_wider_threshold_and_few_rows_none() {
        let mut stream = Noise::new(9).stream(Purpose::Bootstrap, 0, 0);
        let answers = draw(&mut stream, 20_000);
        let threshold = |n, risk| threshold(&answers[..n], risk);
        assert_eq!(threshold(100, 0.01), None);
        let few = threshold(4000, 0.1).unwrap();
        assert!(threshold(20_000, 0.1).unwrap() <= few);
        assert!(threshold(20_000, 0.05).unwrap() > threshold(20_000, 0.1).unwrap());
        assert_eq!(threshold(20_000, 0.5), Some(0.0), "everything may be accepted");
        assert_eq!(prove(&[], &[0.1], 0.0), None);
    }

    /// 298 right answers are no proof of 2 % at the first share of δ = 0.05 / 21, 299 are:
    /// 0.98^299 = 0.00238.
    #[test]
    fn the_p_value_is_the_binomial_tail() {
        let right = |n| vec![(1.0, true); n];
        let expected = 0.98f64.powi(299);
        assert!((p_value(&right(299), 0.9, 0.02) - expected).abs() < 1e-12);
        assert_eq!(threshold(&right(299), 0.02), Some(0.0));
        assert_eq!((threshold(&right(298), 0.02), rows_needed(0.02)), (None, 299));
        assert_eq!((rows_needed(1.0), rows_needed(0.1)), (1, 58));
        let mut answers = right(299);
        answers.push((0.95, false));
        let one = p_value(&answers, 0.9, 0.02);
        let expected = 0.98f64.powi(300) + 300.0 * 0.02 * 0.98f64.powi(299);
        assert!((one - expected).abs() < 1e-12, "{one}");
    }
}
