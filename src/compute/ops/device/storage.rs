//! Storage of the CPU as slices, for the plain forms of operations that a GPU has kernels for.

use std::borrow::Cow;

use candle_core::{CpuStorage, DType, Layout, Result, bail};
use half::bf16;

/// A tensor as an operation gets it.
pub type Operand<'a, S> = (&'a S, &'a Layout);

/// Its values, f32 or bf16, as f32.
pub fn floats<'a>((storage, layout): Operand<'a, CpuStorage>) -> Result<Cow<'a, [f32]>> {
    let (start, end) = bounds(layout)?;
    match storage {
        CpuStorage::F32(values) => Ok(Cow::Borrowed(&values[start..end])),
        CpuStorage::BF16(values) => {
            Ok(Cow::Owned(values[start..end].iter().map(|value| value.to_f32()).collect()))
        }
        other => bail!("f32 or bf16 is expected, and {:?} was given", dtype(other)),
    }
}

/// Its values, u32.
pub fn words<'a>((storage, layout): Operand<'a, CpuStorage>) -> Result<&'a [u32]> {
    let (start, end) = bounds(layout)?;
    match storage {
        CpuStorage::U32(values) => Ok(&values[start..end]),
        other => bail!("u32 is expected, and {:?} was given", dtype(other)),
    }
}

/// Values of the type that another storage has, each rounded once.
pub fn like(storage: &CpuStorage, values: Vec<f32>) -> CpuStorage {
    match storage {
        CpuStorage::BF16(_) => CpuStorage::BF16(values.into_iter().map(bf16::from_f32).collect()),
        _ => CpuStorage::F32(values),
    }
}

/// The values of a contiguous f32 tensor that an operation changes.
pub fn floats_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let (start, end) = bounds(layout)?;
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        other => bail!("f32 is expected, and {:?} was given", dtype(other)),
    }
}

fn bounds(layout: &Layout) -> Result<(usize, usize)> {
    match layout.contiguous_offsets() {
        Some(bounds) => Ok(bounds),
        None => bail!("operands must be contiguous"),
    }
}

fn dtype(storage: &CpuStorage) -> DType {
    candle_core::backend::BackendStorage::dtype(storage)
}
