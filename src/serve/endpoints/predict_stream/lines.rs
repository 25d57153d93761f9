//! Lines of a body, one after the other: as much of it in memory as one line may have.

use std::io::Write;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::super::super::app::App;
use super::super::super::body::{BodyLimits, malformed};
use super::super::super::budget::Share;
use super::super::super::encoding::Encoding;
use super::super::super::problem::Problem;

/// Bytes that are unpacked at once: they become a thousand times as many at most.
const PACKED: usize = 1024;

/// A line.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// Without its end.
    Whole(Bytes),
    /// It has more bytes than a body may have; what is left of it is thrown away.
    TooLong,
}

/// A body on its way. All that is said of it here may be dropped while it waits and asked again.
pub struct Lines {
    body: Body,
    limits: BodyLimits,
    /// What has come and is no line yet.
    buffer: BytesMut,
    /// There is no line feed before this.
    searched: usize,
    /// The rest of a line that is too long is thrown away.
    skips: bool,
    /// When the line began that is waited for.
    began: Option<Instant>,
    /// Memory for the buffer.
    share: Share,
    unpacks: Option<MultiGzDecoder<Vec<u8>>>,
    /// What has come packed.
    packed: Bytes,
    ended: bool,
}

impl Lines {
    pub fn new(app: &App, body: Body, encoding: Encoding) -> Result<Self, Problem> {
        let unpacks = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(MultiGzDecoder::new(Vec::new())),
            Encoding::Deflate | Encoding::Zstd => {
                return Err(Problem::UnsupportedEncoding("gzip"));
            }
        };
        Ok(Self {
            body,
            limits: app.settings.body,
            buffer: BytesMut::new(),
            searched: 0,
            skips: false,
            began: None,
            share: app.budget.share(0)?,
            unpacks,
            packed: Bytes::new(),
            ended: false,
        })
    }

    /// Reads the first piece.
    pub async fn begin(&mut self) -> Result<(), Problem> {
        let deadline = self.deadline();
        self.more(deadline).await
    }

    /// Nobody waits for a line now: its time is not the client's.
    pub fn rest(&mut self) {
        self.began = None;
    }

    fn deadline(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now) + self.limits.time
    }

    /// The next line, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Line>, Problem> {
        let deadline = self.deadline();
        loop {
            if let Some(line) = self.line() {
                self.began = None;
                return Ok(Some(line));
            }
            if self.ended {
                self.searched = 0;
                let rest = std::mem::take(&mut self.buffer).freeze();
                return Ok((!rest.is_empty()).then(|| Line::Whole(without_return(rest))));
            }
            self.more(deadline).await?;
        }
    }

    /// The first line of the buffer, if there is a whole one, or one that is too long.
    fn line(&mut self) -> Option<Line> {
        loop {
            let place = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(place) = place.map(|place| self.searched + place) else {
                self.searched = self.buffer.len();
                let too_long = self.searched > self.limits.bytes;
                if too_long || self.skips {
                    self.buffer.clear();
                    self.searched = 0;
                }
                let first = too_long && !self.skips;
                self.skips |= too_long;
                return first.then_some(Line::TooLong);
            };
            let line = self.buffer.split_to(place + 1).freeze();
            self.searched = 0;
            if std::mem::take(&mut self.skips) {
                continue;
            }
            if place > self.limits.bytes {
                return Some(Line::TooLong);
            }
            return Some(Line::Whole(without_return(line.slice(..place))));
        }
    }

    /// One more piece.
    async fn more(&mut self, deadline: Instant) -> Result<(), Problem> {
        self.share.resize(self.buffer.len().min(self.share.bytes()))?;
        if self.buffer.len() > self.share.bytes() {
            self.share.grow_until(self.buffer.len() - self.share.bytes(), deadline).await?;
        }
        if let Some(unpacks) = &mut self.unpacks
            && !self.packed.is_empty()
        {
            let piece = self.packed.split_to(PACKED.min(self.packed.len()));
            unpacks.write_all(&piece).map_err(|error| not_gzip(&error))?;
            self.buffer.extend_from_slice(&std::mem::take(unpacks.get_mut()));
            return Ok(());
        }
        let frame = timeout_at(deadline, self.body.frame()).await;
        let Some(frame) = frame.map_err(|_| Problem::RequestTimeout)? else {
            self.ended = true;
            if let Some(unpacks) = &mut self.unpacks {
                unpacks.try_finish().map_err(|error| not_gzip(&error))?;
                self.buffer.extend_from_slice(&std::mem::take(unpacks.get_mut()));
            }
            return Ok(());
        };
        // The client has gone, or the chunks were none.
        let frame = frame.map_err(|_| Problem::Cancelled)?;
        if let Ok(data) = frame.into_data() {
            match &self.unpacks {
                Some(_) => self.packed = data,
                None => self.buffer.extend_from_slice(&data),
            }
        }
        Ok(())
    }
}

fn not_gzip(error: &std::io::Error) -> Problem {
    malformed(0, &format!("the body is not gzip: {error}"))
}

fn without_return(line: Bytes) -> Bytes {
    if line.last() == Some(&b'\r') { line.slice(..line.len() - 1) } else { line }
}
