//! Lines in, answers out, in their order and a few at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, Stream, StreamExt, unfold};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::super::super::answer::Urgency;
use super::super::super::app::{App, Phase};
use super::super::super::body::parse;
use super::super::super::budget::Share;
use super::super::super::forward::Leave;
use super::super::super::limit::Client;
use super::super::super::problem::Problem;
use super::super::super::reply::SMALL;
use super::super::super::request::{self, Options, Sent};
use super::super::super::scheduler::Class;
use super::super::super::served::{Chosen, Way};
use super::super::super::shared;
use super::super::predict;
use super::Place;
use super::lines::{Line, Lines};
use crate::predict::PredictionObject;

/// Lines that are on their way at once: enough to fill batches.
const WINDOW: usize = 32;
/// The first pause of a line that found the queue full.
const PAUSE: Duration = Duration::from_millis(20);

/// What holds for every line.
pub struct Terms {
    /// Who asks.
    pub client: Client,
    /// Time for an answer.
    pub timeout: Duration,
    /// Whether a kept answer will do.
    pub cached: bool,
    /// Whether texts were forwarded to us.
    pub again: bool,
    /// The request's.
    pub id: String,
}

/// A line that was read.
struct Read {
    number: u64,
    asked: Result<Asked, Problem>,
    /// Bytes that it needs until its answer has been read.
    bytes: usize,
    came: Instant,
    /// What it has of them.
    share: Share,
}

/// What a line asks, and of which model.
struct Asked {
    chosen: Chosen,
    sent: Sent,
    options: Options,
}

/// An answer, with the bytes that its line needed.
type Answered = (Bytes, usize);

/// A stream on its way.
pub struct Flow {
    app: Arc<App>,
    /// To the model that the path names, or the first one. A stream may outlive it.
    way: Way,
    terms: Arc<Terms>,
    lines: Lines,
    number: u64,
    /// A line for which there has been no room.
    next: Option<Read>,
    answers: FuturesOrdered<BoxFuture<'static, Answered>>,
    /// Bytes that the lines on their way need.
    held: usize,
    /// Lines until another request is counted.
    paid: usize,
    /// Until the client may make another request.
    paused: Option<Pin<Box<Sleep>>>,
    phase: watch::Receiver<Phase>,
    /// No more lines are read.
    ended: bool,
    /// What follows after the last answer.
    last: Option<Problem>,
    _place: Place,
}

impl Flow {
    pub fn new(app: Arc<App>, way: Way, lines: Lines, terms: Terms, place: Place) -> Self {
        Self {
            way,
            paid: app.settings.request.job,
            phase: app.phases(),
            terms: Arc::new(terms),
            lines,
            number: 0,
            next: None,
            answers: FuturesOrdered::new(),
            held: 0,
            paused: None,
            ended: false,
            last: None,
            _place: place,
            app,
        }
    }

    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        unfold(self, |mut flow| async move {
            let bytes = flow.step().await?;
            Some((Ok(bytes), flow))
        })
    }

    /// The next bytes of the answer.
    async fn step(&mut self) -> Option<Bytes> {
        loop {
            if self.answers.is_empty() && self.next.is_none() && self.ended {
                return self.last.take().map(|problem| self.told(self.number + 1, &problem));
            }
            let most = self.app.settings.body.bytes;
            let room = self.paused.is_none()
                && self.next.as_ref().is_some_and(|next| {
                    self.answers.is_empty() || self.held.saturating_add(next.bytes) <= most
                });
            let reads = !self.ended && self.next.is_none() && self.answers.len() < WINDOW;
            if !reads {
                self.lines.rest();
            }
            tokio::select! {
                biased;
                Some((bytes, needed)) = self.answers.next(), if !self.answers.is_empty() => {
                    self.held -= needed;
                    // Until the next step nobody reads, and that is not the client's time.
                    self.lines.rest();
                    return Some(bytes);
                }
                () = drains(&mut self.phase), if !self.ended => {
                    if self.paused.is_some() {
                        self.put_back();
                    }
                    self.end(Some(Problem::Draining));
                }
                outcome = pay(&mut self.next, self.terms.timeout), if room => self.begin(outcome),
                () = over(&mut self.paused), if self.paused.is_some() => self.count().await,
                line = self.lines.next(), if reads => self.take(line).await,
            }
        }
    }

    /// Reads no more lines.
    fn end(&mut self, last: Option<Problem>) {
        self.ended = true;
        self.last = last;
    }

    /// The line that waits is the first one that is not answered.
    fn put_back(&mut self) {
        self.paused = None;
        self.number -= u64::from(self.next.take().is_some());
    }

    /// As many lines as a job may have are one request of their client; the first was counted at the door. While
    /// the client waits for the next one nobody finds out whether it is still there, so it does not wait for long.
    async fn count(&mut self) {
        self.paused = None;
        let checked = match &self.app.limiter {
            Some(limiter) => {
                let link = self.app.shared.as_deref();
                Some(shared::check(link, "model", limiter, self.terms.client).await)
            }
            None => None,
        };
        match checked {
            Some(Err((problem, _))) => {
                let wait = Duration::from_secs(problem.retry_after().unwrap_or(1));
                if wait <= self.terms.timeout {
                    self.paused = Some(Box::pin(sleep(wait)));
                } else {
                    self.put_back();
                    self.end(Some(problem));
                }
            }
            Some(Ok(_)) | None => {
                self.paid = self.app.settings.request.job;
                if let Some(next) = &mut self.next {
                    next.came = Instant::now();
                    self.paid -= 1;
                }
            }
        }
    }

    /// A line has come, or the end.
    async fn take(&mut self, line: Result<Option<Line>, Problem>) {
        let came = Instant::now();
        let (asked, bytes) = match line {
            Ok(None) => return self.end(None),
            // Nobody reads it.
            Err(Problem::Cancelled) => return self.end(None),
            Err(problem) => return self.end(Some(problem)),
            Ok(Some(Line::TooLong)) => {
                (Err(Problem::PayloadTooLarge(self.app.settings.body.bytes)), 0)
            }
            Ok(Some(Line::Whole(line))) => {
                let length = line.len();
                match prepared(&self.app, self.way.chosen(), line).await {
                    Ok((asked, about)) => (Ok(asked), length + about),
                    Err(problem) => (Err(problem), 0),
                }
            }
        };
        self.number += 1;
        match self.app.budget.share(0) {
            Ok(share) => {
                self.next = Some(Read { number: self.number, asked, bytes, came, share });
            }
            Err(problem) => self.end(Some(problem)),
        }
        match self.paid.checked_sub(1) {
            Some(left) => self.paid = left,
            None => self.count().await,
        }
    }

    /// The line has room now, or got none in time.
    fn begin(&mut self, room: Result<(), Problem>) {
        let Some(Read { number, asked, bytes, came, share }) = self.next.take() else { return };
        self.held += bytes;
        let (app, terms) = (Arc::clone(&self.app), Arc::clone(&self.terms));
        let answer = async move {
            let answer = match room.and(asked) {
                Ok(asked) => predicted(&app, &terms, &asked, came).await,
                Err(problem) => Err(problem),
            };
            let line = match answer {
                Ok(object) => written(&app, object, bytes, share).await,
                Err(problem) => Err(problem),
            };
            (line.unwrap_or_else(|problem| told(&terms, number, &problem)), bytes)
        };
        self.answers.push_back(answer.boxed());
    }

    fn told(&self, number: u64, problem: &Problem) -> Bytes {
        told(&self.terms, number, problem)
    }
}

/// Ends when what was begun is to be finished, or when nobody is there to say so.
async fn drains(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
}

/// Ends when the pause is over.
async fn over(paused: &mut Option<Pin<Box<Sleep>>>) {
    if let Some(paused) = paused {
        paused.await;
    }
}

/// Takes memory for the line and its answer as soon as there is any.
async fn pay(next: &mut Option<Read>, timeout: Duration) -> Result<(), Problem> {
    let Some(Read { bytes, came, share, .. }) = next else { return Ok(()) };
    share.grow_until(*bytes, *came + timeout).await
}

/// What a line asks, and the bytes of its answer.
async fn prepared(app: &Arc<App>, chosen: Chosen, line: Bytes) -> Result<(Asked, usize), Problem> {
    let (large, its) = (line.len() > SMALL, Arc::clone(app));
    let prepare = move || {
        let (sent, options) = request::predict(parse(&line)?, &its.settings.request)?;
        let chosen = its.models.chosen(chosen, options.model.as_deref())?;
        let one = std::slice::from_ref(&sent);
        its.check_able(&chosen.loaded, one, "text_pair", &options)?;
        let about = predict::about(&its, &chosen, one, &options)?;
        Ok((Asked { chosen, sent, options }, about))
    };
    if large { app.aside.json(prepare).await } else { prepare() }
}

/// A line has time, as a job has: it tries again when the queue is full.
async fn predicted(
    app: &App,
    terms: &Terms,
    Asked { chosen, sent, options }: &Asked,
    came: Instant,
) -> Result<PredictionObject, Problem> {
    let deadline = came + terms.timeout;
    let cached = terms.cached;
    let leave = if terms.again { Leave::Again } else { Leave::May(&terms.id) };
    let urgency = Urgency { class: Class::Job, came, deadline: Some(deadline), cached, leave };
    let mut pause = PAUSE;
    loop {
        match app.answer(chosen, sent, options, urgency).await {
            Err(Problem::Overloaded(_)) if Instant::now() + pause < deadline => {
                sleep(pause).await;
                pause = (2 * pause).min(Duration::from_secs(1));
            }
            answer => return answer.map(|(object, _)| object),
        }
    }
}

/// A prediction as a line, which holds its memory until it has been sent.
async fn written(
    app: &App,
    object: PredictionObject,
    about: usize,
    mut share: Share,
) -> Result<Bytes, Problem> {
    let write = move || {
        let mut bytes = serde_json::to_vec(&object).map_err(|_| Problem::Internal)?;
        bytes.push(b'\n');
        share.resize(bytes.len())?;
        Ok(share.hold(bytes))
    };
    if about > SMALL { app.aside.json(write).await } else { write() }
}

fn told(terms: &Terms, number: u64, problem: &Problem) -> Bytes {
    let line = json!({ "error": problem.body(&terms.id), "line": number });
    format!("{line}\n").into()
}
