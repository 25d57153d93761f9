//! What to label next: texts of a pool from which a model would learn much, chosen together, so that they do not all
//! say the same.

mod spread;

use rayon::prelude::*;

use self::spread::spread;
use super::Predictor;
use crate::compute::{Noise, Purpose, Stream};
use crate::metrics::argmax;

/// How texts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Those of the highest epistemic uncertainty, whatever they have in common.
    Epistemic,
    /// At random, each with a chance in proportion to its epistemic uncertainty, which is the mutual information of
    /// label and weights (PowerBALD with β = 1: Kirsch et al., TMLR 2023).
    Bald,
    /// Far from each other in the gradients of the last layer that the texts would have with the labels that the model
    /// gives them: long where it is not sure, in the direction of class and feature (BADGE: Ash et al., ICLR 2020).
    Badge,
    /// Far from each other, and from what has a label, in the direction of their features.
    Coverage,
}

impl Strategy {
    /// Why a model cannot choose so: what keeps it from reporting epistemic uncertainty.
    pub(super) fn lacks(self, predictor: &Predictor) -> Option<&'static str> {
        match self {
            Self::Epistemic | Self::Bald => predictor.artifact().posterior.own_doubt().reason(),
            Self::Badge | Self::Coverage => None,
        }
    }
}

/// How many texts are chosen, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub count: usize,
    pub strategy: Strategy,
    /// Of the draws.
    pub seed: u64,
}

/// What is known of a text that may be chosen.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub probability_c: &'a [f64],
    /// In nats; 0 where the model reports none.
    pub epistemic: f64,
    /// φ.
    pub feature_d: &'a [f32],
}

impl Selection {
    /// The places of those that are chosen, in that order. `labelled` are the features of texts that have labels;
    /// `progress` is told how many are chosen.
    pub(super) fn choose(
        &self,
        pool: &[Candidate<'_>],
        labelled: &[Vec<f32>],
        progress: &mut dyn FnMut(usize),
    ) -> Vec<usize> {
        let mut draws = Noise::new(self.seed).stream(Purpose::Select, 0, 0);
        match self.strategy {
            Strategy::Epistemic => {
                self.highest(&pool.iter().map(|one| one.epistemic).collect::<Vec<_>>())
            }
            Strategy::Bald => {
                let key = |one: &Candidate<'_>| one.epistemic.max(0.0).ln() + gumbel(&mut draws);
                self.highest(&pool.iter().map(key).collect::<Vec<_>>())
            }
            Strategy::Badge => {
                let gradients = Gradients::new(pool);
                let length: Vec<f64> =
                    (0..pool.len()).map(|row| gradients.product(row, row)).collect();
                let distance =
                    |a: usize, b: usize| length[a] + length[b] - 2.0 * gradients.product(a, b);
                // A text without a gradient teaches nothing: the origin is a centre from the beginning.
                spread(length.clone(), distance, self.count, &mut draws, progress)
            }
            Strategy::Coverage => {
                let unit: Vec<Vec<f32>> = pool.iter().map(|one| direction(one.feature_d)).collect();
                let known: Vec<Vec<f32>> = labelled.iter().map(|one| direction(one)).collect();
                let between = |a: &[f32], b: &[f32]| 2.0 - 2.0 * dot(a, b);
                let to_known = |one: &Vec<f32>| {
                    known.iter().map(|other| between(one, other)).fold(2.0, f64::min)
                };
                let nearest = unit.par_iter().map(to_known).collect();
                let distance = |a: usize, b: usize| between(&unit[a], &unit[b]);
                spread(nearest, distance, self.count, &mut draws, progress)
            }
        }
    }

    /// The places of the highest values; of equal ones the first.
    fn highest(&self, values: &[f64]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..values.len()).collect();
        places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        places.truncate(self.count);
        places
    }
}

/// The gradients of the loss in the weights and biases of the last layer, (p − e) ⊗ [φ, 1], which are never written out.
struct Gradients<'a> {
    pool: &'a [Candidate<'a>],
    residual_nc: Vec<Vec<f32>>,
}

impl<'a> Gradients<'a> {
    fn new(pool: &'a [Candidate<'a>]) -> Self {
        Self { pool, residual_nc: pool.iter().map(residual).collect() }
    }

    /// Of the gradients of two rows.
    fn product(&self, a: usize, b: usize) -> f64 {
        let features = 1.0 + dot(self.pool[a].feature_d, self.pool[b].feature_d);
        dot(&self.residual_nc[a], &self.residual_nc[b]) * features
    }
}

/// The gradient of the loss in the logits, were the label the most probable one: p − e, `[c]`.
fn residual(one: &Candidate<'_>) -> Vec<f32> {
    let mut residual: Vec<f32> = one.probability_c.iter().map(|&p| p as f32).collect();
    residual[argmax(one.probability_c)] -= 1.0;
    residual
}

/// Of length 1.
fn direction(feature_d: &[f32]) -> Vec<f32> {
    let length = dot(feature_d, feature_d).sqrt().max(f64::MIN_POSITIVE);
    feature_d.iter().map(|value| (f64::from(*value) / length) as f32).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum::<f32>();
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.zip(b) {
        (0..8).for_each(|lane| lanes[lane] += a[lane] * b[lane]);
    }
    f64::from(lanes.iter().sum::<f32>() + rest)
}

/// A draw of Gumbel's distribution: the largest of log w + draw are a sample without replacement with weights w.
fn gumbel(draws: &mut Stream) -> f64 {
    -(-(1.0 - draws.uniform()).ln()).ln()
}

#[cfg(test)]
mod tests;
