//! A server to ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[expect(dead_code, reason = "only the training is needed here")]
#[path = "../home/mod.rs"]
pub mod home;

use home::Home;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A tiny model of two departments, trained once.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let home = Home::new();
        home.train_tiny(&[]);
        let model = home.path("checkpoints/tickets/model");
        (home, model)
    });
    model
}

/// One like it whose posterior is used. The other's is left out: its 24 rows show no gain by it.
pub fn model_with_spread() -> &'static Path {
    static MODEL: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let home = Home::new();
        home.train_tiny(&["--set", "calibration.temperature=false"]);
        let model = home.path("checkpoints/tickets/model");
        (home, model)
    });
    model
}

/// One whose posterior is the passes of its dropout.
pub fn model_of_passes() -> &'static Path {
    static MODEL: OnceLock<(Home, PathBuf)> = OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let home = Home::new();
        let passes = ["posterior.method=mc_dropout", "posterior.num_samples=8"];
        let used = "calibration.temperature=false";
        home.train_tiny(&["--set", passes[0], "--set", passes[1], "--set", used]);
        let model = home.path("checkpoints/tickets/model");
        (home, model)
    });
    model
}

/// A copy of the model that may be changed.
pub fn model_copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(model(), copy.path());
    copy
}

/// A folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// `bayes serve` of a folder, not started. A file that grows beyond its limit is an error to it and not
/// its end.
pub fn command(model: &Path, home: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_bayes")]);
    command.arg("serve").arg("--model").arg(model).args(flags).current_dir(home);
    command.env_remove("BAYES_API_KEY").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    log: Arc<Mutex<String>>,
    home: Option<tempfile::TempDir>,
}

impl Server {
    /// Without a limit to its clients.
    pub fn start(flags: &[&str]) -> Self {
        Self::of(model(), flags)
    }

    /// The same with another model.
    pub fn of(model: &Path, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let all: Vec<&str> = ["--rate-limit", "off"].iter().chain(flags).copied().collect();
        let mut server = Self::start_in(model, home.path(), &all, &[]);
        server.home = Some(home);
        server
    }

    /// In a folder, of a model.
    pub fn start_in(
        model: &Path,
        home: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = command(model, home, flags);
        command.args(["--port", "0"]).stderr(Stdio::piped()).envs(environment.iter().copied());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut lines, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        let (found, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap_or(0) > 0 {
                if let Some(rest) = line.split_once("on http://") {
                    let _ = found.send(rest.1.split_whitespace().next().unwrap().to_owned());
                }
                kept.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let address = address.recv_timeout(PATIENCE);
        let address = address.unwrap_or_else(|_| panic!("not ready: {}", log.lock().unwrap()));
        Self { child, address, log, home: None }
    }

    /// Whose port is open, on its way to a model that it may not have yet.
    pub fn opened(model: &Path, home: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = command(model, home, &["--port", &address.port().to_string()]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, address: address.to_string(), log: Arc::default(), home: None };
        eventually("the port is open", || TcpStream::connect(&server.address).is_ok());
        server
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it did not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], body.to_string().as_bytes())
    }

    pub fn predict(&self, text: &str) -> Answer {
        self.post("/predict", &json!({ "text": text }))
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head += "Content-Type: application/json\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Answer::read(&mut stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The sum of the series of `/metrics` that have these labels, and may have others; 0 where there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let (name, wanted) = parts(series);
        let text = self.get("/metrics").text();
        let matching = text.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(one, _)| {
            let (own, labels) = parts(one);
            own == name && wanted.iter().all(|label| labels.contains(label))
        });
        matching.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }
}

/// The name of a series, and its labels.
fn parts(series: &str) -> (&str, Vec<&str>) {
    let Some((name, labels)) = series.split_once('{') else { return (series, Vec::new()) };
    let labels = labels.trim_end_matches('}').split_inclusive("\",");
    (name, labels.map(|label| label.trim_end_matches(',')).collect())
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.home.take());
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Until the connection ends.
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is none of its content.
        let _ = stream.read_to_end(&mut bytes);
        Self::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = dechunked(&body);
        }
        Self { status, head, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The problem's kind, after checking its form.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        let kind = problem["type"].as_str().unwrap();
        kind.strip_prefix("urn:bayes:problem:").unwrap().to_owned()
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        if size == 0 {
            break;
        }
        bytes = &bytes[end + 4 + size..];
    }
    body
}

/// The most memory that it ever had, in bytes.
pub fn peak_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Looks again until it is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
