//! The file of the jobs: made whole, opened carefully, and watched.
//!
//! A new one is made under another name and renamed, so a file of its name is a whole one. While it is
//! used nobody else may change it: before each work it must be the file, and have the length, that the
//! last work left.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, DatabaseError};

use super::{BODIES, JOBS, KEYS, RESULTS, StoreError};

/// Memory for pages of the file.
const CACHE: usize = 16 << 20;
/// A file with less than that to spare is not made shorter.
const SPARE: u64 = 64 << 20;

/// The file.
pub struct File {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// `None` while it has to be opened again.
    database: Option<Database>,
    mark: Mark,
    /// Somebody else changed it: it is not touched any more.
    changed: bool,
}

/// What tells that a file is still the same: device, number, length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u64, u64, u64);

impl Mark {
    fn of(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|file| Self(file.dev(), file.ino(), file.len()))
    }
}

impl File {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| cannot_open(path, error.into());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        if !path.try_exists().map_err(failed)? {
            make(path)?;
        }
        let database = Some(open(path)?);
        let mark = Mark::of(path).map_err(failed)?;
        let state = Mutex::new(State { database, mark, changed: false });
        Ok(Self { path: path.to_owned(), state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the file. After an error of the disk `redb` does nothing more until the file is closed
    /// and opened again, which is done before the next work.
    pub fn with<T>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        if state.changed || Mark::of(&self.path).ok() != Some(state.mark) {
            state.changed = true;
            // Closing it would write to it.
            std::mem::forget(state.database.take());
            return Err(StoreError::Changed(self.path.clone()));
        }
        if state.database.is_none() {
            state.database = Some(open(&self.path)?);
        }
        let Some(database) = state.database.as_mut() else { return Err(StoreError::Closed) };
        // A damaged file, and a full disk, make it panic in places.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(database)));
        let outcome = outcome.unwrap_or(Err(StoreError::Closed));
        if matches!(outcome, Err(StoreError::Transaction(_) | StoreError::Closed)) {
            let old = state.database.take();
            // Closing it may need the disk as well.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        }
        if let Ok(mark) = Mark::of(&self.path) {
            // Another file is found out before the next work.
            state.mark.2 = mark.2;
        }
        outcome
    }

    /// Makes the file shorter if it is much longer than that.
    pub fn shrink(&self, bytes: u64) -> Result<(), StoreError> {
        let length = self.lock().mark.2;
        if length <= bytes + SPARE {
            return Ok(());
        }
        self.with(|database| Ok(database.compact().map(|_| ())?))
    }
}

fn cannot_open(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) if source.kind() != ErrorKind::InvalidData => {
            StoreError::System { path, source }
        }
        error => StoreError::Open { path, source: Box::new(error) },
    }
}

/// Makes an empty store under another name, and gives it its own when it is whole.
fn make(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| cannot_open(path, error.into());
    let mut name = OsString::from(".new-");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let database = match Database::create(&new) {
        // Another server makes it at this moment.
        Err(error @ DatabaseError::DatabaseAlreadyOpen) => Err(error),
        // A server was ended while it made it.
        Err(_) => {
            std::fs::remove_file(&new).map_err(failed)?;
            Database::create(&new)
        }
        made => made,
    };
    tables(&database.map_err(|error| cannot_open(path, error.into()))?)?;
    let linked = std::fs::hard_link(&new, path);
    match linked.map_err(|error| error.kind()) {
        // In the second case another server was quicker, and uses it.
        Ok(()) | Err(ErrorKind::AlreadyExists) => std::fs::remove_file(&new).map_err(failed)?,
        // Not every file system has links.
        Err(_) => std::fs::rename(&new, path).map_err(failed)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = std::fs::File::open(folder.unwrap_or(Path::new(".")));
    folder.and_then(|folder| folder.sync_all()).map_err(failed)
}

fn open(path: &Path) -> Result<Database, StoreError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Err(StoreError::Empty(path.to_owned()));
    }
    let opened = catch_unwind(|| Database::builder().set_cache_size(CACHE).open(path));
    let opened =
        opened.map_err(|_| cannot_open(path, redb::Error::Corrupted("unreadable".to_owned())))?;
    let database = opened.map_err(|error| cannot_open(path, error.into()))?;
    tables(&database)?;
    Ok(database)
}

fn tables(database: &Database) -> Result<(), StoreError> {
    let write = database.begin_write()?;
    write.open_table(JOBS)?;
    write.open_table(BODIES)?;
    write.open_table(RESULTS)?;
    write.open_table(KEYS)?;
    Ok(write.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_while_it_was_made_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        for left in [&b""[..], b"redb", &[0; 5000]] {
            std::fs::write(folder.path().join(".new-jobs.redb"), left).unwrap();
            File::open(&path).unwrap().with(|_| Ok(())).unwrap();
            let names = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(names, 1, "nothing is left beside it");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_that_another_server_made_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        let theirs = File::open(&path).unwrap();
        // What comes after this server saw that there was none.
        make(&path).unwrap();
        theirs.with(|_| Ok(())).unwrap();
        assert!(matches!(File::open(&path), Err(StoreError::Open { .. })), "it is in use");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_cut_or_replaced_is_not_touched_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        type Change = fn(&Path);
        let changes: [(&str, Change); 5] = [
            ("cut to nothing", |path| std::fs::write(path, b"").unwrap()),
            ("cut", |path| {
                let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }),
            ("longer", |path| {
                let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(2 * file.metadata().unwrap().len()).unwrap();
            }),
            ("gone", |path| std::fs::remove_file(path).unwrap()),
            ("replaced", |path| {
                let copy = path.with_extension("copy");
                std::fs::copy(path, &copy).unwrap();
                std::fs::rename(copy, path).unwrap();
            }),
        ];
        for (what, change) in changes {
            let file = File::open(&path).unwrap();
            file.with(|_| Ok(())).unwrap();
            change(&path);
            let before = std::fs::read(&path).ok();
            for _ in 0..2 {
                let outcome = file.with(|_| Ok(()));
                assert!(matches!(outcome, Err(StoreError::Changed(_))), "{what}");
            }
            drop(file);
            assert_eq!(std::fs::read(&path).ok(), before, "{what}: it was written to");
            let _ = std::fs::remove_file(&path);
        }
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(File::open(&path), Err(StoreError::Empty(_))));
    }
}
