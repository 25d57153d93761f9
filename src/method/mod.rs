//! Bayesian methods: each makes a posterior from what training leaves.

mod config;
mod fit;
pub mod laplace;

pub use config::{Method, PosteriorConfig};
pub use fit::{Fitted, LastLayer, fit, fit_head, tensors};
