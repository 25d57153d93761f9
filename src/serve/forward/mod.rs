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
mod send;
mod settings;
mod target;
mod words;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use moka::future::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use utoipa::ToSchema;

pub use self::client::AuthorityError;
use self::client::Client;
pub use self::key::ForwardKeyError;
use self::minute::Minute;
pub use self::outcome::OUTCOMES;
use self::outcome::{ABSTAINED, CACHED, Failure, REMOTE};
use self::rest::Rest;
pub use self::settings::ForwardSettings;
pub use self::target::{Target, TargetError};
use self::words::Said;
use super::answer::Urgency;
use super::app::App;
use super::keys::KeySource;
use super::metrics::Metrics;
use super::model::Loaded;
use super::request::{Options, Sent};
use super::served::Chosen;
use crate::calibrate::Limits;
use crate::predict::{Forwarded, PredictionObject};

/// What a forwarded request carries.
pub const HEADER: HeaderName = HeaderName::from_static("x-bayes-forwarded");
/// Texts on their way at once, each with a thread that waits.
const PLACES: usize = 16;
/// Of these, what jobs and streams may have.
const PLACES_OF_JOBS: usize = 8;
/// Labels of a kept answer before it counts as more than one.
const KEPT_LABELS: usize = 256;
/// An exchange that may take until the deadline says itself that it took too long.
const GRACE: Duration = Duration::from_millis(100);

/// Where texts go, as `/info` has it.
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

/// The model that abstained; its name where the server has several.
#[derive(Clone)]
struct About {
    loaded: Arc<Loaded>,
    name: Option<Arc<str>>,
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
        chosen: &Chosen,
        sent: &Sent,
        options: &Options,
        urgency: Urgency<'_>,
        object: &mut PredictionObject,
    ) {
        let asks = object.decision == Some("abstain") && urgency.leave != Leave::Untold;
        let Some(forward) = self.forward.as_ref().filter(|_| asks) else { return };
        // Each of several models asks the other server's model of its own name.
        let several = self.models.all().len() > 1;
        let name = several.then(|| Arc::clone(&chosen.served.name));
        let about = About { loaded: Arc::clone(&chosen.loaded), name };
        object.forwarded = Some(forward.decide(&about, sent, options.top_k, urgency).await);
        object.processing_time_ms = Some(urgency.came.elapsed().as_secs_f64() * 1e3);
    }
}

impl App {
    /// Says of which models no text leaves, since they never abstain.
    pub fn tell_undecided(&self) {
        let Some(forward) = &self.forward else { return };
        for model in self.models.all() {
            let limits = self.limits(&model.model.current(), &Options::default());
            if limits.is_none_or(|limits| limits == Limits::default()) {
                tracing::warn!(
                    "`{}` makes no accept/abstain decisions, so none of its texts is sent to {} unless a request sets \
                     `abstain`; set limits for all requests with --abstain-min-confidence",
                    model.name,
                    forward.settings.target.url
                );
            }
        }
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
        about: &About,
        sent: &Sent,
        top_k: Option<usize>,
        urgency: Urgency<'_>,
    ) -> Forwarded {
        let began = Instant::now();
        let asked = self.kept_or_new(about, sent, urgency).await;
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
        about: &About,
        sent: &Sent,
        urgency: Urgency<'_>,
    ) -> Result<(Arc<Said>, bool), Failure> {
        let Leave::May(id) = urgency.leave else { return Err(Failure::Loop) };
        let Some(kept) = &self.kept else {
            return Ok((self.new_one(about, sent, urgency, id).await?, false));
        };
        let key = key(about, sent);
        if !urgency.cached {
            let said = self.new_one(about, sent, urgency, id).await?;
            kept.insert(key, Arc::clone(&said)).await;
            return Ok((said, false));
        }
        let mut ours = false;
        let asked = async {
            ours = true;
            self.new_one(about, sent, urgency, id).await
        };
        let said = kept.try_get_with(key, asked);
        // Another's time may be longer than ours.
        let said = match urgency.deadline {
            Some(deadline) => {
                timeout_at(deadline + GRACE, said).await.unwrap_or(Err(Arc::new(Failure::Busy)))
            }
            None => said.await,
        };
        match said {
            // Another's time, or another's turn, is not ours.
            Err(failure) if !ours && matches!(*failure, Failure::Timeout | Failure::Busy) => {
                Ok((self.new_one(about, sent, urgency, id).await?, false))
            }
            said => said.map(|said| (said, !ours)).map_err(|failure| *failure),
        }
    }
}

/// What an answer depends on: the labels, which are the model's, its name, and the text or both texts.
fn key(about: &About, sent: &Sent) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let name = about.name.as_deref().unwrap_or_default();
    let parts = [about.loaded.predictor.version(), name, &*sent.text];
    let parts = parts.into_iter().chain(sent.pair.as_deref());
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}
