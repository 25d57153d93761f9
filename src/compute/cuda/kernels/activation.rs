//! The non-linearity of the feed-forward block, and its backward pass.

use candle_core::Result;

use super::{Operand, Runs, aligned, count, expect_count, module, named, read};
use crate::compute::ops::Activation;

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    gradient: u64,
    result: u64,
    count: u64,
    kind: u32,
    aligned: u32,
}

/// The activation of each value of `x`, of one type: the bits of the [CPU's](crate::compute::kernels::activation).
pub fn activate<S: Runs>(x: Operand<'_, S>, activation: Activation) -> Result<S> {
    run("activate", x, None, activation)
}

/// The gradient of `x` from that of its activation, of the same type.
pub fn activate_backward<S: Runs>(
    x: Operand<'_, S>,
    gradient: Operand<'_, S>,
    activation: Activation,
) -> Result<S> {
    run("activate_backward", x, Some(gradient), activation)
}

fn run<S: Runs>(
    kernel: &str,
    x: Operand<'_, S>,
    gradient: Option<Operand<'_, S>>,
    activation: Activation,
) -> Result<S> {
    let ((storage, layout), dtype) = (x, x.0.dtype());
    let count = count(layout);
    let mut result = S::empty(storage.device(), count, dtype)?;
    let (from, to) = (read(x, dtype)?, result.address_mut()?);
    let gradient = match gradient {
        Some(gradient) => {
            expect_count(gradient.1, count)?;
            read(gradient, dtype)?
        }
        None => 0,
    };
    let arguments = Arguments {
        x: from,
        gradient,
        result: to,
        count: count as u64,
        kind: match activation {
            Activation::Gelu => 0,
            Activation::GeluNew => 1,
            Activation::Relu => 2,
            Activation::Silu => 3,
            Activation::Tanh => 4,
        },
        // The last values need not be four.
        aligned: aligned(&[(from, dtype), (gradient, dtype), (to, dtype)], 4),
    };
    let launch = module!("activation").launch(named(kernel, dtype)?, count.div_ceil(4), 128);
    S::launch(storage.device(), &launch, arguments)?;
    Ok(result)
}
