//! Jobs: accepted only once they are on disk, done at least once, and answered once.
//!
//! The order of work and what is running stand in memory; everything else is in the [`store`]. After
//! a crash whatever had begun begins again: answers are functions of text, options and model, so a
//! second run changes nothing but the time.

pub mod record;
pub mod store;
pub mod work;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;
use uuid::Uuid;

use self::record::{Record, Status};
use self::store::{Store, StoreError};
use super::metrics::Metrics;
use super::problem::{self, Problem};

/// Jobs that may wait; beyond that new ones are refused.
const MOST_QUEUED: usize = 10_000;

/// How long a job waits that the disk did not take.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// A job that has begun so often and never ended takes the process down with it.
const MOST_ATTEMPTS: u32 = 10;

/// All jobs.
pub struct Jobs {
    store: Store,
    state: Mutex<State>,
    wake: Notify,
    writable: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<String>,
    running: HashMap<String, Running>,
    counts: BTreeMap<Status, usize>,
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
    /// Its id.
    pub id: String,
    /// Its body, as it was accepted.
    pub body: Value,
    /// Where to count.
    pub running: Running,
}

/// A job to be accepted.
pub struct Offer {
    /// What [`super::request::job`] reads.
    pub body: Value,
    /// Texts in it.
    pub total: usize,
    /// How long it is kept.
    pub life: Duration,
    /// The client's own name for it.
    pub key: Option<String>,
}

impl Running {
    /// Ends when the job is cancelled.
    pub async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}

impl Jobs {
    /// Opens the file; what had not ended when it was last used waits again.
    pub fn open(path: &Path, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let store = Store::open(path)?;
        let mut state = State::default();
        for (id, status) in store.restart()? {
            *state.counts.entry(status).or_default() += 1;
            if status == Status::Queued {
                state.queue.push_back(id);
            }
        }
        Ok(Self {
            store,
            state: Mutex::new(state),
            wake: Notify::new(),
            writable: AtomicBool::new(true),
            metrics,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes whether the disk took what was written.
    fn noted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.writable.store(outcome.is_ok(), Ordering::Release);
        outcome.inspect_err(|error| tracing::error!("the file of the jobs: {error}"))
    }

    /// Whether the last write succeeded.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Jobs by status.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let state = self.lock();
        Status::ALL.map(|one| (one.name(), state.counts.get(&one).copied().unwrap_or(0))).into()
    }

    fn moved(&self, state: &mut State, from: Option<Status>, to: Option<Status>) {
        if let Some(count) = from.and_then(|from| state.counts.get_mut(&from)) {
            *count = count.saturating_sub(1);
        }
        if let Some(to) = to {
            *state.counts.entry(to).or_default() += 1;
            if to.is_final() {
                self.metrics.job_finished(to.name());
            }
        }
    }

    /// Takes a job: when this returns it is on disk. The same key with the same body gives the job
    /// that was taken before.
    pub fn accept(&self, offer: &Offer) -> Result<(String, Record), Problem> {
        if self.lock().queue.len() >= MOST_QUEUED {
            return Err(Problem::JobQueueFull);
        }
        let id = format!("t_{}", Uuid::now_v7().simple());
        let taken = self.store.accept(&id, offer, SystemTime::now());
        match self.noted(taken).map_err(|_| Problem::JobQueueFull)? {
            store::Accepted::New(record) => {
                let mut state = self.lock();
                self.moved(&mut state, None, Some(Status::Queued));
                state.queue.push_back(id.clone());
                drop(state);
                self.wake.notify_one();
                Ok((id, record))
            }
            store::Accepted::Known(id, record) => Ok((id, record)),
            store::Accepted::Conflict => Err(Problem::IdempotencyConflict),
        }
    }

    /// A job with its result, and how far it is; `None` if there is none, or none any more.
    pub fn find(&self, id: &str) -> Result<Option<(Record, Option<Value>, usize)>, Problem> {
        let found = self.store.find(id, SystemTime::now()).map_err(|error| {
            tracing::error!("the file of the jobs: {error}");
            Problem::Internal
        })?;
        let Some((record, result)) = found else { return Ok(None) };
        let done = match record.status {
            Status::Completed => record.total,
            _ => {
                let state = self.lock();
                state.running.get(id).map_or(0, |running| running.done.load(Ordering::Acquire))
            }
        };
        Ok(Some((record, result, done)))
    }

    /// Waits for the next job and begins it.
    pub async fn next(&self) -> Begun {
        loop {
            let waiting = self.wake.notified();
            let next = self.lock().queue.pop_front();
            let Some(id) = next else {
                waiting.await;
                continue;
            };
            match self.begin(&id) {
                Ok(Some(begun)) => return begun,
                Ok(None) => {}
                Err(_) => {
                    self.lock().queue.push_front(id);
                    sleep(DISK_PAUSE).await;
                }
            }
        }
    }

    /// `None` if it was cancelled or has expired meanwhile; an error if the disk does not take it now.
    fn begin(&self, id: &str) -> Result<Option<Begun>, StoreError> {
        let running = Running::default();
        self.lock().running.insert(id.to_owned(), running.clone());
        let begun = self.noted(self.store.begin(id, SystemTime::now()));
        let Ok(Some((record, body))) = begun else {
            self.lock().running.remove(id);
            return match begun {
                // Trying again would not mend it.
                Err(StoreError::Damaged(_)) | Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let mut state = self.lock();
        self.moved(&mut state, Some(Status::Queued), Some(Status::Running));
        drop(state);
        if record.attempts > MOST_ATTEMPTS {
            self.end(id, &Err(Problem::Internal))?;
            return Ok(None);
        }
        let waited = record.started.unwrap_or(record.created) - record.created;
        self.metrics.job_wait.observe(waited as f64 / 1e3);
        Ok(Some(Begun { id: id.to_owned(), body, running }))
    }

    /// A job has ended: its outcome is written, as soon as the disk takes it.
    pub async fn ended(&self, id: &str, outcome: &Result<Value, Problem>) {
        while self.end(id, outcome).is_err() {
            sleep(DISK_PAUSE).await;
        }
    }

    /// If it was cancelled meanwhile the outcome is dropped.
    fn end(&self, id: &str, outcome: &Result<Value, Problem>) -> Result<(), StoreError> {
        let outcome = outcome.as_ref().map_err(|problem| -> problem::Body { problem.body(id) });
        let ended = match self.noted(self.store.end(id, outcome, SystemTime::now())) {
            Err(StoreError::Damaged(_)) => None,
            ended => ended?,
        };
        let mut state = self.lock();
        state.running.remove(id);
        if let Some(status) = ended {
            self.moved(&mut state, Some(Status::Running), Some(status));
        }
        Ok(())
    }

    /// Cancels a job that has not ended.
    pub fn cancel(&self, id: &str) -> Result<(), Problem> {
        let before = self.noted(self.store.cancel(id, SystemTime::now()));
        let before = before.map_err(|_| Problem::Internal)?;
        let mut state = self.lock();
        if let Some(before) = before {
            self.moved(&mut state, Some(before), Some(Status::Cancelled));
        }
        state.queue.retain(|queued| queued != id);
        if let Some(running) = state.running.get(id) {
            running.cancelled.notify_one();
        }
        Ok(())
    }

    /// What has begun waits again: another process will do it.
    pub fn release(&self) {
        let running: Vec<String> = self.lock().running.keys().cloned().collect();
        for id in running {
            // If this fails the next start finds it running, which is the same.
            let _ = self.noted(self.store.release(&id));
        }
    }

    /// Forgets jobs whose time is over.
    pub fn sweep(&self) {
        let Ok(gone) = self.noted(self.store.sweep(SystemTime::now())) else { return };
        let mut state = self.lock();
        for (id, status) in gone {
            self.moved(&mut state, Some(status), None);
            state.queue.retain(|queued| *queued != id);
        }
    }
}

#[cfg(test)]
mod tests;
