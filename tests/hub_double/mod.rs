//! A double of the Hugging Face Hub: a real HTTP server with its endpoints, its refusals, a second
//! host for large files, and faults on demand. Every request and every byte is written down.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod content;
mod http;
mod large;
mod read;
mod repository;
mod write;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use content::Content;
use http::{Answer, Manner, Request};
pub use repository::{Repository, Stored, is_large};

/// The token that is let in, and whose it is.
pub const TOKEN: &str = "hf_doubleSecretToken";
/// A token that is known, but was not let into gated repositories.
pub const STRANGER: &str = "hf_strangerSecretToken";

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A refusal: status, further headers, body.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The line is closed after so many bytes of the answer's body.
    Cut(u64),
    /// Silence after so many bytes.
    Stall(u64, Duration),
    /// So many bytes a second.
    Throttle(u64),
    /// One byte is another one.
    WrongBytes,
    /// A web page instead of the answer, with status 200.
    Page,
    /// All bytes, status 200, to a request for a range.
    NoRanges,
    /// The line is closed after so many bytes of the request's body; nothing is done.
    CutRequest(u64),
    /// The request is done, but its answer gets lost.
    LostAnswer,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    pub method: String,
    pub path: String,
    pub range: String,
    pub authorization: String,
    /// Whether it came to the host of the large files.
    pub cdn: bool,
    pub status: u16,
    /// Bytes of the answer's body that were sent, and of the request's body that were read.
    pub sent: u64,
    pub received: u64,
}

struct Rule {
    /// Part of "METHOD /path".
    on: String,
    times: usize,
    fault: Fault,
}

/// An upload in several parts.
#[derive(Default)]
pub struct Session {
    pub oid: String,
    pub size: u64,
    pub parts: BTreeMap<u64, (PathBuf, String)>,
}

#[derive(Default)]
pub struct State {
    pub repositories: BTreeMap<(bool, String), Repository>,
    /// New ids of repositories by their old ones.
    pub moved: BTreeMap<(bool, String), String>,
    /// Large files by SHA-256.
    pub large: BTreeMap<String, Content>,
    pub sessions: Vec<Session>,
    /// Files larger than this are uploaded in parts of this size.
    pub chunk: u64,
    /// Entries on a page of a listing.
    pub page: usize,
    rules: Vec<Rule>,
    log: Vec<Record>,
    /// Requests that are forgotten.
    forgotten: usize,
}

pub struct Double {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

pub struct Shared {
    state: Mutex<State>,
    pub hub: String,
    pub cdn: String,
    pub folder: PathBuf,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Double {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, cdn) = (listen(), listen());
        let address = |at: &TcpListener| format!("http://{}", at.local_addr().unwrap());
        let shared = Arc::new(Shared {
            state: Mutex::new(State { chunk: u64::MAX, page: 50, ..State::default() }),
            hub: address(&hub),
            cdn: address(&cdn),
            folder: folder.path().to_owned(),
        });
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(&shared, stream, is_cdn));
                }
            });
        }
        Self { shared, folder }
    }

    /// What `HF_ENDPOINT` is set to.
    pub fn endpoint(&self) -> &str {
        &self.shared.hub
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The next `times` requests whose "METHOD /path" contains `on` go wrong.
    pub fn fault(&self, on: &str, times: usize, fault: Fault) {
        self.state().rules.push(Rule { on: on.to_owned(), times, fault });
    }

    /// Nothing goes wrong any more.
    pub fn forget_faults(&self) {
        self.state().rules.clear();
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        self.state().rules.clear();
    }

    /// A repository with these files on `main`; returns the commit.
    pub fn model(&self, id: &str, files: &[(&str, Content)]) -> String {
        self.put(false, id, "main", files)
    }

    pub fn dataset(&self, id: &str, files: &[(&str, Content)]) -> String {
        self.put(true, id, "main", files)
    }

    /// Adds files to a branch in one commit.
    pub fn put(&self, dataset: bool, id: &str, branch: &str, files: &[(&str, Content)]) -> String {
        let mut state = self.state();
        let mut stored = Vec::new();
        for (path, content) in files {
            let file = Stored::new(content.clone(), is_large(path, content.len()));
            if let Some(sha) = &file.lfs {
                state.large.insert(sha.clone(), content.clone());
            }
            stored.push(((*path).to_owned(), file));
        }
        let repository = state
            .repositories
            .entry((dataset, id.to_owned()))
            .or_insert_with(|| Repository::new(false));
        let mut all = repository.at(branch).map(|commit| commit.files.clone()).unwrap_or_default();
        all.extend(stored);
        repository.commit(branch, "add files", "", all)
    }

    /// Changes a repository.
    pub fn change(&self, dataset: bool, id: &str, change: impl FnOnce(&mut Repository)) {
        change(self.state().repositories.get_mut(&(dataset, id.to_owned())).unwrap());
    }

    /// The old id answers with a redirect to the new one.
    pub fn rename(&self, dataset: bool, old: &str, new: &str) {
        let mut state = self.state();
        let repository = state.repositories.remove(&(dataset, old.to_owned())).unwrap();
        state.repositories.insert((dataset, new.to_owned()), repository);
        state.moved.insert((dataset, old.to_owned()), new.to_owned());
    }

    /// All requests so far whose "METHOD /path" contains a text.
    pub fn requests(&self, on: &str) -> Vec<Record> {
        let of = |record: &&Record| format!("{} {}", record.method, record.path).contains(on);
        let state = self.state();
        state.log[state.forgotten..].iter().filter(of).cloned().collect()
    }

    /// Bytes that were sent in answer to them.
    pub fn sent(&self, on: &str) -> u64 {
        self.requests(on).iter().map(|record| record.sent).sum()
    }

    /// Bytes that were received with them.
    pub fn received(&self, on: &str) -> u64 {
        self.requests(on).iter().map(|record| record.received).sum()
    }

    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.forgotten = state.log.len();
    }
}

/// Answers the requests of one line, until it is closed.
fn serve(shared: &Shared, mut stream: TcpStream, cdn: bool) {
    let _ = stream.set_nodelay(true);
    let Ok(second) = stream.try_clone() else { return };
    let mut reader = BufReader::new(second);
    while let Some(mut request) = Request::read(reader) {
        let (index, fault) = begin(shared, &request, cdn);
        if let Some(Fault::CutRequest(bytes)) = fault {
            let mut taken = Vec::new();
            let _ = request.reader.by_ref().take(bytes).read_to_end(&mut taken);
            shared.state().log[index].received += taken.len() as u64;
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
        let expected = request.left;
        let mut answer = match &fault {
            Some(Fault::Status(status, headers, body)) => {
                let answer = Answer::bytes(*status, "application/json", *body);
                headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
            }
            Some(Fault::Page) => Answer::bytes(200, "text/html", "<html>please log in</html>"),
            Some(Fault::NoRanges) => {
                request.headers.remove("range");
                route(shared, &mut request, cdn)
            }
            _ => route(shared, &mut request, cdn),
        };
        // What was not read would be taken for the next request.
        let _ = request.body();
        let mut manner = Manner::default();
        match fault {
            Some(Fault::LostAnswer) => {
                shared.state().log[index].received += expected;
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            Some(Fault::Cut(bytes)) => manner.cut = Some(bytes),
            Some(Fault::Stall(bytes, pause)) => manner.stall = Some((bytes, pause)),
            Some(Fault::Throttle(rate)) => manner.rate = Some(rate),
            Some(Fault::WrongBytes) => manner.wrong = true,
            _ => {}
        }
        {
            let record = &mut shared.state().log[index];
            record.status = answer.status;
            record.received += expected;
        }
        let head_only = request.method == "HEAD" || answer.status == 304;
        if answer.status == 204 {
            answer.part = (0, 0);
        }
        let mut sent = |bytes| shared.state().log[index].sent += bytes;
        if http::send(&mut stream, &answer, head_only, &manner, &mut sent).is_err() {
            return;
        }
        reader = request.reader;
    }
}

/// Writes a request down, and says what goes wrong with it.
fn begin(shared: &Shared, request: &Request, cdn: bool) -> (usize, Option<Fault>) {
    let mut state = shared.state();
    let name = format!("{} {}", request.method, request.path);
    let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && name.contains(&rule.on));
    let fault = rule.map(|rule| {
        rule.times -= 1;
        rule.fault.clone()
    });
    state.log.push(Record {
        method: request.method.clone(),
        path: request.path.clone(),
        range: request.header("range").to_owned(),
        authorization: request.header("authorization").to_owned(),
        cdn,
        status: 0,
        sent: 0,
        received: 0,
    });
    (state.log.len() - 1, fault)
}

/// What a request asks for, by the parts of its path.
fn route(shared: &Shared, request: &mut Request, cdn: bool) -> Answer {
    let parts = request.parts.clone();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let method = request.method.clone();
    if cdn {
        return match (method.as_str(), parts.as_slice()) {
            ("GET" | "HEAD", ["cdn", sha]) => large::download(shared, request, sha),
            ("PUT", ["upload", sha]) => large::upload(shared, request, sha),
            ("PUT", ["part", session, number]) => large::part(shared, request, session, number),
            _ => Answer::refuse(403, "", "AccessDenied"),
        };
    }
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["api", "whoami-v2"]) => read::who(request),
        ("POST", ["api", "repos", "create"]) => write::create(shared, request),
        ("POST", ["api", "validate-yaml"]) => write::validate(request),
        ("POST", ["api", "complete_multipart"]) => large::complete(shared, request),
        (_, ["api", kind @ ("models" | "datasets"), owner, name, rest @ ..]) => {
            let key = (*kind == "datasets", format!("{owner}/{name}"));
            match (method.as_str(), rest) {
                ("GET", _) => read::api(shared, request, &key, rest),
                ("POST", ["paths-info", revision]) => {
                    read::paths_info(shared, request, &key, revision)
                }
                _ => write::api(shared, request, &key, rest),
            }
        }
        ("POST", ["datasets", owner, name, "info", "lfs", "objects", action]) => {
            large::batch(shared, request, &key(true, owner, name), action)
        }
        ("POST", [owner, name, "info", "lfs", "objects", action]) => {
            large::batch(shared, request, &key(false, owner, name), action)
        }
        ("GET" | "HEAD", ["datasets", owner, name, "resolve", revision, file @ ..]) => {
            read::resolve(shared, request, &key(true, owner, name), revision, &file.join("/"))
        }
        ("GET" | "HEAD", [owner, name, "resolve", revision, file @ ..]) => {
            read::resolve(shared, request, &key(false, owner, name), revision, &file.join("/"))
        }
        _ => Answer::refuse(404, "", "Sorry, we can't find the page you are looking for."),
    }
}

fn key(dataset: bool, owner: &str, name: &str) -> (bool, String) {
    (dataset, format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name)))
}
