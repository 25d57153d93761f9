//! One file from the Hub to the cache: resumed after a cut, and taken only when its hash is right.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use sha1::{Digest, Sha1};
use ureq::Body;
use ureq::http::{HeaderMap, Method, Response, StatusCode};

use super::answer::{Failure, Wait, header, is_page, lost};
use super::cache::Place;
use super::client::{ATTEMPTS, Call, pause};
use super::fetch::is_here;
use super::listing::Entry;
use super::progress::{Progress, tell};
use super::{Client, HubError, Repository};
use crate::store;

/// A file on its way.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) repository: &'a Repository,
    pub(super) commit: &'a str,
    pub(super) entry: &'a Entry,
    pub(super) place: &'a Place,
}

impl Transfer<'_> {
    /// Fetches the file, or waits for the process that does.
    pub(super) fn run(&self, show: &dyn Fn(u64)) -> Result<(), HubError> {
        let _lock = self.place.lock(self.entry.hash(), &self.entry.path)?;
        if is_here(self.place, self.entry) {
            show(self.entry.bytes());
            return Ok(());
        }
        self.ask()?;
        let part = self.place.incomplete(self.entry.hash());
        if let Some(folder) = part.parent() {
            fs::create_dir_all(folder).map_err(self.failed(folder))?;
        }
        // What an earlier process left may be damaged; what this one fetched anew may not.
        let mut doubtful = length(&part) > 0;
        loop {
            self.complete(&part, show)?;
            if self.is_right(&part)? {
                return Ok(store::move_into_place(&part, &self.place.blob(self.entry.hash()))?);
            }
            fs::remove_file(&part).map_err(self.failed(&part))?;
            if !std::mem::take(&mut doubtful) {
                return Err(HubError::WrongHash { what: self.what() });
            }
        }
    }

    fn what(&self) -> String {
        format!("`{}` of {}", self.entry.path, self.repository)
    }

    fn call(&self, method: Method) -> Call<'static> {
        let address = self.repository.file(self.commit, &self.entry.path);
        // A compressed answer would have another length, and no ranges.
        Call::new(method, self.what(), address).header("Accept-Encoding", "identity")
    }

    fn failed(&self, path: &Path) -> impl FnOnce(std::io::Error) -> HubError + use<> {
        let path = path.to_owned();
        move |source| HubError::File { doing: "write", path, source }
    }

    /// Asks what the file is, and whether that is what was listed.
    fn ask(&self) -> Result<(), HubError> {
        let mut call = self.call(Method::HEAD);
        call.leave = false;
        let headers = self.client.headers(&call)?;
        if is_page(&headers) && !self.entry.path.ends_with(".html") {
            return Err(HubError::Page { what: self.what() });
        }
        let tag = header(&headers, "x-linked-etag").or_else(|| header(&headers, "etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        let size = header(&headers, "x-linked-size").and_then(|size| size.parse::<u64>().ok());
        let other = tag.is_some_and(|tag| tag != self.entry.hash())
            || size.is_some_and(|size| size != self.entry.bytes())
            || header(&headers, "x-repo-commit").is_some_and(|commit| commit != self.commit);
        if other { Err(HubError::Changed { what: self.what() }) } else { Ok(()) }
    }

    /// Brings the part to its full length.
    fn complete(&self, part: &Path, show: &dyn Fn(u64)) -> Result<(), HubError> {
        let expected = self.entry.bytes();
        let mut attempts = 0;
        loop {
            let have = length(part);
            if have == expected && part.exists() {
                return Ok(());
            }
            let Err(Failure { error, wait }) = self.pull(part, have, show) else { continue };
            let received = length(part);
            attempts = if received > have { 1 } else { attempts + 1 };
            if wait == Wait::Never {
                return Err(error);
            }
            if attempts >= ATTEMPTS || !pause(wait, attempts) {
                return Err(match error {
                    HubError::Unreachable { .. } if received > 0 => {
                        HubError::HalfSent { what: self.what(), received, expected, attempts }
                    }
                    error => error,
                });
            }
            tell(&Progress::Again { reason: &error.to_string() });
        }
    }

    /// Asks for what is missing and writes what comes. A server that knows no ranges sends all.
    fn pull(&self, part: &Path, have: u64, show: &dyn Fn(u64)) -> Result<(), Failure> {
        let expected = self.entry.bytes();
        let fatal = |error| Failure::fatal(error);
        let mut call = self.call(Method::GET);
        let resumes = have > 0 && have < expected;
        if resumes {
            call = call.header("Range", &format!("bytes={have}-"));
        }
        let response = match self.client.once(&call) {
            Err(Failure { error: HubError::Refused { status: 416, .. }, .. }) if resumes => {
                fs::remove_file(part).map_err(self.failed(part)).map_err(fatal)?;
                let error = HubError::Changed { what: self.what() };
                return Err(Failure { error, wait: Wait::Growing });
            }
            response => response?,
        };
        let start = self.start(&call, &response, have)?;
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(part);
        let mut file = file.map_err(self.failed(part)).map_err(fatal)?;
        file.set_len(start).map_err(self.failed(part)).map_err(fatal)?;
        let mut at = start;
        let mut body = response.into_body();
        let mut reader = body.as_reader();
        let mut block = vec![0; 1 << 18];
        while at < expected {
            let most = block.len().min((expected - at) as usize);
            let reason = match reader.read(&mut block[..most]) {
                Ok(0) => "it ended too early".to_owned(),
                Ok(read) => {
                    let written = file.write_all(&block[..read]);
                    written.map_err(self.failed(part)).map_err(fatal)?;
                    at += read as u64;
                    show(at);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            let error = HubError::Unreachable { what: self.what(), reason };
            return Err(Failure { error, wait: Wait::Growing });
        }
        Ok(())
    }

    /// The byte that an answer begins with.
    fn start(&self, call: &Call<'_>, response: &Response<Body>, have: u64) -> Result<u64, Failure> {
        let headers: &HeaderMap = response.headers();
        if is_page(headers) && !self.entry.path.ends_with(".html") {
            return Err(Failure::fatal(HubError::Page { what: self.what() }));
        }
        let expected = self.entry.bytes();
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(headers, "content-range").unwrap_or_default();
            let begins = range.starts_with(&format!("bytes {have}-"));
            let whole = range.rsplit('/').next().and_then(|size| size.parse().ok());
            return if begins && whole.is_none_or(|whole: u64| whole == expected) {
                Ok(have)
            } else {
                Err(lost(call, &format!("it is not the requested range `{range}`")))
            };
        }
        let announced = header(headers, "content-length").and_then(|size| size.parse::<u64>().ok());
        match announced {
            Some(announced) if announced != expected => {
                let reason = format!("{announced} bytes are announced, but it has {expected}");
                Err(lost(call, &reason))
            }
            _ => Ok(0),
        }
    }

    /// Whether the bytes on disk are those of the file: by SHA-256, or by Git's name of a blob.
    fn is_right(&self, part: &Path) -> Result<bool, HubError> {
        if let Some(large) = &self.entry.lfs {
            return Ok(store::sha256_file(part)? == large.oid);
        }
        let read = |source| HubError::File { doing: "read", path: part.to_owned(), source };
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0", self.entry.bytes()));
        let mut file = File::open(part).map_err(read)?;
        let mut block = vec![0; 1 << 16];
        loop {
            match file.read(&mut block).map_err(read)? {
                0 => break,
                read => hasher.update(&block[..read]),
            }
        }
        let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(hash == self.entry.oid)
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
