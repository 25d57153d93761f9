//! Our own kernels for CUDA cards: operations that Candle lacks there, or makes of many small ones.
//!
//! Their source, `compute/cuda/source`, is C in what CUDA and plain C have in common. Beside it lies what NVIDIA's
//! compiler makes of it, PTX, as text: a build needs no compiler, and a card's driver translates it when a kernel is first
//! used. `make.sh` there makes the PTX again and fails where it differs. The tests compile the same source for the host,
//! run it with the arguments and grids of this module, and compare with the CPU's kernels and plain forms; and they run the
//! PTX by an interpreter.
//!
//! All functions take contiguous operands, f32 or bf16 where their words say "of one type", compute in f32, and give a new
//! contiguous storage. Sums have a fixed order: the same run repeats its bits.

mod activation;
mod check;
mod columns;
#[cfg(feature = "cuda")]
mod device;
mod dropout;
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod host;
mod norm;
mod optimizer;
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod ptx;
mod rotary;
mod segments;
mod softmax;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{DType, Layout, Result, bail};

pub use self::activation::{activate, activate_backward};
pub use self::columns::{add_bias, column_sums};
#[cfg(feature = "cuda")]
pub use self::device::check;
pub use self::dropout::dropout;
pub use self::norm::{norm, norm_backward, norm_parameters};
pub use self::optimizer::{adamw_moments, adamw_weights, average, square_sums};
pub use self::rotary::rotate;
pub use self::segments::segment_sums;
pub use self::softmax::{masked_softmax, masked_softmax_backward};

/// A tensor as a Candle operation gets it.
pub type Operand<'a, S> = (&'a S, &'a Layout);

/// A storage on whose device kernels run: a card's, or in tests the host's.
pub trait Runs: BackendStorage<Device: BackendDevice<Storage = Self>> {
    /// Where the values begin.
    fn address(&self) -> Result<u64>;

    /// The same, to be written to.
    fn address_mut(&mut self) -> Result<u64>;

    /// Room for so many values, whatever stands there.
    fn empty(device: &Self::Device, count: usize, dtype: DType) -> Result<Self>;

    /// Runs a kernel after all that was begun before. `A` is the structure that its source names.
    fn launch<A: Copy>(device: &Self::Device, launch: &Launch, arguments: A) -> Result<()>;
}

/// PTX that is loaded as one.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    name: &'static str,
    ptx: &'static str,
}

/// Names of the source files that are compiled.
#[cfg(test)]
const SOURCES: [&str; 8] =
    ["activation", "columns", "dropout", "norm", "optimizer", "rotary", "segments", "softmax"];

/// A kernel and how many threads run it.
#[derive(Clone, Debug)]
pub struct Launch {
    module: Module,
    kernel: String,
    /// Blocks, along two axes.
    grid: [usize; 2],
    /// Threads a block.
    threads: usize,
    /// Bytes of shared memory a block, besides what the kernel declares.
    shared: usize,
}

/// The module of a source file.
macro_rules! module {
    ($name:literal) => {
        super::Module { name: $name, ptx: include_str!(concat!("../source/", $name, ".ptx")) }
    };
}
use module;

impl Module {
    /// A kernel with so many threads in all, in blocks of so many.
    fn launch(self, kernel: String, total: usize, threads: usize) -> Launch {
        let grid = [total.div_ceil(threads), 1];
        Launch { module: self, kernel, grid, threads, shared: 0 }
    }
}

/// Lanes of a line: `LANES` of the source.
const LANES: usize = 16;

/// The name of a kernel for a type.
fn named(kernel: &str, dtype: DType) -> Result<String> {
    match dtype {
        DType::F32 => Ok(format!("{kernel}_f32")),
        DType::BF16 => Ok(format!("{kernel}_bf16")),
        other => bail!("`{kernel}` takes f32 or bf16, and {other:?} was given"),
    }
}

/// Where the values of a contiguous operand of this type begin.
fn read<S: Runs>((storage, layout): Operand<'_, S>, dtype: DType) -> Result<u64> {
    Ok(storage.address()? + offset(storage.dtype(), layout, dtype)?)
}

/// The same for one that is changed in its place.
fn write<S: Runs>((storage, layout): (&mut S, &Layout), dtype: DType) -> Result<u64> {
    Ok(storage.address_mut()? + offset(storage.dtype(), layout, dtype)?)
}

fn offset(found: DType, layout: &Layout, expected: DType) -> Result<u64> {
    if found != expected {
        bail!("an operand of type {expected:?} is expected, and {found:?} was given");
    }
    match layout.contiguous_offsets() {
        Some((start, _)) => Ok((start * found.size_in_bytes()) as u64),
        None => bail!("operands must be contiguous"),
    }
}

/// Values of an operand.
fn count(layout: &Layout) -> usize {
    layout.shape().elem_count()
}

/// Refuses an operand of another size.
fn expect_count(layout: &Layout, expected: usize) -> Result<()> {
    if count(layout) != expected {
        bail!(
            "an operand of {expected} values is expected, and one of {:?} was given",
            layout.dims()
        );
    }
    Ok(())
}

/// Whether four values may be moved at once at all of these addresses, where lines are so long.
fn aligned(addresses: &[(u64, DType)], width: usize) -> u32 {
    let whole =
        |&(address, dtype): &(u64, DType)| address.is_multiple_of(4 * dtype.size_in_bytes() as u64);
    u32::from(width.is_multiple_of(4) && addresses.iter().all(whole))
}
