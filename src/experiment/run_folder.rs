//! `runs/<day>_<name>/`: the resolved config and the log of one run.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::store::{StoreError, write_atomically};

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
    timing: File,
}

/// Makes `runs/<day>_<name>`, or `…_2`, `…_3` where the day has seen the name before.
pub fn create_run_folder(runs: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let day = &now[..10];
    let failed =
        |path: &Path, source| StoreError { doing: "create", path: path.to_owned(), source };
    std::fs::create_dir_all(runs).map_err(|error| failed(runs, error))?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 { String::new() } else { format!("_{number}") };
        let path = runs.join(format!("{day}_{name}{suffix}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed(&path, error)),
        }
    }
}

impl RunFolder {
    /// Makes the folder with its two logs.
    pub fn create(runs: &Path, name: &str) -> Result<Self, StoreError> {
        let path = create_run_folder(runs, name)?;
        let failed =
            |path: &Path, source| StoreError { doing: "create", path: path.to_owned(), source };
        let open = |name: &str| {
            let file = path.join(name);
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .map_err(|error| failed(&file, error))
        };
        Ok(Self { metrics: open("metrics.jsonl")?, timing: open("timing.jsonl")?, path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the run.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        write_atomically(&self.path.join(name), bytes)
    }

    /// Adds a line to `metrics.jsonl`: only what is a function of config, data and seed.
    pub fn metric(&mut self, line: &Value) -> io::Result<()> {
        writeln!(self.metrics, "{line}")
    }

    /// Adds a line to `timing.jsonl`: times and rates.
    pub fn timing(&mut self, line: &Value) -> io::Result<()> {
        writeln!(self.timing, "{line}")
    }
}
