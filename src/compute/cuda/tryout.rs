//! A few small computations that a card must do before anything is loaded onto it: a driver that is too old for a
//! kernel, or a library that does not fit the card, fails at the first use and not when the device is opened.

use candle_core::{DType, Device, Result, Tensor};

/// One computation with a known answer.
pub struct Check {
    /// What is computed, for the reader of an error.
    pub name: &'static str,
    pub run: fn(&Device) -> Result<Tensor>,
    /// The values, in order; they must be met exactly, so that the inputs are small integers and the like.
    pub expected: &'static [f32],
}

/// What a check found wrong.
pub enum Fault {
    /// It could not be computed.
    Failed(candle_core::Error),
    /// Other values than expected.
    Wrong(Vec<f32>),
}

/// Products by cuBLAS, and one kernel of each of Candle's modules that the encoders use.
const CANDLE: &[Check] = &[
    Check { name: "product in f32", run: |device| product(device, DType::F32), expected: PRODUCT },
    Check {
        name: "product in bf16",
        run: |device| product(device, DType::BF16),
        expected: PRODUCT,
    },
    Check { name: "fill", run: |device| Tensor::ones(3, DType::F32, device), expected: &[1.0; 3] },
    Check {
        name: "affine",
        run: |device| line(device)?.affine(2.0, -1.0),
        expected: &[1.0, 7.0, 17.0],
    },
    Check {
        name: "binary",
        run: |device| line(device)? - Tensor::new(&[3f32, 2.0, 1.0], device)?,
        expected: &[-2.0, 2.0, 8.0],
    },
    Check {
        // Half of the last place of bf16 beyond 1, which goes to the even neighbour.
        name: "cast",
        run: |device| Tensor::new(&[1.0 + 1.0 / 256.0, -2.5f32], device)?.to_dtype(DType::BF16),
        expected: &[1.0, -2.5],
    },
    Check {
        name: "indexing",
        run: |device| line(device)?.index_select(&Tensor::new(&[2u32, 0], device)?, 0),
        expected: &[9.0, 1.0],
    },
    Check { name: "short sum", run: |device| line(device)?.sum_keepdim(0), expected: &[14.0] },
    Check { name: "long sum", run: |device| count(device)?.sum_keepdim(0), expected: &[4950.0] },
    Check { name: "maximum", run: |device| count(device)?.max_keepdim(0), expected: &[99.0] },
    Check {
        name: "ternary",
        run: |device| {
            let ones = Tensor::ones(3, DType::F32, device)?;
            Tensor::new(&[1u8, 0, 1], device)?.where_cond(&line(device)?, &ones)
        },
        expected: &[1.0, 1.0, 9.0],
    },
    Check { name: "unary", run: |device| line(device)?.sqrt(), expected: &[1.0, 2.0, 3.0] },
];

/// All checks. Kernels of our own have theirs beside them, and a line here.
fn all() -> impl Iterator<Item = &'static Check> {
    [CANDLE].into_iter().flatten()
}

/// Runs every check on the device.
///
/// # Errors
///
/// The name of the first that fails, what is expected of it, and its fault.
pub fn run(device: &Device) -> std::result::Result<(), (&'static Check, Fault)> {
    for check in all() {
        let values = || (check.run)(device)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
        match values() {
            Ok(found) if found == check.expected => (),
            Ok(found) => return Err((check, Fault::Wrong(found))),
            Err(error) => return Err((check, Fault::Failed(error))),
        }
    }
    Ok(())
}

const PRODUCT: &[f32] = &[4.0, 5.0, 10.0, 11.0];

/// The product of 2×3 and 3×2, the second turned, as the layers do it.
fn product(device: &Device, dtype: DType) -> Result<Tensor> {
    let left = Tensor::new(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]], device)?.to_dtype(dtype)?;
    let right = Tensor::new(&[[1f32, 0.0, 1.0], [0.0, 1.0, 1.0]], device)?.to_dtype(dtype)?;
    left.matmul(&right.t()?)
}

fn line(device: &Device) -> Result<Tensor> {
    Tensor::new(&[1f32, 4.0, 9.0], device)
}

/// More values than Candle's kernel for short sums takes.
fn count(device: &Device) -> Result<Tensor> {
    Tensor::arange(0f32, 100.0, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_passes_every_check() {
        let failed = run(&Device::Cpu).err().map(|(check, _)| check.name);
        assert_eq!(failed, None);
        assert!(all().count() >= 10);
    }
}
