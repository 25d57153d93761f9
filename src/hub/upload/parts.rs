//! What is remembered of a large file that goes in parts, so that a process that was killed goes on
//! with the part that it was at. The addresses of parts are as good as a key for a while: nobody else
//! may read the file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{self, StoreError};

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// SHA-256 of the file.
    pub oid: String,
    /// Its bytes.
    pub size: u64,
    /// Bytes of a part; the last one is shorter.
    pub chunk: u64,
    /// Where each part goes.
    pub addresses: BTreeMap<u64, String>,
    /// Where it is said that all have arrived.
    pub completion: String,
    /// The tags of parts that have arrived.
    pub done: BTreeMap<u64, String>,
}

/// Where it is remembered.
#[derive(Clone, Debug)]
pub struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// Files of this folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, place: &str, oid: &str) -> PathBuf {
        self.folder.join(format!("{}.json", store::sha256(format!("{place}\n{oid}").as_bytes())))
    }

    /// What was begun with this file at this place, if it is the same file still.
    pub fn find(&self, place: &str, oid: &str, size: u64) -> Option<Parts> {
        let text = std::fs::read(self.path(place, oid)).ok()?;
        let parts: Parts = serde_json::from_slice(&text).ok()?;
        (parts.oid == oid && parts.size == size && parts.is_whole()).then_some(parts)
    }

    pub fn keep(&self, place: &str, parts: &Parts) -> Result<(), StoreError> {
        let path = self.path(place, &parts.oid);
        let bytes = serde_json::to_vec(parts).expect("plain data is JSON");
        let written = private(&self.folder, &path, &bytes);
        written.map_err(|source| StoreError { doing: "write", path, source })
    }

    pub fn forget(&self, place: &str, oid: &str) {
        // What cannot be taken away is found to be of no use the next time.
        let _ = std::fs::remove_file(self.path(place, oid));
    }
}

/// A temporary file is its owner's alone, and so is what it is renamed to.
fn private(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

impl Parts {
    /// Whether there is an address for each part.
    pub fn is_whole(&self) -> bool {
        let parts = if self.chunk == 0 { 0 } else { self.size.div_ceil(self.chunk) };
        parts > 0 && self.addresses.keys().copied().eq(1..=parts)
    }

    /// Where a part begins, and its length.
    pub fn span(&self, number: u64) -> (u64, u64) {
        let from = (number - 1) * self.chunk;
        (from, self.chunk.min(self.size - from))
    }

    /// Bytes that have arrived.
    pub fn arrived(&self) -> u64 {
        self.done.keys().map(|&number| self.span(number).1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            oid: "ab".to_owned(),
            size: 25,
            chunk: 10,
            addresses: (1..=3).map(|number| (number, format!("http://x/{number}"))).collect(),
            completion: "http://x".to_owned(),
            done: BTreeMap::from([(3, "tag".to_owned())]),
        }
    }

    #[test]
    fn the_last_part_is_shorter_and_all_have_an_address() {
        let mut parts = parts();
        assert_eq!((parts.span(1), parts.span(3), parts.arrived()), ((0, 10), (20, 5), 5));
        assert!(parts.is_whole());
        parts.addresses.remove(&2);
        assert!(!parts.is_whole());
    }

    #[test]
    fn what_is_remembered_is_private_and_of_one_place_and_file() {
        let home = tempfile::tempdir().unwrap();
        let memory = Memory::new(home.path().join("uploads"));
        memory.keep("hub/a", &parts()).unwrap();
        assert_eq!(memory.find("hub/a", "ab", 25), Some(parts()));
        for (place, oid, size) in [("hub/b", "ab", 25), ("hub/a", "cd", 25), ("hub/a", "ab", 24)] {
            assert_eq!(memory.find(place, oid, size), None);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(memory.path("hub/a", "ab")).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        memory.forget("hub/a", "ab");
        assert_eq!(memory.find("hub/a", "ab", 25), None);
    }
}
