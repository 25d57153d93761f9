//! Sending files: one commit, on the commit that was seen before, or none at all.

mod file;
mod large;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

pub use file::{Content, Hashed, NewFile};
pub use parts::Memory;

use super::client::{Call, Client, Payload};
use super::repository::encoded;
use super::{HubError, Repository};
use large::{Meter, Store};

/// Who hears how many bytes of large files were sent, of how many.
pub type Observer = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Files of one question about how they are sent.
const FILES: usize = 256;
/// How many bytes of a file the Hub looks at.
const SAMPLE: u64 = 512;
/// How often a commit is tried whose answer got lost.
const ATTEMPTS: u32 = 4;

/// What is sent, and where to.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    pub repository: &'a Repository,
    /// The branch, which exists.
    pub branch: &'a str,
    /// The commit that it was at; someone else's later one is not overwritten.
    pub parent: &'a str,
    /// First line of the commit's message.
    pub summary: &'a str,
    /// The files; none is there already.
    pub files: &'a [Hashed<'a>],
    /// Where uploads in parts are remembered.
    pub memory: &'a Memory,
    /// Who hears of the bytes.
    pub observer: &'a Observer,
}

/// What became of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Committed {
    /// The commit.
    #[serde(rename = "commitOid")]
    pub commit: String,
    /// Its page.
    #[serde(rename = "commitUrl", default)]
    pub url: String,
}

#[derive(Debug, Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Debug, Deserialize)]
struct Mode {
    path: String,
    #[serde(rename = "uploadMode")]
    mode: String,
    #[serde(rename = "shouldIgnore", default)]
    ignored: bool,
}

impl Client {
    /// Sends files in one commit: large ones to the store first, where those that it has are not sent
    /// again, then all in the commit.
    ///
    /// # Errors
    /// The branch has moved on ([`HubError::ParentMoved`]), or something was not sent; then the branch is
    /// as it was.
    pub fn push(&self, push: &Push<'_>) -> Result<Committed, HubError> {
        let large = self.large(push)?;
        let (big, small): (Vec<&Hashed<'_>>, Vec<&Hashed<'_>>) = (push.files.iter())
            .filter(|file| large.contains_key(file.file.path.as_str()))
            .partition(|file| large[file.file.path.as_str()]);
        let mut once = BTreeSet::new();
        let objects: Vec<&Hashed<'_>> =
            big.iter().copied().filter(|file| once.insert(&file.sha256)).collect();
        let total = objects.iter().map(|file| file.file.size).sum();
        let meter =
            Meter { sent: Arc::new(AtomicU64::new(0)), total, observer: push.observer.clone() };
        let Push { repository, branch, memory, .. } = *push;
        Store { client: self, repository, branch, memory, meter }.send(&objects)?;
        self.commit(push, &big, &small)
    }

    /// Which files are large, by path. Files that the repository ignores are left out.
    fn large(&self, push: &Push<'_>) -> Result<BTreeMap<String, bool>, HubError> {
        let mut large = BTreeMap::new();
        for group in push.files.chunks(FILES) {
            let mut files = Vec::new();
            for Hashed { file, .. } in group {
                let sample = STANDARD.encode(file.head(SAMPLE)?);
                files.push(json!({ "path": file.path, "size": file.size, "sample": sample }));
            }
            let address = format!("{}/preupload/{}", push.repository.api(), encoded(push.branch));
            let modes: Modes = self.post(push.repository, &address, &json!({ "files": files }))?;
            let wanted = modes.files.into_iter().filter(|one| !one.ignored);
            large.extend(wanted.map(|one| (one.path, one.mode == "lfs")));
        }
        Ok(large)
    }

    /// The commit itself. When its answer gets lost, the branch tells whether it was made.
    fn commit(
        &self,
        push: &Push<'_>,
        big: &[&Hashed<'_>],
        small: &[&Hashed<'_>],
    ) -> Result<Committed, HubError> {
        let mut lines = vec![json!({ "key": "header", "value": {
            "summary": push.summary, "description": "", "parentCommit": push.parent,
        }})];
        for Hashed { file, .. } in small {
            let content = STANDARD.encode(file.head(u64::MAX)?);
            lines.push(json!({ "key": "file", "value": {
                "path": file.path, "content": content, "encoding": "base64",
            }}));
        }
        for Hashed { file, sha256, .. } in big {
            lines.push(json!({ "key": "lfsFile", "value": {
                "path": file.path, "algo": "sha256", "oid": sha256, "size": file.size,
            }}));
        }
        let body: String = lines.iter().map(|line: &Value| format!("{line}\n")).collect();
        let address = format!("{}/commit/{}", push.repository.api(), encoded(push.branch));
        let mut attempt = 1;
        loop {
            let call = Call::new(Method::POST, push.repository.to_string(), address.clone())
                .payload(Payload::Bytes("application/x-ndjson", body.as_bytes()))
                .once();
            let error = match self.json::<Committed>(&call) {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            };
            let wait = match &error {
                // An earlier try may have been taken, and be what moved the branch.
                HubError::ParentMoved { .. } | HubError::Conflict { .. } if attempt > 1 => None,
                HubError::Unreachable { .. } | HubError::Refused { status: 500.., .. } => {
                    Some(Duration::from_millis(500) * 2u32.pow(attempt.min(5)))
                }
                HubError::RateLimited { seconds, .. } => {
                    Some(Duration::from_secs(seconds.unwrap_or(5)))
                        .filter(|wait| wait.as_secs() <= 120)
                }
                _ => return Err(error),
            };
            if let Some(committed) = self.arrived(push)? {
                return Ok(committed);
            }
            match wait {
                Some(wait) if attempt < ATTEMPTS => std::thread::sleep(wait),
                _ => return Err(error),
            }
            attempt += 1;
        }
    }

    /// The commit of a try whose answer got lost: the branch has moved, and has all of our files.
    fn arrived(&self, push: &Push<'_>) -> Result<Option<Committed>, HubError> {
        let head = self.info(push.repository, push.branch)?.sha;
        if head == push.parent {
            return Ok(None);
        }
        let tree = self.tree(push.repository, &head)?;
        let here = |file: &Hashed<'_>| {
            tree.iter().any(|entry| entry.path == file.file.path && file.is(entry))
        };
        let url = self.address(&format!("{}/commit/{head}", push.repository.page()));
        Ok(push.files.iter().all(here).then_some(Committed { commit: head, url }))
    }
}
