//! Replicas and workers that share a real Redis or Valkey.
//!
//! A machine without them skips these tests and says so, unless `TEST_SERVERS` is `required`, as it is in CI.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod cache;
mod faults;
mod feedback;
mod flags;
mod jobs;
mod kills;
mod limits;
mod store;

#[expect(dead_code, reason = "only a part of it is needed here")]
#[path = "../serve/server.rs"]
mod server;

use std::path::Path;

use serde_json::Value;

use self::server::{Server, model};
use self::store::Store;

/// What a flag may overrule.
const UNLIMITED: [(&str, &str); 1] = [("BAYES_RATE_LIMIT", "off")];

/// A replica or worker, with a folder of its own that stays when it is killed.
pub struct Member {
    pub server: Server,
    home: tempfile::TempDir,
    flags: Vec<String>,
}

impl Member {
    pub fn replica(store: &Store, flags: &[&str]) -> Self {
        Self::of(model(), store, flags)
    }

    pub fn worker(store: &Store) -> Self {
        Self::of(model(), store, &["--role", "worker"])
    }

    pub fn of(model: &Path, store: &Store, flags: &[&str]) -> Self {
        Self::with(model, &store.url(), flags)
    }

    /// By an address of its own.
    pub fn at(url: &str, flags: &[&str]) -> Self {
        Self::with(model(), url, flags)
    }

    fn with(model: &Path, url: &str, flags: &[&str]) -> Self {
        let flags: Vec<&str> = ["--redis-url", url].iter().chain(flags).copied().collect();
        let home = tempfile::tempdir().unwrap();
        let server = Server::start_in(model, home.path(), &flags, &UNLIMITED);
        Self { server, home, flags: flags.into_iter().map(str::to_owned).collect() }
    }

    /// Killed without a word, and started again in its folder.
    pub fn killed(&mut self) {
        self.server.signal("KILL");
        self.server.wait();
        self.again();
    }

    /// Started again in its folder.
    pub fn again(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.server = Server::start_in(model(), self.home.path(), &flags, &UNLIMITED);
    }

    /// Hands a job in; its id.
    pub fn job(&self, body: &Value) -> String {
        let answer = self.server.post("/async_predict", body);
        assert_eq!(answer.status, 202, "{}\n{}", answer.text(), self.server.log());
        answer.json()["task_id"].as_str().unwrap().to_owned()
    }

    pub fn status(&self, id: &str) -> Value {
        let answer = self.server.get(&format!("/task_status/{id}"));
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.server.log());
        answer.json()
    }

    pub fn health(&self) -> Value {
        self.server.get("/health").json()
    }
}

/// An answer without what is new each time.
pub fn lasting(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for name in ["prediction_id", "cached", "processing_time_ms"] {
        answer.as_object_mut().unwrap().remove(name);
    }
    answer
}
