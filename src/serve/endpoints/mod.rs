//! One file per endpoint.

pub mod docs;
pub mod health;
pub mod info;
pub mod jobs;
pub mod metrics;
pub mod pages;
pub mod playground;
pub mod predict;
