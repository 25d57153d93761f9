//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::app::App;
use super::super::endpoint::{Access, Endpoint};
use super::super::metrics::Snapshot;
use super::super::scheduler::Class;
use super::super::settings::Settings;

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoint, where the metrics have no address of their own.
pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let own = settings.metrics_address.is_none().then(|| {
        Endpoint::get("/metrics", get(metrics), "Prometheus metrics")
            .access(Access::Uncounted)
            .gives_text(KIND)
            .refuses(&[400, 403, 421, 503])
    });
    own.into_iter().collect()
}

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
    ([(header::CONTENT_TYPE, KIND)], text).into_response()
}
