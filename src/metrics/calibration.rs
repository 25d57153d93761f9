//! Does a stated probability come true as often as it says.

use serde::{Deserialize, Serialize};

use super::{Scored, argmax};

/// The 97.5 % point of the standard normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// One bar of a reliability diagram. Bin `b` of M holds the rows of confidence in
/// [b/M, (b + 1)/M), the last one 1 as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Rows in the bin. When it is 0 the bin says nothing: both means are 0 and the interval is
    /// all of [0, 1].
    pub count: usize,
    /// Mean confidence of these rows.
    pub mean_confidence: f64,
    /// Share of them whose prediction is right.
    pub accuracy: f64,
    /// Lower end of the 95 % Wilson interval of the accuracy.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// What one bin has collected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub count: u64,
    pub confidence: f64,
    pub hits: u64,
}

impl Tally {
    /// Takes a row that stands there `times` times.
    pub fn add(&mut self, confidence: f64, hit: bool, times: u64) {
        self.count += times;
        self.confidence += times as f64 * confidence;
        self.hits += times * u64::from(hit);
    }
}

/// The bin of a probability among `bins` of equal width; the last bin is closed, so that a
/// confidence of exactly 1 is not lost.
pub(super) fn bin_of(probability: f64, bins: usize) -> usize {
    assert!(bins > 0, "calibration needs at least one bin");
    ((probability * bins as f64) as usize).min(bins - 1)
}

/// Σ_b (n_b/N) |accuracy_b − confidence_b|; the counts cancel, so that empty bins add 0.
pub(super) fn gap(tallies: &[Tally]) -> f64 {
    let rows: u64 = tallies.iter().map(|tally| tally.count).sum();
    let gap = |tally: &Tally| (tally.hits as f64 - tally.confidence).abs();
    tallies.iter().map(gap).sum::<f64>() / rows as f64
}

pub(super) fn tallies(scored: &Scored, bins: usize) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); bins];
    for (probability_c, label) in scored.iter() {
        let predicted = argmax(probability_c);
        let confidence = probability_c[predicted];
        tallies[bin_of(confidence, bins)].add(confidence, predicted == label, 1);
    }
    tallies
}

/// Expected calibration error of the predicted class ("top label") over `bins` equal-width bins of
/// confidence on [0, 1].
///
/// It is above 0 for perfectly calibrated predictions too: see [`super::noise_floor`].
///
/// # Panics
/// When `bins` is 0; so do the other functions that take it.
pub fn ece(scored: &Scored, bins: usize) -> f64 {
    gap(&tallies(scored, bins))
}

/// The same of rows of which only the confidence is known, and whether the prediction is right; not a number without
/// rows.
pub fn top_label_ece(rows: &[(f64, bool)], bins: usize) -> f64 {
    let mut tallies = vec![Tally::default(); bins];
    for &(confidence, hit) in rows {
        tallies[bin_of(confidence, bins)].add(confidence, hit, 1);
    }
    gap(&tallies)
}

/// Expected calibration error of the probability of class 1 against the share of rows of class 1:
/// what some packages print for two classes, another number than [`ece`]. `None` unless K = 2.
pub fn positive_ece(scored: &Scored, bins: usize) -> Option<f64> {
    let mut tallies = vec![Tally::default(); bins];
    for (probability_c, label) in scored.iter() {
        let &[_, positive] = probability_c else { return None };
        tallies[bin_of(positive, bins)].add(positive, label == 1, 1);
    }
    Some(gap(&tallies))
}

/// The data of a reliability diagram: all `bins` bins in order, empty ones too.
pub fn reliability(scored: &Scored, bins: usize) -> Vec<Bin> {
    let bin = |tally: Tally| {
        let (low, high) = wilson(tally.hits, tally.count);
        // An empty bin divides 0 by 1.
        let count = tally.count.max(1) as f64;
        Bin {
            count: tally.count as usize,
            mean_confidence: tally.confidence / count,
            accuracy: tally.hits as f64 / count,
            low,
            high,
        }
    };
    tallies(scored, bins).into_iter().map(bin).collect()
}

/// Wilson's 95 % score interval for a share of `hits` in `count`; (0, 1) when `count` is 0.
///
/// Wilson, "Probable inference, the law of succession, and statistical inference" (JASA, 1927).
pub fn wilson(hits: u64, count: u64) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    let (n, z2) = (count as f64, Z_95 * Z_95);
    let share = hits as f64 / n;
    let centre = share + z2 / (2.0 * n);
    let half = Z_95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// Mean of the largest probability.
pub fn mean_confidence(scored: &Scored) -> f64 {
    scored.mean(|probability_c, _| probability_c[argmax(probability_c)])
}

/// Mean entropy of the predictive distribution in nats, on [0, ln K]: `mean_uncertainty`.
pub fn mean_entropy(scored: &Scored) -> f64 {
    scored.mean(|probability_c, _| entropy(probability_c))
}

/// −Σ p ln p in nats, with 0 ln 0 = 0. Never below 0, as rounding would have it where one p is all but 1, and
/// never −0.
pub fn entropy(probability_c: &[f64]) -> f64 {
    let term = |p: &f64| if *p > 0.0 { -p * p.ln() } else { 0.0 };
    let sum: f64 = probability_c.iter().map(term).sum();
    if sum <= 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::ten;

    #[test]
    fn ten_rows_by_hand() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        // Three bins of confidence: (1.7, 2 hits of 3) and (5.8, 5 hits of 7).
        assert!((ece(&scored, 3) - 0.11).abs() < 1e-15);
        // Three bins of class 1: (0.6, 1 of 3), (1.5, 2 of 3) and (3.4, 3 of 4).
        assert!((positive_ece(&scored, 3).unwrap() - 0.13).abs() < 1e-15);
        assert!((ece(&scored, 5) - 0.13).abs() < 1e-15);
        assert!((ece(&scored, 1) - 0.05).abs() < 1e-15);
        assert!((mean_confidence(&scored) - 0.75).abs() < 1e-15);

        let bins = reliability(&scored, 3);
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [0, 3, 7]);
        assert_eq!(
            bins[0],
            Bin { count: 0, mean_confidence: 0.0, accuracy: 0.0, low: 0.0, high: 1.0 }
        );
        assert!((bins[2].mean_confidence - 5.8 / 7.0).abs() < 1e-15);
        assert_eq!(bins[2].accuracy, 5.0 / 7.0);
        assert_eq!((bins[2].low, bins[2].high), wilson(5, 7));
        let error: f64 = bins
            .iter()
            .map(|bin| bin.count as f64 * (bin.accuracy - bin.mean_confidence).abs() / 10.0)
            .sum();
        assert!((error - ece(&scored, 3)).abs() < 1e-15);
    }

    #[test]
    fn a_confidence_of_one_is_in_the_last_bin() {
        let scored = Scored::new(&[0.0, 1.0, 1.0, 0.0], 2, &[0, 1]).unwrap();
        for bins in [2, 10, 15] {
            assert_eq!(ece(&scored, bins), 1.0);
            assert_eq!(positive_ece(&scored, bins), Some(1.0));
            assert_eq!(reliability(&scored, bins)[bins - 1].count, 2);
        }
        assert_eq!(mean_confidence(&scored), 1.0);
        assert_eq!(mean_entropy(&scored), 0.0);
    }

    #[test]
    fn an_entropy_is_never_below_zero() {
        for certain in [vec![1.0, 0.0], vec![1.0], vec![1.0 + f64::EPSILON, 0.0], Vec::new()] {
            assert_eq!(format!("{:?}", entropy(&certain)), "0.0", "{certain:?}");
        }
    }

    #[test]
    fn a_uniform_prediction_has_the_largest_entropy_and_is_calibrated() {
        let scored = Scored::new(&[0.25; 16], 4, &[0, 1, 2, 3]).unwrap();
        assert_eq!(mean_confidence(&scored), 0.25);
        assert!((mean_entropy(&scored) - 4f64.ln()).abs() < 1e-15);
        assert_eq!(ece(&scored, 15), 0.0);
        // 1/4 · 15 = 3.75
        assert_eq!(reliability(&scored, 15)[3].count, 4);
        assert_eq!(positive_ece(&scored, 15), None);
    }

    #[test]
    fn an_edge_belongs_to_the_bin_above() {
        assert_eq!(bin_of(0.5, 10), 5);
        assert_eq!(bin_of(0.5f64.next_down(), 10), 4);
        assert_eq!(bin_of(0.0, 15), 0);
        assert_eq!(bin_of(1.0 + 1e-7, 15), 14);
        assert_eq!(bin_of(-1e-7, 15), 0);
    }
}
