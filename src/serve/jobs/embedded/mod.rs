//! Jobs in a file of the server's own: accepted only once they are on disk, done at least once, and answered
//! once.
//!
//! A job that has begun again and again, and taken the server with it each time, is given more and more
//! time of the others before it begins once more, and is given up in the end.
//!
//! The order of work and what is running stand in memory; everything else is in the [`store`]. After
//! a crash whatever had begun begins again: answers are functions of text, options and model, so a
//! second run changes nothing but the time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::clock::Clock;
use super::record::{Record, Status};
use super::store::{self, Store, StoreError};
use super::{Begun, Found, Offer, Running};
use crate::serve::budget::Budget;
use crate::serve::metrics::Metrics;
use crate::serve::problem::{self, Problem};

/// Jobs that may wait; beyond that new ones are refused.
pub const MOST_QUEUED: usize = 10_000;

/// How long a job waits that the disk did not take.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// A job that has begun so often and never ended takes the process down with it.
pub const MOST_ATTEMPTS: u32 = 10;

/// Attempts after which a job has to wait for its next one.
pub const FREE_ATTEMPTS: u32 = 3;

/// The longest that it waits.
pub const LONGEST_HOLD: Duration = Duration::from_secs(64);

/// All jobs of one server.
pub struct Embedded {
    store: Store,
    state: Mutex<State>,
    wake: Notify,
    writable: AtomicBool,
    metrics: Arc<Metrics>,
    clock: Clock,
    began: OnceLock<Instant>,
    places: Semaphore,
}

#[derive(Default)]
struct State {
    queue: VecDeque<String>,
    running: HashMap<String, Running>,
    counts: BTreeMap<Status, usize>,
    /// Jobs that may not begin before the server has worked for so long.
    held: HashMap<String, Duration>,
}

impl Embedded {
    /// Opens the file, which may have so many bytes; what had not ended when it was last used waits
    /// again.
    pub fn open(path: &Path, most: u64, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let (store, clock) = (Store::open(path, most)?, Clock::new());
        let mut state = State::default();
        for store::Left { id, status, attempts } in store.restart(clock.now())? {
            *state.counts.entry(status).or_default() += 1;
            if status == Status::Queued {
                if let Some(hold) = hold(attempts) {
                    state.held.insert(id.clone(), hold);
                }
                state.queue.push_back(id);
            }
        }
        Ok(Self {
            store,
            state: Mutex::new(state),
            wake: Notify::new(),
            writable: AtomicBool::new(true),
            metrics,
            clock,
            began: OnceLock::new(),
            // One alone would let a slow one stop all others.
            places: Semaphore::new(2),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes whether the disk took what was written.
    fn noted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if !matches!(outcome, Err(StoreError::Memory)) {
            self.writable.store(outcome.is_ok(), Ordering::Release);
        }
        outcome.inspect_err(|error| tracing::error!("the job file: {error}"))
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

    /// Takes the first job that may begin; else the time until one may.
    fn first(&self) -> Result<String, Option<Duration>> {
        let worked = self.began.get_or_init(Instant::now).elapsed();
        let State { queue, held, .. } = &mut *self.lock();
        let left =
            |id: &String| held.get(id).map_or(Duration::ZERO, |hold| hold.saturating_sub(worked));
        let place = queue.iter().position(|id| left(id).is_zero());
        match place.and_then(|place| queue.remove(place)) {
            Some(id) => {
                held.remove(&id);
                Ok(id)
            }
            None => Err(queue.iter().map(left).min()),
        }
    }

    /// `None` if it was cancelled or has expired meanwhile; an error if the disk does not take it now.
    fn begin(&self, id: &str) -> Result<Option<Begun>, StoreError> {
        let running = Running::default();
        self.lock().running.insert(id.to_owned(), running.clone());
        let begun = self.noted(self.store.begin(id, self.clock.now()));
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
            self.end(id, &Err(Problem::GivenUp(record.attempts - 1)))?;
            return Ok(None);
        }
        let waited = record.started.unwrap_or(record.created).saturating_sub(record.created);
        self.metrics.job_wait.observe(waited as f64 / 1e3);
        let left = Duration::from_millis(record.expires.saturating_sub(self.clock.now()));
        Ok(Some(Begun { id: id.to_owned(), body, running, left }))
    }

    /// If it was cancelled meanwhile the outcome is dropped.
    fn end(&self, id: &str, outcome: &Result<Vec<u8>, Problem>) -> Result<(), StoreError> {
        let outcome = outcome.as_deref().map_err(|problem| -> problem::Body { problem.body(id) });
        let ended = match self.noted(self.store.end(id, outcome, self.clock.now())) {
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
}

impl Embedded {
    /// Work that waits for the disk, on threads where nobody else waits.
    pub async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.places.acquire().await.map_err(|_| Problem::Internal)?;
        let jobs = Arc::clone(self);
        spawn_blocking(move || work(&jobs)).await.unwrap_or(Err(Problem::Internal))
    }

    pub fn accept(&self, offer: &Offer) -> Result<(String, Record), Problem> {
        if self.lock().queue.len() >= MOST_QUEUED {
            return Err(Problem::JobQueueFull);
        }
        let id = format!("t_{}", Uuid::now_v7().simple());
        let taken = self.store.accept(&id, offer, self.clock.now());
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
            store::Accepted::Full => Err(Problem::JobsFull),
        }
    }

    pub fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        memory: &Arc<Budget>,
    ) -> Result<Option<Found>, Problem> {
        let found = self.noted(self.store.find(id, owner, self.clock.now(), memory));
        let found = found.map_err(|error| match error {
            StoreError::Memory => Problem::Overloaded(1),
            _ => Problem::Internal,
        })?;
        let Some((record, result)) = found else { return Ok(None) };
        let done = match record.status {
            Status::Completed => record.total,
            _ => {
                let state = self.lock();
                state.running.get(id).map_or(0, |running| running.done.load(Ordering::Acquire))
            }
        };
        Ok(Some(Found { record, result, done }))
    }

    pub fn cancel(&self, id: &str, owner: Option<&str>) -> Result<(), Problem> {
        let before = self.noted(self.store.cancel(id, owner, self.clock.now()));
        let Some(before) = before.map_err(|_| Problem::Internal)? else { return Ok(()) };
        let mut state = self.lock();
        self.moved(&mut state, Some(before), Some(Status::Cancelled));
        state.queue.retain(|queued| queued != id);
        if let Some(running) = state.running.get(id) {
            running.cancelled.notify_one();
        }
        Ok(())
    }

    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let state = self.lock();
        Status::ALL.map(|one| (one.name(), state.counts.get(&one).copied().unwrap_or(0))).into()
    }

    pub fn bytes(&self) -> u64 {
        self.store.used()
    }

    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    pub async fn next(self: &Arc<Self>) -> Begun {
        loop {
            let waiting = self.wake.notified();
            let id = match self.first() {
                Ok(id) => id,
                Err(wait) => {
                    let wait = wait.unwrap_or(Duration::from_secs(3600));
                    let _ = timeout(wait, waiting).await;
                    continue;
                }
            };
            let (jobs, its) = (Arc::clone(self), id.clone());
            match spawn_blocking(move || jobs.begin(&its)).await {
                Ok(Ok(Some(begun))) => return begun,
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => {
                    self.lock().queue.push_front(id);
                    sleep(DISK_PAUSE).await;
                }
            }
        }
    }

    pub async fn ended(self: &Arc<Self>, id: String, outcome: Result<Vec<u8>, Problem>) {
        let outcome = Arc::new(outcome);
        loop {
            let (jobs, id, outcome) = (Arc::clone(self), id.clone(), Arc::clone(&outcome));
            match spawn_blocking(move || jobs.end(&id, &outcome)).await {
                Ok(Ok(())) => return,
                _ => sleep(DISK_PAUSE).await,
            }
        }
    }

    pub fn release(&self) {
        let running: Vec<String> = self.lock().running.keys().cloned().collect();
        for id in running {
            // If this fails the next start finds it running, which is the same.
            let _ = self.noted(self.store.release(&id));
        }
    }

    pub fn sweep(&self) {
        let Ok(gone) = self.noted(self.store.sweep(self.clock.now())) else { return };
        let mut state = self.lock();
        for (id, status) in gone {
            self.moved(&mut state, Some(status), None);
            state.queue.retain(|queued| *queued != id);
        }
    }
}

/// How long the server must have worked before a job begins that has begun so often.
fn hold(attempts: u32) -> Option<Duration> {
    let more = attempts.checked_sub(FREE_ATTEMPTS).filter(|more| *more > 0)?;
    Some(Duration::from_secs(1 << more.min(6)).min(LONGEST_HOLD))
}

#[cfg(test)]
mod tests;
