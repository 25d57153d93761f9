//! λ and k_reg of RAPS.

use super::{HeldOut, Score, score::descending, smallest};
use crate::compute::Noise;
use crate::data::split::{RowKey, carve};

/// The penalties of the paper's experiments.
const PENALTIES: [f64; 5] = [0.001, 0.01, 0.1, 0.2, 0.5];
/// The share of rows that is used here and not for the quantile, as in MAPIE.
const SHARE: f64 = 0.2;
/// Numbers this division among those of one seed.
const DIVISION: u64 = 2;

/// Rows for tuning, and the others; none for tuning where there are too few for both.
pub fn divide(rows: &HeldOut<'_>, noise: &Noise) -> (Vec<usize>, Vec<usize>) {
    // Equal texts have equal hashes, so they stay together.
    let keys: Vec<RowKey> = (rows.labels.iter().zip(rows.uniforms))
        .map(|(&label, uniform)| RowKey { label, text: uniform.to_bits() })
        .collect();
    let parts = carve(&keys, &[SHARE, 1.0 - SHARE], noise, DIVISION);
    match parts.ok().and_then(|parts| <[Vec<usize>; 2]>::try_from(parts).ok()) {
        Some([tuning, rest]) => (tuning, rest),
        None => (Vec::new(), (0..keys.len()).collect()),
    }
}

/// k_reg is the conformal (1 − α) quantile of the label's rank; λ the one with the smallest sets on
/// average over the tuning rows, the smaller one where two are equal.
pub fn choose(rows: &HeldOut<'_>, tuning: &[usize], alpha: f64) -> Score {
    let all: Vec<_> = rows.rows().collect();
    let rank_of = |&row: &usize| {
        let (probability_c, label, _) = all[row];
        let before = descending(probability_c).into_iter().take_while(|&class| class != label);
        (before.count() + 1) as f64
    };
    let free_ranks = smallest(tuning.iter().map(rank_of).collect(), alpha).min(rows.classes as f64);
    let size = |penalty: f64| {
        let score = Score::Raps { penalty, free_ranks };
        let score_nc: Vec<Vec<f64>> =
            tuning.iter().map(|&row| score.of(all[row].0, all[row].2)).collect();
        let own = tuning.iter().zip(&score_nc).map(|(&row, score_c)| score_c[all[row].1]);
        let bound = smallest(own.collect(), alpha);
        score_nc.iter().flatten().filter(|&&score| score <= bound).count()
    };
    let sizes = PENALTIES.map(|penalty| (size(penalty), penalty));
    let best = sizes.into_iter().min_by_key(|&(size, _)| size).expect("the grid is not empty");
    Score::Raps { penalty: best.1, free_ranks }
}
