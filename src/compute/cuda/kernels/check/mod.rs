//! Every kernel once on few values, beside what the CPU makes of them: run when a card is opened, for a driver or a card
//! that does not fit is found nowhere else, and in tests on the host, with more and longer lines.

mod cases;
mod plain;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, DType, Layout, Result, Shape, bail};
use half::bf16;

use super::{Operand, Runs};
use crate::compute::{Noise, Purpose};

/// A kernel that cannot be run, or gives wrong values. Candle's words may go on with a backtrace, which is left out.
#[derive(Debug, thiserror::Error)]
#[error("kernel `{kernel}` fails: {}", source.to_string().lines().next().unwrap_or_default())]
pub struct Failed {
    /// The function of this module that runs it.
    pub kernel: &'static str,
    pub source: candle_core::Error,
}

/// Runs all kernels on a device.
pub(super) fn check_all<S: Runs>(device: &S::Device) -> std::result::Result<(), Failed> {
    let size = Size { lines: 5, width: 40, lead: 0 };
    for dtype in [DType::F32, DType::BF16] {
        let on = On::<S> { device, dtype, size };
        for (kernel, run) in cases::cases::<S>() {
            run(&on).map_err(|source| Failed { kernel, source })?;
        }
    }
    Ok(())
}

/// How many lines of how many values, and how many others stand before them in their storage.
#[derive(Clone, Copy, Debug)]
struct Size {
    lines: usize,
    width: usize,
    lead: usize,
}

/// Where and with what kernels are run.
struct On<'a, S: Runs> {
    device: &'a S::Device,
    /// The type where a kernel takes more than one.
    dtype: DType,
    size: Size,
}

/// A tensor of a device.
struct Held<S> {
    storage: S,
    layout: Layout,
}

impl<S> Held<S> {
    fn operand(&self) -> Operand<'_, S> {
        (&self.storage, &self.layout)
    }
}

impl<S: Runs> On<'_, S> {
    /// Values like weights, other ones for other numbers, as the type has them.
    fn draw(&self, number: u64, count: usize, dtype: DType) -> Vec<f32> {
        let mut stream = Noise::new(11).stream(Purpose::Init, number, 0);
        (0..count).map(|_| rounded(stream.normal() as f32, dtype)).collect()
    }

    /// On the device, with other values before them.
    fn floats(&self, values: &[f32], dtype: DType) -> Result<Held<S>> {
        let all: Vec<f32> = [&vec![f32::NAN; self.size.lead], values].concat();
        let storage = match dtype {
            DType::BF16 => {
                let narrow: Vec<bf16> = all.iter().map(|&value| bf16::from_f32(value)).collect();
                self.device.storage_from_slice(&narrow)?
            }
            _ => self.device.storage_from_slice(&all)?,
        };
        Ok(self.held(storage, values.len()))
    }

    /// The same of numbers.
    fn words(&self, values: &[u32]) -> Result<Held<S>> {
        let all: Vec<u32> = [&vec![u32::MAX; self.size.lead], values].concat();
        Ok(self.held(self.device.storage_from_slice(&all)?, values.len()))
    }

    fn held(&self, storage: S, count: usize) -> Held<S> {
        Held { storage, layout: Layout::contiguous_with_offset(count, self.size.lead) }
    }

    /// Compares what a kernel gave with what is expected of it, rounded to its type: to the last bit where `within` is 0,
    /// else to that share of 1 or of the value, and one place of bf16.
    fn compare(&self, found: &S, expected: &[f32], within: f32) -> Result<()> {
        let place = if found.dtype() == DType::BF16 { 1.0 / 128.0 } else { 0.0 };
        let expected = expected.iter().map(|&value| rounded(value, found.dtype()));
        let values = values(found)?;
        if values.len() < expected.len() {
            bail!("{} values are given, and {} are expected", values.len(), expected.len());
        }
        // What stands before the values of an operand that was changed.
        let values = &values[values.len() - expected.len()..];
        for (index, (&found, expected)) in values.iter().zip(expected).enumerate() {
            let near =
                (within + place * f32::from(u8::from(within > 0.0))) * expected.abs().max(1.0);
            let right = found.to_bits() == expected.to_bits() || (found - expected).abs() <= near;
            if !right || (within == 0.0 && found != expected) {
                bail!("value {index} is {found:e}, and {expected:e} is expected");
            }
        }
        Ok(())
    }
}

impl<S> Held<S> {
    /// In another shape.
    fn shaped(self, shape: impl Into<Shape>) -> Self {
        let layout = Layout::contiguous_with_offset(shape, self.layout.start_offset());
        Self { layout, ..self }
    }
}

/// As the type has it.
fn rounded(value: f32, dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// What stands in a storage.
fn values<S: BackendStorage>(storage: &S) -> Result<Vec<f32>> {
    match storage.to_cpu_storage()? {
        CpuStorage::BF16(values) => Ok(values.iter().map(|value| value.to_f32()).collect()),
        CpuStorage::F32(values) => Ok(values),
        CpuStorage::F64(values) => Ok(values.iter().map(|&value| value as f32).collect()),
        other => bail!("kernels do not give {:?}", other.dtype()),
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests;
