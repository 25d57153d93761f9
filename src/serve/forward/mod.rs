//! The cascade: a text that the model abstains from may be sent to another server.
//!
//! ```text
//! abstains ─▶ kept? ─▶ rests? ─▶ a place ─▶ budget ─▶ exchange ─▶ `forwarded`
//! ```
//!
//! The local answer stays what it is. Whatever goes wrong here, its abstention stands, and `forwarded` says why. A
//! text that was forwarded to us carries a header and is not sent on, so that two servers do not ask each other for
//! ever.

mod client;
mod key;
mod minute;
mod outcome;
mod rest;
mod settings;
mod target;
mod words;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use moka::future::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Moment, timeout_at};
use utoipa::ToSchema;

pub use self::client::AuthorityError;
use self::client::{Client, Fault};
pub use self::key::ForwardKeyError;
use self::minute::Minute;
pub use self::outcome::OUTCOMES;
use self::outcome::{ABSTAINED, CACHED, Failure, REMOTE};
use self::rest::{PAUSE, Rest};
pub use self::settings::ForwardSettings;
pub use self::target::{Target, TargetError};
use self::words::Said;
use super::answer::Urgency;
use super::app::App;
use super::keys::KeySource;
use super::metrics::Metrics;
use super::model::Loaded;
use super::request::{Options, Sent};
use super::scheduler::Class;
use crate::predict::{Forwarded, PredictionObject};

/// What a forwarded request carries.
pub const HEADER: HeaderName = HeaderName::from_static("x-bayes-forwarded");
/// Texts on their way at once, each with a thread that waits.
const PLACES: usize = 16;
/// Of these, what jobs and streams may have.
const PLACES_OF_JOBS: usize = 8;
/// Labels of a kept answer before it counts as more than one.
const KEPT_LABELS: usize = 256;
/// Less time than that is not worth an exchange.
const SHORTEST: Duration = Duration::from_millis(1);
/// An exchange that may take until the deadline says itself that it took too long.
const GRACE: Duration = Duration::from_millis(100);

/// Where texts go, as `/info` and `/health` have it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Forwarding {
    /// The other server's host name.
    pub server: String,
    /// `open`, or `resting`: it failed several times in a row and is not asked for some seconds.
    #[schema(examples("open"))]
    pub state: &'static str,
    /// Texts that may be sent to it in any one minute.
    pub per_minute: usize,
}

/// Why texts cannot be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error(transparent)]
    Key(#[from] ForwardKeyError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The way to the other server.
pub struct Forward {
    settings: ForwardSettings,
    client: Client,
    key: RwLock<Option<HeaderValue>>,
    /// Its answers, for as long as our own are kept.
    kept: Option<Cache<[u8; 32], Arc<Said>>>,
    rest: Rest,
    minute: Minute,
    places: Arc<Semaphore>,
    places_of_jobs: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Whether the texts of a request may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave<'a> {
    /// They may, and the log has this id for it.
    May(&'a str),
    /// They were forwarded to us, and are not sent on.
    Again,
    /// The answer has no place for who decided.
    Untold,
}

impl<'a> Leave<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
        if headers.contains_key(HEADER) { Self::Again } else { Self::May(id.unwrap_or_default()) }
    }
}

impl App {
    /// Asks the other server, where there is one, about a text that the model abstained from.
    pub async fn forward(
        &self,
        model: &Arc<Loaded>,
        sent: &Sent,
        options: &Options,
        urgency: Urgency<'_>,
        object: &mut PredictionObject,
    ) {
        let asks = object.decision == Some("abstain") && urgency.leave != Leave::Untold;
        let Some(forward) = self.forward.as_ref().filter(|_| asks) else { return };
        object.forwarded = Some(forward.decide(model, sent, options.top_k, urgency).await);
        object.processing_time_ms = Some(urgency.came.elapsed().as_secs_f64() * 1e3);
    }
}

impl Forward {
    /// Says where texts will go. `cache` is that of our own answers.
    pub fn open(
        settings: &ForwardSettings,
        cache: (u64, Duration),
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, ForwardError> {
        let ForwardSettings { target, authority, key, per_minute, .. } = settings;
        let client = Client::new(target, authority.as_deref())?;
        let key = RwLock::new(key::read(key)?);
        let (entries, life) = cache;
        let weight =
            |_: &[u8; 32], said: &Arc<Said>| 1 + (said.probabilities.len() / KEPT_LABELS) as u32;
        let kept =
            || Cache::builder().max_capacity(entries).time_to_live(life).weigher(weight).build();
        let open = !target.tls && !target.is_here();
        tracing::warn!(
            "texts that the model abstains from are sent to {}, at most {per_minute} in a minute{}",
            target.url,
            if open { ", without TLS: who is on the way can read them" } else { "" }
        );
        Ok(Arc::new(Self {
            settings: settings.clone(),
            client,
            key,
            kept: (entries > 0).then(kept),
            rest: Rest::default(),
            minute: Minute::new(*per_minute),
            places: Arc::new(Semaphore::new(PLACES)),
            places_of_jobs: Arc::new(Semaphore::new(PLACES_OF_JOBS)),
            metrics: Arc::clone(metrics),
        }))
    }

    pub fn state(&self) -> Forwarding {
        let state = if self.rest.rests(Instant::now()) { "resting" } else { "open" };
        let ForwardSettings { target, per_minute, .. } = &self.settings;
        Forwarding { server: target.host.clone(), state, per_minute: *per_minute }
    }

    /// Reads the key again.
    pub fn reload(&self) -> Result<(), ForwardKeyError> {
        let new = key::read(&self.settings.key)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Whether the key can change.
    pub fn has_key_file(&self) -> bool {
        matches!(self.settings.key, KeySource::File(_))
    }

    /// Who decides, and what.
    async fn decide(
        self: &Arc<Self>,
        model: &Arc<Loaded>,
        sent: &Sent,
        top_k: Option<usize>,
        urgency: Urgency<'_>,
    ) -> Forwarded {
        let began = Instant::now();
        let asked = self.kept_or_new(model, sent, urgency).await;
        let (said, outcome) = match asked {
            Ok((said, kept)) => {
                let outcome = match (said.abstains, kept) {
                    (true, _) => ABSTAINED,
                    (false, true) => CACHED,
                    (false, false) => REMOTE,
                };
                (Some((said, kept)), outcome)
            }
            Err(failure) => (None, failure.name()),
        };
        self.metrics.forwarded(outcome);
        let decides = matches!(outcome, REMOTE | CACHED);
        let (said, kept) = said.unzip();
        Forwarded {
            decided_by: if decides { REMOTE } else { "local" },
            label: said.as_ref().map(|said| said.label.clone()),
            confidence: said.as_ref().and_then(|said| said.confidence),
            probabilities: said.as_ref().and_then(|said| said.shares(top_k)),
            server: self.settings.target.host.clone(),
            cached: kept.unwrap_or_default(),
            took_ms: began.elapsed().as_secs_f64() * 1e3,
            failure: (!decides).then_some(outcome),
        }
    }

    /// An answer, and whether it was kept from before, or is that to another request.
    async fn kept_or_new(
        self: &Arc<Self>,
        model: &Arc<Loaded>,
        sent: &Sent,
        urgency: Urgency<'_>,
    ) -> Result<(Arc<Said>, bool), Failure> {
        let Leave::May(id) = urgency.leave else { return Err(Failure::Loop) };
        let Some(kept) = &self.kept else {
            return Ok((self.new_one(model, sent, urgency, id).await?, false));
        };
        let key = key(model, sent);
        if !urgency.cached {
            let said = self.new_one(model, sent, urgency, id).await?;
            kept.insert(key, Arc::clone(&said)).await;
            return Ok((said, false));
        }
        let mut ours = false;
        let said = kept.try_get_with(key, async {
            ours = true;
            self.new_one(model, sent, urgency, id).await
        });
        // Another's time may be longer than ours.
        let said = match urgency.deadline {
            Some(deadline) => {
                timeout_at(deadline + GRACE, said).await.unwrap_or(Err(Arc::new(Failure::Busy)))
            }
            None => said.await,
        };
        said.map(|said| (said, !ours)).map_err(|failure| *failure)
    }

    /// Asks, where that may be.
    async fn new_one(
        self: &Arc<Self>,
        model: &Arc<Loaded>,
        sent: &Sent,
        urgency: Urgency<'_>,
        id: &str,
    ) -> Result<Arc<Said>, Failure> {
        if self.rest.rests(Instant::now()) {
            return Err(Failure::Resting);
        }
        let places = self.place(urgency).await.ok_or(Failure::Busy)?;
        let now = Instant::now();
        let left =
            urgency.deadline.map(|deadline| deadline.into_std().saturating_duration_since(now));
        let most = self.settings.timeout;
        let limit = left.map_or(most, |left| left.min(most));
        if limit < SHORTEST {
            return Err(Failure::Busy);
        }
        if !self.rest.enter(now) {
            return Err(Failure::Resting);
        }
        if !self.minute.take(now) {
            return Err(Failure::Budget);
        }
        let (own, model, fresh) = (Arc::clone(self), Arc::clone(model), !urgency.cached);
        let (sent, id) = (sent.clone(), id.to_owned());
        let exchange = spawn_blocking(move || {
            let _held = places;
            own.exchange(&model, &sent, limit, fresh, &id)
        });
        // A panic there has said what it is itself.
        exchange.await.unwrap_or(Err(Failure::Invalid))
    }

    /// A place among the texts that are on their way. What has a client waiting waits no longer than an exchange may
    /// take; jobs and streams have time, and leave places to others.
    async fn place(
        &self,
        urgency: Urgency<'_>,
    ) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let soon = || Moment::now() + self.settings.timeout;
        let (of_job, until) = match urgency.class {
            Class::Job => (true, urgency.deadline),
            Class::Interactive => {
                (false, Some(urgency.deadline.map_or_else(soon, |deadline| deadline.min(soon()))))
            }
        };
        let place = async {
            let of_job = match of_job {
                true => Some(Arc::clone(&self.places_of_jobs).acquire_owned().await.ok()?),
                false => None,
            };
            Some((Arc::clone(&self.places).acquire_owned().await.ok()?, of_job))
        };
        match until {
            Some(until) => timeout_at(until, place).await.ok().flatten(),
            None => place.await,
        }
    }

    /// The text leaves. This goes on when nobody waits any more.
    fn exchange(
        &self,
        model: &Loaded,
        sent: &Sent,
        limit: Duration,
        fresh: bool,
        id: &str,
    ) -> Result<Arc<Said>, Failure> {
        let (labels, target) = (model.predictor.labels(), &self.settings.target);
        let server = target.host.as_str();
        let body = words::ask(&target.protocol, sent, labels).to_string();
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        tracing::debug!(request_id = id, server, bytes = body.len(), "a text leaves this machine");
        let began = Instant::now();
        let answer = self.client.exchange(body.as_bytes(), key.as_ref(), limit, fresh);
        let said = answer.and_then(|bytes| {
            let said = words::read(&target.protocol, &bytes, labels);
            said.map_err(|reason| Fault::new(Failure::Invalid, reason))
        });
        let took = began.elapsed();
        self.metrics.exchanged(took);
        match said {
            Ok(said) => {
                tracing::debug!(request_id = id, server, ?took, "the other server answered");
                if self.rest.answered() {
                    tracing::info!(server, "the server that texts are forwarded to is back");
                }
                Ok(Arc::new(said))
            }
            Err(Fault { failure, said, of_text }) => {
                let (outcome, now) = (failure.name(), Instant::now());
                if self.rest.tells(now) {
                    tracing::warn!(
                        request_id = id,
                        server,
                        ?took,
                        outcome,
                        said,
                        "a forwarded text got no answer"
                    );
                } else {
                    tracing::debug!(
                        request_id = id,
                        server,
                        ?took,
                        outcome,
                        said,
                        "a forwarded text got no answer"
                    );
                }
                // A client that has no time would else take it from all others.
                let hurried = failure == Failure::Timeout && limit < self.settings.timeout;
                if !hurried && !of_text && self.rest.failed(now) {
                    let pause = PAUSE.as_secs();
                    tracing::warn!(
                        server,
                        outcome,
                        said,
                        "it failed several times in a row: no text is forwarded for {pause} s"
                    );
                }
                Err(failure)
            }
        }
    }
}

/// What an answer depends on: the labels, which are the model's, and the text or both texts.
fn key(model: &Loaded, sent: &Sent) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let parts = [model.predictor.version(), &*sent.text].into_iter().chain(sent.pair.as_deref());
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}
