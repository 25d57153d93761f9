//! From a text that may leave to an answer: a pause, a place, a budget, an exchange.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Moment, timeout_at};

use super::super::answer::Urgency;
use super::super::request::Sent;
use super::super::scheduler::Class;
use super::client::Fault;
use super::outcome::Failure;
use super::rest::PAUSE;
use super::words::{self, Said};
use super::{About, Forward};

/// Less time than that is not worth an exchange.
const SHORTEST: Duration = Duration::from_millis(1);

/// Of one that left in vain.
const NO_ANSWER: &str = "a forwarded text got no answer";

impl Forward {
    /// Asks, where that may be.
    pub(super) async fn new_one(
        self: &Arc<Self>,
        about: &About,
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
        // The only one that may try after a pause is one that may leave.
        if !self.minute.has_room(now) {
            return Err(Failure::Budget);
        }
        if !self.rest.enter(now) {
            return Err(Failure::Resting);
        }
        if !self.minute.take(now) {
            return Err(Failure::Budget);
        }
        let (own, about, fresh) = (Arc::clone(self), about.clone(), !urgency.cached);
        let (sent, id) = (sent.clone(), id.to_owned());
        let exchange = spawn_blocking(move || {
            let _held = places;
            own.exchange(&about, &sent, limit, fresh, &id)
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
        about: &About,
        sent: &Sent,
        limit: Duration,
        fresh: bool,
        id: &str,
    ) -> Result<Arc<Said>, Failure> {
        let (labels, target) = (about.loaded.predictor.labels(), &self.settings.target);
        let server = target.host.as_str();
        let body = words::ask(&target.protocol, sent, labels, about.name.as_deref()).to_string();
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
                tracing::debug!(request_id = id, ?took, outcome, said, "{NO_ANSWER}");
                if self.rest.tells(now) {
                    tracing::warn!(server, outcome, said, "{NO_ANSWER}; -v shows each");
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
