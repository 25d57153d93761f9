//! What clients ask: to take a job, to show it, to cancel it.

use std::sync::Arc;

use uuid::Uuid;

use super::Shared;
use super::copies::Copies;
use super::fields::{FIELDS, read_record};
use super::scripts::{ACCEPT, CANCEL, run};
use crate::serve::budget::{Budget, Share};
use crate::serve::jobs::embedded::MOST_QUEUED;
use crate::serve::jobs::record::{Record, Status};
use crate::serve::jobs::store::{StoreError, UNPACKING, hash_of, is_of};
use crate::serve::jobs::{Found, Offer};
use crate::serve::problem::Problem;
use crate::serve::shared::{Condition, Lane, LinkError, ours};

impl Shared {
    /// Takes a job: when this returns it is in Redis, and its copy on this replica's disk.
    pub async fn accept(
        self: &Arc<Self>,
        offer: Offer,
        held: Share,
    ) -> Result<(String, Record), Problem> {
        let shared = Arc::clone(self);
        let take = async move {
            let _held = held;
            shared.take(offer).await
        };
        // A client that leaves meanwhile leaves no half of it.
        tokio::spawn(take).await.unwrap_or(Err(Problem::Internal))
    }

    async fn take(&self, offer: Offer) -> Result<(String, Record), Problem> {
        let gone = self.link.condition() == Condition::Down || self.link.is_full();
        let now = self.link.now().filter(|_| !gone).ok_or(Problem::JobQueueFull)?;
        let copies = self.copies.as_ref().ok_or(Problem::JobQueueFull)?;
        let body = serde_json::to_vec(&offer.body).map_err(|_| Problem::Internal)?;
        let hash = hash_of(&body, offer.life);
        let id = format!("t_{}", Uuid::now_v7().simple());
        let record = Record::new(&offer, now);
        self.copy(copies, &id, &record, &body, &hash).await?;
        let mut ask = run(ACCEPT, &self.stream);
        ask.arg(&id).arg(&body).arg(&hash).arg(record.created).arg(record.expires);
        ask.arg(record.total).arg(record.owner.as_deref().unwrap_or_default());
        ask.arg(record.key.as_deref().unwrap_or_default()).arg(MOST_QUEUED);
        let mut answer: Result<(String, String), _> = self.link.ask(Lane::Steady, &ask).await;
        let perhaps = matches!(answer, Err(LinkError::Silent));
        if perhaps {
            self.link.look().await;
            answer = self.link.ask(Lane::Steady, &ask).await;
        }
        let silent = matches!(answer, Err(LinkError::Silent | LinkError::Gone));
        if perhaps && silent && record.key.is_none() {
            // It may have been taken, so it is: the copy is given to Redis when that answers again.
            copies.opened(&id);
            return Ok((id, record));
        }
        let (what, known) = answer.unwrap_or_default();
        if what == "new" {
            copies.opened(&id);
            return Ok((id, record));
        }
        copies.drop(&id).await;
        match &*what {
            "conflict" => Err(Problem::IdempotencyConflict),
            "known" => {
                let found = self.record_of(&known).await.ok().flatten();
                let (record, ..) = found.ok_or(Problem::JobQueueFull)?;
                // Another replica's copy may be gone: this promise is ours.
                let ours = copies.open().contains(&known);
                if !record.status.is_final() && !ours {
                    let copy = Record { promised: offer.promised, ..record.clone() };
                    self.copy(copies, &known, &copy, &body, &hash).await?;
                    copies.opened(&known);
                }
                Ok((known, record))
            }
            _ => Err(Problem::JobQueueFull),
        }
    }

    async fn copy(
        &self,
        copies: &Copies,
        id: &str,
        record: &Record,
        body: &[u8],
        hash: &str,
    ) -> Result<(), Problem> {
        match copies.keep(id, record, body, hash).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::JobsFull),
            Err(_) => Err(Problem::JobQueueFull),
        }
    }

    /// What is known of a job, its texts that are done, and the bytes of its result.
    async fn record_of(&self, id: &str) -> Result<Option<(Record, usize, usize)>, LinkError> {
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(self.place(id)).arg(&FIELDS);
        ask.cmd("HSTRLEN").arg(self.place(id)).arg("result");
        let (fields, bytes): (Vec<Option<String>>, usize) =
            self.link.ask_all(Lane::Steady, &ask).await?;
        Ok(read_record(fields).map(|(record, done)| (record, done, bytes)))
    }

    /// From Redis, else from the copy of this replica.
    pub async fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        memory: &Arc<Budget>,
    ) -> Result<Option<Found>, Problem> {
        if !is_id(id) {
            return Ok(None);
        }
        let asked = match self.find_there(id, owner, memory).await? {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => true,
            Err(_) => false,
        };
        if let Some(copies) = &self.copies {
            let now = self.link.now().unwrap_or_else(ours);
            let found = copies.find(id, owner, now, memory).await.map_err(|error| match error {
                StoreError::Memory => Problem::Overloaded(1),
                _ => Problem::Internal,
            })?;
            if let Some((record, result)) = found {
                let done = if record.status == Status::Completed { record.total } else { 0 };
                return Ok(Some(Found { record, result, done }));
            }
        }
        if asked {
            // It may have lost its data this very moment.
            self.link.look().await;
        }
        match asked && !self.link.is_doubtful() {
            true => Ok(None),
            false => Err(Problem::JobsElsewhere),
        }
    }

    async fn find_there(
        &self,
        id: &str,
        owner: Option<&str>,
        memory: &Arc<Budget>,
    ) -> Result<Result<Option<Found>, LinkError>, Problem> {
        let (record, done, bytes) = match self.record_of(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let over = self.link.now().is_some_and(|now| record.expires <= now);
        if over || !is_of(&record, owner) {
            return Ok(Ok(None));
        }
        if record.status != Status::Completed {
            return Ok(Ok(Some(Found { record, result: None, done })));
        }
        let share = memory.share(bytes + UNPACKING)?;
        let mut ask = redis::cmd("HGET");
        ask.arg(self.place(id)).arg("result");
        let result: Option<Vec<u8>> = match self.link.ask(Lane::Steady, &ask).await {
            Ok(result) => result,
            Err(error) => return Ok(Err(error)),
        };
        let done = record.total;
        Ok(Ok(result.map(|bytes| Found { record, result: Some(share.hold(bytes)), done })))
    }

    pub async fn cancel(&self, id: &str, owner: Option<&str>) -> Result<(), Problem> {
        if !is_id(id) {
            return Ok(());
        }
        let mut ask = run(CANCEL, &self.stream);
        ask.arg(id).arg(owner.unwrap_or_default());
        let done: Result<bool, _> = self.link.ask(Lane::Steady, &ask).await;
        if done.map_err(|_| Problem::JobsElsewhere)? {
            self.metrics.job_finished(Status::Cancelled.name());
            if let Some(held) = self.lock().get(id) {
                held.running.cancelled.notify_one();
            }
        }
        Ok(())
    }
}

/// Whether it can be the name of a job.
fn is_id(text: &str) -> bool {
    let rest = text.strip_prefix("t_");
    rest.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
