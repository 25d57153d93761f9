//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::app::App;
use super::super::endpoint::{Access, Endpoint};
use super::super::metrics::{CLASSIC, Snapshot, classic};
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

/// In OpenMetrics for who asks for it, as Prometheus does; else in the older text format.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let text = app.metrics.render(&Snapshot {
        queue: [Class::Interactive, Class::Job].map(|class| app.engine.waiting(class)),
        oldest_age: app.engine.oldest_age(),
        busy: app.engine.busy_ratio(),
        cache_entries: app.cache.as_ref().map_or(0, |cache| cache.entry_count()),
        redis: app.shared.as_ref().map(|link| (link.place().to_owned(), link.is_well())),
        jobs: app.jobs.counts(),
        jobs_bytes: app.jobs.bytes(),
        inflight_bytes: app.budget.taken(),
    });
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|own| own.to_str().ok());
    let (kind, text) = match accepted.any(|own| own.contains("application/openmetrics-text")) {
        true => (KIND, text),
        false => (CLASSIC, classic(&text)),
    };
    ([(header::CONTENT_TYPE, kind), (header::VARY, "accept")], text).into_response()
}
