//! The one way from a device to the host.

use std::cell::Cell;

use candle_core::{Result, Tensor, WithDType};

thread_local! {
    /// Reads of this thread.
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// The values of a tensor in the order of its axes. On a GPU the host waits until they are computed: a step of training
/// reads once.
///
/// # Errors
/// They are of another type, or the device failed.
pub fn fetch<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    READS.set(READS.get() + 1);
    tensor.flatten_all()?.to_vec1()
}

/// How often this thread has read.
pub fn reads() -> u64 {
    READS.get()
}
