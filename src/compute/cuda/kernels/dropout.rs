//! Dropout by counters, of lines.

use candle_core::{DType, Result};

use super::{LANES, Operand, Runs, expect_count, module, named, read};
use crate::compute::kernels::noise::Factors;

/// `Factors` of the source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noise {
    key: [u32; 2],
    threshold: u32,
    kept: f32,
}

impl From<Factors> for Noise {
    fn from(factors: Factors) -> Self {
        Self { key: factors.key, threshold: factors.threshold, kept: factors.kept }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    places: u64,
    y: u64,
    lines: u64,
    width: u32,
    factors: Noise,
}

/// `x`, `[m, w]` of one type, times the factors of its lines, whose (low half of the row, high half, token) are `places`,
/// `[m, 3]` u32: the bits of [`fill_line`](crate::compute::kernels::noise::fill_line).
pub fn dropout<S: Runs>(x: Operand<'_, S>, places: Operand<'_, S>, factors: Factors) -> Result<S> {
    let ((storage, layout), dtype) = (x, x.0.dtype());
    let (lines, width) = layout.shape().dims2()?;
    expect_count(places.1, 3 * lines)?;
    let mut y = S::empty(storage.device(), lines * width, dtype)?;
    let arguments = Arguments {
        x: read(x, dtype)?,
        places: read(places, DType::U32)?,
        y: y.address_mut()?,
        lines: lines as u64,
        width: width as u32,
        factors: factors.into(),
    };
    let launch = module!("dropout").launch(named("dropout", dtype)?, lines * LANES, 256);
    S::launch(storage.device(), &launch, arguments)?;
    Ok(y)
}
