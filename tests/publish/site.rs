//! A trained model, which all tests share, and a Hub of each test's own.

use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

use super::home::{Home, text};
use super::hub_double::{Double, Repository, TOKEN};

/// The tiny model. Nothing of it is changed.
static TRAINED: LazyLock<Home> = LazyLock::new(|| {
    let home = Home::new();
    home.train_tiny(&["--quiet"]);
    home
});

pub struct Site {
    pub home: &'static Home,
    pub double: Double,
}

/// A commit, out of the lock.
pub struct Head {
    pub oid: String,
    pub title: String,
    pub files: std::collections::BTreeMap<String, super::hub_double::Stored>,
}

impl Site {
    pub fn new() -> Self {
        Self { home: &TRAINED, double: Double::start() }
    }

    /// `bayes publish`, with somebody's token and home folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let all: Vec<&str> = ["publish"].iter().chain(arguments).copied().collect();
        self.bayes(&all)
    }

    pub fn bayes(&self, arguments: &[&str]) -> Command {
        dress(self.home.command(arguments), self.home, &self.double)
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(arguments)).unwrap()
    }

    /// The message of a command that could not run.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty() && !message.contains("panicked"), "{message}");
        message
    }

    pub fn repository<T>(&self, id: &str, look: impl FnOnce(&Repository) -> T) -> T {
        look(&self.double.state().repositories[&(false, id.to_owned())])
    }

    pub fn commits(&self, id: &str) -> usize {
        self.repository(id, |repository| repository.commits.len())
    }

    pub fn head(&self, id: &str, branch: &str) -> Head {
        self.repository(id, |repository| {
            let commit = repository.at(branch).unwrap();
            let (oid, title) = (commit.oid.clone(), commit.title.clone());
            Head { oid, title, files: commit.files.clone() }
        })
    }
}

/// A command in the hands of somebody who has a token.
pub fn dress(mut command: Command, home: &Home, double: &Double) -> Command {
    command
        .env("HF_ENDPOINT", double.endpoint())
        .env("HF_TOKEN", TOKEN)
        .env("HOME", home.path("."))
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN_PATH");
    command
}

/// The files of an answer.
pub fn names(answer: &Value) -> Vec<String> {
    let files = answer["files"].as_array().unwrap();
    files.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}
