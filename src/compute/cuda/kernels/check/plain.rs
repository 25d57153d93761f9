//! Plain forms of what no function of the CPU's kernels is.

use crate::compute::kernels::noise::fill_line;
use crate::compute::ops::device::{AdamW, Softmax};

/// Weights of attention before their dropout, and factors, of one line of scores: `[s]` each, 0 where a key is not read.
pub fn attended(
    score: &[f32],
    (length, row): (usize, u64),
    (head, query): (usize, usize),
    softmax: Softmax,
) -> (Vec<f64>, Vec<f64>) {
    let (mut weights, mut factors) = (vec![0.0; score.len()], vec![1.0f32; score.len()]);
    if query < length {
        let far = softmax.window.map_or(score.len(), |window| window as usize);
        let reads = |key: &usize| key.abs_diff(query) <= far;
        let z = |key: usize| f64::from(softmax.scale) * f64::from(score[key]);
        let most = (0..length).filter(reads).map(z).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..length).filter(reads).map(|key| (z(key) - most).exp()).sum();
        for key in (0..length).filter(reads) {
            weights[key] = (z(key) - most).exp() / sum;
        }
        if let Some(dropout) = softmax.dropout {
            fill_line(&mut factors, dropout, row, (head * length + query) as u32);
        }
    }
    (weights, factors.into_iter().map(f64::from).collect())
}

/// The gradient of a line of scores from that of its weights behind dropout.
pub fn attended_backward(
    (weights, factors): &(Vec<f64>, Vec<f64>),
    gradient: &[f32],
    scale: f32,
) -> Vec<f32> {
    let of_weights: Vec<f64> =
        gradient.iter().zip(factors).map(|(&g, factor)| f64::from(g) * factor).collect();
    let along: f64 = weights.iter().zip(&of_weights).map(|(weight, g)| weight * g).sum();
    let of_score = |(weight, g): (&f64, f64)| (f64::from(scale) * weight * (g - along)) as f32;
    weights.iter().zip(of_weights).map(of_score).collect()
}

/// One step of AdamW by the rule of `train::optimizer`, which this layer cannot ask.
pub fn adamw(x: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], k: AdamW) {
    for (((x, m), v), g) in x.iter_mut().zip(m).zip(v).zip(gradient) {
        let g = g * k.scale;
        *m = k.beta1 * *m + (1.0 - k.beta1) * g;
        *v = k.beta2 * *v + (1.0 - k.beta2) * g * g;
        *x = *x * k.shrink - k.rate * *m / (v.sqrt() / k.root + k.epsilon);
    }
}

/// Pairs of one head turned by a place's cosines and sines.
pub fn turn(head: &mut [f32], cos_sin: &[f32], back: bool) {
    let (first, second) = head.split_at_mut(cos_sin.len() / 2);
    let (cos, sin) = cos_sin.split_at(cos_sin.len() / 2);
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        let sin = if back { -sin } else { *sin };
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
