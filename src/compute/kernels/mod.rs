//! The CPU's kernels: functions over slices, without graphs. Each has its plain twin in
//! `compute::ops`, against which it is tested.

pub mod activation;
pub mod attention;
pub mod convolution;
pub mod embedding;
pub mod gemm;
pub(crate) mod lines;
pub(crate) mod math;
pub mod noise;
pub mod norm;
pub mod rotary;
pub(crate) mod simd;
