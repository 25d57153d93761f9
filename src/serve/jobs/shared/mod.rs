//! Jobs in Redis or Valkey, for all replicas and workers that share it.
//!
//! | key, after the prefix | what |
//! |---|---|
//! | `:jobs` | a stream with an entry for each job that has not ended; its group `workers` hands them out |
//! | `:job:ID` | a hash: what is known of a job, its body, later its result or error |
//! | `:key:KEY` | the job of an idempotency key, and SHA-256 of its body |
//! | `:jobs:STATUS` | the jobs of a status by the time at which they are forgotten |
//!
//! No key has a time of its own, so a policy that evicts those alone (`volatile-lru`) evicts no job.
//!
//! Who takes an entry has a lease, which it renews every second. An entry whose lease is over is claimed by another
//! process. Both may do the job then, and whoever holds it at its end ends it; answers are functions of text,
//! options and model, so a second run changes nothing but the time.
//!
//! The replica that accepts a job first writes a copy to its own disk: see [`mirror`].

mod asked;
mod copies;
mod fields;
mod mirror;
mod scripts;
mod working;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::copies::Copies;
use self::scripts::{MEND, SWEEP, run};
use super::Running;
use super::record::Status;
use super::store::{Store, StoreError};
use crate::serve::metrics::Metrics;
use crate::serve::shared::{Condition, Durability, Lane, Link, LinkError};

/// All jobs of several servers.
pub struct Shared {
    link: Arc<Link>,
    /// Of what this replica accepts; a worker has none.
    copies: Option<Copies>,
    metrics: Arc<Metrics>,
    /// This process.
    me: String,
    stream: String,
    looking: Turn<Looking>,
    running: Mutex<HashMap<String, Held>>,
    counts: Mutex<Vec<(&'static str, usize)>>,
}

/// The search for leases that are over: one of us at a time.
struct Looking {
    /// Where it goes on.
    cursor: String,
    ended: Option<Instant>,
}

/// A job that this process works on.
#[derive(Clone)]
struct Held {
    entry: String,
    running: Running,
    /// When nobody can see its result any more.
    until: Instant,
}

impl Shared {
    /// Jobs that may be there already; copies of those accepted here go to a file.
    pub fn new(
        link: Arc<Link>,
        copies: Option<Store>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StoreError> {
        let counts = Status::ALL.map(|status| (status.name(), 0)).into();
        Ok(Arc::new(Self {
            stream: link.key("jobs"),
            link,
            copies: copies.map(Copies::new).transpose()?,
            metrics,
            me: Uuid::now_v7().simple().to_string(),
            looking: Turn::new(Looking { cursor: "0-0".to_owned(), ended: None }),
            running: Mutex::default(),
            counts: Mutex::new(counts),
        }))
    }

    /// Starts what goes on beside the jobs.
    pub fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(Arc::clone(self).beat());
        tasks.spawn(Arc::clone(self).mirror());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a job.
    fn place(&self, id: &str) -> String {
        self.link.key(&format!("job:{id}"))
    }

    /// As of a second ago.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the copies.
    pub fn bytes(&self) -> u64 {
        self.copies.as_ref().map_or(0, Copies::bytes)
    }

    pub fn durability(&self) -> Durability {
        self.link.durability()
    }

    /// `ok`, or what is wrong.
    pub fn state(&self) -> &'static str {
        match self.link.condition() {
            _ if self.copies.as_ref().is_some_and(|copies| !copies.is_writable()) => {
                "the job file cannot be written"
            }
            Condition::Down => "Redis is gone: no jobs are accepted or done",
            Condition::Slow => "Redis is slow",
            Condition::Up if self.link.is_full() => "Redis is full: no jobs are accepted",
            Condition::Up => self.link.state(),
        }
    }

    async fn mend(&self) -> Result<(), LinkError> {
        let lost: u64 = self.link.ask(Lane::Steady, &run(MEND, &self.stream)).await?;
        if lost > 0 {
            tracing::warn!(lost, "the stream had lost entries of jobs, which wait again");
        }
        Ok(())
    }

    /// Forgets jobs whose time is over.
    pub async fn sweep(&self) {
        let swept = self.link.ask::<u64>(Lane::Steady, &run(SWEEP, &self.stream)).await;
        if swept.is_ok() {
            // The link says itself what is wrong with it.
            let _ = self.mend().await;
        }
        if let (Some(copies), Some(now)) = (&self.copies, self.link.now()) {
            copies.sweep(now).await;
        }
    }
}
