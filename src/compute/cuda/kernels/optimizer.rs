//! AdamW and the moving average of weights in their place, and sums of squares.

use candle_core::backend::BackendDevice;
use candle_core::{DType, Layout, Result, bail};

use super::{Launch, Operand, Runs, aligned, count, expect_count, module, read, write};
use crate::compute::ops::device::AdamW;

/// Values whose squares are summed by one block.
const PIECE: usize = 1 << 14;

#[repr(C)]
#[derive(Clone, Copy)]
struct Coefficients {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    rate: f32,
    root: f32,
    shrink: f32,
    scale: f32,
}

impl From<AdamW> for Coefficients {
    fn from(k: AdamW) -> Self {
        let AdamW { beta1, beta2, epsilon, rate, root, shrink, scale } = k;
        Self { beta1, beta2, epsilon, rate, root, shrink, scale }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct StepArguments {
    /// First moments, second moments and gradient; or weights, first and second moments.
    operands: [u64; 3],
    count: u64,
    k: Coefficients,
    aligned: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct AverageArguments {
    average: u64,
    weight: u64,
    count: u64,
    decay: f32,
    aligned: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SquaresArguments {
    x: u64,
    pieces: u64,
    sums: u64,
}

/// Four values a thread.
fn by_four(kernel: &str, count: usize) -> Launch {
    module!("optimizer").launch(kernel.to_owned(), count.div_ceil(4), 256)
}

/// Takes a gradient, `[n]` f32, into the moments `[2, n]` f32: the bits of the optimizer on the CPU.
pub fn adamw_moments<S: Runs>(
    moments: (&mut S, &Layout),
    gradient: Operand<'_, S>,
    k: AdamW,
) -> Result<()> {
    let count = count(gradient.1);
    expect_count(moments.1, 2 * count)?;
    let first = write(moments, DType::F32)?;
    let second = first + (count * size_of::<f32>()) as u64;
    step("adamw_moments", [first, second, read(gradient, DType::F32)?], gradient, k)
}

/// Moves weights, `[n]` f32, by their moments `[2, n]` f32: the bits of the optimizer on the CPU.
pub fn adamw_weights<S: Runs>(
    weight: (&mut S, &Layout),
    moments: Operand<'_, S>,
    k: AdamW,
) -> Result<()> {
    let layout = weight.1;
    expect_count(moments.1, 2 * count(layout))?;
    let first = read(moments, DType::F32)?;
    let second = first + (count(layout) * size_of::<f32>()) as u64;
    step("adamw_weights", [write(weight, DType::F32)?, first, second], (moments.0, layout), k)
}

/// One kernel over as many values as the layout of `of` has, on its device.
fn step<S: Runs>(kernel: &str, operands: [u64; 3], of: Operand<'_, S>, k: AdamW) -> Result<()> {
    let count = count(of.1);
    let arguments = StepArguments {
        operands,
        count: count as u64,
        k: k.into(),
        aligned: aligned(&operands.map(|address| (address, DType::F32)), 4),
    };
    S::launch(of.0.device(), &by_four(kernel, count), arguments)
}

/// `average ← decay · average + (1 − decay) · weight`, both f32: the bits of the CPU's average.
pub fn average<S: Runs>(
    average: (&mut S, &Layout),
    weight: Operand<'_, S>,
    decay: f32,
) -> Result<()> {
    let count = count(weight.1);
    expect_count(average.1, count)?;
    let (to, from) = (write(average, DType::F32)?, read(weight, DType::F32)?);
    let aligned = aligned(&[(to, DType::F32), (from, DType::F32)], 4);
    let arguments =
        AverageArguments { average: to, weight: from, count: count as u64, decay, aligned };
    S::launch(weight.0.device(), &by_four("average", count), arguments)
}

/// The sum of squares, f64, of each of the parts, of these lengths, in which the values of `x`, f32, lie one after another:
/// pieces of 16,384 values counted from a part's beginning are added in their order.
pub fn square_sums<S: Runs>(x: Operand<'_, S>, parts: &[usize]) -> Result<S> {
    let (storage, layout) = x;
    let device = storage.device();
    if parts.iter().sum::<usize>() != count(layout) {
        bail!("`square_sums`: the parts have {parts:?} values, and {:?} were given", layout.dims());
    }
    // Where each piece begins and its length; and the same of the pieces of each part.
    let (mut pieces, mut of_parts) = (Vec::new(), Vec::new());
    let mut start = 0;
    for &length in parts {
        let first = pieces.len() / 2;
        for begin in (0..length).step_by(PIECE) {
            pieces.extend([(start + begin) as i64, (length - begin).min(PIECE) as i64]);
        }
        of_parts.extend([first as i64, (pieces.len() / 2 - first) as i64]);
        start += length;
    }
    let blocks = pieces.len() / 2;
    let mut sums = S::empty(device, blocks, DType::F64)?;
    let pieces = device.storage_from_slice(&pieces)?;
    let arguments = SquaresArguments {
        x: read(x, DType::F32)?,
        pieces: pieces.address()?,
        sums: sums.address_mut()?,
    };
    let squares = module!("optimizer").launch("square_pieces".to_owned(), 256 * blocks, 256);
    S::launch(device, &squares, arguments)?;
    let of_parts = device.storage_from_slice(&of_parts)?;
    let mut result = S::empty(device, parts.len(), DType::F64)?;
    let arguments = SquaresArguments {
        x: sums.address()?,
        pieces: of_parts.address()?,
        sums: result.address_mut()?,
    };
    let add = module!("optimizer").launch("add_squares".to_owned(), 256 * parts.len(), 256);
    S::launch(device, &add, arguments)?;
    Ok(result)
}
