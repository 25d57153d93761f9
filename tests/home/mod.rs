//! A folder in which the binary is run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A working folder of its own, with a cache of its own.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayes"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("BAYES_CACHE_DIR", self.path("cache"))
            .env("HF_HOME", self.path("hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("BAYES_DATA_DIR")
            .env_remove("HF_ENDPOINT")
            .env_remove("HF_TOKEN")
            .env_remove("HF_TOKEN_PATH")
            .env_remove("HF_HUB_CACHE")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The message of a command that could not run.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        assert!(message.contains("error: "), "{message}");
        assert!(!message.contains("panicked"), "{message}");
        message
    }

    pub fn train_tiny(&self, more: &[&str]) -> String {
        let data = self.write("tickets.csv", tickets(240));
        let mut arguments = vec!["train", data.to_str().unwrap()];
        arguments.extend(TINY);
        arguments.extend(more);
        self.done(&arguments)
    }

    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.0.path(), self.0.path(), &mut files);
        files.sort();
        files
    }
}

/// A model that is as small as can be.
pub const TINY: [&str; 16] = [
    "--set",
    "model.hidden_size=16",
    "--set",
    "model.intermediate_size=256",
    "--set",
    "model.num_hidden_layers=1",
    "--set",
    "model.num_attention_heads=2",
    "--set",
    "train.num_train_epochs=2",
    "--set",
    "train.learning_rate=5e-3",
    "--set",
    "data.max_length=32",
    "--set",
    "train.per_device_train_batch_size=8",
];

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Requests to two departments, told apart by one word.
pub fn tickets(rows: usize) -> String {
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let (thing, department) = [("invoice", "billing"), ("router", "technical")][row % 2];
        csv.push_str(&format!("\"please look at my {thing}, case {row}\",{department}\n"));
    }
    csv
}
