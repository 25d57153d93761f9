//! One file per endpoint: its route, what answers, and what the document says of it.

pub mod docs;
pub mod drift;
pub mod feedback;
pub mod health;
pub mod info;
pub mod jobs;
pub mod metrics;
pub mod pages;
pub mod playground;
pub mod predict;
mod predict_stream;

use super::endpoint::Endpoint;
use super::protocols;
use super::settings::Settings;

/// All endpoints that the document describes.
pub fn all(settings: &Settings) -> Vec<Endpoint> {
    let each = [
        predict::endpoints(settings),
        predict_stream::endpoints(settings),
        jobs::endpoints(settings),
        feedback::endpoints(settings),
        info::endpoints(),
        drift::endpoints(),
        health::endpoints(),
        metrics::endpoints(settings),
        protocols::endpoints(settings),
    ];
    each.into_iter().flatten().collect()
}
