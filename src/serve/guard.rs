//! Who may ask, and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::client::client;
use super::limit::Client;
use super::observe::is_probe;
use super::problem::Problem;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The key that a request carries, by its place in the list.
#[derive(Clone, Copy, Debug)]
pub struct KeyPlace(pub usize);

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

/// Asks for a key, where there are any.
pub async fn key(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if app.keys.required() {
        match app.keys.find(request.headers()) {
            Some(place) => request.extensions_mut().insert(KeyPlace(place)),
            None => return Problem::Unauthorized.into_response(),
        };
    }
    next.run(request).await
}

/// Counts a request for its client: the key, or else the address.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(limiter) = &app.limiter else { return next.run(request).await };
    let extensions = request.extensions();
    let client = match extensions.get() {
        Some(&KeyPlace(place)) => Client::Key(place),
        None => {
            let Peer(peer) = *extensions.get().unwrap_or(&Peer(Ipv4Addr::UNSPECIFIED.into()));
            let forwarded = request.headers().get_all("x-forwarded-for").iter();
            let forwarded: Vec<&str> = forwarded.filter_map(|value| value.to_str().ok()).collect();
            let forwarded = forwarded.join(",");
            let forwarded = (!forwarded.is_empty()).then_some(forwarded.as_str());
            Client::at(client(&app.settings.trusted_proxies, peer, forwarded))
        }
    };
    let (mut response, left) = match limiter.check(client) {
        Ok(left) => (next.run(request).await, left),
        Err((problem, left)) => (problem.into_response(), left),
    };
    left.put(response.headers_mut());
    response
}
