//! What all requests share, and the routes.

use std::num::NonZeroU32;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::budget::Budget;
use super::endpoint::{Access, Endpoint};
use super::endpoints::pages::Page;
use super::engine::Engine;
use super::feedback::Feedback;
use super::forward::Forward;
use super::host::Hosts;
use super::jobs::Jobs;
use super::keys::Keys;
use super::limit::{Limiter, Rate};
use super::metrics::Metrics;
use super::problem::Problem;
use super::reply::Aside;
use super::served::{IN_PATH, Models};
use super::settings::{Role, Settings};
use super::shared::Link;
use super::tokenize::Tokenizers;
use super::{endpoints, guard, observe, openapi, query};

/// So many more requests than for the model may a client make for everything else.
const READS: u32 = 20;
/// Wrong API keys of one address.
const WRONG_KEYS: Rate =
    Rate { requests: NonZeroU32::new(30).unwrap(), window: Duration::from_secs(60) };

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// Told to stop, but still answering.
    Leaving,
    /// Finishing what was begun.
    Draining,
}

/// What all requests share.
pub struct App {
    /// What an operator decided.
    pub settings: Settings,
    pub models: Models,
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    /// What is shared with other replicas.
    pub shared: Option<Arc<Link>>,
    pub tokenizers: Tokenizers,
    pub jobs: Jobs,
    pub feedback: Feedback,
    /// Who is asked where the model abstains.
    pub forward: Option<Arc<Forward>>,
    /// Memory for bodies and answers.
    pub budget: Arc<Budget>,
    /// Threads for what takes its time.
    pub aside: Aside,
    /// Requests of each client for the model.
    pub limiter: Option<Limiter>,
    /// All other requests of each client.
    pub reads: Option<Limiter>,
    /// Wrong API keys of each address.
    pub wrong_keys: Limiter,
    /// Names that are answered to.
    pub hosts: Hosts,
    /// `/openapi.json`.
    pub openapi: Page,
    keys: RwLock<Arc<Keys>>,
    /// When the server began.
    pub began: Instant,
    /// Streams that are open.
    pub streams: AtomicUsize,
    /// How far it is.
    phase: watch::Sender<Phase>,
}

/// The parts of an [`App`].
pub struct Parts {
    /// What an operator decided.
    pub settings: Settings,
    pub models: Models,
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub tokenizers: Tokenizers,
    pub jobs: Jobs,
    pub shared: Option<Arc<Link>>,
    pub feedback: Feedback,
    pub forward: Option<Arc<Forward>>,
    pub keys: Keys,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            settings,
            models,
            engine,
            metrics,
            tokenizers,
            jobs,
            shared,
            feedback,
            forward,
            keys,
        } = parts;
        for served in models.all() {
            metrics.set_model(&served.name, &served.model.current().predictor);
        }
        let addresses = [Some(settings.address), settings.metrics_address].into_iter().flatten();
        Self {
            limiter: settings.rate.map(Limiter::new),
            reads: settings.rate.map(|rate| Limiter::new(rate.times(READS))),
            wrong_keys: Limiter::new(WRONG_KEYS),
            hosts: Hosts::new(addresses.map(|address| address.ip()), &settings.allowed_hosts),
            openapi: Page::json(&openapi::document(&settings)),
            budget: Budget::new(settings.inflight_bytes),
            aside: Aside::default(),
            keys: RwLock::new(Arc::new(keys)),
            settings,
            models,
            engine,
            metrics,
            tokenizers,
            jobs,
            shared,
            feedback,
            forward,
            began: Instant::now(),
            streams: AtomicUsize::new(0),
            phase: watch::Sender::new(Phase::Serving),
        }
    }

    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Others take their place.
    pub fn set_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// How far the server is.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The same, for who wants to know when it changes.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
}

/// All routes, with what stands around them.
pub fn router(app: &Arc<App>) -> Router {
    let of = |access: Access| {
        let own = endpoints::all(&app.settings).into_iter();
        let own = own.filter(|endpoint| endpoint.access == access);
        own.fold(Router::new(), |routes, Endpoint { path, route, of_model, .. }| match of_model {
            true => routes.route(&of_named_model(path), route.clone()).route(path, route),
            false => routes.route(path, route),
        })
    };
    let reads = || from_fn_with_state(Arc::clone(app), guard::count_reads);
    if app.settings.role == Role::Worker {
        return finished(of(Access::Uncounted).merge(probes(app)), app);
    }
    let counted = of(Access::Model).route_layer(from_fn_with_state(Arc::clone(app), guard::count));
    let locked = of(Access::Key)
        .route_layer(reads())
        .merge(counted)
        .route_layer(from_fn_with_state(Arc::clone(app), guard::key));
    let open = of(Access::Anybody)
        .merge(endpoints::docs::routes())
        .merge(endpoints::playground::routes())
        .route_layer(reads())
        .merge(of(Access::Uncounted));
    finished(locked.merge(open), app)
}

/// The path that does the same for a model that it names.
pub fn of_named_model(path: &str) -> String {
    format!("/models/{{{IN_PATH}}}{path}")
}

/// What a worker answers: how it is.
fn probes(app: &Arc<App>) -> Router<Arc<App>> {
    let own = endpoints::all(&app.settings).into_iter();
    let own = own.filter(|endpoint| observe::PROBES.contains(&endpoint.path));
    own.fold(Router::new(), |routes, Endpoint { path, route, .. }| routes.route(path, route))
}

/// The metrics alone, for an address of their own.
pub fn metrics_router(app: &Arc<App>) -> Router {
    let routes = Router::new().route("/metrics", get(endpoints::metrics::metrics));
    finished(routes, app)
}

fn finished(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    let unknown = || async { Problem::NotFound("no such route; see /docs for all routes") };
    routes
        .fallback(unknown)
        .layer(from_fn(query::refuse))
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(|_| Problem::Internal.into_response()))
        .layer(cors(&app.settings.cors_origins))
        .layer(from_fn_with_state(Arc::clone(app), guard::origin))
        .layer(from_fn_with_state(Arc::clone(app), guard::host))
        .layer(from_fn_with_state(Arc::clone(app), guard::room))
        .layer(from_fn(observe::harden))
        .layer(from_fn_with_state(Arc::clone(app), observe::observe))
        .with_state(Arc::clone(app))
}

/// Nothing is allowed unless an origin is named.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let asked = ["authorization", "content-type", "x-api-key", "x-request-id", "idempotency-key"];
    let asked = asked.map(HeaderName::from_static).into_iter();
    let asked =
        asked.chain([HeaderName::from_static("x-request-timeout-ms"), header::CACHE_CONTROL]);
    let shown = ["x-request-id", "retry-after", "server-timing", "ratelimit", "location"];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(asked.collect::<Vec<_>>())
        .expose_headers(shown.map(HeaderName::from_static))
}
