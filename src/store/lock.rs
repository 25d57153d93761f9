//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::{StoreError, failed};

/// Held while it lives; the system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open")] File);

impl Lock {
    /// Takes the lock of this file, which is made where it is missing; `None` if another holds it.
    pub fn try_take(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(false).open(path);
        let file = file.map_err(failed("write", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let first = Lock::try_take(&path).unwrap();
        assert!(first.is_some() && Lock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
