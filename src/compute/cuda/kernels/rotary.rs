//! Rotary positions.

use candle_core::{DType, Result, bail};

use super::{Launch, Operand, Runs, expect_count, module, named, read};

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    cos_sin: u64,
    places: u64,
    result: u64,
    heads: u32,
    head_width: u32,
    back: u32,
}

/// Turns queries and keys of `qkv`, `[p, 3d]` of one type, by the places of their tokens, the third of `places`, `[p, 3]` u32, or
/// `back`; values stay. `cos_sin`, `[r, k]` f32, has the cosines and then the sines of each place. The bits of
/// [`Rotation`](crate::compute::kernels::rotary::Rotation).
pub fn rotate<S: Runs>(
    qkv: Operand<'_, S>,
    cos_sin: Operand<'_, S>,
    places: Operand<'_, S>,
    heads: usize,
    back: bool,
) -> Result<S> {
    let ((storage, layout), dtype) = (qkv, qkv.0.dtype());
    let (tokens, stacked) = layout.shape().dims2()?;
    let (_, head_width) = cos_sin.1.shape().dims2()?;
    expect_count(places.1, 3 * tokens)?;
    if stacked != 3 * heads * head_width || head_width % 2 != 0 {
        bail!(
            "`rotate`: {stacked} values a token, {heads} heads and {head_width} angles do not fit"
        );
    }
    let mut result = S::empty(storage.device(), tokens * stacked, dtype)?;
    let arguments = Arguments {
        x: read(qkv, dtype)?,
        cos_sin: read(cos_sin, DType::F32)?,
        places: read(places, DType::U32)?,
        result: result.address_mut()?,
        heads: heads as u32,
        head_width: head_width as u32,
        back: u32::from(back),
    };
    let launch = module!("rotary").launch(named("rotate", dtype)?, 128 * tokens, 128);
    S::launch(storage.device(), &Launch { grid: [tokens, 1], ..launch }, arguments)?;
    Ok(result)
}
