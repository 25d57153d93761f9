//! Jobs: many texts, later. Where they are kept is a [`Backend`]; the work is the same for all.

pub mod embedded;
pub mod record;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Notify;

use self::record::Record;
use super::budget::Budget;
use super::problem::Problem;

/// What keeps jobs and hands them out. Calls block, but for the two that wait.
pub trait Backend: Send + Sync {
    /// Takes a job: when this returns it is kept. The same key with the same body gives the job that was
    /// taken before.
    fn accept(&self, offer: &Offer) -> Result<(String, Record), Problem>;

    /// A job of this owner with its result, which takes a share of `memory`, and how far it is; `None` if
    /// there is none, or none any more.
    fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        memory: &Arc<Budget>,
    ) -> Result<Option<Found>, Problem>;

    /// Cancels a job of this owner that has not ended.
    fn cancel(&self, id: &str, owner: Option<&str>) -> Result<(), Problem>;

    fn counts(&self) -> Vec<(&'static str, usize)>;

    fn bytes(&self) -> u64;

    /// Whether the last write succeeded.
    fn is_writable(&self) -> bool;

    /// Waits for the next job and begins it.
    fn next(self: Arc<Self>) -> BoxFuture<'static, Begun>;

    /// A job has ended: its outcome, a packed result, is written as soon as that can be. If it was cancelled
    /// meanwhile the outcome is dropped.
    fn ended(
        self: Arc<Self>,
        id: String,
        outcome: Result<Vec<u8>, Problem>,
    ) -> BoxFuture<'static, ()>;

    /// What has begun waits again: another process will do it.
    fn release(&self);

    /// Forgets jobs whose time is over.
    fn sweep(&self);
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
