//! Split conformal prediction: sets of labels that hold the right one with a promised probability.
//!
//! With n scores of held-out rows, q̂ is the k-th smallest, k = ⌈(n + 1)(1 − α)⌉, and the set of a
//! text is every class whose score is at most q̂. If rows and text are exchangeable it holds the
//! label with probability at least 1 − α. Where k > n there is no such score: q̂ = ∞, and the set is
//! full.
//!
//! | method | score of class y | source |
//! |---|---|---|
//! | `lac` | 1 − p_y | Sadinle, Lei and Wasserman, JASA 2019 |
//! | `mondrian` | the same, with a q̂ for each class | Vovk, Gammerman and Shafer, 2005, section 4.5 |
//! | `aps` | Σ_{j before y} p_j + U p_y | Romano, Sesia and Candès, NeurIPS 2020 |
//! | `raps` | the same + λ max(0, rank(y) − k_reg) | Angelopoulos, Bates, Malik and Jordan, ICLR 2021 |
//!
//! Departures. U is a hash of the text and not a draw, so that an answer repeats. Classes with too
//! few rows for their own q̂ (k > n, fewer than 1/α − 1 rows) are pooled to one group; the promise
//! then holds for the group. RAPS's λ and k_reg are chosen once, for the first α asked for, on a
//! fifth of the rows that the quantile does not see; the paper and MAPIE choose them anew for each
//! α. MAPIE subtracts U p_y from the sum with y: its U is one minus ours. It also forgives 1e-8 in
//! comparisons; here scores are compared as they are.
//!
//! What is kept are all scores, so that a request can ask for any coverage.

mod band;
pub mod exchange;
mod score;
mod tune;

use serde::{Deserialize, Serialize};

pub use band::{coverage_band, rank};
pub use exchange::Groups;
pub use score::{Score, uniform};

use crate::compute::Noise;

/// Which score, and whether each class has its own bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConformalMethod {
    /// The smallest sets on average; one threshold for all classes.
    Lac,
    /// The same score with one threshold per class: the coverage guarantee holds within every
    /// class.
    #[default]
    Mondrian,
    /// Sets that grow with the difficulty of the text.
    Aps,
    /// The same without long tails.
    Raps,
}

/// Probabilities `[n, c]` of held-out rows, with the labels and [`uniform`] numbers `[n]`.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// p(class | text), by row.
    pub probability_nc: &'a [f64],
    pub labels: &'a [u32],
    /// The U of each row.
    pub uniforms: &'a [f64],
    /// The number of classes, c.
    pub classes: usize,
}

impl ConformalMethod {
    const ALL: [Self; 4] = [Self::Lac, Self::Mondrian, Self::Aps, Self::Raps];

    /// Its name in configs and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lac => "lac",
            Self::Mondrian => "mondrian",
            Self::Aps => "aps",
            Self::Raps => "raps",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

impl<'a> HeldOut<'a> {
    /// Probabilities, label and U of each row.
    fn rows(&self) -> impl Iterator<Item = (&'a [f64], usize, f64)> + use<'a> {
        let labels = self.labels.iter().map(|&label| label as usize);
        let lines = self.probability_nc.chunks_exact(self.classes);
        lines.zip(labels).zip(self.uniforms).map(|((line, label), &u)| (line, label, u))
    }
}

/// Scores of held-out rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Conformal {
    /// How a class is scored.
    pub score: Score,
    /// Whether each class has its own bound.
    pub by_class: bool,
    /// The scores of each class's rows, ascending.
    pub scores_by_class: Vec<Vec<f64>>,
}

/// The bounds for one α.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// The share of misses that is allowed.
    pub alpha: f64,
    /// q̂ of each class, `[c]`; ∞ where the rows are too few.
    pub bound_c: Vec<f64>,
    /// Classes that share a bound since they have too few rows for their own.
    pub pooled: usize,
    /// Rows behind the bound that has the fewest; of all rows where there is none.
    pub fewest: usize,
}

impl Conformal {
    /// Scores held-out rows. RAPS divides them with `noise` and is tuned for `alpha`.
    pub fn fit(method: ConformalMethod, rows: &HeldOut<'_>, alpha: f64, noise: &Noise) -> Self {
        let mut scored: Vec<usize> = (0..rows.labels.len()).collect();
        let score = match method {
            ConformalMethod::Lac | ConformalMethod::Mondrian => Score::Lac,
            ConformalMethod::Aps => Score::Aps,
            ConformalMethod::Raps => {
                let (tuning, rest) = tune::divide(rows, noise);
                scored = rest;
                tune::choose(rows, &tuning, alpha)
            }
        };
        let mut scores_by_class = vec![Vec::new(); rows.classes];
        let all: Vec<_> = rows.rows().collect();
        for row in scored {
            let (probability_c, label, u) = all[row];
            scores_by_class[label].push(score.of(probability_c, u)[label]);
        }
        for scores in &mut scores_by_class {
            scores.sort_by(f64::total_cmp);
        }
        Self { score, by_class: method == ConformalMethod::Mondrian, scores_by_class }
    }

    /// The method that it was fitted by.
    pub fn method(&self) -> ConformalMethod {
        match self.score {
            Score::Lac if self.by_class => ConformalMethod::Mondrian,
            Score::Lac => ConformalMethod::Lac,
            Score::Aps => ConformalMethod::Aps,
            Score::Raps { .. } => ConformalMethod::Raps,
        }
    }

    /// The number of scores.
    pub fn rows(&self) -> usize {
        self.scores_by_class.iter().map(Vec::len).sum()
    }

    /// The bounds at which sets miss the label in at most a share α of texts.
    pub fn bounds(&self, alpha: f64) -> Bounds {
        let (own, shared): (Vec<_>, Vec<_>) =
            self.scores_by_class.iter().partition(|scores| self.has_own(scores, alpha));
        let pooled = if self.by_class { shared.len() } else { 0 };
        let common: Vec<f64> = shared.iter().copied().flatten().copied().collect();
        // Classes that are in every set say nothing of the coverage of others.
        let counts =
            !shared.is_empty() && (own.is_empty() || rank(common.len(), alpha) <= common.len());
        let groups = own.iter().map(|scores| scores.len());
        let groups = groups.chain(counts.then_some(common.len()));
        let fewest = groups.min().unwrap_or(0);
        let common = smallest(common, alpha);
        let bound = |scores: &Vec<f64>| match self.has_own(scores, alpha) {
            true => scores[rank(scores.len(), alpha) - 1],
            false => common,
        };
        let bound_c = self.scores_by_class.iter().map(bound).collect();
        Bounds { alpha, bound_c, pooled, fewest }
    }

    /// Whether a class with these scores has a bound of its own.
    fn has_own(&self, scores: &[f64], alpha: f64) -> bool {
        self.by_class && rank(scores.len(), alpha) <= scores.len()
    }

    /// The classes in the set of a text, most probable first.
    pub fn set(&self, bounds: &Bounds, probability_c: &[f64], uniform: f64) -> Vec<usize> {
        let score_c = self.score.of(probability_c, uniform);
        let mut classes = score::descending(probability_c);
        classes.retain(|&class| score_c[class] <= bounds.bound_c[class]);
        classes
    }
}

impl Bounds {
    /// Classes that are in every set, since there are too few rows to leave them out of any.
    pub fn always(&self) -> usize {
        self.bound_c.iter().filter(|bound| bound.is_infinite()).count()
    }
}

/// The k-th smallest score; ∞ for k > n.
fn smallest(mut scores: Vec<f64>, alpha: f64) -> f64 {
    let rank = rank(scores.len(), alpha);
    if rank > scores.len() {
        return f64::INFINITY;
    }
    *scores.select_nth_unstable_by(rank - 1, f64::total_cmp).1
}

#[cfg(test)]
mod tests;
