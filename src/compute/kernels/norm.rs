//! Layer norm of a sum, with dropout on one of its terms, and its backward pass.

use rayon::prelude::*;

use super::noise::{Factors, fill_line};
use super::simd::{sum, vectorised};

/// Lines a task.
const LINES: usize = 32;

/// γ and β stacked, `[2, d]`, and ε.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    pub gamma_beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// The dropout of a tensor `[m, d]`: the noise of a place, and (row, token) of each line.
#[derive(Clone, Copy, Debug)]
pub struct LineDropout<'a> {
    /// The noise of the place.
    pub factors: Factors,
    /// Where each line is drawn.
    pub places: &'a [(u64, u32)],
}

/// What the backward pass needs: x̂ `[m, d]` and 1 / σ `[m]`.
#[derive(Clone, Debug, Default)]
pub struct Normed {
    pub values: Vec<f32>,
    /// One over the root of the variance plus ε.
    pub inverse: Vec<f32>,
}

/// `x ← γ x̂ + β` with x̂ the normalised `dropout(x) + residual`. Ba, Kiros and Hinton, "Layer
/// normalization" (2016), equation 4, with the biased variance.
pub fn add_layer_norm(
    x: &mut [f32],
    residual: Option<&[f32]>,
    norm: Norm<'_>,
    dropout: Option<LineDropout<'_>>,
    saved: Option<&mut Normed>,
) {
    let width = norm.gamma_beta.len() / 2;
    let mut unsaved = Normed::default();
    let keep = saved.is_some();
    let saved = saved.unwrap_or(&mut unsaved);
    saved.values.resize(if keep { x.len() } else { 0 }, 0.0);
    saved.inverse.resize(if keep { x.len() / width } else { 0 }, 0.0);
    let work = |first: usize, x: &mut [f32], values: &mut [f32], inverse: &mut [f32]| {
        let mut mask = vec![0.0; width];
        for (line, x) in x.chunks_exact_mut(width).enumerate() {
            let place = first + line;
            if let Some(dropout) = dropout {
                let (row, token) = dropout.places[place];
                fill_line(&mut mask, dropout.factors, row, token);
                multiply(x, &mask);
            }
            if let Some(residual) = residual {
                add(x, &residual[place * width..(place + 1) * width]);
            }
            let scale = normalise(x, norm.epsilon);
            if keep {
                values[line * width..(line + 1) * width].copy_from_slice(x);
                inverse[line] = scale;
            }
            affine(x, norm.gamma_beta);
        }
    };
    let blocks = x.par_chunks_mut(LINES * width).enumerate();
    if keep {
        let saved =
            saved.values.par_chunks_mut(LINES * width).zip(saved.inverse.par_chunks_mut(LINES));
        blocks.zip(saved).for_each(|((block, x), (values, inverse))| {
            work(block * LINES, x, values, inverse);
        });
    } else {
        blocks.for_each(|(block, x)| work(block * LINES, x, &mut [], &mut []));
    }
}

/// `x ← dropout(x) + residual`.
pub fn add_residual(
    x: &mut [f32],
    residual: &[f32],
    width: usize,
    dropout: Option<LineDropout<'_>>,
) {
    let blocks = x.par_chunks_mut(LINES * width).zip(residual.par_chunks(LINES * width));
    blocks.enumerate().for_each(|(block, (x, residual))| {
        if let Some(dropout) = dropout {
            drop_block(x, block * LINES, width, dropout);
        }
        add(x, residual);
    });
}

/// `x ← dropout(x)`, line by line.
pub fn drop_in_place(x: &mut [f32], width: usize, dropout: LineDropout<'_>) {
    let blocks = x.par_chunks_mut(LINES * width).enumerate();
    blocks.for_each(|(block, x)| drop_block(x, block * LINES, width, dropout));
}

/// The lines from `first` on.
fn drop_block(x: &mut [f32], first: usize, width: usize, dropout: LineDropout<'_>) {
    let mut mask = vec![0.0; width];
    for (x, &(row, token)) in x.chunks_exact_mut(width).zip(&dropout.places[first..]) {
        fill_line(&mut mask, dropout.factors, row, token);
        multiply(x, &mask);
    }
}

/// The normalised values give `y = γ x̂ + β` again.
pub fn scale_and_shift(normed: &[f32], gamma_beta: &[f32], y: &mut Vec<f32>) {
    let width = gamma_beta.len() / 2;
    y.resize(normed.len(), 0.0);
    let blocks = y.par_chunks_mut(LINES * width).zip(normed.par_chunks(LINES * width));
    blocks.for_each(|(y, normed)| {
        y.copy_from_slice(normed);
        y.chunks_exact_mut(width).for_each(|y| affine(y, gamma_beta));
    });
}

/// From the gradient of y to that of the sum, in place; adds to the gradient of γ and β, `[2, d]`.
pub fn layer_norm_backward(
    gradient: &mut [f32],
    saved: &Normed,
    gamma_beta: &[f32],
    gamma_beta_gradient: &mut [f32],
) {
    let width = gamma_beta.len() / 2;
    let blocks = gradient
        .par_chunks_mut(LINES * width)
        .zip(saved.values.par_chunks(LINES * width))
        .zip(saved.inverse.par_chunks(LINES));
    let sums: Vec<Vec<f32>> = blocks
        .map(|((gradient, values), inverse)| {
            let mut sums = vec![0.0; 2 * width];
            let lines = gradient.chunks_exact_mut(width).zip(values.chunks_exact(width));
            for ((gradient, values), &inverse) in lines.zip(inverse) {
                line_backward(gradient, values, inverse, &gamma_beta[..width], &mut sums);
            }
            sums
        })
        .collect();
    sums.iter().for_each(|sums| add(gamma_beta_gradient, sums));
}

/// `y = dropout(x)`, line by line.
pub fn drop_lines(x: &[f32], width: usize, dropout: LineDropout<'_>, y: &mut Vec<f32>) {
    y.resize(x.len(), 0.0);
    let blocks = y.par_chunks_mut(LINES * width).zip(x.par_chunks(LINES * width)).enumerate();
    blocks.for_each(|(block, (y, x))| {
        let lines = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for (line, (y, x)) in lines.enumerate() {
            let (row, token) = dropout.places[block * LINES + line];
            fill_line(y, dropout.factors, row, token);
            multiply(y, x);
        }
    });
}

/// Adds the sum over the lines of `x`, `[m, d]`, to `total`, `[d]`: blocks of lines in parallel,
/// their sums in order.
pub fn add_column_sums(x: &[f32], total: &mut [f32]) {
    const BLOCK: usize = 128;
    let width = total.len();
    let sums: Vec<Vec<f32>> = x
        .par_chunks(BLOCK * width)
        .map(|x| {
            let mut sums = vec![0.0; width];
            x.chunks_exact(width).for_each(|x| add(&mut sums, x));
            sums
        })
        .collect();
    sums.iter().for_each(|sums| add(total, sums));
}

vectorised! {
    /// `x += y`.
    pub fn add<'a>(x: &'a mut [f32], y: &'a [f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

/// The mean of the lines of `x`, `[s, d]`, added in their order.
pub fn mean_line(x: &[f32], mean: &mut [f32]) {
    mean.fill(0.0);
    x.chunks_exact(mean.len()).for_each(|line| add(mean, line));
    let share = mean.len() as f32 / x.len() as f32;
    mean.iter_mut().for_each(|value| *value *= share);
}

vectorised! {
    /// `x *= y`.
    pub fn multiply<'a>(x: &'a mut [f32], y: &'a [f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }
}

vectorised! {
    /// Centres a line and divides it by its deviation; gives 1 / σ.
    fn normalise<'a>(x: &'a mut [f32], epsilon: f32) -> f32 {
        let n = x.len();
        let mean = sum(n, |i| x[i]) / n as f32;
        for x in x.iter_mut() {
            *x -= mean;
        }
        let variance = sum(n, |i| x[i] * x[i]) / n as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for x in x.iter_mut() {
            *x *= inverse;
        }
        inverse
    }
}

vectorised! {
    fn affine<'a>(x: &'a mut [f32], gamma_beta: &'a [f32]) {
        let (gamma, beta) = gamma_beta.split_at(x.len());
        for ((x, gamma), beta) in x.iter_mut().zip(gamma).zip(beta) {
            *x = x.mul_add(*gamma, *beta);
        }
    }
}

vectorised! {
    fn line_backward<'a>(
        gradient: &'a mut [f32],
        values: &'a [f32],
        inverse: f32,
        gamma: &'a [f32],
        sums: &'a mut [f32],
    ) {
        let n = gradient.len();
        let (values, gamma) = (&values[..n], &gamma[..n]);
        let (gamma_sum, beta_sum) = sums.split_at_mut(n);
        for i in 0..n {
            gamma_sum[i] += gradient[i] * values[i];
            beta_sum[i] += gradient[i];
            gradient[i] *= gamma[i];
        }
        let mean = sum(n, |i| gradient[i]) / n as f32;
        let along = sum(n, |i| gradient[i] * values[i]) / n as f32;
        for i in 0..n {
            gradient[i] = inverse * (gradient[i] - mean - values[i] * along);
        }
    }
}
