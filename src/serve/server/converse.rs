//! One connection until its end.
//!
//! `axum::serve` sets no timer, so a client that sends half a head would hold its connection for
//! ever. This is hyper's own loop, with the limits that a server on an open port needs.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::ServiceExt;

use super::super::gate::Gate;
use super::super::guard::Peer;
use super::super::life::{Life, Received, Streams, paced};
use super::super::wire::Wire;
use super::waiting::Crowd;

/// Headers of a request.
const HEADERS: usize = 64;
/// Bytes of its head.
const HEAD: usize = 64 * 1024;
/// Bytes of the heads of HTTP/2, of which one connection may have many at once.
const SMALL_HEAD: u32 = 16 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 64;
/// Bytes of a body that HTTP/2 takes before they are asked for, of one stream and of all.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);
/// Bytes of an answer of HTTP/2 that wait for the client's window.
const UNREAD: usize = 64 * 1024;
/// Time for a request that was on its way when the server was told to stop, and for a client to read
/// the end.
const LAST: Duration = Duration::from_millis(500);
/// Bytes that are thrown away meanwhile.
const THROWN: u64 = 1 << 20;

/// A connection.
pub(super) struct Conversation {
    pub gate: Gate,
    pub peer: IpAddr,
    pub patience: Duration,
    pub http2: bool,
    /// Ends after one answer.
    pub once: bool,
    /// Whether others wait for a place.
    pub crowd: Crowd,
    /// Says when to leave.
    pub leaving: watch::Receiver<bool>,
}

impl Conversation {
    /// Until it ends: by either side, by want of progress, or because the server stops. What is given
    /// for the time in which it speaks is given back after that.
    pub async fn hold(self, stream: TcpStream, speaks: impl Sized) {
        let life = Life::new(self.patience);
        let ended_well = self.speak(stream, &life).await;
        drop(speaks);
        if ended_well && let Some(stream) = life.left() {
            part(stream).await;
        }
    }

    /// True if it ended well.
    async fn speak(self, stream: TcpStream, life: &Arc<Life>) -> bool {
        let builder = self.builder();
        let wire = TokioIo::new(Wire::new(stream, life, self.http2));
        let (mut leaving, crowd) = (self.leaving.clone(), self.crowd.clone());
        let (http2, conversation, its) = (self.http2, Arc::new(self), Arc::clone(life));
        let service = service_fn(move |request| {
            // From here on, not from when this is first polled: more is read before that.
            let (working, life) = (its.work(), Arc::clone(&its));
            let request = request.map(|body: Incoming| Body::new(Received::new(body, &life)));
            let conversation = Arc::clone(&conversation);
            async move {
                let response = conversation.answer(request, &life).await;
                drop(working);
                response
            }
        });
        let mut connection = pin!(builder.serve_connection(wire, service));
        let mut left = None;
        loop {
            tokio::select! {
                // A broken connection is the client's affair.
                outcome = &mut connection => return outcome.is_ok(),
                () = sleep_until(life.due()) => {
                    if life.due() <= Instant::now() {
                        life.give_up();
                        return false;
                    }
                }
                // An answer of HTTP/1 says itself that it is the last one.
                () = crowd.comes(), if http2 && left.is_none() => {
                    left = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                }
                // Nobody is made to hear of the end by HTTP/2. Whoever goes on asking does not.
                () = sleep(LAST), if http2 && left.is_some() => {
                    if life.is_idle() && left.is_some_and(|left| life.asked() > left + LAST) {
                        return true;
                    }
                }
                () = told(&mut leaving), if left.is_none() => {
                    left = Some(Instant::now());
                    // What was sent before the client could know is read once more.
                    if !http2 && life.is_idle() {
                        tokio::select! {
                            outcome = &mut connection => return outcome.is_ok(),
                            () = sleep(LAST) => {}
                        }
                    }
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .keep_alive(!self.once)
            .max_headers(HEADERS)
            .max_buf_size(HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_send_buf_size(UNREAD)
            .max_header_list_size(SMALL_HEAD);
        builder
    }

    async fn answer(
        &self,
        mut request: Request<Body>,
        life: &Arc<Life>,
    ) -> Result<Response, Infallible> {
        request.extensions_mut().insert(Peer(self.peer));
        let response = self.gate.routes().oneshot(request).await;
        response.map(|mut response| {
            let ends = *self.leaving.borrow() || self.crowd.waits();
            if ends && !self.http2 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            let streams = response.extensions_mut().remove::<Streams>();
            response.map(|body| paced(body, life, streams))
        })
    }
}

/// Ends when it is time to leave, or when nobody is there to say so.
pub(super) async fn told(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

/// Closes a stream so that what was sent on it is still read: a reset, which is what unread bytes
/// bring about, may overtake it.
async fn part(mut stream: TcpStream) {
    let end = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(THROWN), &mut tokio::io::sink()).await
    };
    // The client is free not to wait for this.
    let _ = timeout(LAST, end).await;
}
