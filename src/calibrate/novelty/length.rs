//! What scores are usual for a text of so many tokens.
//!
//! A feature is a mean over tokens. That of a short text is noisier, so it lies farther from every class
//! however usual the text is, and a plain distance tells short from long before it tells strange from
//! usual. A score s of a text of n tokens therefore becomes (s − m(n)) / d(n).
//!
//! m and d are linear in log n between knots at half octaves. Their values at the knots are the posterior
//! mean of a Gaussian: the score has variance σ² around m, and from knot to knot m takes steps of
//! variance σ²/λ, around the mean over all lengths (a weight of 0.01 λ a knot). λ maximises the evidence
//! on a grid that ends at infinity. There m is the same for all lengths, and that is what few rows, or a
//! score that does not depend on the length, come to. d is the same of |s − m|, and rows are then
//! weighed by 1/d². Beyond the lengths that were seen, m and d go level, and slowly back to the mean.

use nalgebra::{DMatrix, DVector};

/// Knots stand at 2^(1 + j/2) tokens, from 2 to 8192.
pub const KNOTS: usize = 25;
/// Knots an octave.
const DENSITY: f64 = 2.0;
/// The logarithm to base two of the first knot.
const FIRST: f64 = 1.0;
/// Candidates for λ besides infinity.
const STIFFNESSES: [f64; 7] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];
/// How much the mean over all lengths weighs at a knot, in units of λ.
const LEVEL: f64 = 0.01;
/// Fewer rows than this say nothing of lengths.
const FEWEST: usize = 20;
/// The least deviation, as a share of the mean one.
const LEAST: f64 = 0.1;
/// How often mean and deviation are fitted in turn.
const ROUNDS: usize = 3;

/// The usual score and its deviation by length.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthCurve {
    /// m at the knots.
    pub mean: [f64; KNOTS],
    /// d at the knots, positive.
    pub deviation: [f64; KNOTS],
}

/// Scores of rows of some lengths, those that are judged first.
#[derive(Clone, Debug, Default)]
pub struct LengthRows {
    pub scores: Vec<f64>,
    pub tokens: Vec<u32>,
    /// Rows of one group do not judge each other.
    pub groups: Vec<Option<usize>>,
}

/// A knot, and the share of the next one.
fn place(tokens: u32) -> (usize, f64) {
    let place = DENSITY * (f64::from(tokens.max(1)).log2() - FIRST);
    let place = place.clamp(0.0, (KNOTS - 1) as f64);
    let knot = (place as usize).min(KNOTS - 2);
    (knot, place - knot as f64)
}

fn at(curve: &[f64; KNOTS], tokens: u32) -> f64 {
    let (knot, share) = place(tokens);
    (1.0 - share) * curve[knot] + share * curve[knot + 1]
}

impl LengthCurve {
    /// From the scores of texts and their tokens. The rows whose scores it is to judge should not be
    /// among them.
    pub fn fit(scores: &[f64], tokens: &[u32]) -> Self {
        let mut weights = vec![1.0; scores.len()];
        let (mut mean, mut deviation) = ([0.0; KNOTS], [1.0; KNOTS]);
        for _ in 0..ROUNDS {
            mean = smooth(scores, tokens, &weights);
            let rows = scores.iter().zip(tokens);
            let gaps: Vec<f64> = rows.map(|(score, &n)| (score - at(&mean, n)).abs()).collect();
            let least = LEAST * gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
            if least <= 0.0 {
                return Self { mean, deviation: [1.0; KNOTS] };
            }
            deviation = smooth(&gaps, tokens, &weights).map(|one| one.max(least));
            weights = tokens.iter().map(|&n| at(&deviation, n).powi(-2)).collect();
            let whole = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
            weights.iter_mut().for_each(|weight| *weight /= whole);
        }
        let curve = Self { mean, deviation };
        let rows = scores.iter().zip(tokens);
        let squares = rows.map(|(&score, &n)| curve.standardised(score, n).powi(2)).sum::<f64>();
        let scale = (squares / scores.len().max(1) as f64).sqrt();
        let scale = if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
        Self { deviation: deviation.map(|one| one * scale), ..curve }
    }

    /// Fits on all rows; gives also what the judged rows come to by what was fitted on rows of other
    /// groups than theirs. A judged row whose group is `None` is judged by what all say.
    pub fn cross_fit(rows: &LengthRows, judged: usize) -> (Self, Vec<f64>) {
        let curve = Self::fit(&rows.scores, &rows.tokens);
        let last = rows.groups.iter().flatten().max();
        let curves: Vec<Self> = (0..last.map_or(0, |last| last + 1))
            .map(|own| {
                let others = (0..rows.scores.len()).filter(|&row| rows.groups[row] != Some(own));
                let (scores, tokens): (Vec<f64>, Vec<u32>) =
                    others.map(|row| (rows.scores[row], rows.tokens[row])).unzip();
                Self::fit(&scores, &tokens)
            })
            .collect();
        let standardised = |row: usize| {
            let own = rows.groups[row].map_or(&curve, |group| &curves[group]);
            own.standardised(rows.scores[row], rows.tokens[row])
        };
        let judged = (0..judged).map(standardised).collect();
        (curve, judged)
    }

    /// (s − m(n)) / d(n).
    pub fn standardised(&self, score: f64, tokens: u32) -> f64 {
        (score - at(&self.mean, tokens)) / at(&self.deviation, tokens)
    }
}

/// The values at the knots of a smooth function of the length, from noisy ones at some lengths, each
/// with a weight.
fn smooth(values: &[f64], tokens: &[u32], weights: &[f64]) -> [f64; KNOTS] {
    let n = values.len() as f64;
    let whole: f64 = weights.iter().sum();
    let products = values.iter().zip(weights).map(|(value, weight)| value * weight);
    let mean = if values.is_empty() { 0.0 } else { products.sum::<f64>() / whole };
    if values.len() < FEWEST {
        return [mean; KNOTS];
    }
    // BᵀWB, BᵀWy and yᵀWy of the values y less their mean; row i of B has the shares of its two knots.
    let mut gram = DMatrix::<f64>::zeros(KNOTS, KNOTS);
    let mut moment = DVector::<f64>::zeros(KNOTS);
    let mut squares = 0.0;
    for ((value, &tokens), weight) in values.iter().zip(tokens).zip(weights) {
        let (knot, share) = place(tokens);
        let both = [(knot, 1.0 - share), (knot + 1, share)];
        for (i, one) in both {
            moment[i] += weight * one * (value - mean);
            for (j, other) in both {
                gram[(i, j)] += weight * one * other;
            }
        }
        squares += weight * (value - mean).powi(2);
    }
    // −n/2 ln σ² with σ² at its best; a constant is left out.
    let fit = |rest: f64| -0.5 * n * (rest.max(1e-12 * squares) / n).ln();
    let mut best = (fit(squares), [mean; KNOTS]);
    if squares <= 0.0 {
        return best.1;
    }
    for stiffness in STIFFNESSES {
        let prior = steps() * stiffness;
        let Some(factor) = (&gram + &prior).cholesky() else { continue };
        let Some(prior) = prior.cholesky() else { continue };
        let knots = factor.solve(&moment);
        let volume = factor.ln_determinant() - prior.ln_determinant();
        let evidence = fit(squares - moment.dot(&knots)) - 0.5 * volume;
        if evidence > best.0 {
            best = (evidence, std::array::from_fn(|knot| mean + knots[knot]));
        }
    }
    best.1
}

/// The precision of a walk over the knots, and of its level.
fn steps() -> DMatrix<f64> {
    let mut steps = DMatrix::identity(KNOTS, KNOTS) * LEVEL;
    for knot in 1..KNOTS {
        steps[(knot - 1, knot - 1)] += 1.0;
        steps[(knot, knot)] += 1.0;
        steps[(knot - 1, knot)] -= 1.0;
        steps[(knot, knot - 1)] -= 1.0;
    }
    steps
}
