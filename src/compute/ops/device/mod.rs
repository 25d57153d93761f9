//! The operations of the device engine: what Candle lacks on a GPU, or does in many small kernels.
//!
//! Each is an operation of Candle whose form for the CPU stands here, written plainly, and whose form for CUDA calls
//! `compute::cuda::kernels`: on the CPU they are the twin that tests compare with the CPU engine. A batch moves to the
//! device as numbers of tokens, rows and places; noise is made there, with the bits of the CPU's.

mod attention;
mod batch;
mod elementwise;
mod linear;
mod lines;
mod norm;
mod rotary;
mod softmax;
mod storage;
mod update;

#[cfg(test)]
mod tests;

pub use batch::{Batch, places};
pub use elementwise::{activate, dropout};
pub use linear::linear;
pub use lines::Lines;
pub use norm::add_layer_norm;
pub use softmax::Softmax;
pub use update::{AdamW, square_sums, take_in};
