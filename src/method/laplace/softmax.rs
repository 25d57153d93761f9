//! A softmax head of several classes: its mode by Newton's method with conjugate gradients.
//!
//! Weights are `[k, D]` and centred: over the classes they sum to zero, as they do at the mode.

use candle_core::Result;
use rayon::prelude::*;

use super::kronecker::Kronecker;
use super::newton::Space;
use super::single::squared;
use crate::posterior::algebra::{Design, Eigen, Matrix};

/// A classifier of rows with labels below `classes`.
pub struct Softmax<'a> {
    pub design: &'a Design,
    pub labels: &'a [u32],
    pub classes: usize,
    /// What each row counts, `[n]`.
    pub weight_n: &'a [f64],
    /// Σ c_n φ̃ over the rows of each class, `[k, D]`.
    observed_kd: Vec<f64>,
    /// A = Σ c_n φ̃ φ̃ᵀ / Σ c_n.
    second_moment: Eigen,
    pub space: Space,
}

/// Weights and what they predict.
pub struct Mode {
    pub weight_kd: Vec<f64>,
    /// p(class | row), `[n, k]`.
    pub probability_nk: Vec<f64>,
    logit_nk: Vec<f64>,
    /// Σ c_n −ln p(label | row).
    pub loss: f64,
}

const STEPS: usize = 100;

impl<'a> Softmax<'a> {
    /// `second_moment` is that of the design, Σ c_n φ̃ φ̃ᵀ / Σ c_n.
    pub fn new(
        design: &'a Design,
        labels: &'a [u32],
        classes: usize,
        weight_n: &'a [f64],
        second_moment: Eigen,
    ) -> Result<Self> {
        let rows = design.rows();
        let mut indicator_nk = vec![0.0; rows * classes];
        let lines = indicator_nk.chunks_exact_mut(classes);
        for (line, (&label, &weight)) in lines.zip(labels.iter().zip(weight_n)) {
            line[label as usize] = weight;
        }
        let observed_kd = design.collect(indicator_nk)?;
        let space = Space::new(design, weight_n, &second_moment)?;
        Ok(Self { design, labels, classes, weight_n, observed_kd, second_moment, space })
    }

    /// The mode that begins at these weights, centred.
    pub fn start(&self, weight_kd: &[f64]) -> Result<Mode> {
        let weight_kd = self.centred(weight_kd);
        let logit_nk = self.design.logits(&weight_kd)?;
        Ok(self.predict(weight_kd, logit_nk))
    }

    fn centred(&self, weight_kd: &[f64]) -> Vec<f64> {
        let width = self.design.width();
        let mut centred = weight_kd.to_vec();
        for i in 0..width {
            let column = centred.iter().skip(i).step_by(width);
            let mean = column.sum::<f64>() / self.classes as f64;
            centred.iter_mut().skip(i).step_by(width).for_each(|weight| *weight -= mean);
        }
        centred
    }

    fn predict(&self, weight_kd: Vec<f64>, logit_nk: Vec<f64>) -> Mode {
        let mut probability_nk = logit_nk.clone();
        let rows = self.labels.par_iter().zip(self.weight_n.par_iter());
        let lines = probability_nk.par_chunks_mut(self.classes).zip(rows);
        let loss_n: Vec<f64> = lines
            .map(|(line, (&label, &weight))| {
                let peak = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let own = line[label as usize] - peak;
                line.iter_mut().for_each(|value| *value = (*value - peak).exp());
                let sum: f64 = line.iter().sum();
                line.iter_mut().for_each(|value| *value /= sum);
                weight * (sum.ln() - own)
            })
            .collect();
        Mode { weight_kd, probability_nk, logit_nk, loss: loss_n.iter().sum() }
    }

    /// The factors of the curvature at a mode.
    pub fn kronecker(&self, mode: &Mode) -> Kronecker {
        Kronecker::new(&mode.probability_nk, self.weight_n, self.second_moment.clone())
    }

    /// Σ c_n −ln p + (prior / 2) ‖W‖².
    pub fn objective(&self, mode: &Mode, prior: f64) -> f64 {
        mode.loss + 0.5 * prior * squared(&mode.weight_kd)
    }

    /// Σ c_n (p − y) φ̃ᵀ + prior · W, `[k, D]`.
    pub fn gradient(&self, mode: &Mode, prior: f64) -> Result<Vec<f64>> {
        let mut weighted_nk = mode.probability_nk.clone();
        let lines = weighted_nk.par_chunks_mut(self.classes).zip(self.weight_n.par_iter());
        lines.for_each(|(line, weight)| line.iter_mut().for_each(|p| *p *= weight));
        let mut gradient_kd = self.design.collect(weighted_nk)?;
        let both = self.observed_kd.iter().zip(&mode.weight_kd);
        for (gradient, (observed, weight)) in gradient_kd.iter_mut().zip(both) {
            *gradient += prior * weight - observed;
        }
        Ok(gradient_kd)
    }

    /// Moves the weights to the minimum for this prior precision. A Newton step is the last one if it is
    /// shorter than `short` posterior standard deviations, as the Kronecker factors measure them.
    pub fn refit(&self, mode: &mut Mode, prior: f64, short: f64) -> Result<()> {
        let mut first = None;
        for _ in 0..STEPS {
            let gradient_kd = self.gradient(mode, prior)?;
            let factors = self.kronecker(mode);
            let distance = factors.length(&gradient_kd, prior);
            if distance < short {
                break;
            }
            // The nearer, the more exactly a step is solved for: convergence stays superlinear.
            let forcing = (distance / *first.get_or_insert(distance)).sqrt().min(0.1);
            let curvature = self.space.curvature(&mode.probability_nk, &factors, prior)?;
            let v_kd = self.centred(&curvature.step(&gradient_kd, forcing)?);
            let slope = dot(&gradient_kd, &v_kd);
            let moved_nk = self.design.logits(&v_kd)?;
            *mode = self.search(mode, prior, &Step { v_kd, moved_nk, slope }, distance);
        }
        Ok(())
    }

    /// Halves the step until the objective falls enough.
    fn search(&self, mode: &Mode, prior: f64, step: &Step, distance: f64) -> Mode {
        let value = self.objective(mode, prior);
        let mut length = 1.0;
        loop {
            let mut weight_kd = mode.weight_kd.clone();
            add(&mut weight_kd, length, &step.v_kd);
            let mut logit_nk = mode.logit_nk.clone();
            add(&mut logit_nk, length, &step.moved_nk);
            let next = self.predict(weight_kd, logit_nk);
            let descends = self.objective(&next, prior) <= value + 1e-4 * length * step.slope;
            // Near the minimum the values agree to rounding, and the full step is right.
            if descends || distance < 1e-3 || length < 1e-6 {
                return next;
            }
            length *= 0.5;
        }
    }
}

struct Step {
    v_kd: Vec<f64>,
    moved_nk: Vec<f64>,
    slope: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// c_n Λ_n, Λ_n = diag(p) − p pᵀ, in a basis `[k, j]` of the logits, for one pair of its columns: `[n]`.
pub fn curvature(head: &Softmax<'_>, mode: &Mode, basis: &Matrix, a: usize, b: usize) -> Vec<f64> {
    let (column_a, column_b) = (basis.column(a), basis.column(b));
    let of_row = |(p_k, weight): (&[f64], &f64)| {
        let (mut first, mut second, mut both) = (0.0, 0.0, 0.0);
        for ((p, u), v) in p_k.iter().zip(column_a.iter()).zip(column_b.iter()) {
            first += p * u;
            second += p * v;
            both += p * u * v;
        }
        weight * (both - first * second)
    };
    let lines = mode.probability_nk.par_chunks(head.classes);
    lines.zip(head.weight_n.par_iter()).map(of_row).collect()
}
