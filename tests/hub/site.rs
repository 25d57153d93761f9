//! A double of the Hub and a user who has nothing yet.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bayes::data::table::{Kind, Value, Writer};

use crate::home::{Home, text};
use crate::hub_double::{Content, Double};

pub struct Site {
    pub double: Double,
    pub home: Home,
}

impl Site {
    pub fn new() -> Self {
        Self { double: Double::start(), home: Home::new() }
    }

    /// The binary as a user runs it who is online and has no token.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command
            .env("HF_ENDPOINT", self.double.endpoint())
            // No test is about a machine that is too busy to answer.
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "60")
            .env_remove("HF_HUB_OFFLINE");
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
        refused(&self.run(arguments))
    }

    /// What is in the cache, locks left out.
    pub fn cache(&self) -> Vec<String> {
        let files = self.home.files().into_iter();
        let inside = files.filter_map(|file| Some(file.strip_prefix("hub/hub/")?.to_owned()));
        inside.filter(|file| !file.starts_with(".locks/")).collect()
    }

    /// The only file in `blobs` of a repository's folder that has not come whole.
    pub fn incomplete(&self, folder: &str) -> Option<PathBuf> {
        let blobs = self.home.path("hub/hub").join(folder).join("blobs");
        let files = std::fs::read_dir(blobs).ok()?.flatten().map(|entry| entry.path());
        files.into_iter().find(|file| file.extension().is_some_and(|end| end == "incomplete"))
    }
}

pub fn refused(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
    message
}

/// A Parquet file of our own sentences with labels 0 and 1.
pub fn parquet(folder: &Path, rows: usize) -> Content {
    let path = folder.join(format!("made-{rows}.parquet"));
    let columns = [("text", Kind::Text), ("label", Kind::Integer)];
    let mut writer = Writer::create(&path, &columns).unwrap();
    for row in 0..rows {
        let word = ["dreadful", "wonderful"][row % 2];
        let sentence = format!("the film of evening {row} was {word}");
        writer.write(&[Value::Text(sentence), Value::Integer((row % 2) as i64)]).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(&path).unwrap().into()
}
