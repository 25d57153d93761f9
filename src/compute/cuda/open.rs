//! Opening a card, with every hindrance found on the way.

#![expect(
    unsafe_code,
    reason = "asking the driver for its version, and no events beside the one stream"
)]

use candle_core::cuda_backend::CudaError;
use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, sys};
use candle_core::{Device, Error};

use super::blas::BLAS;
use super::driver::{self, DRIVER};
use super::trouble::{LEAST_CAPABILITY, Trouble, version};
use super::tryout::{self, Fault};
use crate::compute::device::Card;

/// What the kernels, the workspace of cuBLAS and the smallest model take.
const LEAST_FREE: usize = 256 << 20;

const TOOLKIT: i32 = sys::CUDA_VERSION.cast_signed();

/// Opens the card of this index and tries it out.
///
/// # Errors
///
/// [`Trouble`]: what stands in the way.
pub fn open(index: usize) -> Result<(Device, Card), Trouble> {
    if !DRIVER.is_there() {
        return Err(Trouble::NoDriver);
    }
    driver::start().map_err(|code| Trouble::from_code(code, &format!("code {code}")))?;
    let count = CudaContext::device_count().map_err(of_driver)?;
    let count = usize::try_from(count).unwrap_or(0);
    let supported = driver_version()?;
    if supported < TOOLKIT {
        return Err(Trouble::OldDriver { found: supported, needed: TOOLKIT });
    }
    if count == 0 {
        return Err(Trouble::NoCard);
    }
    if index >= count {
        return Err(Trouble::NoSuchCard { index, count });
    }
    let context = CudaContext::new(index).map_err(of_driver)?;
    let name = context.name().map_err(of_driver)?;
    let capability = context.compute_capability().map_err(of_driver)?;
    if capability < LEAST_CAPABILITY {
        return Err(Trouble::OldCard { name, found: capability });
    }
    let (free, memory) = context.mem_get_info().map_err(of_driver)?;
    if free < LEAST_FREE {
        return Err(Trouble::LittleMemory { free: free >> 20, needed: LEAST_FREE >> 20 });
    }
    if !BLAS.is_there() {
        return Err(Trouble::NoBlas);
    }
    let device = with_one_stream(index).map_err(|error| of_candle(&error))?;
    let failed = |check, error: &Error| match of_candle(error) {
        Trouble::Other(why) => Trouble::Check { check, why },
        known => known,
    };
    tryout::run(&device).map_err(|(check, fault)| match fault {
        Fault::Wrong(found) => {
            Trouble::Wrong { check: check.name, found, expected: check.expected.to_vec() }
        }
        Fault::Failed(error) => failed(check.name, &error),
    })?;
    if let Device::Cuda(card) = &device {
        super::kernels::check(card).map_err(|found| failed(found.kernel, &found.source))?;
    }
    let card = Card {
        name,
        compute_capability: format!("{}.{}", capability.0, capability.1),
        memory_bytes: memory,
        free_bytes: free,
        driver: installed_driver(),
        driver_cuda: version(supported),
        toolkit: version(TOOLKIT),
    };
    Ok((device, card))
}

/// A device with one stream for every thread. Candle's own choice is a stream for each thread, and nothing orders a
/// tensor that is made in one and used in another.
fn with_one_stream(index: usize) -> candle_core::Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    // SAFETY: events keep several streams apart. All tensors of this device live on its one stream, where everything
    // happens in order; copies to and from memory that is not pinned are done with it when they return.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    Ok(device)
}

/// The newest CUDA that the driver supports, 13000 for 13.0.
fn driver_version() -> Result<i32, Trouble> {
    let mut found = 0;
    // SAFETY: the place for the answer lives during the call.
    unsafe { sys::cuDriverGetVersion(&raw mut found) }.result().map_err(of_driver)?;
    Ok(found)
}

/// The release of the driver, such as `580.65.06`, where the kernel module tells.
fn installed_driver() -> Option<String> {
    let text = std::fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(text.trim().to_owned())
}

/// Candle's words end in a backtrace where those are asked for, so that only the code in them is used.
fn of_candle(error: &Error) -> Trouble {
    match error {
        Error::WithBacktrace { inner, .. }
        | Error::Context { inner, .. }
        | Error::WithPath { inner, .. } => of_candle(inner),
        Error::Cuda(inner) => match inner.downcast_ref::<CudaError>() {
            Some(CudaError::Cuda(cause) | CudaError::Load { cuda: cause, .. }) => of_driver(*cause),
            Some(CudaError::Cublas(CublasError(status))) => Trouble::Blas(format!("{status:?}")),
            _ => first_line(inner.as_ref()),
        },
        other => first_line(other),
    }
}

fn of_driver(DriverError(code): DriverError) -> Trouble {
    Trouble::from_code(code as u32, &format!("{code:?}"))
}

fn first_line(error: &dyn std::error::Error) -> Trouble {
    Trouble::Other(error.to_string().lines().next().unwrap_or_default().to_owned())
}
