//! The life of a connection: it goes on while requests and answers make progress, whatever else is
//! said on it.
//!
//! Progress is a request, a piece of its body, or a piece of an answer that was taken. Frames that only
//! keep a connection open (a ping, a setting, a window) are none, and neither is half a head. While a
//! request is being worked on its client has nothing to do; that time has limits of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The most bytes of a piece of an answer.
const PIECE: usize = 16 * 1024;
/// Whoever reads slower than so many bytes a second, over all of an answer, does not read it.
const SLOWEST: f64 = 16.0 * 1024.0;

/// What is known of a connection.
pub struct Life {
    patience: Duration,
    state: Mutex<State>,
    /// There was no progress in time.
    given_up: AtomicBool,
    /// The stream, once nobody speaks HTTP on it any more.
    left: Mutex<Option<TcpStream>>,
}

struct State {
    heard: Instant,
    asked: Instant,
    /// Requests that are being worked on.
    working: usize,
    /// Those of them whose body has not come whole.
    receiving: usize,
    /// Answers that are being sent, and when the next piece must have been taken; `None` while there is none.
    sending: HashMap<u64, Option<Instant>>,
    next: u64,
    /// Answers that are made while they are sent.
    streams: usize,
}

/// Marks an answer that is made while it is sent. Whoever takes anything of it in this time reads it, since it
/// may be the client that decides how fast it goes.
#[derive(Clone, Copy, Debug)]
pub struct Streams(pub Duration);

impl Life {
    /// Of a connection that begins now; without progress for so long it ends.
    pub fn new(patience: Duration) -> Arc<Self> {
        let state = State {
            heard: Instant::now(),
            asked: Instant::now(),
            working: 0,
            receiving: 0,
            sending: HashMap::new(),
            next: 0,
            streams: 0,
        };
        Arc::new(Self {
            patience,
            state: Mutex::new(state),
            given_up: AtomicBool::new(false),
            left: Mutex::new(None),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// When it ends, if there is no progress until then.
    pub fn due(&self) -> Instant {
        let state = self.lock();
        match state.sending.values().flatten().min() {
            Some(taken) => *taken,
            None if state.working > 0 || !state.sending.is_empty() => {
                Instant::now() + self.patience
            }
            None => state.heard + self.patience,
        }
    }

    /// When the last request began.
    pub fn asked(&self) -> Instant {
        self.lock().asked
    }

    /// Whether no request is open.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.working == 0 && state.sending.is_empty()
    }

    /// Whether a request is being worked on.
    pub fn works(&self) -> bool {
        self.lock().working > 0
    }

    /// Whether an answer is being made while it is sent.
    pub fn streams(&self) -> bool {
        self.lock().streams > 0
    }

    /// Whether the body of one has not been read whole.
    pub fn receives(&self) -> bool {
        self.lock().receiving > 0
    }

    /// A request has begun; it is being worked on until this is dropped.
    pub fn work(self: &Arc<Self>) -> Working {
        let mut state = self.lock();
        state.working += 1;
        state.heard = Instant::now();
        state.asked = state.heard;
        drop(state);
        Working(Arc::clone(self))
    }

    /// Nothing more is expected of the other end.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Whether that was said.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Leaves the stream for whoever closes it.
    pub fn leave(&self, stream: TcpStream) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    /// The stream that was left.
    pub fn left(&self) -> Option<TcpStream> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request that is being worked on.
pub struct Working(Arc<Life>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.working -= 1;
        state.heard = Instant::now();
    }
}

/// The body of a request, whose pieces are progress.
pub struct Received<B> {
    body: B,
    life: Arc<Life>,
    whole: bool,
}

impl<B: HttpBody> Received<B> {
    /// Of a request that has begun.
    pub fn new(body: B, life: &Arc<Life>) -> Self {
        let whole = body.is_end_stream();
        life.lock().receiving += usize::from(!whole);
        Self { body, life: Arc::clone(life), whole }
    }
}

impl<B> Received<B> {
    fn end(&mut self) {
        if !self.whole {
            self.whole = true;
            self.life.lock().receiving -= 1;
        }
    }
}

impl<B> Drop for Received<B> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<B: HttpBody + Unpin> HttpBody for Received<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                self.life.heard();
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Poll::Ready(_) => self.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, in small pieces: each is taken only when there is room for it, and that is
/// progress.
pub struct Sent {
    body: Body,
    rest: Bytes,
    life: Arc<Life>,
    number: u64,
    streams: Option<Streams>,
}

impl Sent {
    /// Of an answer that is about to be sent.
    pub fn new(body: Body, life: &Arc<Life>, streams: Option<Streams>) -> Self {
        let mut state = life.lock();
        let number = state.next;
        state.next += 1;
        state.streams += usize::from(streams.is_some());
        state.sending.insert(number, Some(Instant::now() + life.patience));
        drop(state);
        Self { body, rest: Bytes::new(), life: Arc::clone(life), number, streams }
    }

    fn took(&self, bytes: usize) {
        let now = Instant::now();
        let mut state = self.life.lock();
        state.heard = now;
        let Some(due) = state.sending.get_mut(&self.number) else { return };
        let more = Duration::from_secs_f64(bytes as f64 / SLOWEST);
        *due = Some(match (self.streams, *due) {
            (Some(Streams(patience)), _) => now + patience,
            (None, Some(due)) => (due + more).min(now + self.life.patience),
            (None, None) => now + self.life.patience,
        });
    }

    /// There is nothing to take now, which is not the client's fault.
    fn owes(&self) {
        if let Some(due) = self.life.lock().sending.get_mut(&self.number) {
            *due = None;
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut state = self.life.lock();
        state.sending.remove(&self.number);
        state.streams -= usize::from(self.streams.is_some());
        state.heard = Instant::now();
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(context) else {
                self.owes();
                return Poll::Pending;
            };
            match polled.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let bytes = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(bytes);
        self.took(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + rest),
            None => hint.set_lower(hint.lower() + rest),
        }
        hint
    }
}

/// An answer's body as it leaves on a connection.
pub fn paced(body: Body, life: &Arc<Life>, streams: Option<Streams>) -> Body {
    if body.is_end_stream() { body } else { Body::new(Sent::new(body, life, streams)) }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn piece(body: &mut Sent) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap().len(),
            _ => 0,
        }
    }

    #[test]
    fn an_answer_is_taken_in_pieces_and_keeps_its_length() {
        let life = Life::new(PATIENCE);
        let mut body = Sent::new(Body::from(vec![7; 2 * PIECE + 5]), &life, None);
        let mut sizes = Vec::new();
        while !body.is_end_stream() {
            let before = body.size_hint().exact().unwrap();
            sizes.push(piece(&mut body));
            let after = body.size_hint().exact().unwrap();
            assert_eq!(before - after, *sizes.last().unwrap() as u64);
        }
        assert_eq!(sizes, [PIECE, PIECE, 5]);
    }

    #[test]
    fn who_reads_slowly_is_given_less_and_less_time_and_who_works_is_waited_for() {
        let life = Life::new(PATIENCE);
        let begun = life.due();
        let working = life.work();
        assert!(life.due() >= begun && life.works() && !life.is_idle());
        let mut body = Sent::new(Body::from(vec![7; 100 * PIECE]), &life, None);
        drop(working);
        let first = life.due();
        piece(&mut body);
        assert!(life.due() - first < Duration::from_millis(200), "at most the whole patience");
        life.lock().sending.insert(0, Some(Instant::now()));
        piece(&mut body);
        let left = life.due() - Instant::now();
        assert!(left <= Duration::from_secs(1), "a second for a piece, not {left:?}");
        drop(body);
        assert!(life.is_idle());
    }

    /// A client that has taken all there is waits for us, however long it takes.
    #[test]
    fn who_has_taken_all_of_a_stream_is_waited_for_and_who_has_not_has_its_time() {
        let life = Life::new(PATIENCE);
        let (sender, receiver) = std::sync::mpsc::channel::<Bytes>();
        let pieces = futures_util::stream::poll_fn(move |_| match receiver.try_recv() {
            Ok(piece) => Poll::Ready(Some(Ok::<_, std::convert::Infallible>(piece))),
            Err(_) => Poll::Pending,
        });
        let long = Duration::from_secs(100);
        let mut body = Sent::new(Body::from_stream(pieces), &life, Some(Streams(long)));
        assert!(life.streams() && !life.is_idle());
        assert_eq!(piece(&mut body), 0);
        assert_eq!(life.lock().sending[&0], None);
        sender.send(Bytes::from_static(b"a line")).unwrap();
        assert_eq!(piece(&mut body), 6);
        assert!(life.due() > Instant::now() + PATIENCE);
        drop(body);
        assert!(!life.streams() && life.is_idle());
    }
}
