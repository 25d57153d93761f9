//! Sums of lines by number: the gradient of a look-up.

use candle_core::backend::BackendDevice;
use candle_core::{DType, Result, Shape, bail};

use super::{Launch, Operand, Runs, count, module, named, read};

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    order: u64,
    starts: u64,
    rows: u64,
    result: u64,
    width: u32,
}

/// `[n, d]` f32, whose row `rows[j]` is the sum of the lines `order[starts[j]..starts[j + 1]]` of `x`, `[m, d]` of one type, in
/// that order; other rows are 0. All numbers are u32, and `rows` are distinct. One block adds a segment: it should be short.
pub fn segment_sums<S: Runs>(
    x: Operand<'_, S>,
    order: Operand<'_, S>,
    starts: Operand<'_, S>,
    rows: Operand<'_, S>,
    n: usize,
) -> Result<S> {
    let ((storage, layout), dtype) = (x, x.0.dtype());
    let (_, width) = layout.shape().dims2()?;
    let segments = count(rows.1);
    if count(starts.1) != segments + 1 {
        bail!("`segment_sums`: each segment has a start, and the last one an end");
    }
    let mut result = storage.device().zeros_impl(&Shape::from((n, width)), DType::F32)?;
    let arguments = Arguments {
        x: read(x, dtype)?,
        order: read(order, DType::U32)?,
        starts: read(starts, DType::U32)?,
        rows: read(rows, DType::U32)?,
        result: result.address_mut()?,
        width: width as u32,
    };
    let threads = width.next_multiple_of(32).min(256);
    let launch = module!("segments").launch(named("segment_sums", dtype)?, width, threads);
    S::launch(storage.device(), &Launch { grid: [segments, 1], ..launch }, arguments)?;
    Ok(result)
}
