//! A bias, and the sums over lines that are its gradient.

use candle_core::{DType, Result};

use super::{Launch, Operand, Runs, aligned, expect_count, module, named, read};

/// Lines that are summed one after another, where there are few, and blocks of them, where there are many.
const LINES: usize = 32;
const BLOCKS: usize = 256;

/// Blocks along an axis other than the first.
const MOST_BLOCKS: usize = 65_535;

/// Lines that one thread adds a bias to, where there are not too many.
const LINES_OF_THREAD: usize = 8;

/// How many lines are summed one after another, of so many: it depends on nothing else.
pub(super) fn lines_of_block(lines: usize) -> usize {
    lines.div_ceil(BLOCKS).max(LINES)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct BiasArguments {
    x: u64,
    bias: u64,
    result: u64,
    lines: u64,
    width: u32,
    aligned: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PartsArguments {
    x: u64,
    parts: u64,
    lines: u64,
    width: u32,
    block: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SumsArguments {
    parts: u64,
    result: u64,
    count: u32,
    width: u32,
}

/// `x`, `[m, n]` of one type, with `bias`, `[n]` f32, added to each line.
pub fn add_bias<S: Runs>(x: Operand<'_, S>, bias: Operand<'_, S>) -> Result<S> {
    let ((storage, layout), dtype) = (x, x.0.dtype());
    let (lines, width) = layout.shape().dims2()?;
    expect_count(bias.1, width)?;
    let mut result = S::empty(storage.device(), lines * width, dtype)?;
    let (from, to) = (read(x, dtype)?, result.address_mut()?);
    let arguments = BiasArguments {
        x: from,
        bias: read(bias, DType::F32)?,
        result: to,
        lines: lines as u64,
        width: width as u32,
        aligned: aligned(&[(from, dtype), (to, dtype)], width),
    };
    let launch = module!("columns").launch(named("add_bias", dtype)?, width.div_ceil(4), 128);
    let rows = lines.div_ceil(LINES_OF_THREAD).min(MOST_BLOCKS);
    let launch = Launch { grid: [launch.grid[0], rows], ..launch };
    S::launch(storage.device(), &launch, arguments)?;
    Ok(result)
}

/// The sums over the lines of `x`, `[m, n]` of one type: `[n]` f32.
pub fn column_sums<S: Runs>(x: Operand<'_, S>) -> Result<S> {
    let ((storage, layout), dtype) = (x, x.0.dtype());
    let (lines, width) = layout.shape().dims2()?;
    let block = lines_of_block(lines);
    let blocks = lines.div_ceil(block);
    let mut parts = S::empty(storage.device(), blocks * width, DType::F32)?;
    let arguments = PartsArguments {
        x: read(x, dtype)?,
        parts: parts.address_mut()?,
        lines: lines as u64,
        width: width as u32,
        block: block as u32,
    };
    let launch = module!("columns").launch(named("column_parts", dtype)?, width, 128);
    let launch = Launch { grid: [launch.grid[0], blocks], ..launch };
    S::launch(storage.device(), &launch, arguments)?;
    add_parts(&parts, blocks, width)
}

/// The sums over `parts`, `[blocks, n]` f32, in their order.
pub(super) fn add_parts<S: Runs>(parts: &S, blocks: usize, width: usize) -> Result<S> {
    let mut result = S::empty(parts.device(), width, DType::F32)?;
    let arguments = SumsArguments {
        parts: parts.address()?,
        result: result.address_mut()?,
        count: blocks as u32,
        width: width as u32,
    };
    let launch = module!("columns").launch("column_sums".to_owned(), width, 64);
    S::launch(parts.device(), &launch, arguments)?;
    Ok(result)
}
