//! What is in a repository: its commit and its files.

use serde::Deserialize;
use ureq::http::Method;

use super::answer::{header, resolve};
use super::client::{Call, Client};
use super::repository::encoded;
use super::{HubError, Repository};

/// Pages of a listing: a repository has thousands of files at most.
const PAGES: usize = 1000;

/// A revision of a repository.
#[derive(Clone, Debug, Deserialize)]
pub struct Info {
    /// Its id.
    pub id: String,
    /// The commit that the revision is.
    #[serde(default)]
    pub sha: String,
    /// Whether only its owner sees it.
    #[serde(default)]
    pub private: bool,
}

/// A file of a repository.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// `file` or `directory`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is, with slashes.
    pub path: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Git's hash of it, or of what stands for it.
    #[serde(default)]
    pub oid: String,
    /// What it is in large file storage, if it is there.
    pub lfs: Option<LargeFile>,
}

/// A file in large file storage.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LargeFile {
    /// SHA-256.
    pub oid: String,
    /// Bytes.
    pub size: u64,
}

impl Entry {
    /// The hash that names it in the cache: SHA-256 of a large file, else Git's.
    pub fn hash(&self) -> &str {
        self.lfs.as_ref().map_or(&self.oid, |lfs| &lfs.oid)
    }

    /// Bytes of the file itself.
    pub fn bytes(&self) -> u64 {
        self.lfs.as_ref().map_or(self.size, |lfs| lfs.size)
    }
}

impl Client {
    /// What a revision is.
    ///
    /// # Errors
    /// There is no such repository or revision, or it is not for us.
    pub fn info(&self, repository: &Repository, revision: &str) -> Result<Info, HubError> {
        let address = format!("{}/revision/{}", repository.api(), encoded(revision));
        self.json(&Call::new(Method::GET, of(repository, revision), address))
    }

    /// All files of a revision.
    ///
    /// # Errors
    /// As [`Client::info`].
    pub fn tree(&self, repository: &Repository, revision: &str) -> Result<Vec<Entry>, HubError> {
        let revision_part = encoded(revision);
        let mut address = format!("{}/tree/{revision_part}?recursive=true", repository.api());
        let mut entries: Vec<Entry> = Vec::new();
        let what = of(repository, revision);
        for _ in 0..PAGES {
            let call = Call::new(Method::GET, what.clone(), address.clone());
            let (page, headers) = self.json_with_headers::<Vec<Entry>>(&call)?;
            entries.extend(page);
            let base = if address.starts_with('/') { self.address(&address) } else { address };
            match next_page(header(&headers, "link").unwrap_or_default()) {
                Some(next) => address = resolve(&base, next).unwrap_or_default(),
                None => {
                    entries.retain(|entry| entry.kind == "file");
                    return Ok(entries);
                }
            }
        }
        Err(HubError::Answer { what, reason: "its listing does not end".to_owned() })
    }
}

/// A repository and its revision, for messages.
pub(super) fn of(repository: &Repository, revision: &str) -> String {
    match revision {
        "main" => repository.to_string(),
        revision => format!("{repository} at `{revision}`"),
    }
}

/// The address of the next page in a `Link` header.
fn next_page(link: &str) -> Option<&str> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.trim().strip_prefix('<')?.split_once('>')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let link = "<https://h/a?cursor=x>; rel=\"prev\", </b?c>; rel=\"next\"";
        assert_eq!(next_page(link), Some("/b?c"));
        assert_eq!(next_page("<https://h/a>; rel=\"last\""), None);
    }
}
