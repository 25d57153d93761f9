//! What chance alone does to a metric: bootstrap intervals and the noise floor of the calibration
//! error.
//!
//! Randomness is an argument, a closure that gives numbers uniform on [0, 1). It is called once per
//! row and resample, in order: first for the noise floor, then for the bootstrap.

use serde::{Deserialize, Serialize};

use super::calibration::{Tally, bin_of, entropy_of, gap};
use super::classification::{
    ClassCount, accuracy_of, brier_of, count, macro_f1_of, mcc_of, nll_of,
};
use super::summary::infinite_as_null;
use super::{BINS, COARSE_BINS, Calibration, Scored, Summary, argmax, reliability};

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
    let confidence_n: Vec<(f64, usize)> = scored
        .iter()
        .map(|(probability_c, _)| probability_c[argmax(probability_c)])
        .map(|confidence| (confidence, bin_of(confidence, bins)))
        .collect();
    let resamples = resamples.max(1);
    let mut errors = Vec::with_capacity(resamples);
    let mut tallies = vec![Tally::default(); bins];
    for _ in 0..resamples {
        tallies.fill(Tally::default());
        for &(confidence, bin) in &confidence_n {
            tallies[bin].add(confidence, uniform() < confidence);
        }
        errors.push(gap(&tallies));
    }
    let mean = errors.iter().sum::<f64>() / resamples as f64;
    let squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
    Floor { mean, sd: (squares / (resamples - 1).max(1) as f64).sqrt() }
}

/// All that the headline metrics need to know of a row.
struct Row {
    predicted: u32,
    label: u32,
    bin: u32,
    coarse_bin: u32,
    confidence: f64,
    nll: f64,
    brier: f64,
    entropy: f64,
}

impl Row {
    fn new(probability_c: &[f64], label: usize) -> Self {
        let predicted = argmax(probability_c);
        let confidence = probability_c[predicted];
        Self {
            predicted: predicted as u32,
            label: label as u32,
            bin: bin_of(confidence, BINS) as u32,
            coarse_bin: bin_of(confidence, COARSE_BINS) as u32,
            confidence,
            nll: nll_of(probability_c, label),
            brier: brier_of(probability_c, label),
            entropy: entropy_of(probability_c),
        }
    }
}

/// Running sums over rows from which the nine headline metrics follow.
struct Sums {
    rows: u64,
    class_counts_c: Vec<ClassCount>,
    bins: [Tally; BINS],
    coarse_bins: [Tally; COARSE_BINS],
    confidence: f64,
    nll: f64,
    brier: f64,
    entropy: f64,
}

impl Sums {
    fn over<'r>(classes: usize, rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut sums = Self {
            rows: 0,
            class_counts_c: vec![ClassCount::default(); classes],
            bins: [Tally::default(); BINS],
            coarse_bins: [Tally::default(); COARSE_BINS],
            confidence: 0.0,
            nll: 0.0,
            brier: 0.0,
            entropy: 0.0,
        };
        for row in rows {
            let hit = row.predicted == row.label;
            sums.rows += 1;
            count(&mut sums.class_counts_c, row.predicted as usize, row.label as usize);
            sums.bins[row.bin as usize].add(row.confidence, hit);
            sums.coarse_bins[row.coarse_bin as usize].add(row.confidence, hit);
            sums.confidence += row.confidence;
            sums.nll += row.nll;
            sums.brier += row.brier;
            sums.entropy += row.entropy;
        }
        sums
    }

    /// In the order of [`Summary`].
    fn metrics(&self) -> [f64; 9] {
        let rows = self.rows as f64;
        [
            accuracy_of(&self.class_counts_c),
            macro_f1_of(&self.class_counts_c),
            mcc_of(&self.class_counts_c),
            self.nll / rows,
            self.brier / rows,
            gap(&self.bins),
            gap(&self.coarse_bins),
            self.confidence / rows,
            self.entropy / rows,
        ]
    }
}

/// Every headline metric with its bootstrap interval over `resamples` draws of N rows with
/// replacement (not stratified), and the noise floor over `floor_resamples`.
///
/// The interval of a calibration error near its floor lies too high, and may lie above the value: a
/// resample adds noise of its own to an absolute difference. Read it together with the floor.
pub fn summarise(
    scored: &Scored,
    resamples: usize,
    floor_resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Summary {
    let floor = noise_floor(scored, BINS, floor_resamples, uniform);
    let rows: Vec<Row> = scored.iter().map(|(row_c, label)| Row::new(row_c, label)).collect();
    let values = Sums::over(scored.classes(), rows.iter()).metrics();
    let mut resampled: [Vec<f64>; 9] = Default::default();
    for _ in 0..resamples {
        let last = rows.len() - 1;
        let draws = (0..rows.len()).map(|_| (uniform() * rows.len() as f64) as usize);
        let drawn = draws.map(|index| &rows[index.min(last)]);
        for (list, value) in resampled.iter_mut().zip(Sums::over(scored.classes(), drawn).metrics())
        {
            list.push(value);
        }
    }
    let mut resampled = resampled.into_iter();
    let [accuracy, f1, mcc, nll, brier, ece, expected_calibration_error, confidence, entropy] =
        values.map(|value| interval(value, resampled.next().unwrap_or_default()));
    Summary {
        accuracy,
        f1,
        mcc,
        nll,
        brier,
        ece: Calibration {
            value: ece.value,
            low: ece.low,
            high: ece.high,
            floor: floor.mean,
            floor_sd: floor.sd,
        },
        expected_calibration_error,
        mean_confidence: confidence,
        mean_uncertainty: entropy,
        rows: rows.len(),
        bins: reliability(scored, BINS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;
    use crate::metrics::tests::{calibrated, ten, uniform};

    /// The one-pass sums against the plain functions.
    #[test]
    fn a_summary_holds_the_plain_metrics() {
        for classes in [2, 5] {
            let (probability_nc, labels) = calibrated(500, classes, 21);
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let summary = summarise(&scored, 3, 3, &mut uniform(0));
            for (ours, plain) in [
                (summary.accuracy.value, metrics::accuracy(&scored)),
                (summary.f1.value, metrics::macro_f1(&scored)),
                (summary.mcc.value, metrics::mcc(&scored)),
                (summary.nll.value, metrics::nll(&scored)),
                (summary.brier.value, metrics::brier(&scored)),
                (summary.ece.value, metrics::ece(&scored, 15)),
                (summary.expected_calibration_error.value, metrics::ece(&scored, 10)),
                (summary.mean_confidence.value, metrics::mean_confidence(&scored)),
                (summary.mean_uncertainty.value, metrics::mean_entropy(&scored)),
            ] {
                assert!((ours - plain).abs() < 1e-12, "{ours} and {plain}");
            }
            assert_eq!((summary.rows, summary.bins), (500, reliability(&scored, 15)));
        }
    }

    #[test]
    fn an_interval_contains_its_value_and_shrinks_with_the_rows() {
        let mut widths = Vec::new();
        for rows in [400, 6400] {
            let (probability_nc, labels) = calibrated(rows, 3, 22);
            let scored = Scored::new(&probability_nc, 3, &labels).unwrap();
            let summary = summarise(&scored, 500, 1, &mut uniform(1));
            let all = [
                summary.accuracy,
                summary.f1,
                summary.mcc,
                summary.nll,
                summary.brier,
                summary.mean_confidence,
                summary.mean_uncertainty,
            ];
            assert!(all.iter().all(|x| x.low < x.value && x.value < x.high), "{all:?}");
            assert!(summary.ece.low < summary.ece.high);
            widths.push(all.map(|x| x.high - x.low));

            // The bootstrap of a mean is the normal interval, to the noise of 500 resamples.
            let share = summary.accuracy.value;
            let normal = 2.0 * 1.96 * (share * (1.0 - share) / rows as f64).sqrt();
            let width = summary.accuracy.high - summary.accuracy.low;
            assert!((width / normal - 1.0).abs() < 0.15, "{width} and {normal}");
        }
        for (few, many) in widths[0].iter().zip(widths[1]) {
            // Sixteen times the rows: a quarter of the width.
            assert!((3.0..5.5).contains(&(few / many)), "{few} and {many}");
        }
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

    #[test]
    fn equal_seeds_agree_and_different_seeds_differ() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        let summary = |seed| summarise(&scored, 50, 10, &mut uniform(seed));
        assert_eq!(summary(5), summary(5));
        assert_ne!(summary(5), summary(6));
    }
}
