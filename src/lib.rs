//! `bayes`: labelled text to a classifier that knows when it does not know.

pub mod compute;
pub mod data;
pub mod hub;
pub mod metrics;
pub mod model;
pub mod store;
pub mod train;
