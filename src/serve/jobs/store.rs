//! Jobs on disk: one file, written in transactions that are durable when they return.
//!
//! | table | key | value |
//! |---|---|---|
//! | `jobs` | id | [`Record`] as JSON |
//! | `bodies` | id | what was asked, as JSON |
//! | `results` | id | the answer, as JSON |
//! | `keys` | SHA-256 of client and idempotency key | id and SHA-256 of the body |
//!
//! Ids begin with the time, so the order of the table is the order of arrival.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

use super::super::problem;
use super::Offer;
use super::record::{Record, Status};
use crate::store::sha256;

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
const BODIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("bodies");
const RESULTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("results");
const KEYS: TableDefinition<'_, &str, (&str, &str)> = TableDefinition::new("keys");

/// What became of an offer.
pub enum Accepted {
    /// It is on disk.
    New(Record),
    /// It was before.
    Known(String, Record),
    /// Its key belongs to another body.
    Conflict,
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(
        "cannot open the file of the jobs `{path}`: another server may use it (then give \
         --jobs-path), or it is damaged (then move it away)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<redb::Error>,
    },
    /// The file is being opened again.
    #[error("the file is closed after an error of the disk")]
    Closed,
    /// A transaction failed.
    #[error("a transaction failed: {0}")]
    Transaction(#[source] Box<redb::Error>),
    /// A record is not what was written.
    #[error("the record of a job is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// `redb` has an error for each step; to us they are one.
macro_rules! steps {
    ($($step:ident),*) => {
        $(impl From<redb::$step> for StoreError {
            fn from(error: redb::$step) -> Self {
                Self::Transaction(Box::new(error.into()))
            }
        })*
    };
}

steps!(TransactionError, TableError, StorageError, CommitError);

/// The file.
pub struct Store {
    path: PathBuf,
    /// `None` while it has to be opened again.
    database: RwLock<Option<Database>>,
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let failed =
        |error: redb::Error| StoreError::Open { path: path.to_owned(), source: Box::new(error) };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| failed(redb::Error::Io(error)))?;
    }
    // A damaged file makes `redb` panic in places.
    let opened = catch_unwind(|| Database::create(path));
    let opened = opened.map_err(|_| failed(redb::Error::Corrupted("unreadable".to_owned())))?;
    let database = opened.map_err(|error| failed(error.into()))?;
    let write = database.begin_write()?;
    write.open_table(JOBS)?;
    write.open_table(BODIES)?;
    write.open_table(RESULTS)?;
    write.open_table(KEYS)?;
    write.commit()?;
    Ok(database)
}

impl Store {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = RwLock::new(Some(open(path)?));
        Ok(Self { path: path.to_owned(), database })
    }

    /// Works on the file. After an error of the disk `redb` does nothing more until the file is closed
    /// and opened again, which is done before the next work.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if place.is_none() {
                *place = Some(open(&self.path)?);
            }
        }
        let place = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = place.as_ref() else { return Err(StoreError::Closed) };
        // On a full disk, too, it panics in places.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(database)));
        let outcome = outcome.unwrap_or(Err(StoreError::Closed));
        drop(place);
        if matches!(outcome, Err(StoreError::Transaction(_) | StoreError::Closed)) {
            let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
            // Closing it may need the disk as well.
            let old = place.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        }
        outcome
    }

    /// Changes one record in a durable transaction, if it is there and the change wants it.
    fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record, &redb::WriteTransaction) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.with(|database| {
            let write = database.begin_write()?;
            let mut jobs = write.open_table(JOBS)?;
            let Some(mut record) = record(jobs.get(id)?)? else { return Ok(None) };
            let Some(outcome) = change(&mut record, &write)? else { return Ok(None) };
            jobs.insert(id, &*serde_json::to_vec(&record)?)?;
            drop(jobs);
            write.commit()?;
            Ok(Some(outcome))
        })
    }

    /// All jobs in the order of their arrival; those that had begun wait again.
    pub fn restart(&self) -> Result<Vec<(String, Status)>, StoreError> {
        self.with(|database| {
            let write = database.begin_write()?;
            let mut all = Vec::new();
            let mut jobs = write.open_table(JOBS)?;
            for entry in jobs.iter()? {
                let (id, bytes) = entry?;
                all.push((id.value().to_owned(), serde_json::from_slice::<Record>(bytes.value())?));
            }
            for (id, record) in &mut all {
                if record.status == Status::Running {
                    record.status = Status::Queued;
                    jobs.insert(&**id, &*serde_json::to_vec(record)?)?;
                }
            }
            drop(jobs);
            write.commit()?;
            Ok(all.into_iter().map(|(id, record)| (id, record.status)).collect())
        })
    }

    /// Writes a job down, unless its key is known.
    pub fn accept(&self, id: &str, offer: &Offer, now: SystemTime) -> Result<Accepted, StoreError> {
        self.with(|database| {
            let now = milliseconds(now);
            let body = serde_json::to_vec(&offer.body)?;
            let hash = sha256(&[&*body, &offer.life.as_secs().to_le_bytes()].concat());
            let write = database.begin_write()?;
            {
                let mut jobs = write.open_table(JOBS)?;
                let mut keys = write.open_table(KEYS)?;
                if let Some(key) = &offer.key {
                    let known = keys.get(&**key)?;
                    let known = known.map(|known| {
                        let (id, hash) = known.value();
                        (id.to_owned(), hash.to_owned())
                    });
                    if let Some((id, known)) = known
                        && let Some(record) = record(jobs.get(&*id)?)?
                        && record.expires > now
                    {
                        return Ok(match known == hash {
                            true => Accepted::Known(id, record),
                            false => Accepted::Conflict,
                        });
                    }
                    keys.insert(&**key, (id, &*hash))?;
                }
                let new = Record {
                    status: Status::Queued,
                    created: now,
                    started: None,
                    finished: None,
                    expires: now + offer.life.as_millis() as u64,
                    total: offer.total,
                    attempts: 0,
                    key: offer.key.clone(),
                    error: None,
                };
                jobs.insert(id, &*serde_json::to_vec(&new)?)?;
                write.open_table(BODIES)?.insert(id, &*body)?;
                drop((jobs, keys));
                // `Durability::Immediate` is the default: on disk when this returns.
                write.commit()?;
                Ok(Accepted::New(new))
            }
        })
    }

    /// A job and its result.
    pub fn find(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Option<(Record, Option<Value>)>, StoreError> {
        self.with(|database| {
            let read = database.begin_read()?;
            let found = record(read.open_table(JOBS)?.get(id)?)?;
            let Some(found) = found.filter(|found| found.expires > milliseconds(now)) else {
                return Ok(None);
            };
            let result = read.open_table(RESULTS)?.get(id)?;
            let result = result.map(|bytes| serde_json::from_slice(bytes.value())).transpose()?;
            Ok(Some((found, result)))
        })
    }

    /// Begins a job that waits; gives its body.
    pub fn begin(&self, id: &str, now: SystemTime) -> Result<Option<(Record, Value)>, StoreError> {
        let now = milliseconds(now);
        self.change(id, |record, write| {
            if record.status != Status::Queued || record.expires <= now {
                return Ok(None);
            }
            record.status = Status::Running;
            record.started = Some(now);
            record.attempts += 1;
            let body = write.open_table(BODIES)?;
            let Some(body) = body.get(id)? else { return Ok(None) };
            Ok(Some((record.clone(), serde_json::from_slice(body.value())?)))
        })
    }

    /// Ends a job that runs, once.
    pub fn end(
        &self,
        id: &str,
        outcome: Result<&Value, problem::Body>,
        now: SystemTime,
    ) -> Result<Option<Status>, StoreError> {
        self.change(id, |record, write| {
            if record.status != Status::Running {
                return Ok(None);
            }
            record.finished = Some(milliseconds(now));
            record.status = match outcome {
                Ok(result) => {
                    write.open_table(RESULTS)?.insert(id, &*serde_json::to_vec(result)?)?;
                    Status::Completed
                }
                Err(error) => {
                    record.error = Some(serde_json::to_value(error)?);
                    Status::Failed
                }
            };
            // What was asked is not kept longer than it is needed.
            write.open_table(BODIES)?.remove(id)?;
            Ok(Some(record.status))
        })
    }

    /// Cancels a job that has not ended; gives what it was.
    pub fn cancel(&self, id: &str, now: SystemTime) -> Result<Option<Status>, StoreError> {
        self.change(id, |record, write| {
            if record.status.is_final() {
                return Ok(None);
            }
            let before = std::mem::replace(&mut record.status, Status::Cancelled);
            record.finished = Some(milliseconds(now));
            write.open_table(BODIES)?.remove(id)?;
            Ok(Some(before))
        })
    }

    /// A job that runs waits again, as if it had not begun.
    pub fn release(&self, id: &str) -> Result<(), StoreError> {
        let released = self.change(id, |record, _| {
            let runs = record.status == Status::Running;
            record.status = Status::Queued;
            record.attempts = record.attempts.saturating_sub(1);
            Ok(runs.then_some(()))
        });
        released.map(|_| ())
    }

    /// Forgets jobs whose time is over, unless they run.
    pub fn sweep(&self, now: SystemTime) -> Result<Vec<(String, Status)>, StoreError> {
        self.with(|database| {
            let now = milliseconds(now);
            let mut gone = Vec::new();
            let read = database.begin_read()?;
            for entry in read.open_table(JOBS)?.iter()? {
                let (id, bytes) = entry?;
                let record: Record = serde_json::from_slice(bytes.value())?;
                if record.expires <= now && record.status != Status::Running {
                    gone.push((id.value().to_owned(), record));
                }
            }
            if gone.is_empty() {
                return Ok(Vec::new());
            }
            let write = database.begin_write()?;
            {
                let (mut jobs, mut keys) = (write.open_table(JOBS)?, write.open_table(KEYS)?);
                let mut bodies = write.open_table(BODIES)?;
                let mut results = write.open_table(RESULTS)?;
                for (id, record) in &gone {
                    jobs.remove(&**id)?;
                    bodies.remove(&**id)?;
                    results.remove(&**id)?;
                    if let Some(key) = &record.key {
                        // The key may belong to a newer job by now.
                        let ours = keys.get(&**key)?.is_some_and(|known| known.value().0 == id);
                        if ours {
                            keys.remove(&**key)?;
                        }
                    }
                }
            }
            write.commit()?;
            Ok(gone.into_iter().map(|(id, record)| (id, record.status)).collect())
        })
    }
}

fn record(
    found: Option<redb::AccessGuard<'_, &'static [u8]>>,
) -> Result<Option<Record>, StoreError> {
    Ok(found.map(|bytes| serde_json::from_slice(bytes.value())).transpose()?)
}
