//! The copies that a replica has of the jobs that it accepted, in its own file.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::super::record::{Record, Status};
use super::super::store::{Store, StoreError, Whole};
use crate::serve::budget::Budget;

/// Threads that work on the file, or wait for it.
const PLACES: usize = 2;

/// The copies of one replica.
pub struct Copies {
    store: Arc<Store>,
    /// Those whose end is not written down yet.
    open: Mutex<HashSet<String>>,
    writable: AtomicBool,
    /// A disk that is slow holds up so many threads at most.
    places: Semaphore,
}

impl Copies {
    /// In a file that may hold jobs of before.
    pub fn new(store: Store) -> Result<Self, StoreError> {
        let open = store.resume()?.into_iter().filter(|(_, status)| !status.is_final());
        let open = Mutex::new(open.map(|(id, _)| id).collect());
        Ok(Self {
            store: Arc::new(store),
            open,
            writable: AtomicBool::new(true),
            places: Semaphore::new(PLACES),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the file, where nobody else waits for it.
    async fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        let _place = self.places.acquire().await.map_err(|_| StoreError::Closed)?;
        let outcome = spawn_blocking(move || work(&store)).await.unwrap_or(Err(StoreError::Closed));
        if !matches!(outcome, Err(StoreError::Memory)) {
            self.writable.store(outcome.is_ok(), Ordering::Release);
        }
        outcome.inspect_err(|error| tracing::error!("the job file: {error}"))
    }

    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    pub fn bytes(&self) -> u64 {
        self.store.used()
    }

    /// Jobs whose end is not known here.
    pub fn open(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    /// A copy is one of a job that others know; before that it is not given back.
    pub fn opened(&self, id: &str) {
        self.lock().insert(id.to_owned());
    }

    /// Jobs that have ended.
    pub async fn ended(&self) -> Result<Vec<String>, StoreError> {
        let all = self.on(Store::ids).await?;
        Ok(all.into_iter().filter(|(_, status)| status.is_final()).map(|(id, _)| id).collect())
    }

    /// Writes a copy to the disk; false if there is no room for it.
    pub async fn keep(
        &self,
        id: &str,
        record: &Record,
        body: &[u8],
        hash: &str,
    ) -> Result<bool, StoreError> {
        let (id, record) = (id.to_owned(), record.clone());
        let (body, hash) = (body.to_owned(), hash.to_owned());
        self.on(move |store| store.keep(&id, record, &body, &hash)).await
    }

    pub async fn drop(&self, id: &str) {
        self.lock().remove(id);
        let id = id.to_owned();
        // One that stays is given back after a start, done and forgotten.
        let _ = self.on(move |store| store.drop_copy(&id)).await;
    }

    pub async fn whole(&self, id: &str) -> Result<Option<Whole>, StoreError> {
        let id = id.to_owned();
        self.on(move |store| store.whole(&id)).await
    }

    /// What became of a job.
    pub async fn finish(&self, id: &str, ended: Record, result: Option<Vec<u8>>) {
        let its = id.to_owned();
        let written = self.on(move |store| store.finish(&its, &ended, result.as_deref())).await;
        // Without room for its result it stays open, and is tried again.
        if matches!(written, Ok(true)) {
            self.lock().remove(id);
        }
    }

    /// A job of this owner and its result, as far as they are known here.
    pub async fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        now: u64,
        memory: &Arc<Budget>,
    ) -> Result<Option<(Record, Option<axum::body::Bytes>)>, StoreError> {
        let (id, owner) = (id.to_owned(), owner.map(str::to_owned));
        let memory = Arc::clone(memory);
        self.on(move |store| store.find(&id, owner.as_deref(), now, &memory)).await
    }

    /// Forgets what is over.
    pub async fn sweep(&self, now: u64) {
        let Ok(gone) = self.on(move |store| store.sweep(now)).await else { return };
        let mut open = self.lock();
        for (id, _) in gone {
            open.remove(&id);
        }
    }
}

/// Whether a status ends a job.
pub fn is_final(name: &str) -> bool {
    Status::named(name).is_some_and(Status::is_final)
}
