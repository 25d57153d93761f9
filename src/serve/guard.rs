//! Who may ask, and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::client::client;
use super::keys::carried;
use super::limit::Client;
use super::observe::{PROBES, is_probe};
use super::problem::Problem;
use super::shared;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The key that a request carries, by its hash.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(pub [u8; 32]);

/// Takes room for the head of a request, which is memory too.
pub async fn room(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| PROBES.contains(&route.as_str())) {
        return next.run(request).await;
    }
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let head = request.uri().path().len() + fields.sum::<usize>();
    match app.budget.share(head) {
        Ok(_held) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses names that are not this server's. Probes come from machines that know its address only, and
/// tell nothing; the whole state is another matter.
pub async fn host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let tells = |route: &str| route == "/health" || !PROBES.contains(&route);
    if route.is_none_or(tells)
        && let Err(problem) = app.hosts.check(&request)
    {
        return problem.into_response();
    }
    next.run(request).await
}

/// Refuses pages of origins that nobody named. Their browsers keep the answers from them in any case,
/// but not the requests from us. Programs that are no browsers send no origin.
pub async fn origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| is_probe(route.as_str())) || is_welcome(&app, request.headers()) {
        return next.run(request).await;
    }
    let mut response = Problem::Forbidden.into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// The origin is named, or is this server's own: by what the browser says, or by the host that was
/// asked for, which a proxy may have changed.
fn is_welcome(app: &App, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    app.settings.cors_origins.iter().any(|named| named == origin)
        || text(HeaderName::from_static("sec-fetch-site")) == Some("same-origin")
        || authority.is_some_and(|authority| text(header::HOST) == Some(authority))
}

/// The name of the key that a request carried, on its way to the log.
#[derive(Clone, Debug)]
pub struct Caller(pub String);

/// Asks for a key, where there are any. Wrong ones are counted for the address that they came from, and
/// after too many of them no more are looked at for a while, right or wrong.
pub async fn key(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let keys = app.keys();
    if !keys.required() {
        return next.run(request).await;
    }
    let Some(_) = carried(request.headers()) else { return Problem::Unauthorized.into_response() };
    let stranger = Client::at(address(&app, &request));
    if let Err((problem, _)) = app.wrong_keys.look(stranger) {
        return problem.into_response();
    }
    let Some((hash, name)) = keys.find(request.headers()) else {
        let counted = app.wrong_keys.check(stranger);
        return counted
            .map_or_else(|(problem, _)| problem, |_| Problem::Unauthorized)
            .into_response();
    };
    request.extensions_mut().insert(KeyHash(hash));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Caller(name.to_owned()));
    response
}

/// Counts a request for the model for its client: the key, or else the address.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(limiter) = &app.limiter else { return next.run(request).await };
    let client = client_of(&app, &request);
    let checked = shared::check(app.shared.as_deref(), "model", limiter, client).await;
    let (mut response, left) = match checked {
        Ok(left) => (next.run(request).await, left),
        Err((problem, left)) => (problem.into_response(), left),
    };
    left.put(response.headers_mut());
    response
}

/// Counts every other request but probes, by a limit that only a machine reaches.
pub async fn count_reads(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let probes = route.is_some_and(|route| is_probe(route.as_str()));
    let Some(limiter) = app.reads.as_ref().filter(|_| !probes) else {
        return next.run(request).await;
    };
    let client = client_of(&app, &request);
    match shared::check(app.shared.as_deref(), "reads", limiter, client).await {
        Err((problem, _)) => problem.into_response(),
        Ok(_) => next.run(request).await,
    }
}

pub fn client_of(app: &App, request: &Request) -> Client {
    match request.extensions().get() {
        Some(&KeyHash(hash)) => Client::Key(hash),
        None => Client::at(address(app, request)),
    }
}

/// The address that a request came from, or that a trusted proxy says it came from.
fn address(app: &App, request: &Request) -> IpAddr {
    let Peer(peer) = *request.extensions().get().unwrap_or(&Peer(Ipv4Addr::UNSPECIFIED.into()));
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    // Bytes that are no text are the client's; what a proxy wrote behind them counts.
    let forwarded: Vec<_> =
        forwarded.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let forwarded = forwarded.join(",");
    let forwarded = (!forwarded.is_empty()).then_some(forwarded.as_str());
    client(&app.settings.trusted_proxies, peer, forwarded)
}
