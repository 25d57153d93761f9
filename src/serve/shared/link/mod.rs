//! Connections to the server, and what is known of its state.
//!
//! After the first failure nobody waits for it: [`Link::watch`] asks whether it is back, and until then every
//! question is answered with [`LinkError::Gone`] at once.

mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
};
use tokio::sync::Mutex as Turn;
use tokio::sync::watch::Sender;
use tokio::time::timeout;

use super::address::{Address, Prefix};
use super::info::{Durability, Info};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(1);
/// How long after it may have lost data nobody is told that a job is unknown: who took it gives it back meanwhile.
const DOUBT: Duration = Duration::from_secs(60);
/// How long a server counts as full, or as one that refuses, after it refused something.
const FULL: Duration = Duration::from_secs(3);
/// Answers of the server that tell that another one, or a later time, is needed.
const ELSEWHERE: [&str; 7] =
    ["LOADING", "READONLY", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"];

/// Connections for questions of one kind, which do not wait for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Beside a request that can be answered without it.
    Quick,
    /// Jobs, which cannot.
    Steady,
    /// Waiting for the next job.
    Waiting,
    /// How the server is.
    Probe,
}

impl Lane {
    /// The longest that an answer may take.
    fn limit(self) -> Duration {
        Duration::from_millis(match self {
            Self::Quick => 200,
            Self::Steady => 3000,
            Self::Waiting => 4000,
            Self::Probe => 2000,
        })
    }
}

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Up,
    /// Too slow to be asked beside a request.
    Slow,
    Down,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server is not asked now.
    #[error("it is gone")]
    Gone,
    /// It may have done what was asked, or not.
    #[error("it gave no answer")]
    Silent,
    /// It has no memory for what was to be written.
    #[error("it is full")]
    Full,
    /// The stream of the jobs or its group are not there.
    #[error("the stream of the jobs is not there")]
    NoGroup,
    #[error("it refused: {0}")]
    Refused(String),
}

/// The server, as seen from here.
pub struct Link {
    address: Address,
    prefix: String,
    lanes: [Turn<Option<(u64, MultiplexedConnection)>>; 4],
    /// Connections of an older one are not used any more.
    generations: [AtomicU64; 4],
    seen: Mutex<Seen>,
    /// How often the server may have lost data: whoever has a copy is told.
    pub lost: Sender<u64>,
}

struct Seen {
    condition: Condition,
    /// Why it is down, as last told.
    told: String,
    info: Info,
    epoch: Option<String>,
    durability: Durability,
    /// Its `appendfsync`, and when it was asked for that; it is not asked again where that is forbidden.
    appendfsync: (Option<String>, Option<Instant>),
    /// How far its clock is ahead of ours, in milliseconds.
    ahead: Option<i64>,
    /// When it may have lost data.
    doubt: Option<Instant>,
    /// When it dropped keys to make room.
    dropped: Option<Instant>,
    /// When it refused a write for want of memory.
    full: Option<Instant>,
    /// When an answer beside a request was late.
    late: Option<Instant>,
    /// When it last refused what it was asked.
    refused: Option<Instant>,
}

impl Link {
    /// Nothing is connected yet; `model` is the model's name.
    pub fn new(address: Address, model: &str) -> Arc<Self> {
        let prefix = match &address.prefix {
            Prefix::OfModel => format!("bayes:{model}"),
            Prefix::Given(prefix) => prefix.clone(),
        };
        let seen = Seen {
            condition: Condition::Down,
            told: String::new(),
            info: Info::default(),
            epoch: None,
            durability: Durability::Unknown,
            appendfsync: (None, None),
            ahead: None,
            doubt: None,
            dropped: None,
            full: None,
            late: None,
            refused: None,
        };
        Arc::new(Self {
            address,
            prefix,
            lanes: std::array::from_fn(|_| Turn::default()),
            generations: Default::default(),
            seen: Mutex::new(seen),
            lost: Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole name of a key.
    pub fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.prefix)
    }

    pub fn condition(&self) -> Condition {
        self.lock().condition
    }

    pub fn durability(&self) -> Durability {
        self.lock().durability
    }

    /// `ok`, or why replicas do not share answers and limits now.
    pub fn state(&self) -> &'static str {
        match self.condition() {
            Condition::Down => "Redis is gone: replicas share nothing",
            Condition::Slow => "Redis is slow: replicas do not share answers and limits",
            Condition::Up if self.is_full() => "Redis is full: no new answers are shared",
            Condition::Up if self.refuses() => "Redis refuses what it is asked: see the log",
            Condition::Up if self.drops_jobs() => {
                "Redis evicts jobs: set maxmemory-policy to noeviction or volatile-lru"
            }
            Condition::Up => "ok",
        }
    }

    /// Host and port, or path.
    pub fn place(&self) -> &str {
        &self.address.place
    }

    pub fn is_well(&self) -> bool {
        self.state() == "ok"
    }

    /// Whether the server refuses writes because it has no memory.
    pub fn is_full(&self) -> bool {
        let seen = self.lock();
        seen.info.is_full || seen.full.is_some_and(|since| since.elapsed() < FULL)
    }

    /// Whether the server refused a question a moment ago, such as every write after a failed snapshot.
    pub fn refuses(&self) -> bool {
        self.lock().refused.is_some_and(|since| since.elapsed() < FULL)
    }

    /// Whether it has dropped keys within the last minute, and jobs may be among them.
    pub fn drops_jobs(&self) -> bool {
        let seen = self.lock();
        seen.info.drops_any && seen.dropped.is_some_and(|since| since.elapsed() < DOUBT)
    }

    /// Whether the server may have lost what it knew a short while ago.
    pub fn is_doubtful(&self) -> bool {
        self.lock().doubt.is_some_and(|since| since.elapsed() < DOUBT)
    }

    /// The server's time in milliseconds; `None` before it was ever asked.
    pub fn now(&self) -> Option<u64> {
        self.lock().ahead.and_then(|ahead| ours().checked_add_signed(ahead))
    }

    /// Asks one question.
    pub async fn ask<T: FromRedisValue>(&self, lane: Lane, what: &Cmd) -> Result<T, LinkError> {
        self.may_ask(lane)?;
        let answer = async { what.query_async(&mut self.connection(lane).await?).await };
        self.told(lane, timeout(lane.limit(), answer).await.ok())
    }

    /// Asks several at once.
    pub async fn ask_all<T: FromRedisValue>(
        &self,
        lane: Lane,
        what: &Pipeline,
    ) -> Result<T, LinkError> {
        self.may_ask(lane)?;
        let answer = async { what.query_async(&mut self.connection(lane).await?).await };
        self.told(lane, timeout(lane.limit(), answer).await.ok())
    }

    fn may_ask(&self, lane: Lane) -> Result<(), LinkError> {
        match (self.condition(), lane) {
            (_, Lane::Probe) | (Condition::Up, _) => Ok(()),
            (Condition::Slow, Lane::Steady | Lane::Waiting) => Ok(()),
            _ => Err(LinkError::Gone),
        }
    }

    async fn connection(&self, lane: Lane) -> RedisResult<MultiplexedConnection> {
        let generation = self.generations[lane as usize].load(Ordering::Acquire);
        let mut place = self.lanes[lane as usize].lock().await;
        if let Some((made, connection)) = &*place
            && *made == generation
        {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_response_timeout(None);
        let client = &self.address.client;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        *place = Some((generation, connection.clone()));
        Ok(connection)
    }

    fn told<T>(&self, lane: Lane, answer: Option<RedisResult<T>>) -> Result<T, LinkError> {
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(self.failed(&error)),
            None if lane == Lane::Quick => {
                self.late();
                Err(LinkError::Silent)
            }
            None => {
                self.down("it gives no answer");
                Err(LinkError::Silent)
            }
        }
    }

    fn failed(&self, error: &RedisError) -> LinkError {
        let text = error.to_string();
        let has = |word: &str| {
            error.code() == Some(word) || text.split([' ', ':', '-', '(']).any(|one| one == word)
        };
        if has("OOM") {
            self.lock().full = Some(Instant::now());
            return LinkError::Full;
        }
        if has("NOGROUP") {
            return LinkError::NoGroup;
        }
        let answered = matches!(
            error.kind(),
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
        );
        if !answered || ELSEWHERE.into_iter().any(has) {
            self.down(&text);
            // A connection that was never there has carried nothing.
            return if error.is_connection_refusal() { LinkError::Gone } else { LinkError::Silent };
        }
        // Every request would say it.
        if !self.refuses() {
            tracing::warn!(server = self.address.place, "Redis refused: {text}");
        }
        self.lock().refused = Some(Instant::now());
        LinkError::Refused(text)
    }

    /// What comes late is thrown away, and what is asked after it would wait: a new connection does not.
    fn late(&self) {
        self.generations[Lane::Quick as usize].fetch_add(1, Ordering::AcqRel);
        let mut seen = self.lock();
        seen.late = Some(Instant::now());
        if seen.condition == Condition::Up {
            seen.condition = Condition::Slow;
            drop(seen);
            let server = &self.address.place;
            tracing::warn!(server, "Redis is slow: answers are given without it");
        }
    }

    fn down(&self, why: &str) {
        for generation in &self.generations {
            generation.fetch_add(1, Ordering::AcqRel);
        }
        let mut seen = self.lock();
        let new = seen.condition != Condition::Down || seen.told.is_empty();
        seen.condition = Condition::Down;
        if new {
            seen.told = why.to_owned();
            drop(seen);
            let server = &self.address.place;
            tracing::warn!(server, "Redis is gone, answers are given without it: {why}");
        }
    }
}

/// Our time in milliseconds.
pub fn ours() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
