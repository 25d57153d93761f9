//! The non-linearities of the feed-forward block, over slices.

use rayon::prelude::*;

use super::math::{normal, normal_density, tanh};
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
    }
}

/// Replaces `x` by its activation and `gradient`, that of the activation, by that of `x`.
pub fn backward(activation: Activation, x: &mut [f32], gradient: &mut [f32]) {
    let apply = match activation {
        Activation::Gelu => gelu_backward,
        Activation::GeluNew => gelu_new_backward,
        Activation::Relu => relu_backward,
    };
    let blocks = x.par_chunks_mut(BLOCK).zip(gradient.par_chunks_mut(BLOCK));
    blocks.for_each(|(x, gradient)| apply(x, gradient));
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
