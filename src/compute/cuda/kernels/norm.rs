//! Layer norm of a sum, and its backward passes, which make the statistics again.

use candle_core::{DType, Layout, Result, bail};

use super::columns::{add_parts, lines_of_block};
use super::{LANES, Launch, Module, Operand, Runs, expect_count, module, named, read};

/// Bytes of shared memory that a block may have without asking.
const SHARED: usize = 48 * 1024;

/// Lines of a block, where they fit: with few, blocks of long lines share a multiprocessor better.
const LINES: usize = 8;

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    x: u64,
    residual: u64,
    gamma: u64,
    beta: u64,
    gradient: u64,
    result: u64,
    lines: u64,
    width: u32,
    stride: u32,
    epsilon: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PartsArguments {
    x: u64,
    residual: u64,
    gradient: u64,
    statistics: u64,
    parts: u64,
    lines: u64,
    width: u32,
    block: u32,
    sums: u32,
}

/// What all three begin with: `x`, `[m, d]` of one type, and what is added to it, `[m, d]` f32.
#[derive(Clone, Copy)]
struct Sum<'a, S> {
    x: Operand<'a, S>,
    residual: Option<Operand<'a, S>>,
    epsilon: f32,
}

impl<S: Runs> Sum<'_, S> {
    fn dims(&self) -> Result<(usize, usize)> {
        self.x.1.shape().dims2()
    }

    /// Addresses of the sum, all others null.
    fn arguments(&self) -> Result<Arguments> {
        let (lines, width) = self.dims()?;
        let residual = match self.residual {
            Some(residual) => {
                expect_count(residual.1, lines * width)?;
                read(residual, DType::F32)?
            }
            None => 0,
        };
        Ok(Arguments {
            x: read(self.x, self.x.0.dtype())?,
            residual,
            gamma: 0,
            beta: 0,
            gradient: 0,
            result: 0,
            lines: lines as u64,
            width: width as u32,
            stride: stride(width) as u32,
            epsilon: self.epsilon,
        })
    }

    /// Runs a kernel of 16 lanes a line, with the line in shared memory, that gives so many f32.
    fn run(&self, kernel: &str, arguments: Arguments, count: usize) -> Result<S> {
        let ((storage, layout), dtype) = (self.x, self.x.0.dtype());
        let mut result = S::empty(storage.device(), count, DType::F32)?;
        let launch = by_lines(module!("norm"), named(kernel, dtype)?, layout)?;
        let arguments = Arguments { result: result.address_mut()?, ..arguments };
        S::launch(storage.device(), &launch, arguments)?;
        Ok(result)
    }
}

/// f32 from one line to the next in shared memory: the two lines of a warp lie in different banks.
fn stride(width: usize) -> usize {
    width.next_multiple_of(2 * LANES) + LANES
}

fn by_lines(module: Module, kernel: String, layout: &Layout) -> Result<Launch> {
    let (lines, width) = layout.shape().dims2()?;
    let bytes = size_of::<f32>() * stride(width);
    let fitting = (SHARED / bytes).min(LINES);
    if fitting == 0 {
        bail!("`{kernel}`: lines of {width} values are too long");
    }
    // Whole warps, of two lines each.
    let together = if fitting > 1 { fitting / 2 * 2 } else { 1 };
    let launch = module.launch(kernel, lines * LANES, together * LANES);
    Ok(Launch { shared: together * bytes, ..launch })
}

/// Where γ begins, and where β does, or 0 where there is none.
fn gamma_and_beta<S: Runs>(gamma_beta: Operand<'_, S>, width: usize) -> Result<(u64, u64)> {
    let gamma = read(gamma_beta, DType::F32)?;
    match gamma_beta.1.shape().dims2()? {
        (1, own) if own == width => Ok((gamma, 0)),
        (2, own) if own == width => Ok((gamma, gamma + (size_of::<f32>() * width) as u64)),
        (rows, own) => {
            bail!("γ and β of {width} values are expected, and [{rows}, {own}] was given")
        }
    }
}

/// Layer norm of `x + residual`, `[m, d]` f32, with γ and β stacked as `[2, d]`, or with γ alone, `[1, d]`, f32: the bits of
/// [`add_layer_norm`](crate::compute::kernels::norm::add_layer_norm).
pub fn norm<S: Runs>(
    x: Operand<'_, S>,
    residual: Option<Operand<'_, S>>,
    gamma_beta: Operand<'_, S>,
    epsilon: f32,
) -> Result<S> {
    let sum = Sum { x, residual, epsilon };
    let (lines, width) = sum.dims()?;
    let (gamma, beta) = gamma_and_beta(gamma_beta, width)?;
    sum.run("norm", Arguments { gamma, beta, ..sum.arguments()? }, lines * width)
}

/// The gradient of `x + residual`, from that of their norm, all `[m, d]` f32.
pub fn norm_backward<S: Runs>(
    x: Operand<'_, S>,
    residual: Option<Operand<'_, S>>,
    gamma_beta: Operand<'_, S>,
    gradient: Operand<'_, S>,
    epsilon: f32,
) -> Result<S> {
    let sum = Sum { x, residual, epsilon };
    let (lines, width) = sum.dims()?;
    expect_count(gradient.1, lines * width)?;
    let ((gamma, _), gradient) = (gamma_and_beta(gamma_beta, width)?, read(gradient, DType::F32)?);
    sum.run("norm_backward", Arguments { gamma, gradient, ..sum.arguments()? }, lines * width)
}

/// The gradient of γ and, with two `rows`, of β: `[rows, d]` f32.
pub fn norm_parameters<S: Runs>(
    x: Operand<'_, S>,
    residual: Option<Operand<'_, S>>,
    gradient: Operand<'_, S>,
    rows: usize,
    epsilon: f32,
) -> Result<S> {
    let ((storage, _), dtype) = (x, x.0.dtype());
    let sum = Sum { x, residual, epsilon };
    let (lines, width) = sum.dims()?;
    expect_count(gradient.1, lines * width)?;
    let arguments = sum.arguments()?;
    let statistics = sum.run("norm_statistics", arguments, 2 * lines)?;
    let block = lines_of_block(lines);
    let blocks = lines.div_ceil(block);
    let mut parts = S::empty(storage.device(), blocks * rows * width, DType::F32)?;
    let arguments = PartsArguments {
        x: arguments.x,
        residual: arguments.residual,
        gradient: read(gradient, DType::F32)?,
        statistics: statistics.address()?,
        parts: parts.address_mut()?,
        lines: lines as u64,
        width: width as u32,
        block: block as u32,
        sums: rows as u32,
    };
    let launch = module!("norm").launch(named("norm_parts", dtype)?, width, 128);
    let launch = Launch { grid: [launch.grid[0], blocks], ..launch };
    S::launch(storage.device(), &launch, arguments)?;
    add_parts(&parts, blocks, rows * width)
}
