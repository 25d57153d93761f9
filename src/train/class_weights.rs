//! How rows of different classes weigh in the loss.

use serde::{Deserialize, Serialize};

/// How rows of different classes weigh in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// All rows weigh the same, so that probabilities match the frequencies in the data.
    #[default]
    None,
    /// Inversely proportional to the class frequency: for skewed labels, at the cost of
    /// calibration.
    Balanced,
}

impl ClassWeights {
    /// Whether all rows weigh the same.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The weight of each class that has so many rows. Balanced weights have a mean of 1 over the rows.
    pub fn of(self, counts: &[u64]) -> Vec<f32> {
        if self.is_none() {
            return vec![1.0; counts.len()];
        }
        let rows: u64 = counts.iter().sum();
        let present = counts.iter().filter(|&&count| count > 0).count() as u64;
        let weight = |&count: &u64| rows as f32 / (present * count.max(1)) as f32;
        counts.iter().map(weight).collect()
    }
}

/// Rows of each class.
pub fn counts(labels: &[u32], classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_make_classes_equal_and_have_a_mean_of_one() {
        let counts = counts(&[0, 0, 0, 2, 0, 2, 0, 0], 3);
        assert_eq!(counts, [6, 0, 2]);
        let weight = ClassWeights::Balanced.of(&counts);
        assert_eq!((6.0 * weight[0], 2.0 * weight[2]), (4.0, 4.0));
        assert_eq!(ClassWeights::None.of(&counts), [1.0; 3]);
    }
}
