//! What chance alone does to a metric: bootstrap intervals and the noise floor of the calibration
//! error.
//!
//! Randomness is an argument, a closure that gives numbers uniform on [0, 1). It is called once per
//! row and resample, in order.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::calibration::{Tally, bin_of, gap};
use super::summary::infinite_as_null;
use super::{Scored, argmax};

/// A metric and its 95 % interval. In JSON null stands for infinity (a negative log-likelihood with
/// a label of probability 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Value on all rows.
    #[serde(with = "infinite_as_null")]
    pub value: f64,
    /// Lower end.
    #[serde(with = "infinite_as_null")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "infinite_as_null")]
    pub high: f64,
}

/// The interval from the 2.5 % to the 97.5 % point of a metric's values on resamples ("percentile
/// bootstrap", linear between neighbours). Without resamples both ends are the value.
///
/// # Panics
/// When a value is NaN.
pub fn interval(value: f64, mut resampled: Vec<f64>) -> Interval {
    assert!(resampled.iter().all(|x| !x.is_nan()), "a metric on a resample is a number");
    resampled.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let Some(last) = resampled.len().checked_sub(1) else { return value };
        let place = share * last as f64;
        let (low, high) = (resampled[place as usize], resampled[(place as usize + 1).min(last)]);
        // Two infinite neighbours have no difference.
        if low == high { low } else { low + place.fract() * (high - low) }
    };
    Interval { value, low: quantile(0.025), high: quantile(0.975) }
}

/// One bootstrap resample of N rows with replacement: how often each of them was drawn.
pub(super) fn resample(times_n: &mut [u32], uniform: &mut dyn FnMut() -> f64) {
    times_n.fill(0);
    let rows = times_n.len();
    for _ in 0..rows {
        // A uniform number just below 1 may round up.
        times_n[((uniform() * rows as f64) as usize).min(rows - 1)] += 1;
    }
}

/// Resamples that are drawn before they are looked at together.
const AT_ONCE: usize = 16;

/// `metric` of bootstrap resamples of so many rows: drawn one after another, looked at on all threads.
pub(super) fn bootstrap<T: Send>(
    rows: usize,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
    metric: impl Fn(&[u32]) -> T + Sync,
) -> Vec<T> {
    let mut drawn = vec![vec![0; rows]; AT_ONCE.min(resamples)];
    let mut found = Vec::with_capacity(resamples);
    while found.len() < resamples {
        let some = &mut drawn[..AT_ONCE.min(resamples - found.len())];
        some.iter_mut().for_each(|times_n| resample(times_n, uniform));
        found.par_extend(some.par_iter().map(|times_n| metric(times_n)));
    }
    found
}

/// A metric of so many units with its interval: its value when each unit stands once, and on `resamples` draws of as
/// many units with replacement.
///
/// # Panics
/// There is no unit, or a value is NaN.
pub fn bootstrapped(
    units: usize,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
    metric: impl Fn(&[u32]) -> f64 + Sync,
) -> Interval {
    let value = metric(&vec![1; units]);
    interval(value, bootstrap(units, resamples, uniform, metric))
}

/// The calibration error that perfectly calibrated predictions would show on so many rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Mean over the resamples.
    pub mean: f64,
    /// Standard deviation over the resamples, n − 1 in the denominator; 0 for a single one.
    pub sd: f64,
}

/// The distribution of [`super::ece`] if every label were drawn from its predicted probabilities,
/// over `resamples` draws of all labels (0 is taken as 1).
///
/// The error asks only whether the label is the predicted class, which then has the probability
/// "confidence": one uniform number per row decides it.
pub fn noise_floor(
    scored: &Scored,
    bins: usize,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Floor {
    let top = scored.iter().map(|(probability_c, _)| (probability_c[argmax(probability_c)], true));
    top_label_floor(&top.collect::<Vec<_>>(), bins, resamples, uniform)
}

/// The same of rows of which only the confidence is known.
pub fn top_label_floor(
    rows: &[(f64, bool)],
    bins: usize,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Floor {
    let confidence_n: Vec<(f64, usize)> =
        rows.iter().map(|&(confidence, _)| (confidence, bin_of(confidence, bins))).collect();
    let resamples = resamples.max(1);
    let mut errors = Vec::with_capacity(resamples);
    let mut tallies = vec![Tally::default(); bins];
    for _ in 0..resamples {
        tallies.fill(Tally::default());
        for &(confidence, bin) in &confidence_n {
            tallies[bin].add(confidence, uniform() < confidence, 1);
        }
        errors.push(gap(&tallies));
    }
    Floor::of(&errors)
}

impl Floor {
    /// Of values on resamples, at least one.
    pub(super) fn of(errors: &[f64]) -> Self {
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
        Self { mean, sd: (squares / (errors.len() - 1).max(1) as f64).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;
    use crate::metrics::tests::{calibrated, uniform};

    #[test]
    fn a_resample_has_as_many_rows_and_leaves_a_third_out() {
        let mut times_n = vec![7; 10_000];
        resample(&mut times_n, &mut uniform(8));
        assert_eq!(times_n.iter().sum::<u32>(), 10_000);
        let absent = times_n.iter().filter(|&&times| times == 0).count() as f64 / 10_000.0;
        assert!((absent - (-1f64).exp()).abs() < 0.02, "{absent}");
        resample(&mut times_n, &mut || 1.0f64.next_down());
        assert_eq!(times_n[9_999], 10_000);
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        let shuffled: Vec<f64> = (0..=200).map(|i| f64::from(i * 77 % 201)).collect();
        assert_eq!(interval(9.0, shuffled), Interval { value: 9.0, low: 5.0, high: 195.0 });
        let two = interval(0.0, vec![1.0, 0.0]);
        assert!((two.low - 0.025).abs() < 1e-15 && (two.high - 0.975).abs() < 1e-15);
        assert_eq!(interval(3.0, vec![]), Interval { value: 3.0, low: 3.0, high: 3.0 });
        let some_infinite = interval(f64::INFINITY, vec![f64::INFINITY, 1.0, f64::INFINITY, 1.0]);
        assert_eq!((some_infinite.low, some_infinite.high), (1.0, f64::INFINITY));
    }

    /// One bin and one confidence c: the error is |binomial share − c|, whose normal limit is
    /// folded: mean σ√(2/π), standard deviation σ√(1 − 2/π), σ² = c(1 − c)/N.
    #[test]
    fn the_floor_of_a_constant_confidence_is_a_folded_normal() {
        let (rows, resamples) = (2500, 2000);
        let probability_nc = [0.1, 0.9].repeat(rows);
        let labels = vec![0; rows];
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        let floor = noise_floor(&scored, 15, resamples, &mut uniform(2));
        let sigma = (0.9 * 0.1 / rows as f64).sqrt();
        let two_over_pi = std::f64::consts::FRAC_2_PI;
        let (mean, sd) = (sigma * two_over_pi.sqrt(), sigma * (1.0 - two_over_pi).sqrt());
        let error = 4.0 * sd / (resamples as f64).sqrt();
        assert!((floor.mean - mean).abs() < error, "{} and {mean}", floor.mean);
        assert!((floor.sd / sd - 1.0).abs() < 0.08, "{} and {sd}", floor.sd);
    }

    #[test]
    fn calibrated_predictions_lie_at_their_floor_and_overconfident_ones_above() {
        for (rows, classes, seed) in [(872, 2, 31), (2500, 2, 32), (2500, 4, 33), (25_000, 2, 34)] {
            let (mut probability_nc, labels) = calibrated(rows, classes, seed);
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let floor = noise_floor(&scored, 15, 200, &mut uniform(3));
            let error = metrics::ece(&scored, 15);
            assert!((error - floor.mean).abs() < 4.0 * floor.sd, "{error} and {floor:?}");

            for row_c in probability_nc.chunks_exact_mut(classes) {
                row_c.iter_mut().for_each(|p| *p = p.powi(3));
                let total: f64 = row_c.iter().sum();
                row_c.iter_mut().for_each(|p| *p /= total);
            }
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let floor = noise_floor(&scored, 15, 200, &mut uniform(3));
            let error = metrics::ece(&scored, 15);
            assert!(error > floor.mean + 4.0 * floor.sd, "{error} and {floor:?}");
        }
    }

    #[test]
    fn certain_predictions_have_no_floor() {
        let scored = Scored::new(&[0.0, 1.0, 1.0, 0.0], 2, &[0, 0]).unwrap();
        let floor = noise_floor(&scored, 15, 50, &mut uniform(4));
        assert_eq!(floor, Floor { mean: 0.0, sd: 0.0 });
    }
}
