//! Copies of jobs that are done elsewhere, so that what others lose can be given back.

use redb::{ReadableDatabase, ReadableTable};

use super::{BODIES, JOBS, KEYS, RECORD, RESULTS, Store, StoreError};
use crate::serve::jobs::record::{Record, Status};

/// All that is kept of a job.
pub struct Whole {
    pub record: Record,
    /// What was asked, until it has ended.
    pub body: Option<Vec<u8>>,
    /// The result, packed.
    pub result: Option<Vec<u8>>,
    /// SHA-256 of body and life, where the job has a key.
    pub hash: Option<String>,
}

impl Store {
    /// All jobs. Those that had begun wait, since whoever did them does so no more.
    pub fn resume(&self) -> Result<Vec<(String, Status)>, StoreError> {
        let all = self.file.with(|database| {
            let write = database.begin_write()?;
            let mut all = Vec::new();
            {
                let mut jobs = write.open_table(JOBS)?;
                for entry in jobs.iter()? {
                    let (id, bytes) = entry?;
                    let record: Record = serde_json::from_slice(bytes.value())?;
                    all.push((id.value().to_owned(), record));
                }
                for (id, record) in &mut all {
                    if record.status == Status::Running {
                        record.status = Status::Queued;
                        jobs.insert(&**id, &*serde_json::to_vec(record)?)?;
                    }
                }
            }
            write.commit()?;
            Ok(all)
        })?;
        let used = all.iter().map(|(_, record)| record.weight()).sum();
        self.weighs(self.used(), used);
        Ok(all.into_iter().map(|(id, record)| (id, record.status)).collect())
    }

    /// All jobs with their status.
    pub fn ids(&self) -> Result<Vec<(String, Status)>, StoreError> {
        self.file.with(|database| {
            let mut all = Vec::new();
            for entry in database.begin_read()?.open_table(JOBS)?.iter()? {
                let (id, bytes) = entry?;
                let record: Record = serde_json::from_slice(bytes.value())?;
                all.push((id.value().to_owned(), record.status));
            }
            Ok(all)
        })
    }

    /// Writes a copy down, in the place of an older one; false if there is no room for it. `hash` is that of body
    /// and life.
    pub fn keep(
        &self,
        id: &str,
        mut record: Record,
        body: &[u8],
        hash: &str,
    ) -> Result<bool, StoreError> {
        record.bytes = (id.len() + RECORD + body.len()) as u64;
        if self.used() + record.weight() > self.most {
            return Ok(false);
        }
        self.file.with(|database| {
            let write = database.begin_write()?;
            let before = {
                let mut jobs = write.open_table(JOBS)?;
                let before = super::record(jobs.get(id)?)?.map_or(0, |before| before.weight());
                jobs.insert(id, &*serde_json::to_vec(&record)?)?;
                write.open_table(BODIES)?.insert(id, body)?;
                if let Some(key) = &record.key {
                    let mut keys = write.open_table(KEYS)?;
                    // A job that has this key, and is not over, keeps it.
                    let other = keys.get(&**key)?.map(|known| known.value().0.to_owned());
                    let other = other.filter(|other| other != id);
                    let other = other.map(|other| super::record(jobs.get(&*other)?)).transpose()?;
                    if other.flatten().is_none_or(|other| other.expires <= record.created) {
                        keys.insert(&**key, (id, hash))?;
                    }
                }
                before
            };
            write.commit()?;
            self.weighs(before, record.weight());
            Ok(true)
        })
    }

    /// Forgets a copy.
    pub fn drop_copy(&self, id: &str) -> Result<(), StoreError> {
        self.file.with(|database| {
            let write = database.begin_write()?;
            let gone = {
                let mut jobs = write.open_table(JOBS)?;
                let Some(gone) = super::record(jobs.remove(id)?)? else { return Ok(()) };
                write.open_table(BODIES)?.remove(id)?;
                write.open_table(RESULTS)?.remove(id)?;
                if let Some(key) = &gone.key {
                    let mut keys = write.open_table(KEYS)?;
                    let ours = keys.get(&**key)?.is_some_and(|known| known.value().0 == id);
                    if ours {
                        keys.remove(&**key)?;
                    }
                }
                gone
            };
            write.commit()?;
            self.weighs(gone.weight(), 0);
            Ok(())
        })
    }

    /// A job with all that belongs to it.
    pub fn whole(&self, id: &str) -> Result<Option<Whole>, StoreError> {
        self.file.with(|database| {
            let read = database.begin_read()?;
            let found = super::record(read.open_table(JOBS)?.get(id)?)?;
            let Some(record) = found else { return Ok(None) };
            let owned = |bytes: redb::AccessGuard<'_, &'static [u8]>| bytes.value().to_vec();
            let body = read.open_table(BODIES)?.get(id)?.map(owned);
            let result = read.open_table(RESULTS)?.get(id)?.map(owned);
            let keys = read.open_table(KEYS)?;
            let hash = match &record.key {
                Some(key) => keys.get(&**key)?.map(|known| known.value().1.to_owned()),
                None => None,
            };
            Ok(Some(Whole { record, body, result, hash }))
        })
    }

    /// What became of a job elsewhere. Where its result finds no room it stays what it was, and this is false.
    pub fn finish(
        &self,
        id: &str,
        ended: &Record,
        result: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let own = id.len() + RECORD;
        let mut fits = true;
        let changed = self.change(id, |record, write| {
            let needed = (own + result.map_or(0, <[u8]>::len)) as u64;
            fits = self.used().saturating_sub(record.weight()) + needed <= self.most;
            if record.status.is_final() || !fits {
                return Ok(None);
            }
            record.status = ended.status;
            (record.started, record.finished) = (ended.started, ended.finished);
            record.error.clone_from(&ended.error);
            (record.bytes, record.promised) = (needed, 0);
            write.open_table(BODIES)?.remove(id)?;
            if let Some(result) = result {
                write.open_table(RESULTS)?.insert(id, result)?;
            }
            Ok(Some(()))
        });
        changed.map(|_| fits)
    }
}
