//! The non-linearities of the feed-forward block, over slices.

use rayon::prelude::*;

use super::math::{exp, normal, normal_density, tanh};
use super::norm::multiply;
use super::simd::vectorised;
use crate::compute::ops::Activation;

/// Values a task.
const BLOCK: usize = 1 << 13;

/// The function that replaces values by their activation.
pub fn forward(activation: Activation) -> fn(&mut [f32]) {
    match activation {
        Activation::Gelu => gelu,
        Activation::GeluNew => gelu_new,
        Activation::Relu => relu,
        Activation::Silu => silu,
        Activation::Tanh => tanh_of,
    }
}

/// Replaces `x` by its activation and `gradient`, that of the activation, by that of `x`.
pub fn backward(activation: Activation, x: &mut [f32], gradient: &mut [f32]) {
    let apply = backward_of(activation);
    let blocks = x.par_chunks_mut(BLOCK).zip(gradient.par_chunks_mut(BLOCK));
    blocks.for_each(|(x, gradient)| apply(x, gradient));
}

fn backward_of(activation: Activation) -> for<'a> fn(&'a mut [f32], &'a mut [f32]) {
    match activation {
        Activation::Gelu => gelu_backward,
        Activation::GeluNew => gelu_new_backward,
        Activation::Relu => relu_backward,
        Activation::Silu => silu_backward,
        Activation::Tanh => tanh_backward,
    }
}

/// Lines a task, where a line is cut into halves.
const LINES: usize = 32;

/// act(a) ∘ b: `[m, f]`, of a beside b, `[m, 2f]`.
pub fn gate(activation: Activation, wide: usize, ab: &[f32], gated: &mut [f32]) {
    let apply = forward(activation);
    let blocks = gated.par_chunks_mut(LINES * wide).zip(ab.par_chunks(2 * LINES * wide));
    blocks.for_each(|(gated, ab)| {
        for (gated, ab) in gated.chunks_exact_mut(wide).zip(ab.chunks_exact(2 * wide)) {
            let (a, b) = ab.split_at(wide);
            gated.copy_from_slice(a);
            apply(gated);
            multiply(gated, b);
        }
    });
}

/// Replaces `gradient`, `[m, f]`, that of act(a) ∘ b, by act(a) ∘ b, and a beside b, `[m, 2f]`, by their
/// gradients.
pub fn gate_backward(activation: Activation, wide: usize, ab: &mut [f32], gradient: &mut [f32]) {
    let apply = backward_of(activation);
    let blocks = gradient.par_chunks_mut(LINES * wide).zip(ab.par_chunks_mut(2 * LINES * wide));
    blocks.for_each(|(gradient, ab)| {
        let mut of_a = vec![0.0; wide];
        for (gradient, ab) in gradient.chunks_exact_mut(wide).zip(ab.chunks_exact_mut(2 * wide)) {
            let (a, b) = ab.split_at_mut(wide);
            of_a.copy_from_slice(gradient);
            multiply(&mut of_a, b);
            apply(a, &mut of_a);
            // a is its activation now.
            multiply(gradient, a);
            multiply(a, b);
            // `gradient` is that of b, and what stands in a is act(a) ∘ b.
            b.copy_from_slice(gradient);
            gradient.copy_from_slice(a);
            a.copy_from_slice(&of_a);
        }
    });
}

vectorised! {
    fn gelu<'a>(x: &'a mut [f32]) {
        for x in x.iter_mut() {
            *x *= normal(*x);
        }
    }
}

vectorised! {
    fn gelu_backward<'a>(x: &'a mut [f32], gradient: &'a mut [f32]) {
        for (x, gradient) in x.iter_mut().zip(gradient) {
            let below = normal(*x);
            *gradient *= x.mul_add(normal_density(*x), below);
            *x *= below;
        }
    }
}

/// √(2 / π) and the cubic's factor of the tanh approximation.
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

vectorised! {
    fn gelu_new<'a>(x: &'a mut [f32]) {
        for x in x.iter_mut() {
            let inner = tanh(ROOT * *x * (CUBIC * *x).mul_add(*x, 1.0));
            *x *= inner.mul_add(0.5, 0.5);
        }
    }
}

vectorised! {
    fn gelu_new_backward<'a>(x: &'a mut [f32], gradient: &'a mut [f32]) {
        for (x, gradient) in x.iter_mut().zip(gradient) {
            let inner = tanh(ROOT * *x * (CUBIC * *x).mul_add(*x, 1.0));
            let slope = ROOT * (3.0 * CUBIC * *x).mul_add(*x, 1.0);
            let below = inner.mul_add(0.5, 0.5);
            *gradient *= below + 0.5 * *x * (1.0 - inner * inner) * slope;
            *x *= below;
        }
    }
}

vectorised! {
    fn relu<'a>(x: &'a mut [f32]) {
        for x in x.iter_mut() {
            *x = x.max(0.0);
        }
    }
}

vectorised! {
    fn relu_backward<'a>(x: &'a mut [f32], gradient: &'a mut [f32]) {
        for (x, gradient) in x.iter_mut().zip(gradient) {
            *gradient = if *x > 0.0 { *gradient } else { 0.0 };
            *x = x.max(0.0);
        }
    }
}

vectorised! {
    fn silu<'a>(x: &'a mut [f32]) {
        for x in x.iter_mut() {
            *x /= 1.0 + exp(-*x);
        }
    }
}

vectorised! {
    fn silu_backward<'a>(x: &'a mut [f32], gradient: &'a mut [f32]) {
        for (x, gradient) in x.iter_mut().zip(gradient) {
            let share = 1.0 / (1.0 + exp(-*x));
            *gradient *= share * x.mul_add(1.0 - share, 1.0);
            *x *= share;
        }
    }
}

vectorised! {
    fn tanh_of<'a>(x: &'a mut [f32]) {
        for x in x.iter_mut() {
            *x = tanh(*x);
        }
    }
}

vectorised! {
    fn tanh_backward<'a>(x: &'a mut [f32], gradient: &'a mut [f32]) {
        for (x, gradient) in x.iter_mut().zip(gradient) {
            let value = tanh(*x);
            *gradient *= 1.0 - value * value;
            *x = value;
        }
    }
}
