//! From a repository to the cache.

use std::path::{Path, PathBuf};

use super::cache::Place;
use super::listing::{Entry, of};
use super::progress::{Progress, tell};
use super::transfer::Transfer;
use super::{Client, HubError, Repository};
use crate::store;

/// The files of a revision.
#[derive(Clone, Debug)]
pub struct Listing {
    pub repository: Repository,
    /// As it was asked for: a branch, tag or commit.
    pub revision: String,
    /// The commit that it is.
    pub commit: String,
    pub entries: Vec<Entry>,
}

/// Files of a revision in the cache.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub folder: PathBuf,
    pub commit: String,
    /// How many there are.
    pub files: usize,
    pub bytes: u64,
    /// Bytes that had to be fetched now.
    pub fetched: u64,
}

/// The folder of a revision of a repository in the cache, if it is there. It may lack files.
pub fn cached(repository: &Repository, revision: &str) -> Option<PathBuf> {
    Place::of(repository).find(revision)
}

/// Whether a snapshot is known to be of a commit without this file.
pub fn lacks(repository: &Repository, snapshot: &Path, path: &str) -> bool {
    Place::of(repository).lack(snapshot, path).is_file()
}

/// Remembers that the commit of a snapshot has no such file, where Python remembers it too.
///
/// # Errors
/// The cache cannot be written.
pub fn note_lack(repository: &Repository, snapshot: &Path, path: &str) -> Result<(), HubError> {
    Ok(store::write_atomically(&Place::of(repository).lack(snapshot, path), b"")?)
}

impl Client {
    /// What a revision consists of.
    ///
    /// # Errors
    /// There is no such repository or revision, or it is not for us.
    pub fn listing(&self, repository: &Repository, revision: &str) -> Result<Listing, HubError> {
        let commit = self.info(repository, revision)?.sha;
        if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
            let (what, reason) = (of(repository, revision), format!("its commit is `{commit}`"));
            return Err(HubError::Answer { what, reason });
        }
        let entries = self.tree(repository, &commit)?;
        let (repository, revision) = (repository.clone(), revision.to_owned());
        Ok(Listing { repository, revision, commit, entries })
    }

    /// Brings these files of a listing into the cache, those that are not there. What has come of a
    /// file when the line breaks or the process ends is kept, and the next call goes on from there.
    ///
    /// # Errors
    /// The Hub refuses, breaks off, or sends something else than it promised. Then the cache has what
    /// had come whole, and no branch names a snapshot that lacks files.
    pub fn fetch(&self, listing: &Listing, files: &[&Entry]) -> Result<Snapshot, HubError> {
        let Listing { repository, revision, commit, .. } = listing;
        let place = Place::of(repository);
        for entry in files {
            check(repository, entry)?;
        }
        let missing: Vec<&Entry> =
            files.iter().copied().filter(|entry| !is_here(&place, entry)).collect();
        let total = missing.iter().map(|entry| entry.bytes()).sum();
        if !missing.is_empty() {
            let what = repository.to_string();
            tell(&Progress::Started { what: &what, files: missing.len(), bytes: total });
        }
        let mut before = 0;
        let mut result = Ok(());
        for entry in &missing {
            let transfer = Transfer { client: self, repository, commit, entry, place: &place };
            let show = |bytes| tell(&Progress::Bytes { done: before + bytes, total });
            result = transfer.run(&show);
            if result.is_err() {
                break;
            }
            before += entry.bytes();
        }
        if !missing.is_empty() {
            tell(&Progress::Ended);
        }
        result?;
        for entry in files {
            place.link(commit, &entry.path, entry.hash())?;
        }
        place.point(revision, commit)?;
        Ok(Snapshot {
            folder: place.snapshot(commit),
            commit: commit.clone(),
            files: files.len(),
            bytes: files.iter().map(|entry| entry.bytes()).sum(),
            fetched: total,
        })
    }
}

/// Whether the bytes of a file are in the cache. A blob there is whole, and its name is its hash.
pub(super) fn is_here(place: &Place, entry: &Entry) -> bool {
    let blob = std::fs::metadata(place.blob(entry.hash()));
    blob.is_ok_and(|blob| blob.is_file() && blob.len() == entry.bytes())
}

/// Names from outside become paths only when they stay inside.
fn check(repository: &Repository, entry: &Entry) -> Result<(), HubError> {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let path = &entry.path;
    let inside = path.split('/').all(part) && !path.contains(['\\', ':', '\0']);
    let hash = entry.hash();
    let length = if entry.lfs.is_some() { 64 } else { 40 };
    let hexadecimal = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if inside && hash.len() == length && hexadecimal {
        return Ok(());
    }
    let reason = format!("it lists a file `{}` with the hash `{hash}`", path.escape_debug());
    Err(HubError::Answer { what: repository.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_and_a_hash_that_is_none_are_refused() {
        let entry = |path: &str, oid: &str| Entry {
            kind: "file".to_owned(),
            path: path.to_owned(),
            size: 1,
            oid: oid.to_owned(),
            lfs: None,
        };
        let repository = Repository::model("a/b");
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert!(check(&repository, &entry("a/b.txt", good)).is_ok());
        for path in ["../a", "/a", "a//b", "a/./b", "a\\..\\b", "c:a", ""] {
            assert!(check(&repository, &entry(path, good)).is_err(), "{path}");
        }
        for hash in ["", "../x", &good[1..]] {
            assert!(check(&repository, &entry("a", hash)).is_err(), "{hash}");
        }
    }
}
