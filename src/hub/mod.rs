//! Repositories and files of the Hugging Face Hub, as far as they lie in the local cache, which is
//! shared with Python.

use std::path::PathBuf;

use hf_hub::{Cache, Repo, RepoType};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// Whether a name has the form of a Hub id, `owner/name`.
pub fn is_id(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    matches!(name.split('/').collect::<Vec<_>>().as_slice(), [owner, name] if part(owner) && part(name))
}

/// The folder of the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in the user's cache.
pub fn cache_folder() -> PathBuf {
    match std::env::var_os("HF_HUB_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => Cache::from_env().path().clone(),
    }
}

/// The folder of the newest `main` of a repository in the cache, if it is there.
pub fn cached(kind: Kind, id: &str) -> Option<PathBuf> {
    let kind = match kind {
        Kind::Model => RepoType::Model,
        Kind::Dataset => RepoType::Dataset,
    };
    let folder = cache_folder().join(Repo::new(id.to_owned(), kind).folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join("main")).ok()?;
    let snapshot = folder.join("snapshots").join(commit.trim());
    snapshot.is_dir().then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        assert!(is_id("stanfordnlp/imdb") && is_id("google-bert/bert-base_uncased.1"));
        for path in ["imdb", "./imdb", "../a", "a/b/c", "/a", "a/", "a/.b"] {
            assert!(!is_id(path), "{path}");
        }
    }
}
