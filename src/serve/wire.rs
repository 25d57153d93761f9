//! The stream below HTTP, which finds out whether a client that sends no more still reads.
//!
//! A client that closes the half on which it writes and one that has gone look the same: both send the
//! end of their stream. The difference shows only when something is sent: who has gone answers with a
//! reset. So, when the end comes while its last request is being worked on, the first byte of the
//! answer, which is `H` whatever the answer will be, goes ahead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::life::Life;

/// What every answer of HTTP/1 begins with.
const FIRST: &[u8] = b"H";
/// The time between two looks at a client that sends no more.
const LOOK: Duration = Duration::from_millis(20);
/// So many looks after the end, a body that has not been read whole has not come whole.
const BODY_LOOKS: u32 = 10;

/// A stream that keeps its connection's [`Life`] informed.
pub struct Wire {
    stream: Option<TcpStream>,
    life: Arc<Life>,
    http2: bool,
    /// Nothing more comes; when to look whether anybody still reads.
    ended: Option<Pin<Box<Sleep>>>,
    looks: u32,
    /// The first byte of the next answer has gone ahead.
    ahead: bool,
    /// The last write found no room.
    full: bool,
}

impl Wire {
    /// Of a connection that was accepted.
    pub fn new(stream: TcpStream, life: &Arc<Life>, http2: bool) -> Self {
        let life = Arc::clone(life);
        Self { stream: Some(stream), life, http2, ended: None, looks: 0, ahead: false, full: false }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("it is left only when this is dropped"))
    }

    /// The end of what is read: at once, or, while the last request is being worked on, when the
    /// client turns out to have gone.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let behind = self.life.receives() && self.looks > BODY_LOOKS;
            let streams = self.life.streams();
            if self.http2 || behind || !(streams || self.life.works()) {
                return Poll::Ready(Ok(()));
            }
            let look = self.ended.get_or_insert_with(|| Box::pin(sleep(LOOK)));
            std::task::ready!(look.as_mut().poll(context));
            look.as_mut().set(sleep(LOOK));
            self.looks += 1;
            let stream = self.stream.as_mut().expect("it is left only when this is dropped");
            if let Some(error) = stream.take_error()? {
                return Poll::Ready(Err(error));
            }
            // Of a stream the answer has begun, and its next line tells.
            if !streams && !self.ahead && !self.full && !self.life.receives() {
                self.ahead = stream.try_write(FIRST)? > 0;
            }
        }
    }

    /// What a write did.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.full = written.is_pending();
        // Frames of HTTP/2 may be answers to pings.
        if matches!(written, Poll::Ready(Ok(1..))) && !self.http2 {
            self.life.heard();
        }
        written
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.life.is_given_up() {
            // Else the system would keep what was not read, and go on offering it.
            let _ = stream.set_zero_linger();
        } else if self.ended.is_none() {
            // Who sends no more needs no more care.
            self.life.leave(stream);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.is_none() {
            let before = buffer.filled().len();
            std::task::ready!(self.stream().poll_read(context, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            self.ended = Some(Box::pin(sleep(LOOK)));
        }
        self.poll_end(context)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ahead && bytes.starts_with(FIRST) {
            self.ahead = false;
            return Poll::Ready(Ok(FIRST.len()));
        }
        let written = self.stream().poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.ahead {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        let written = self.stream().poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
