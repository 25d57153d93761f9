//! Repositories and files of the Hugging Face Hub, and the local cache of them, which is shared with
//! Python. It knows repositories and files, not models or data sets.

mod answer;
mod client;
mod error;
mod listing;
mod repository;
mod settings;

use std::path::PathBuf;

pub use client::{Call, Client, Payload};
pub use error::{HubError, Part};
pub use listing::{Entry, Info, LargeFile};
pub use repository::{Kind, Repository, encoded, encoded_path, is_id};
pub use settings::{PLAIN_HTTP, Settings, Token, cache_folder, is_offline};

/// The folder of the newest `main` of a repository in the cache, if it is there.
pub fn cached(kind: Kind, id: &str) -> Option<PathBuf> {
    let repository = Repository { kind, id: id.to_owned() };
    let folder = cache_folder().join(repository.folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join("main")).ok()?;
    let snapshot = folder.join("snapshots").join(commit.trim());
    snapshot.is_dir().then_some(snapshot)
}
