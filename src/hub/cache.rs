//! The cache on disk, laid out as Python's `huggingface_hub` does, so that both share it: the bytes of
//! a file in `blobs` under their hash, a folder of links to them for each commit in `snapshots`, and
//! the commit of each branch in `refs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::{Cache, Repo};

use super::progress::{Progress, tell};
use super::{HubError, Kind, Repository, cache_folder};
use crate::store::{self, Lock};

/// A repository's part of the cache.
pub(super) struct Place {
    repository: Repository,
    /// Folder of the whole cache.
    root: PathBuf,
}

impl Place {
    pub(super) fn of(repository: &Repository) -> Self {
        Self { repository: repository.clone(), root: cache_folder() }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(self.repository.folder_name())
    }

    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.folder().join("blobs").join(hash)
    }

    /// What has come of a blob so far.
    pub(super) fn incomplete(&self, hash: &str) -> PathBuf {
        self.folder().join("blobs").join(format!("{hash}.incomplete"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        let id = self.repository.id.clone();
        let repo = match self.repository.kind {
            Kind::Model => Repo::model(id),
            Kind::Dataset => Repo::dataset(id),
        };
        Cache::new(self.root.clone()).repo(repo).pointer_path(commit)
    }

    /// What stands for a file that the commit of a snapshot does not have.
    pub(super) fn lack(&self, snapshot: &Path, path: &str) -> PathBuf {
        let commit = snapshot.file_name().unwrap_or_default();
        self.folder().join(".no_exist").join(commit).join(path)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder().join("refs").join(revision)
    }

    /// The snapshot of a branch, tag or commit, if it is here. It may lack files.
    pub(super) fn find(&self, revision: &str) -> Option<PathBuf> {
        let commit = fs::read_to_string(self.reference(revision)).ok();
        let snapshot = self.snapshot(commit.as_deref().map_or(revision, str::trim));
        snapshot.is_dir().then_some(snapshot)
    }

    /// Writes down which commit a branch or tag is. Only when the snapshot has what it should have.
    pub(super) fn point(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.reference(revision);
        let known = revision == commit || fs::read_to_string(&path).is_ok_and(|old| old == commit);
        if known { Ok(()) } else { Ok(store::write_atomically(&path, commit.as_bytes())?) }
    }

    /// Lets one process fetch a blob; the others wait until it is there.
    pub(super) fn lock(&self, hash: &str, path: &str) -> Result<Lock, HubError> {
        let folder = self.root.join(".locks").join(self.repository.folder_name());
        let failed = |source| HubError::File { doing: "create", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = folder.join(format!("{hash}.lock"));
        let mut told = false;
        loop {
            if let Some(lock) = Lock::try_take(&file)? {
                return Ok(lock);
            }
            if !told {
                tell(&Progress::Waiting { file: path });
                told = true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Gives a blob its name in a snapshot: a relative link, or a copy where there are none.
    pub(super) fn link(&self, commit: &str, path: &str, hash: &str) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(path);
        let target = format!("{}blobs/{hash}", "../".repeat(path.split('/').count() + 1));
        if fs::read_link(&pointer).is_ok_and(|old| old == Path::new(&target)) {
            return Ok(());
        }
        let failed = |source| HubError::File { doing: "write", path: pointer.clone(), source };
        if let Some(folder) = pointer.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        #[cfg(unix)]
        match std::os::unix::fs::symlink(&target, &pointer) {
            // Another process may have been faster; only what leads elsewhere is replaced.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if fs::read_link(&pointer).is_ok_and(|old| old == Path::new(&target)) {
                    return Ok(());
                }
                Ok(store::replace_link(&pointer, &target)?)
            }
            linked => linked.map_err(failed),
        }
        #[cfg(not(unix))]
        fs::copy(self.blob(hash), &pointer).map(drop).map_err(failed)
    }
}
