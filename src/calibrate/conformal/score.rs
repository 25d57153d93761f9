//! How ill a class suits a text: the conformity scores of the methods.

use crate::compute::token_key;

/// A conformity score, with what it was tuned to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// `1 − p`.
    Lac,
    /// The probability of all classes before this one, and a uniform share of its own.
    Aps,
    /// The same, and a penalty for each rank after the first `free_ranks`.
    Raps {
        /// λ of the paper.
        penalty: f64,
        /// k_reg of the paper.
        free_ranks: f64,
    },
}

impl Score {
    /// The scores of all classes, `[c]`, for probabilities `[c]` and the text's [`uniform`] number.
    pub fn of(self, probability_c: &[f64], uniform: f64) -> Vec<f64> {
        let (penalty, free_ranks) = match self {
            Self::Lac => return probability_c.iter().map(|p| 1.0 - p).collect(),
            Self::Aps => (0.0, 0.0),
            Self::Raps { penalty, free_ranks } => (penalty, free_ranks),
        };
        let mut score_c = vec![0.0; probability_c.len()];
        let mut before = 0.0;
        for (rank, class) in (1..).zip(descending(probability_c)) {
            let p = probability_c[class];
            let excess = (f64::from(rank) - free_ranks).max(0.0);
            score_c[class] = before + uniform * p + penalty * excess;
            before += p;
        }
        score_c
    }
}

/// The classes from the most to the least probable; equal ones in their order.
pub(super) fn descending(probability_c: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probability_c.len()).collect();
    order.sort_by(|&a, &b| probability_c[b].total_cmp(&probability_c[a]));
    order
}

/// The U of APS and RAPS, in [0, 1): 53 bits of the text's key, so that the same text always has the
/// same set.
pub fn uniform(ids: &[u32], type_ids: &[u32]) -> f64 {
    (token_key(ids, type_ids) >> 11) as f64 / (1u64 << 53) as f64
}
