//! Softmax over the keys of each query, with a mask and dropout, and its backward pass.

use candle_core::{DType, Result, bail};

use super::dropout::Noise;
use super::{LANES, Operand, Runs, expect_count, module, named, read};
use crate::compute::ops::device::Softmax;

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    score: u64,
    gradient: u64,
    sequences: u64,
    result: u64,
    lines: u64,
    heads: u32,
    side: u32,
    scale: f32,
    window: u32,
    factors: Noise,
}

/// The weights behind their dropout of `score`, `[b, h, s, s]` of one type. `sequences`, `[b, 3]` u32, has (length, low half
/// of the row, high half); what is beyond its length has the weight 0, as query and as key.
pub fn masked_softmax<S: Runs>(
    score: Operand<'_, S>,
    sequences: Operand<'_, S>,
    softmax: Softmax,
) -> Result<S> {
    run("softmax", score, None, sequences, softmax)
}

/// The gradient of the scores, from that of the weights behind their dropout.
pub fn masked_softmax_backward<S: Runs>(
    score: Operand<'_, S>,
    gradient: Operand<'_, S>,
    sequences: Operand<'_, S>,
    softmax: Softmax,
) -> Result<S> {
    run("softmax_backward", score, Some(gradient), sequences, softmax)
}

fn run<S: Runs>(
    kernel: &str,
    score: Operand<'_, S>,
    gradient: Option<Operand<'_, S>>,
    sequences: Operand<'_, S>,
    softmax: Softmax,
) -> Result<S> {
    let ((storage, layout), dtype) = (score, score.0.dtype());
    let (batch, heads, side, keys) = layout.shape().dims4()?;
    if side != keys {
        bail!("`{kernel}`: as many queries as keys are expected, and {side} and {keys} were given");
    }
    expect_count(sequences.1, 3 * batch)?;
    let gradient = match gradient {
        Some(gradient) => {
            expect_count(gradient.1, batch * heads * side * side)?;
            read(gradient, dtype)?
        }
        None => 0,
    };
    let lines = batch * heads * side;
    let mut result = S::empty(storage.device(), lines * side, dtype)?;
    let arguments = Arguments {
        score: read(score, dtype)?,
        gradient,
        sequences: read(sequences, DType::U32)?,
        result: result.address_mut()?,
        lines: lines as u64,
        heads: heads as u32,
        side: side as u32,
        scale: softmax.scale,
        window: softmax.window.unwrap_or(u32::MAX),
        factors: softmax.dropout.map(Noise::from).unwrap_or_default(),
    };
    let launch = module!("softmax").launch(named(kernel, dtype)?, lines * LANES, 128);
    S::launch(storage.device(), &launch, arguments)?;
    Ok(result)
}
