//! `/health`, `/livez`, `/readyz`: none of them waits for the model.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::app::{App, Phase};
use super::super::endpoint::Endpoint;
use super::super::scheduler::Class;
use super::super::served::Chosen;

/// An engine that has not been seen for so long is stuck; no batch takes that long.
const STUCK: Duration = Duration::from_secs(60);

/// `GET /health`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `degraded`, `draining` or `loading`.
    #[schema(examples("healthy"))]
    status: &'static str,
    /// Requests are refused until it is.
    model_loaded: bool,
    /// Requests are refused until the server is ready.
    device: &'static str,
    /// The version of this server.
    version: &'static str,
    /// The model's name; `null` until the model is loaded.
    model: Option<String>,
    /// A hash of everything that affects its predictions; `null` until the model is loaded.
    model_version: Option<String>,
    /// Time since the start.
    uptime_seconds: f64,
    /// Number of texts in the queue.
    queue_depth: usize,
    /// How the server is that texts go to from which the model abstains: `open`, or `resting`; `null` without one.
    forwarding: Option<&'static str>,
    /// Parts of the server.
    checks: Checks,
}

/// `ok`, or what is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// The thread that predicts.
    engine: &'static str,
    /// The cache.
    cache: &'static str,
    /// The job file.
    jobs: &'static str,
    /// Labels: whether they are kept, and replicas share them.
    feedback: &'static str,
}

impl Health {
    /// Of a server whose model is on its way.
    pub fn loading(device: &'static str, uptime: Duration) -> Self {
        Self {
            status: "loading",
            model_loaded: false,
            device,
            version: env!("CARGO_PKG_VERSION"),
            model: None,
            model_version: None,
            uptime_seconds: uptime.as_secs_f64(),
            queue_depth: 0,
            forwarding: None,
            checks: Checks {
                engine: "the model is being loaded",
                cache: "ok",
                jobs: "ok",
                feedback: "ok",
            },
        }
    }
}

fn checks(app: &App) -> Checks {
    Checks {
        engine: match app.engine.last_seen() {
            None => "the engine thread has ended",
            Some(age) if age > STUCK => "the engine thread is stuck",
            Some(_) => "ok",
        },
        cache: match (&app.models.first().served.cache, &app.shared) {
            (None, _) => "off",
            (Some(_), Some(link)) => link.state(),
            (Some(_), None) => "ok",
        },
        jobs: app.jobs.state(),
        feedback: app.feedback.state(),
    }
}

/// Whether everything does what it should, though answers are given without.
fn well(checks: &Checks) -> bool {
    checks.jobs == "ok" && checks.feedback == "ok" && matches!(checks.cache, "ok" | "off")
}

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/health", get(health), "State of all components")
            .gives::<Health>(200)
            .refuses(&[400, 403, 421])
            .may_be_unready(),
        Endpoint::get("/livez", get(livez), "Whether the process is alive"),
        Endpoint::get("/readyz", get(readyz), "Whether to send requests").may_be_unready(),
        Endpoint::get("/health/live", get(livez), "Alias of /livez").named("live"),
        Endpoint::get("/health/ready", get(readyz), "Alias of /readyz")
            .named("ready")
            .may_be_unready(),
    ]
}

/// The whole state, for people and dashboards.
async fn health(State(app): State<Arc<App>>) -> Response {
    let checks = checks(&app);
    let forwarding = app.forward.as_ref().map(|forward| forward.state().state);
    let rests = forwarding.is_some_and(|state| state != "open");
    let (code, status) = match app.phase() {
        Phase::Serving if checks.engine != "ok" => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        Phase::Serving if !well(&checks) || rests => (StatusCode::OK, "degraded"),
        Phase::Serving => (StatusCode::OK, "healthy"),
        Phase::Leaving | Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let Chosen { served, loaded: model, .. } = app.models.first();
    let health = Health {
        status,
        model_loaded: true,
        device: served.model.device(),
        version: env!("CARGO_PKG_VERSION"),
        model: Some(served.name.to_string()),
        model_version: Some(model.predictor.version().to_owned()),
        uptime_seconds: app.began.elapsed().as_secs_f64(),
        queue_depth: app.engine.waiting(Class::Interactive) + app.engine.waiting(Class::Job),
        forwarding,
        checks,
    };
    (code, Json(health)).into_response()
}

pub async fn livez() -> &'static str {
    "ok"
}

/// Why requests should not be sent here.
pub fn unready(app: &App) -> Option<&'static str> {
    match (app.phase(), checks(app).engine) {
        (Phase::Serving, "ok") => None,
        (Phase::Serving, wrong) => Some(wrong),
        (Phase::Leaving | Phase::Draining, _) => Some("draining"),
    }
}

/// Whether requests should be sent here.
pub async fn readyz(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let reason = unready(&app);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut text = reason.unwrap_or("ok").to_owned();
    if verbose {
        let Checks { engine, cache, jobs, feedback } = checks(&app);
        text += &format!("\nengine: {engine}\ncache: {cache}\njobs: {jobs}\nfeedback: {feedback}");
    }
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text).into_response()
}
