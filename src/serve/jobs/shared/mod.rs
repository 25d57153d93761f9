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

mod copies;
mod mirror;
mod scripts;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Value as Answer;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use self::copies::Copies;
use self::scripts::{ACCEPT, BEAT, BEGIN, CANCEL, END, MEND, RELEASE, SWEEP, run};
use super::embedded::{FREE_ATTEMPTS, LONGEST_HOLD, MOST_ATTEMPTS, MOST_QUEUED};
use super::record::{Record, Status};
use super::store::{Store, StoreError, UNPACKING, hash_of, is_of};
use super::{Begun, Found, Offer, Running};
use crate::serve::budget::{Budget, Share};
use crate::serve::metrics::Metrics;
use crate::serve::problem::Problem;
use crate::serve::shared::{Condition, Durability, Lane, Link, LinkError, ours};

const GROUP: &str = "workers";
/// How long a process may be silent before its jobs are another's.
const LEASE: Duration = Duration::from_secs(10);
/// How often it says that it works on them.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often leases are looked for that are over.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// How long a process waits for the next job before it looks for leases again, in milliseconds.
const BLOCK: u64 = 1000;
/// How long it waits for a server that is gone.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of a job, as far as it is a [`Record`], and the texts that are done.
const FIELDS: [&str; 11] = [
    "status", "created", "started", "finished", "expires", "total", "attempts", "owner", "key",
    "error", "done",
];

/// Entries of the stream: their names, and what is in them.
type Entries = Vec<(String, HashMap<String, String>)>;

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
        let record = Record {
            status: Status::Queued,
            created: now,
            started: None,
            finished: None,
            expires: now + offer.life.as_millis() as u64,
            total: offer.total,
            attempts: 0,
            bytes: 0,
            promised: offer.promised,
            owner: offer.owner,
            key: offer.key,
            error: None,
        };
        self.copy(copies, &id, &record, &body, &hash).await?;
        let mut ask = run(ACCEPT, &self.stream);
        ask.arg(&id).arg(&body).arg(&hash).arg(record.created).arg(record.expires);
        ask.arg(record.total).arg(record.owner.as_deref().unwrap_or_default());
        ask.arg(record.key.as_deref().unwrap_or_default()).arg(MOST_QUEUED);
        let answer: Result<(String, String), _> = self.link.ask(Lane::Steady, &ask).await;
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

    /// Waits for the next job and begins it.
    pub async fn next(&self) -> Begun {
        loop {
            match self.fetch().await {
                Ok(Some(begun)) => return begun,
                Ok(None) => {}
                Err(LinkError::NoGroup) => {
                    if self.mend().await.is_err() {
                        sleep(PAUSE).await;
                    }
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn fetch(&self) -> Result<Option<Begun>, LinkError> {
        let mut looking = self.looking.lock().await;
        while looking.ended.is_none_or(|ended| ended.elapsed() >= CLAIM_EVERY) {
            let mut ask = redis::cmd("XAUTOCLAIM");
            ask.arg(&self.stream).arg(GROUP).arg(&self.me).arg(LEASE.as_millis() as u64);
            ask.arg(&looking.cursor).arg("COUNT").arg(1);
            let (cursor, entries, _): (String, Entries, Answer) =
                self.link.ask(Lane::Steady, &ask).await?;
            if cursor == "0-0" {
                looking.ended = Some(Instant::now());
            }
            looking.cursor = cursor;
            for entry in entries {
                if let Some(begun) = self.begin(entry).await? {
                    return Ok(Some(begun));
                }
            }
        }
        let mut ask = redis::cmd("XREADGROUP");
        ask.arg("GROUP").arg(GROUP).arg(&self.me).arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK);
        ask.arg("STREAMS").arg(&self.stream).arg(">");
        let new: Option<Vec<(String, Entries)>> = self.link.ask(Lane::Waiting, &ask).await?;
        match new.into_iter().flatten().flat_map(|(_, entries)| entries).next() {
            Some(entry) => self.begin(entry).await,
            None => Ok(None),
        }
    }

    async fn begin(
        &self,
        (entry, fields): (String, HashMap<String, String>),
    ) -> Result<Option<Begun>, LinkError> {
        let Some(id) = fields.get("id") else { return Ok(None) };
        let mut ask = run(BEGIN, &self.stream);
        ask.arg(id).arg(&entry).arg(&self.me).arg(FREE_ATTEMPTS);
        ask.arg(LONGEST_HOLD.as_millis() as u64);
        let answer: Vec<Vec<u8>> = self.link.ask(Lane::Steady, &ask).await?;
        let [what, attempts, created, expires, now, body] = &answer[..] else { return Ok(None) };
        if what != b"begun" {
            return Ok(None);
        }
        let number = |bytes: &[u8]| -> u64 {
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let (attempts, now) = (number(attempts) as u32, number(now));
        let left = Duration::from_millis(number(expires).saturating_sub(now));
        let running = Running::default();
        let held = Held { entry, running: running.clone(), until: Instant::now() + left };
        self.lock().insert(id.clone(), held);
        let refused = match serde_json::from_slice(body) {
            Ok(_) if attempts > MOST_ATTEMPTS => Problem::GivenUp(attempts - 1),
            Ok(body) => {
                let waited = now.saturating_sub(number(created));
                self.metrics.job_wait.observe(waited as f64 / 1e3);
                return Ok(Some(Begun { id: id.clone(), body, running, left }));
            }
            Err(_) => Problem::Internal,
        };
        self.ended(id, Err(refused)).await;
        Ok(None)
    }

    /// A job has ended. If it was cancelled, or is another's by now, the outcome is dropped.
    pub async fn ended(&self, id: &str, outcome: Result<Vec<u8>, Problem>) {
        let Some(held) = self.lock().get(id).cloned() else { return };
        let end = match outcome {
            Ok(result) => Some((Status::Completed, "result", result)),
            // It is cancelled there already, or somebody else does it.
            Err(Problem::Cancelled) => None,
            Err(problem) => {
                let body = serde_json::to_vec(&problem.body(id)).expect("a problem is plain data");
                Some((Status::Failed, "error", body))
            }
        };
        if let Some((status, field, bytes)) = end {
            let mut ask = run(END, &self.stream);
            ask.arg(id).arg(&held.entry).arg(&self.me).arg(status.name()).arg(field).arg(bytes);
            loop {
                match self.link.ask::<String>(Lane::Steady, &ask).await {
                    Ok(what) if what == "ended" => {
                        self.metrics.job_finished(status.name());
                        break;
                    }
                    Ok(_) => break,
                    Err(_) if Instant::now() >= held.until => break,
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
        self.lock().remove(id);
    }

    /// What this process has begun waits again.
    pub async fn release(&self) {
        let mut ask = run(RELEASE, &self.stream);
        ask.arg(&self.me);
        // If this fails their leases are over soon.
        let _ = self.link.ask::<u64>(Lane::Steady, &ask).await;
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

    /// Says for ever what this process works on, and counts.
    async fn beat(self: Arc<Self>) {
        loop {
            sleep(BEAT_EVERY).await;
            let all: Vec<(String, Held)> =
                self.lock().iter().map(|(id, held)| (id.clone(), held.clone())).collect();
            for (id, Held { entry, running, .. }) in all {
                let mut ask = run(BEAT, &self.stream);
                ask.arg(id).arg(entry).arg(&self.me).arg(running.done.load(Ordering::Acquire));
                let Ok(what) = self.link.ask::<String>(Lane::Steady, &ask).await else { break };
                if what == "off" {
                    running.cancelled.notify_one();
                }
            }
            let mut ask = redis::pipe();
            for status in Status::ALL {
                ask.cmd("ZCARD").arg(self.link.key(&format!("jobs:{}", status.name())));
            }
            let counts: Result<Vec<usize>, _> = self.link.ask_all(Lane::Steady, &ask).await;
            if let Ok(counts) = counts {
                let named = Status::ALL.into_iter().map(Status::name).zip(counts).collect();
                *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = named;
            }
        }
    }
}

/// Whether it can be the name of a job.
fn is_id(text: &str) -> bool {
    let rest = text.strip_prefix("t_");
    rest.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// From the values of [`FIELDS`].
fn read_record(fields: Vec<Option<String>>) -> Option<(Record, usize)> {
    let [status, created, started, finished, expires, total, attempts, owner, key, error, done] =
        <[_; 11]>::try_from(fields).ok()?;
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    let record = Record {
        status: Status::named(&status?)?,
        created: number(created)?,
        started: number(started),
        finished: number(finished),
        expires: number(expires)?,
        total: number(total)? as usize,
        attempts: number(attempts)? as u32,
        bytes: 0,
        promised: 0,
        owner: named(owner),
        key: named(key),
        error: error.and_then(|text| serde_json::from_str(&text).ok()),
    };
    Some((record, number(done).unwrap_or_default() as usize))
}
