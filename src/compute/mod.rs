//! Device, threads, seeded noise, packed batches and the differentiable operations.
//!
//! The only module that asks for the feature `cuda`.

mod backend;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
mod device;
mod fetch;
pub mod kernels;
mod memory;
mod noise;
pub mod ops;
mod packed;
mod precision;
mod process;
mod relative;
pub mod rounding;
mod threads;

pub use backend::{Backend, allow_tf32};
pub use device::{Card, DeviceChoice, DeviceError, Selected, select};
pub use fetch::{fetch, reads};
pub use memory::{Allocator, Memory, allocated_bytes, kilobytes, memory, memory_left};
pub use noise::{Key, Noise, Purpose, Stream, philox};
pub use packed::{Packed, Sequence, token_key};
pub use precision::Precision;
pub use process::Stat;
pub use relative::RelativeRows;
pub use threads::{cpu_features, set_threads, threads};
