//! Other forms of the calibration error, beside [`super::ece`]: bins of equal mass, every class by
//! itself, the largest gap.

use serde::{Deserialize, Serialize};

use super::calibration::{Tally, bin_of, gap, tallies};
use super::{Scored, argmax};

/// The confidence of each row, and whether its prediction is right.
pub(super) fn top_label(scored: &Scored) -> (Vec<f64>, Vec<bool>) {
    let top = |(probability_c, label): (&[f64], usize)| {
        let predicted = argmax(probability_c);
        (probability_c[predicted], predicted == label)
    };
    scored.iter().map(top).unzip()
}

/// Expected calibration error of the predicted class over `bins` groups of equal size, ordered by
/// confidence: the first N mod `bins` groups have ⌈N/bins⌉ rows and the others ⌊N/bins⌋. Rows of
/// equal confidence keep their order, so only where such rows lie on both sides of a border does
/// the value depend on it.
///
/// # Panics
/// When `bins` is 0.
pub fn adaptive_ece(scored: &Scored, bins: usize) -> f64 {
    let (confidence_n, hit_n) = top_label(scored);
    EqualMass::new(&confidence_n, bins).error(&hit_n)
}

/// The groups of [`adaptive_ece`]: they depend on the confidences only.
pub(super) struct EqualMass {
    /// The group of each row.
    group_n: Vec<usize>,
    /// The sum of the confidences of each group.
    confidence: Vec<f64>,
}

impl EqualMass {
    pub fn new(confidence_n: &[f64], bins: usize) -> Self {
        assert!(bins > 0, "calibration needs at least one bin");
        let mut order: Vec<usize> = (0..confidence_n.len()).collect();
        order.sort_by(|&a, &b| confidence_n[a].total_cmp(&confidence_n[b]));
        let (size, larger) = (order.len() / bins, order.len() % bins);
        let (mut group_n, mut confidence) = (vec![0; order.len()], vec![0.0; bins]);
        let mut left = order.as_slice();
        for (group, sum) in confidence.iter_mut().enumerate() {
            let (rows, rest) = left.split_at(size + usize::from(group < larger));
            for &row in rows {
                group_n[row] = group;
                *sum += confidence_n[row];
            }
            left = rest;
        }
        Self { group_n, confidence }
    }

    pub fn error(&self, hit_n: &[bool]) -> f64 {
        let mut hits = vec![0u64; self.confidence.len()];
        for (&group, &hit) in self.group_n.iter().zip(hit_n) {
            hits[group] += u64::from(hit);
        }
        let gap = |(&hits, confidence): (&u64, &f64)| (hits as f64 - confidence).abs();
        hits.iter().zip(&self.confidence).map(gap).sum::<f64>() / hit_n.len() as f64
    }
}

/// The mean over the K classes of the calibration error of p(class) against "the label is this
/// class", over `bins` equal-width bins of [0, 1]. Small probabilities are counted too: nothing is
/// thresholded. With many classes the value is small because most probabilities are near 0.
pub fn class_wise_ece(scored: &Scored, bins: usize) -> f64 {
    let classes = scored.classes();
    let mut tallies_cb = vec![Tally::default(); classes * bins];
    for (probability_c, label) in scored.iter() {
        for (class, &p) in probability_c.iter().enumerate() {
            tallies_cb[class * bins + bin_of(p, bins)].add(p, class == label, 1);
        }
    }
    tallies_cb.chunks_exact(bins).map(gap).sum::<f64>() / classes as f64
}

/// The largest gap of a reliability diagram. A bin of few rows can make it large by chance, so it
/// stands beside the rows that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LargestGap {
    /// |accuracy − mean confidence| of that bin, the first one of equals.
    pub value: f64,
    /// Its place among the bins, from 0.
    pub bin: usize,
    /// Its rows.
    pub count: u64,
}

/// Maximum calibration error: the largest gap of the bins of [`super::ece`] that have rows.
pub fn mce(scored: &Scored, bins: usize) -> LargestGap {
    let mut largest = LargestGap { value: -1.0, bin: 0, count: 0 };
    for (bin, tally) in tallies(scored, bins).iter().enumerate().filter(|(_, one)| one.count > 0) {
        let value = (tally.hits as f64 - tally.confidence).abs() / tally.count as f64;
        if value > largest.value {
            largest = LargestGap { value, bin, count: tally.count };
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{calibrated, ten};
    use crate::metrics::{ece, reliability};

    #[test]
    fn ten_rows_by_hand() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        // By confidence: .5✗ .6✓ .6✓ .7✗ | .7✓ .8✓ .8✗ | .9✓ .9✓ 1✓.
        let expected = (0.4 + 0.3 + 0.2) / 10.0;
        assert!((adaptive_ece(&scored, 3) - expected).abs() < 1e-15);
        assert!((adaptive_ece(&scored, 1) - ece(&scored, 1)).abs() < 1e-15);
        // Ten bins of one row each: Σ |hit − confidence| / 10; more bins than rows add empty ones.
        let single = (0.5 + 0.4 + 0.4 + 0.7 + 0.3 + 0.2 + 0.8 + 0.1 + 0.1 + 0.0) / 10.0;
        assert!((adaptive_ece(&scored, 10) - single).abs() < 1e-15);
        assert!((adaptive_ece(&scored, 13) - single).abs() < 1e-15);
        // Three bins of class 1: (0.6, 1 of 3), (1.5, 2 of 3), (3.4, 3 of 4); the mirrored ones of
        // class 0: (0.6, 1 of 4), (1.5, 1 of 3), (2.4, 2 of 3). 1.3 rows of ten for both.
        assert!((class_wise_ece(&scored, 3) - 0.13).abs() < 1e-15);
        let largest = mce(&scored, 3);
        assert_eq!((largest.bin, largest.count), (2, 7));
        assert!((largest.value - 0.8 / 7.0).abs() < 1e-15);
    }

    #[test]
    fn the_largest_gap_is_one_of_the_diagram() {
        let (probability_nc, labels) = calibrated(300, 4, 51);
        let scored = Scored::new(&probability_nc, 4, &labels).unwrap();
        let largest = mce(&scored, 15);
        let gap = |bin: &crate::metrics::Bin| (bin.accuracy - bin.mean_confidence).abs();
        let bins = reliability(&scored, 15);
        let expected = bins.iter().filter(|bin| bin.count > 0).map(gap).fold(0.0, f64::max);
        assert!((largest.value - expected).abs() < 1e-15);
        assert_eq!(bins[largest.bin].count as u64, largest.count);
        assert!(largest.value >= ece(&scored, 15));
    }

    #[test]
    fn the_edges_of_the_scale_are_counted() {
        let scored = Scored::new(&[0.0, 1.0, 1.0, 0.0], 2, &[0, 1]).unwrap();
        for bins in [2, 10, 15] {
            assert_eq!(adaptive_ece(&scored, bins), 1.0);
            assert_eq!(class_wise_ece(&scored, bins), 1.0);
            assert_eq!(mce(&scored, bins), LargestGap { value: 1.0, bin: bins - 1, count: 2 });
        }
        let scored = Scored::new(&[0.25; 16], 4, &[0, 1, 2, 3]).unwrap();
        assert_eq!(class_wise_ece(&scored, 15), 0.0);
        assert_eq!(mce(&scored, 15), LargestGap { value: 0.0, bin: 3, count: 4 });
        assert_eq!(adaptive_ece(&scored, 1), 0.0);
    }

    /// For two classes the mirrored probabilities fall into mirrored bins.
    #[test]
    fn two_classes_have_the_error_of_one() {
        let (probability_nc, labels) = calibrated(400, 2, 52);
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        let positive = crate::metrics::positive_ece(&scored, 15).unwrap();
        assert!((class_wise_ece(&scored, 15) - positive).abs() < 1e-12);
    }
}
