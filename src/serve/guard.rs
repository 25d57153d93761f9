//! Who may ask, and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::limit::Client;
use super::problem::Problem;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The key that a request carries, by its place in the list.
#[derive(Clone, Copy, Debug)]
pub struct KeyPlace(pub usize);

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
            Client::at(app.settings.client(peer, forwarded))
        }
    };
    let (mut response, left) = match limiter.check(client) {
        Ok(left) => (next.run(request).await, left),
        Err((problem, left)) => (problem.into_response(), left),
    };
    left.put(response.headers_mut());
    response
}
