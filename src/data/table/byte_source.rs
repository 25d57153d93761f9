//! Ranges of bytes, of a file on disk or of what an address names.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use ureq::Agent;
use ureq::http::StatusCode;

/// What is read of the end of a file first; the directory of most files fits into it.
const TAIL: u64 = 64 << 10;
/// How often a range is asked for before it is given up.
const ATTEMPTS: usize = 3;
/// How long one range may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Where the bytes are.
pub(super) enum Source {
    Disk(Mutex<File>, u64),
    Http { agent: Agent, url: String, length: u64 },
}

/// Whether a place is an address and not a path.
pub fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

impl Source {
    /// The source, and the end of the file.
    pub(super) fn open(place: &str) -> io::Result<(Self, Bytes)> {
        if !is_url(place) {
            let file = File::open(Path::new(place))?;
            let length = file.metadata()?.len();
            let source = Self::Disk(Mutex::new(file), length);
            let size = length.min(TAIL);
            let tail = source.bytes(length - size, size as usize)?;
            return Ok((source, tail));
        }
        let agent: Agent = Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let (tail, length) =
            persistently(|| ranged(&agent, place, &format!("bytes=-{TAIL}"), TAIL))?;
        Ok((Self::Http { agent, url: place.to_owned(), length }, tail))
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Disk(_, length) | Self::Http { length, .. } => *length,
        }
    }

    pub(super) fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        match self {
            Self::Disk(file, _) => {
                let mut file = file.lock().expect("nothing panics while it reads");
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
            Self::Http { agent, url, length: whole } => {
                let range = format!("bytes={start}-{}", start + length as u64 - 1);
                let (bytes, found) = persistently(|| ranged(agent, url, &range, length as u64))?;
                if found != *whole || bytes.len() != length {
                    return Err(io::Error::other("the file has changed on the server"));
                }
                Ok(bytes)
            }
        }
    }
}

/// A range of a remote file, of at most so many bytes, and the length of the whole.
fn ranged(agent: &Agent, url: &str, range: &str, most: u64) -> io::Result<(Bytes, u64)> {
    let mut response = agent.get(url).header("Range", range).call().map_err(io::Error::other)?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Err(io::Error::other(format!(
            "the server answers {} to a request for a range: fetch the file first",
            response.status()
        )));
    }
    let whole = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
    let whole = whole.and_then(|value| value.rsplit_once('/')?.1.parse().ok());
    let whole = whole.ok_or_else(|| io::Error::other("the answer has no `Content-Range`"))?;
    let body = response.body_mut().with_config().limit(most).read_to_vec();
    Ok((body.map_err(io::Error::other)?.into(), whole))
}

/// A line that was cut is tried again.
fn persistently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut last = attempt();
    for _ in 1..ATTEMPTS {
        if last.is_ok() {
            break;
        }
        last = attempt();
    }
    last
}
