//! `runs/<day>_<name>/`: the resolved config and the log of one run.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::store::{StoreError, write_atomically};

/// What is a function of config, data and seed.
const METRICS: &str = "metrics.jsonl";
/// Times and rates.
const TIMING: &str = "timing.jsonl";

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
        Self::open(create_run_folder(runs, name)?)
    }

    /// Goes on in a folder whose log had this many bytes; lines that came later are cut off. `None`
    /// if the folder or that part of the log is no longer there.
    pub fn reopen(path: &Path, log_bytes: u64) -> Result<Option<Self>, StoreError> {
        let log = path.join(METRICS);
        if std::fs::metadata(&log).map_or(0, |metadata| metadata.len()) < log_bytes
            || !log.is_file()
        {
            return Ok(None);
        }
        let run = Self::open(path.to_owned())?;
        let cut = run.metrics.set_len(log_bytes).and_then(|()| run.metrics.sync_all());
        cut.map_err(|source| StoreError { doing: "cut", path: log, source })?;
        Ok(Some(run))
    }

    fn open(path: PathBuf) -> Result<Self, StoreError> {
        let open = |name: &str| {
            let file = path.join(name);
            let opened = OpenOptions::new().create(true).append(true).open(&file);
            opened.map_err(|source| StoreError { doing: "create", path: file, source })
        };
        Ok(Self { metrics: open(METRICS)?, timing: open(TIMING)?, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the run.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        write_atomically(&self.path.join(name), bytes)
    }

    /// Adds a line to `metrics.jsonl`: only what is a function of config, data and seed.
    pub fn metric(&mut self, line: &Value) -> io::Result<()> {
        writeln!(self.metrics, "{line}").map_err(|source| self.failed(METRICS, source))
    }

    /// Adds a line to `timing.jsonl`: times and rates.
    pub fn timing(&mut self, line: &Value) -> io::Result<()> {
        writeln!(self.timing, "{line}").map_err(|source| self.failed(TIMING, source))
    }

    /// Puts the log on the disk and gives its length in bytes.
    pub fn sync_metrics(&self) -> io::Result<u64> {
        let length = self.metrics.sync_all().and_then(|()| self.metrics.metadata());
        length.map(|metadata| metadata.len()).map_err(|source| self.failed(METRICS, source))
    }

    fn failed(&self, name: &str, source: io::Error) -> io::Error {
        io::Error::other(StoreError { doing: "write", path: self.path.join(name), source })
    }
}
