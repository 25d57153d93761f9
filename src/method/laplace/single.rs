//! A head with one output: binary classification by the difference of two logits, with the whole
//! `[D, D]` precision.

use candle_core::Result;
use rayon::prelude::*;

use super::evidence::Round;
use crate::posterior::algebra::{Design, InverseRoot, Matrix};

/// What one row says at an output u: −ln p(y | u) and its first two derivatives by u.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub loss: f64,
    pub slope: f64,
    pub curvature: f64,
}

impl Term {
    /// Of a row that counts `weight` times.
    fn times(self, weight: f64) -> Self {
        let Self { loss, slope, curvature } = self;
        Self { loss: weight * loss, slope: weight * slope, curvature: weight * curvature }
    }
}

/// −ln σ(u) for y = 1, −ln σ(−u) for y = 0.
pub fn bernoulli(u: f64, y: f64) -> Term {
    let p = 1.0 / (1.0 + (-u).exp());
    let against = if y > 0.5 { -u } else { u };
    let loss = against.max(0.0) + (-against.abs()).exp().ln_1p();
    Term { loss, slope: p - y, curvature: p * (1.0 - p) }
}

/// A generalised linear model with one output.
pub struct Single<'a> {
    pub design: &'a Design,
    /// What was observed, `[n]`.
    pub target_n: &'a [f64],
    /// What each row counts, `[n]`.
    pub weight_n: &'a [f64],
    pub term: fn(f64, f64) -> Term,
}

/// Weights, and the factor of the precision that the last Newton steps used.
pub struct Mode {
    pub weight_d: Vec<f64>,
    /// ΦᵀΛΦ + prior · I at the weights.
    pub precision: Option<InverseRoot>,
}

impl Mode {
    /// At the difference of the weights of two classes, `[2, D]`.
    pub fn of_two(weight_kd: &[f64]) -> Self {
        let (first, second) = weight_kd.split_at(weight_kd.len() / 2);
        let weight_d = first.iter().zip(second).map(|(a, b)| b - a).collect();
        Self { weight_d, precision: None }
    }

    /// Weights of two classes with this difference, and the sum zero: `[2, D]`.
    pub fn of_each(&self) -> Vec<f64> {
        let halves = [-0.5, 0.5].into_iter();
        halves.flat_map(|half| self.weight_d.iter().map(move |weight| half * weight)).collect()
    }
}

/// A Newton step is the last one if it is shorter than this many posterior standard deviations.
const SHORT: f64 = 1e-7;

/// Steps that make the distance at least this much smaller may share one factor of the precision.
const SHRINKAGE: f64 = 0.25;

const STEPS: usize = 200;

impl Single<'_> {
    /// Σ c_n −ln p(y | u) + (prior / 2) ‖w‖² and its gradient; also the curvatures of the rows.
    fn objective(&self, weight_d: &[f64], prior: f64) -> Result<(f64, Vec<f64>, Vec<f64>)> {
        let output_n = self.design.logits(weight_d)?;
        let term = |((&u, &y), &weight): ((&f64, &f64), &f64)| (self.term)(u, y).times(weight);
        let rows = output_n.par_iter().zip(self.target_n.par_iter());
        let terms: Vec<Term> = rows.zip(self.weight_n.par_iter()).map(term).collect();
        let mut gradient_d = self.design.collect(terms.iter().map(|one| one.slope).collect())?;
        for (gradient, weight) in gradient_d.iter_mut().zip(weight_d) {
            *gradient += prior * weight;
        }
        let loss: f64 = terms.iter().map(|one| one.loss).sum();
        let curvature_n = terms.iter().map(|one| one.curvature).collect();
        Ok((loss + 0.5 * prior * squared(weight_d), gradient_d, curvature_n))
    }

    fn precision(&self, curvature_n: &[f64], prior: f64) -> Result<InverseRoot> {
        let mut precision = self.design.gram(curvature_n)?;
        for i in 0..self.design.width() {
            precision[(i, i)] += prior;
        }
        InverseRoot::of(&precision)
    }

    /// Moves the weights to the minimum for this prior precision, by Newton's method with a factor
    /// that is made again only when it no longer helps; then factors the precision there.
    pub fn refit(&self, mode: &mut Mode, prior: f64) -> Result<()> {
        let (mut value, mut gradient_d, mut curvature_n) = self.objective(&mode.weight_d, prior)?;
        let mut previous = f64::INFINITY;
        for _ in 0..STEPS {
            let fresh = mode.precision.is_none();
            let root = match mode.precision.take() {
                Some(root) => root,
                None => self.precision(&curvature_n, prior)?,
            };
            let scaled = &root.root * Matrix::from_column_slice(gradient_d.len(), 1, &gradient_d);
            let distance = scaled.norm();
            if distance < SHORT {
                break;
            }
            if !fresh && distance > SHRINKAGE * previous {
                previous = f64::INFINITY;
                continue;
            }
            let step_d = -root.root.tr_mul(&scaled);
            let mut length = 1.0;
            let (weight_d, next) = loop {
                let moved = |(weight, step): (&f64, &f64)| weight + length * step;
                let weight_d: Vec<f64> =
                    mode.weight_d.iter().zip(step_d.iter()).map(moved).collect();
                let next = self.objective(&weight_d, prior)?;
                // Near the minimum the values agree to rounding, and the full step is right.
                let descends = next.0 <= value - 1e-4 * length * distance * distance;
                if descends || distance < 1e-3 || length < 1e-6 {
                    break (weight_d, next);
                }
                length *= 0.5;
            };
            mode.weight_d = weight_d;
            (value, gradient_d, curvature_n) = next;
            previous = distance;
            mode.precision = (length == 1.0).then_some(root);
        }
        mode.precision = Some(self.precision(&curvature_n, prior)?);
        Ok(())
    }

    /// Factors the precision where the weights are.
    pub fn stay(&self, mode: &mut Mode, prior: f64) -> Result<()> {
        let (_, _, curvature_n) = self.objective(&mode.weight_d, prior)?;
        mode.precision = Some(self.precision(&curvature_n, prior)?);
        Ok(())
    }

    /// What the evidence says at the mode, whose precision belongs to this prior precision.
    pub fn round(&self, mode: &Mode, prior: f64) -> Result<Round> {
        let precision = mode.precision.as_ref().expect("a mode was fitted");
        let (value, _, _) = self.objective(&mode.weight_d, prior)?;
        let parameters = mode.weight_d.len() as f64;
        Ok(Round {
            effective_parameters: parameters - prior * precision.trace_of_inverse(),
            squared_norm: squared(&mode.weight_d),
            evidence: -value + 0.5 * parameters * prior.ln() - 0.5 * precision.log_determinant,
        })
    }
}

pub fn squared(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}
