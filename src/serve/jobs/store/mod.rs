//! Jobs on disk: one file, written in transactions that are durable when they return.
//!
//! | table | key | value |
//! |---|---|---|
//! | `jobs` | id | [`Record`] as JSON |
//! | `bodies` | id | what was asked, as JSON |
//! | `results` | id | the answer, as JSON, packed by gzip |
//! | `keys` | SHA-256 of client and idempotency key | id and SHA-256 of the body |
//!
//! Ids begin with the time, so the order of the table is the order of arrival.

mod copies;
mod error;
mod file;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

pub use self::copies::Whole;
pub use self::error::StoreError;
use self::file::File;
use super::Offer;
use super::record::{Record, Status};
use crate::serve::budget::Budget;
use crate::serve::problem::{self, Problem};
use crate::store::sha256;

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
const BODIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("bodies");
const RESULTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("results");
const KEYS: TableDefinition<'_, &str, (&str, &str)> = TableDefinition::new("keys");

/// Bytes of what is known of a job, in the file.
const RECORD: usize = 512;
/// Bytes that it takes to unpack a result on its way.
pub const UNPACKING: usize = 64 * 1024;

/// What became of an offer.
pub enum Accepted {
    /// It is on disk.
    New(Record),
    Known(String, Record),
    /// Its key belongs to another body.
    Conflict,
    /// There is no room for it.
    Full,
}

/// A job that was not over when the file was last used.
pub struct Left {
    pub id: String,
    /// What it is now.
    pub status: Status,
    /// How often it has begun.
    pub attempts: u32,
}

/// All jobs.
pub struct Store {
    file: File,
    /// The most bytes of content.
    most: u64,
    /// Bytes of content that are there or promised.
    used: AtomicU64,
}

impl Store {
    /// Opens the file, or makes it. It will have `most` bytes at most, of which half are content: it
    /// grows by doubling.
    pub fn open(path: &Path, most: u64) -> Result<Self, StoreError> {
        let file = File::open(path)?;
        Ok(Self { file, most: most / 2, used: AtomicU64::new(0) })
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// A record changed its weight.
    fn weighs(&self, before: u64, after: u64) {
        self.used.fetch_add(after, Ordering::AcqRel);
        self.used.fetch_sub(before, Ordering::AcqRel);
    }

    /// Changes one record in a durable transaction, if it is there and the change wants it.
    fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record, &redb::WriteTransaction) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.file.with(|database| {
            let write = database.begin_write()?;
            let mut jobs = write.open_table(JOBS)?;
            let Some(mut record) = record(jobs.get(id)?)? else { return Ok(None) };
            let before = record.weight();
            let Some(outcome) = change(&mut record, &write)? else { return Ok(None) };
            jobs.insert(id, &*serde_json::to_vec(&record)?)?;
            drop(jobs);
            write.commit()?;
            self.weighs(before, record.weight());
            Ok(Some(outcome))
        })
    }

    /// All jobs in the order of their arrival; those that had begun wait again. One that waits has
    /// not had its time while no server ran, whatever the clock did meanwhile.
    pub fn restart(&self, now: u64) -> Result<Vec<Left>, StoreError> {
        self.file.with(|database| {
            let write = database.begin_write()?;
            let mut all = Vec::new();
            let mut jobs = write.open_table(JOBS)?;
            for entry in jobs.iter()? {
                let (id, bytes) = entry?;
                all.push((id.value().to_owned(), serde_json::from_slice::<Record>(bytes.value())?));
            }
            let mut used = 0;
            for (id, record) in &mut all {
                used += record.weight();
                if record.status.is_final() {
                    continue;
                }
                record.status = Status::Queued;
                if record.expires <= now || record.created > now {
                    record.expires = now + record.expires.saturating_sub(record.created);
                    record.created = now;
                }
                jobs.insert(&**id, &*serde_json::to_vec(record)?)?;
            }
            drop(jobs);
            write.commit()?;
            self.used.store(used, Ordering::Release);
            let left = |(id, Record { status, attempts, .. })| Left { id, status, attempts };
            Ok(all.into_iter().map(left).collect())
        })
    }

    /// Writes a job down, unless its key is known.
    pub fn accept(&self, id: &str, offer: &Offer, now: u64) -> Result<Accepted, StoreError> {
        self.file.with(|database| {
            let body = serde_json::to_vec(&offer.body)?;
            let hash = hash_of(&body, offer.life);
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
                let bytes = (id.len() + RECORD + body.len()) as u64;
                if self.used() + bytes + offer.promised > self.most {
                    return Ok(Accepted::Full);
                }
                let new = Record { bytes, ..Record::new(offer, now) };
                jobs.insert(id, &*serde_json::to_vec(&new)?)?;
                write.open_table(BODIES)?.insert(id, &*body)?;
                drop((jobs, keys));
                // `Durability::Immediate` is the default: on disk when this returns.
                write.commit()?;
                self.weighs(0, new.weight());
                Ok(Accepted::New(new))
            }
        })
    }

    /// A job of this owner and its result, which takes a share of the memory for answers.
    pub fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        now: u64,
        memory: &Arc<Budget>,
    ) -> Result<Option<(Record, Option<Bytes>)>, StoreError> {
        self.file.with(|database| {
            let read = database.begin_read()?;
            let found = record(read.open_table(JOBS)?.get(id)?)?;
            let ours = |found: &Record| found.expires > now && is_of(found, owner);
            let Some(found) = found.filter(ours) else { return Ok(None) };
            let result = read.open_table(RESULTS)?.get(id)?;
            let held = |bytes: redb::AccessGuard<'_, &'static [u8]>| {
                let share = memory.share(bytes.value().len() + UNPACKING);
                share.map(|share| share.hold(bytes.value().to_vec()))
            };
            let result = result.map(held).transpose().map_err(|_| StoreError::Memory)?;
            Ok(Some((found, result)))
        })
    }

    /// Begins a job that waits; gives its body.
    pub fn begin(&self, id: &str, now: u64) -> Result<Option<(Record, Value)>, StoreError> {
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

    /// Ends a job that runs, once. A result that has become larger than was promised may find no room.
    pub fn end(
        &self,
        id: &str,
        outcome: Result<&[u8], problem::Body>,
        now: u64,
    ) -> Result<Option<Status>, StoreError> {
        self.change(id, |record, write| {
            if record.status != Status::Running {
                return Ok(None);
            }
            record.finished = Some(now);
            let before = record.weight();
            let own = id.len() + RECORD;
            record.keeps(own);
            let fits =
                |result: &[u8]| self.used() - before + (own + result.len()) as u64 <= self.most;
            let outcome = match outcome {
                Ok(result) if !fits(result) => Err(Problem::ResultTooLarge.body(id)),
                outcome => outcome,
            };
            record.status = match outcome {
                Ok(result) => {
                    write.open_table(RESULTS)?.insert(id, result)?;
                    record.keeps(own + result.len());
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

    /// Cancels a job of this owner that has not ended; gives what it was.
    pub fn cancel(
        &self,
        id: &str,
        owner: Option<&str>,
        now: u64,
    ) -> Result<Option<Status>, StoreError> {
        self.change(id, |record, write| {
            if record.status.is_final() || !is_of(record, owner) {
                return Ok(None);
            }
            let before = std::mem::replace(&mut record.status, Status::Cancelled);
            record.finished = Some(now);
            record.keeps(id.len() + RECORD);
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
    pub fn sweep(&self, now: u64) -> Result<Vec<(String, Status)>, StoreError> {
        let gone = self.forget(now)?;
        if !gone.is_empty() {
            self.file.shrink(2 * self.used())?;
        }
        Ok(gone)
    }

    fn forget(&self, now: u64) -> Result<Vec<(String, Status)>, StoreError> {
        self.file.with(|database| {
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
            gone.iter().for_each(|(_, record)| self.weighs(record.weight(), 0));
            Ok(gone.into_iter().map(|(id, record)| (id, record.status)).collect())
        })
    }
}

/// What tells two bodies under one key apart.
pub fn hash_of(body: &[u8], life: Duration) -> String {
    sha256(&[body, &life.as_secs().to_le_bytes()].concat())
}

/// Whether somebody with this key may see a job.
pub fn is_of(record: &Record, owner: Option<&str>) -> bool {
    record.owner.is_none() || record.owner.as_deref() == owner
}

fn record(
    found: Option<redb::AccessGuard<'_, &'static [u8]>>,
) -> Result<Option<Record>, StoreError> {
    Ok(found.map(|bytes| serde_json::from_slice(bytes.value())).transpose()?)
}
