//! A real server to share, on a port of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::server::eventually;

/// Servers that replicas can share.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// Runs a test with each server that this machine has.
#[expect(clippy::print_stdout, reason = "who runs a test is told what was not tested")]
pub fn with_each(test: impl Fn(&'static str)) {
    for program in PROGRAMS {
        let there = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        let required = std::env::var_os("TEST_SERVERS").is_some_and(|own| own == "required");
        assert!(there || !required, "{program} is not installed");
        if there {
            println!("with {program}");
            test(program);
        } else {
            println!("skipped: {program} is not installed");
        }
    }
}

/// A running server; killed when dropped.
pub struct Store {
    program: &'static str,
    flags: Vec<String>,
    pub folder: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
    password: Option<String>,
}

impl Store {
    /// Without files, unless the flags say so.
    pub fn start(program: &'static str, flags: &[&str]) -> Self {
        Self::locked(program, flags, None)
    }

    /// The same; an address holds `user:password`, if there is one.
    pub fn locked(program: &'static str, flags: &[&str], password: Option<&str>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut store = Self {
            program,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
            port,
            child: None,
            password: password.map(str::to_owned),
        };
        store.again();
        store
    }

    /// Starts it where it was.
    pub fn again(&mut self) {
        let mut command = Command::new(self.program);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.folder.path()).args(&self.flags);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        eventually("the store answers", || {
            self.try_ask::<String>(&["PING"]).is_ok_and(|pong| pong == "PONG")
        });
    }

    pub fn url(&self) -> String {
        let user = self.password.as_ref().map_or(String::new(), |password| format!("{password}@"));
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut ask = redis::cmd(words[0]);
        ask.arg(&words[1..]).query(&mut client.get_connection()?)
    }

    /// Asks it something.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap()
    }

    pub fn keys(&self, pattern: &str) -> Vec<String> {
        self.ask(&["KEYS", pattern])
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        let _ = child.wait();
    }

    /// The append-only file, which is a folder.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("appendonlydir")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}
