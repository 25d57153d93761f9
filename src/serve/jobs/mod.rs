//! Jobs: many texts, later. Where they are kept is a closed choice, [`Jobs`]; the work is the same for all.

mod clock;
pub mod embedded;
pub mod record;
pub mod shared;
pub mod store;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use self::embedded::Embedded;
use self::record::Record;
use self::shared::Shared;
use super::budget::{Budget, Share};
use super::problem::Problem;
use super::shared::Durability;

/// What keeps jobs and hands them out.
#[derive(Clone)]
pub enum Jobs {
    /// A file of this server's own.
    Embedded(Arc<Embedded>),
    /// Redis, for several servers.
    Shared(Arc<Shared>),
}

/// What the acceptance of a job promises.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Promise {
    /// `fsync`: the job is on the disk of the replica that accepted it.
    replica: &'static str,
    /// When Redis writes it to its disk: its `appendfsync`, `off` without an append-only file, or `unknown`; `null`
    /// for a server without Redis.
    redis: Option<Durability>,
}

impl Jobs {
    /// Takes a job: when this returns it is kept. The same key with the same body gives the job that was
    /// taken before. `held` is the memory of its body.
    pub async fn accept(&self, offer: Offer, held: Share) -> Result<(String, Record), Problem> {
        match self {
            Self::Embedded(jobs) => {
                let accept = move |jobs: &Embedded| {
                    let _held = held;
                    jobs.accept(&offer)
                };
                jobs.aside(accept).await
            }
            Self::Shared(jobs) => jobs.accept(offer, held).await,
        }
    }

    /// A job of this owner with its result, which takes a share of `memory`, and how far it is; `None` if
    /// there is none, or none any more.
    pub async fn find(
        &self,
        id: String,
        owner: Option<String>,
        memory: &Arc<Budget>,
    ) -> Result<Option<Found>, Problem> {
        match self {
            Self::Embedded(jobs) => {
                let memory = Arc::clone(memory);
                jobs.aside(move |jobs| jobs.find(&id, owner.as_deref(), &memory)).await
            }
            Self::Shared(jobs) => jobs.find(&id, owner.as_deref(), memory).await,
        }
    }

    /// Cancels a job of this owner that has not ended.
    pub async fn cancel(&self, id: String, owner: Option<String>) -> Result<(), Problem> {
        match self {
            Self::Embedded(jobs) => {
                jobs.aside(move |jobs| jobs.cancel(&id, owner.as_deref())).await
            }
            Self::Shared(jobs) => jobs.cancel(&id, owner.as_deref()).await,
        }
    }

    /// Jobs by status.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        match self {
            Self::Embedded(jobs) => jobs.counts(),
            Self::Shared(jobs) => jobs.counts(),
        }
    }

    /// Bytes that are kept on this server's disk.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Embedded(jobs) => jobs.bytes(),
            Self::Shared(jobs) => jobs.bytes(),
        }
    }

    /// `ok`, or why jobs are not taken now.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Embedded(jobs) if jobs.is_writable() => "ok",
            Self::Embedded(_) => "the job file cannot be written",
            Self::Shared(jobs) => jobs.state(),
        }
    }

    /// What a job is promised that is accepted now.
    pub fn promise(&self) -> Promise {
        let redis = match self {
            Self::Embedded(_) => None,
            Self::Shared(jobs) => Some(jobs.durability()),
        };
        Promise { replica: "fsync", redis }
    }

    /// Starts what goes on beside the jobs.
    pub fn start(&self, tasks: &mut JoinSet<()>) {
        match self {
            Self::Embedded(_) => {}
            Self::Shared(jobs) => jobs.start(tasks),
        }
    }

    /// Waits for the next job and begins it.
    pub async fn next(&self) -> Begun {
        match self {
            Self::Embedded(jobs) => jobs.next().await,
            Self::Shared(jobs) => jobs.next().await,
        }
    }

    /// A job has ended: its outcome, a packed result, is written as soon as that can be. If it was cancelled
    /// meanwhile the outcome is dropped.
    pub async fn ended(&self, id: String, outcome: Result<Vec<u8>, Problem>) {
        match self {
            Self::Embedded(jobs) => jobs.ended(id, outcome).await,
            Self::Shared(jobs) => jobs.ended(&id, outcome).await,
        }
    }

    /// What has begun waits again: another process will do it.
    pub async fn release(&self) {
        match self {
            Self::Embedded(jobs) => jobs.release(),
            Self::Shared(jobs) => jobs.release().await,
        }
    }

    /// Forgets jobs whose time is over.
    pub async fn sweep(&self) {
        match self {
            Self::Embedded(jobs) => {
                let sweep = |jobs: &Embedded| {
                    jobs.sweep();
                    Ok(())
                };
                // A panic there says what it is itself.
                let _ = jobs.aside(sweep).await;
            }
            Self::Shared(jobs) => jobs.sweep().await,
        }
    }
}

/// A job that has begun, as those see it who ask.
#[derive(Clone, Default)]
pub struct Running {
    /// Texts that are done.
    pub done: Arc<AtomicUsize>,
    cancelled: Arc<Notify>,
}

/// A job that is to be done.
pub struct Begun {
    pub id: String,
    /// Its body, as it was accepted.
    pub body: Value,
    pub running: Running,
    /// The time after which nobody can see its result.
    pub left: Duration,
}

/// A job to be accepted.
pub struct Offer {
    /// What [`super::request::job`] reads.
    pub body: Value,
    pub total: usize,
    /// How long it is kept.
    pub life: Duration,
    /// The client's own name for it.
    pub key: Option<String>,
    /// SHA-256 of the API key that makes it.
    pub owner: Option<String>,
    /// Bytes that its result may have in the file.
    pub promised: u64,
}

/// What is known of a job, for whoever asks.
pub struct Found {
    pub record: Record,
    /// The result, packed; it holds a share of the memory for answers.
    pub result: Option<Bytes>,
    /// Texts that are done.
    pub done: usize,
}

impl Running {
    /// Ends when the job is cancelled.
    pub async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}
