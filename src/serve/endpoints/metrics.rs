//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::super::app::App;
use super::super::metrics::Snapshot;
use super::super::scheduler::Class;

/// OpenMetrics text.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&Snapshot {
        queue: [Class::Interactive, Class::Job].map(|class| app.engine.waiting(class)),
        oldest_age: app.engine.oldest_age(),
        busy: app.engine.busy_ratio(),
        cache_entries: app.cache.as_ref().map_or(0, |cache| cache.entry_count()),
        jobs: app.jobs.counts(),
        jobs_bytes: app.jobs.bytes(),
        inflight_bytes: app.budget.taken(),
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
