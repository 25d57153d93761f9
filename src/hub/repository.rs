//! The name of a repository, and the addresses of what belongs to it.

use std::fmt;

use hf_hub::{Repo, RepoType};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Dataset,
}

/// A repository of the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub kind: Kind,
    /// `owner/name`.
    pub id: String,
}

/// Whether a name has the form of a Hub id, `owner/name`.
pub fn is_id(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    matches!(name.split('/').collect::<Vec<_>>().as_slice(), [owner, name] if part(owner) && part(name))
}

impl Repository {
    pub fn model(id: &str) -> Self {
        Self { kind: Kind::Model, id: id.to_owned() }
    }

    pub fn dataset(id: &str) -> Self {
        Self { kind: Kind::Dataset, id: id.to_owned() }
    }

    /// Its page, and what the addresses of its files begin with: `/owner/name`.
    pub fn page(&self) -> String {
        match self.kind {
            Kind::Model => format!("/{}", self.id),
            Kind::Dataset => format!("/datasets/{}", self.id),
        }
    }

    /// What the addresses of its interface begin with: `/api/models/owner/name`.
    pub fn api(&self) -> String {
        match self.kind {
            Kind::Model => format!("/api/models/{}", self.id),
            Kind::Dataset => format!("/api/datasets/{}", self.id),
        }
    }

    /// The address of a file.
    pub fn file(&self, revision: &str, path: &str) -> String {
        format!("{}/resolve/{}/{}", self.page(), encoded(revision), encoded_path(path))
    }

    /// Its folder in the cache.
    pub(super) fn folder_name(&self) -> String {
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        Repo::new(self.id.clone(), kind).folder_name()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.id)
    }
}

/// Percent-encoded, slashes too: a revision is one part of an address.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The parts of a path, percent-encoded.
pub fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
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

    #[test]
    fn addresses_are_encoded() {
        let repository = Repository::dataset("a/b");
        assert_eq!(
            repository.file("refs/convert/parquet", "x y/ä.parquet"),
            "/datasets/a/b/resolve/refs%2Fconvert%2Fparquet/x%20y/%C3%A4.parquet"
        );
        assert_eq!(Repository::model("a/b").api(), "/api/models/a/b");
        assert_eq!(repository.folder_name(), "datasets--a--b");
    }
}
