//! A card as a place where kernels run.

#![expect(unsafe_code, reason = "kernels are given addresses, and memory is not cleared for them")]

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CudaDevice, CudaStorage, DType, Result, Shape, bail};

use super::check::{Failed, check_all};
use super::{Launch, Runs};

/// Runs every kernel once on a few values, in all types that it has, and names the first one that gives wrong ones.
pub fn check(device: &CudaDevice) -> std::result::Result<(), Failed> {
    check_all::<CudaStorage>(device)
}

/// What is passed to a kernel as its one parameter.
#[repr(transparent)]
struct Parameter<A>(A);

// SAFETY: `launch` copies the bytes before it returns, and a launch names the structure that its kernel takes.
unsafe impl<A: Copy> DeviceRepr for Parameter<A> {}

impl Runs for CudaStorage {
    fn address(&self) -> Result<u64> {
        Ok(match &self.slice {
            CudaStorageSlice::U32(values) => begin(values),
            CudaStorageSlice::I64(values) => begin(values),
            CudaStorageSlice::BF16(values) => begin(values),
            CudaStorageSlice::F32(values) => begin(values),
            CudaStorageSlice::F64(values) => begin(values),
            _ => bail!("kernels take u32, i64, bf16, f32 and f64"),
        })
    }

    fn address_mut(&mut self) -> Result<u64> {
        self.address()
    }

    fn empty(device: &CudaDevice, count: usize, dtype: DType) -> Result<Self> {
        // SAFETY: the caller has a kernel write all of it.
        unsafe { device.alloc_uninit(&Shape::from(count), dtype) }
    }

    fn launch<A: Copy>(device: &CudaDevice, launch: &Launch, arguments: A) -> Result<()> {
        let Launch { module, kernel, grid, threads, shared } = launch;
        if grid.contains(&0) {
            return Ok(());
        }
        let function = device.get_or_load_custom_func(kernel, module.name, module.ptx)?;
        let config = LaunchConfig {
            grid_dim: (u32::try_from(grid[0])?, u32::try_from(grid[1])?, 1),
            block_dim: (u32::try_from(*threads)?, 1, 1),
            shared_mem_bytes: u32::try_from(*shared)?,
        };
        let parameter = Parameter(arguments);
        let mut builder = function.builder();
        builder.arg(&parameter);
        // SAFETY: the addresses are of storages that the caller holds, with room for what the kernel reads and writes; the
        // tests run the same arguments on the host.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Candle runs everything of a device on one stream, in order, so that no event has to wait for another one: what
/// `device_ptr` gives for that is dropped.
fn begin<T>(values: &CudaSlice<T>) -> u64 {
    values.device_ptr(values.stream()).0
}
