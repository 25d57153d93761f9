//! Connections: how many, how slow, and how they end.
//!
//! `axum::serve` sets no timer, so a client that sends half a head would hold its connection for
//! ever. This loop is hyper's own, with the limits that a server on an open port needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::gate::Gate;
use super::guard::Peer;

/// Headers of a request.
const HEADERS: usize = 64;
/// Bytes of its head.
const HEAD: usize = 64 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 64;
/// A connection of HTTP/2 that says nothing is asked, and given so long to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// The pause after the system had no file left for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// How many at once; others wait.
    pub most: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time to end after the server stops.
    pub drain: Duration,
}

/// Serves until `stop` says so, then lets requests end. True if all did.
pub async fn serve(
    listener: TcpListener,
    gate: Gate,
    connections: Connections,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.header_timeout)
        .max_headers(HEADERS)
        .max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD as u32)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let builder = Arc::new(builder);
    let places = Arc::new(Semaphore::new(connections.most));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let builder = Arc::clone(&builder);
                let (gate, watcher) = (gate.clone(), graceful.watcher());
                let patience = connections.header_timeout;
                tokio::spawn(async move {
                    converse(&builder, stream, peer, gate, watcher, patience).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Too many open files, or a client that has gone already.
                tracing::warn!("no connection was accepted: {error}");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    timeout(connections.drain, graceful.shutdown()).await.is_ok()
}

/// One connection until its end.
async fn converse(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    gate: Gate,
    watcher: Watcher,
    patience: Duration,
) {
    // Small answers leave at once.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        seen.store(true, Ordering::Release);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        gate.routes().oneshot(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let mut connection = std::pin::pin!(watcher.watch(connection));
    // hyper's timer begins with the head, after the version of HTTP is known; until then a silent
    // client would wait for ever.
    tokio::select! {
        _ = &mut connection => return,
        () = sleep(patience) => {}
    }
    if asked.load(Ordering::Acquire) {
        // A broken connection is the client's affair.
        let _ = connection.await;
    }
}
