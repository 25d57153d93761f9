//! The port is open before the model is there: whoever asks meanwhile is told so.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};

use super::endpoints::health::{Health, livez};
use super::observe;
use super::problem::Problem;
use super::protocols::open_inference;

/// The routes of a server, once there are any.
#[derive(Clone)]
pub struct Gate {
    meanwhile: Router,
    routes: Arc<OnceLock<Router>>,
}

impl Gate {
    /// Closed, for a model that will compute on this device.
    pub fn closed(device: &'static str) -> Self {
        Self { meanwhile: meanwhile(device), routes: Arc::default() }
    }

    /// Open from the beginning.
    pub fn opened(routes: Router) -> Self {
        Self { meanwhile: Router::new(), routes: Arc::new(routes.into()) }
    }

    /// From now on requests are answered; a gate opens once.
    pub fn open(&self, routes: Router) {
        self.routes.get_or_init(|| routes);
    }

    /// Who answers a request that comes now.
    pub fn routes(&self) -> Router {
        self.routes.get().unwrap_or(&self.meanwhile).clone()
    }
}

/// It lives, and is not ready.
fn meanwhile(device: &'static str) -> Router {
    let began = Instant::now();
    let not_ready = || async { (StatusCode::SERVICE_UNAVAILABLE, "loading") };
    let open_inference_ready = || async {
        (StatusCode::SERVICE_UNAVAILABLE, Json(open_inference::Ready { ready: false }))
    };
    let health = move || async move {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health::loading(device, began.elapsed())))
    };
    Router::new()
        .route("/livez", get(livez))
        .route("/health/live", get(livez))
        .route("/v2/health/live", get(open_inference::live))
        .route("/readyz", get(not_ready))
        .route("/ping", get(not_ready))
        .route("/health/ready", get(not_ready))
        .route("/v2/health/ready", get(open_inference_ready))
        .route("/health", get(health))
        .fallback(refuse)
        .method_not_allowed_fallback(refuse)
        .layer(from_fn(observe::harden))
}

async fn refuse(request: Request) -> Response {
    let id = observe::request_id(request.headers());
    let path = request.uri().path();
    let mut response = Problem::NotReady.render_at(path, &id, HeaderMap::new());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}
