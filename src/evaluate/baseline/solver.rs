//! Multinomial logistic regression on sparse rows by dual coordinate descent.
//!
//! Yu, Huang and Lin, "Dual coordinate descent methods for logistic regression and maximum entropy
//! models" (Machine Learning 85, 2011). The weights with the least ½‖W‖² + C Σ −ln p(label | row)
//! are W = C Σ (y_n − p_n) x_nᵀ, where the p_n, one distribution over classes for each row, are the
//! minimum of ½‖W‖² + C Σ_n Σ_c p_nc ln p_nc. One row is visited at a time, in an order that is
//! drawn anew for each pass; all its p_nc move at once to where they are best while those of the
//! other rows stay. There is no step size, and the minimum is unique.
//!
//! | paper | here |
//! |---|---|
//! | α_xy | C · p_nc |
//! | σ² | C, `cost` |
//! | w(α) | `weight_fw` |
//!
//! A departure: the paper solves for a row's α by coordinate descent too; we by Newton's method, see
//! [`best`]. Nothing is left out of the sums between two passes ("shrinking"): few passes are needed.

use super::sparse::{Row, gather, padded, scatter};
use crate::compute::kernels::math::exp;
use crate::compute::kernels::simd::{sum, vectorised};
use crate::compute::{Noise, Purpose};

/// Rows, all of them or some, with labels below `classes`.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    pub rows: &'a [Vec<(u32, f32)>],
    pub labels: &'a [u32],
    /// The rows that are fitted.
    pub chosen: &'a [u32],
    pub classes: usize,
    pub features: usize,
}

/// When it is enough.
#[derive(Clone, Copy)]
pub struct Until {
    /// A pass in which the mean row moved less than this part of its probability is the last.
    pub moved: f64,
    pub passes: u32,
}

/// The p of a row never moves by more than this in the last of Newton's steps.
const EXACT: f32 = 1e-5;
const STEPS: usize = 30;
/// The least ln p that f32 holds.
const LEAST: f32 = -87.0;

/// The weights `[f, w]` for an inverse strength of regularisation, scikit-learn's C.
pub fn fit(problem: &Problem<'_>, cost: f32, until: Until, noise: &Noise) -> Vec<f32> {
    let Problem { rows, labels, chosen, classes, features } = *problem;
    let width = padded(classes);
    let mut weight_fw = vec![0.0f32; features * width];
    // At p = y all weights are zero.
    let mut p_nc = vec![0.0f32; chosen.len() * classes];
    for (p_c, &row) in p_nc.chunks_exact_mut(classes).zip(chosen) {
        p_c[labels[row as usize] as usize] = 1.0;
    }
    let mut work = Work::new(width, classes);
    let mut order: Vec<u32> = (0..chosen.len() as u32).collect();
    for pass in 0..until.passes {
        noise.stream(Purpose::Baseline, pass.into(), 1).shuffle(&mut order);
        let mut moved = 0.0;
        for &place in &order {
            let row = &rows[chosen[place as usize] as usize];
            let p_c = &mut p_nc[place as usize * classes..][..classes];
            moved += f64::from(visit(row, cost, p_c, &mut weight_fw, &mut work));
        }
        if moved < until.moved * chosen.len() as f64 {
            break;
        }
    }
    weight_fw
}

vectorised! {
/// The logits of a row, `[w]`.
pub fn logits<'a>(row: &'a Row, weight_fw: &'a [f32], z_w: &'a mut [f32]) {
    gather(row, weight_fw, z_w);
}}

vectorised! {
/// Moves one row's p to the best place, and the weights with it; how much of p has moved.
fn visit<'a>(
    row: &'a Row,
    cost: f32,
    p_c: &'a mut [f32],
    weight_fw: &'a mut [f32],
    work: &'a mut Work,
) -> f32 {
    let squares = sum(row.len(), |i| row[i].1 * row[i].1);
    gather(row, weight_fw, &mut work.z_w);
    best(p_c, cost * squares, work);
    let Work { z_w, p_c: best_c, .. } = work;
    let mut moved = 0.0;
    for ((change, p), best) in z_w.iter_mut().zip(p_c).zip(&*best_c) {
        *change = cost * (*p - *best);
        moved += (*p - *best).abs();
        *p = *best;
    }
    z_w[best_c.len()..].fill(0.0);
    scatter(row, weight_fw, z_w);
    0.5 * moved
}}

/// What one visit needs.
struct Work {
    z_w: Vec<f32>,
    v_c: Vec<f32>,
    log_c: Vec<f32>,
    p_c: Vec<f32>,
}

impl Work {
    fn new(width: usize, classes: usize) -> Self {
        let zeros = |n| vec![0.0; n];
        Self { z_w: zeros(width), v_c: zeros(classes), log_c: zeros(classes), p_c: zeros(classes) }
    }
}

/// The distribution with the least ½ q ‖p − p_old‖² − zᵀp + Σ p ln p, into `work.p_c`, where q = C ‖x‖².
///
/// At the minimum ln p + q p = v − μ for every class, with v = z + q p_old and a μ for which p sums
/// to 1. Newton's method in ln p, which cannot leave the positive numbers, for all classes and μ at
/// once: with w = p / (1 + q p) and r = ln p + q p − v a step is ln p −= (r + μ) w / p, and it keeps
/// the sum to first order if μ Σw = Σp − 1 − Σ w r. It begins at the softmax of z, where it ends
/// when all rows are at their place.
#[inline(always)]
fn best(old_c: &[f32], q: f32, work: &mut Work) {
    let Work { z_w, v_c, log_c, p_c } = work;
    let classes = old_c.len();
    let peak = z_w[..classes].iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (((z, old), v), p) in z_w.iter().zip(old_c).zip(&mut *v_c).zip(&mut *p_c) {
        *v = z + q * old;
        *p = exp(z - peak);
    }
    let total = sum(classes, |c| p_c[c]);
    let log_total = peak + total.ln();
    for ((z, log), p) in z_w.iter().zip(&mut *log_c).zip(&mut *p_c) {
        *log = (z - log_total).max(LEAST);
        *p /= total;
    }
    for _ in 0..STEPS {
        let weights = sum(classes, |c| p_c[c] / (1.0 + q * p_c[c]));
        let own = sum(classes, |c| {
            p_c[c] - p_c[c] / (1.0 + q * p_c[c]) * (log_c[c] + q * p_c[c] - v_c[c])
        });
        let mu = (own - 1.0) / weights;
        let mut farthest = 0.0f32;
        for ((log, p), v) in log_c.iter_mut().zip(&mut *p_c).zip(&*v_c) {
            let step = (*log + q * *p - v + mu) / (1.0 + q * *p);
            *log = (*log - step).clamp(LEAST, 0.0);
            let next = exp(*log);
            farthest = farthest.max((next - *p).abs());
            *p = next;
        }
        if farthest < EXACT {
            break;
        }
    }
    let total = sum(classes, |c| p_c[c]);
    p_c.iter_mut().for_each(|p| *p /= total);
}
