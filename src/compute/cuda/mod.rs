//! CUDA cards.

pub mod kernels;
