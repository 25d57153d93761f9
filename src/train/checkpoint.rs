//! A checkpoint on the disk: a folder that appears whole, with length and hash of every file in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Counters, Gathered, Snapshot};
use crate::numbers::grouped;
use crate::store::{self, NewFolder, StoreError, TensorFile, Tensors};

/// Version of the layout.
const SCHEMA: u32 = 1;
/// The list of the other files, written last.
const COMPLETE: &str = "COMPLETE";
/// What is counted, and where the run's log is.
const TRAINER_STATE: &str = "trainer_state.json";
/// Moments and averaged weights.
const OPTIMIZER: &str = "optimizer.safetensors";
/// What a follower has gathered.
const GATHERED: &str = "gathered.safetensors";
/// The weights of the best evaluation.
const BEST: &str = "best.safetensors";
/// What the names of the folders begin with.
const PREFIX: &str = "checkpoint_epoch_";

/// `trainer_state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// Version of the layout.
    pub schema: u32,
    /// Version of the tool that wrote it.
    pub bayes: String,
    /// The run folder.
    pub run: PathBuf,
    /// How long its log was, in bytes.
    pub log_bytes: u64,
    /// Epochs that are over.
    pub epoch: u64,
    /// Forward passes of the epoch that are over.
    pub batch: usize,
    /// Which of the runs it is of, where several are made one after another.
    #[serde(default, skip_serializing_if = "is_first")]
    pub number: usize,
    /// The counters.
    pub counters: Counters,
}

fn is_first(number: &usize) -> bool {
    *number == 0
}

/// Where a checkpoint belongs.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The run folder.
    pub run: &'a Path,
    /// How long its log is, in bytes.
    pub log_bytes: u64,
    /// Which of the runs it is of, where several are made one after another.
    pub number: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileRecord {
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Complete {
    files: BTreeMap<String, FileRecord>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// A file is not JSON of the right form.
    #[error("`{path}` is damaged: {source}")]
    Json {
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A file does not hold the tensors that it should.
    #[error("`{path}` is damaged: {message}")]
    Tensors {
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file is shorter or longer than it was.
    #[error("`{path}` is damaged ({} bytes instead of {})", grouped(found), grouped(expected))]
    Length {
        path: PathBuf,
        found: u64,
        /// Its length when it was saved.
        expected: u64,
    },
    /// A file has other content.
    #[error("`{path}` has changed since it was saved: its SHA-256 differs from `{COMPLETE}`")]
    Hash { path: PathBuf },
    /// A file is not listed.
    #[error("`{path}` is not listed in `{COMPLETE}`")]
    NotListed { path: PathBuf },
    /// It was written by a newer version.
    #[error("`{path}` has schema {found}, but this version of bayes reads schemas up to {SCHEMA}")]
    Schema { path: PathBuf, found: u32 },
}

/// A checkpoint that is being written. Dropped before [`Self::finish`], it leaves nothing.
#[derive(Debug)]
pub struct NewCheckpoint {
    folder: NewFolder,
    home: PathBuf,
    name: String,
    run: PathBuf,
    complete: Complete,
}

impl NewCheckpoint {
    /// Begins `checkpoint_epoch_{e}_step_{s}` in `home`, with `e` epochs and `s` steps over, and
    /// writes the training's own files: counters with the length of the log, moments, averages.
    pub fn create(
        home: &Path,
        snapshot: &Snapshot<'_>,
        origin: &Origin<'_>,
    ) -> Result<Self, StoreError> {
        let (epoch, batch) = snapshot.plan.position(snapshot.counters.step);
        let name = format!("{PREFIX}{epoch}_step_{}", snapshot.counters.step);
        let mut new = Self {
            folder: NewFolder::create(&home.join(&name))?,
            home: home.to_owned(),
            name,
            run: origin.run.to_owned(),
            complete: Complete { files: BTreeMap::new() },
        };
        let state = TrainerState {
            schema: SCHEMA,
            bayes: env!("CARGO_PKG_VERSION").to_owned(),
            run: origin.run.to_owned(),
            log_bytes: origin.log_bytes,
            epoch,
            batch,
            number: origin.number,
            counters: snapshot.counters.clone(),
        };
        new.write(TRAINER_STATE, &json(&state))?;
        new.write(OPTIMIZER, &snapshot.optimizer_file())?;
        if let Some(gathered) = snapshot.gathered.as_deref() {
            let mut tensors = Tensors::default();
            for (name, values) in gathered {
                tensors.put_f32(name, &[values.len()], values);
            }
            new.write(GATHERED, &tensors.to_bytes())?;
        }
        Ok(new)
    }

    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.folder.write(name, bytes)?;
        let record = FileRecord { bytes: bytes.len() as u64, sha256: store::sha256(bytes) };
        self.complete.files.insert(name.to_owned(), record);
        Ok(())
    }

    /// Keeps the weights of the best evaluation, which lie in the file `best`: it is only linked.
    pub fn keep_best(&mut self, best: &Path) -> Result<(), StoreError> {
        self.folder.link(BEST, best)?;
        let failed = |source| StoreError { doing: "read", path: best.to_owned(), source };
        let bytes = fs::metadata(best).map_err(failed)?.len();
        let record = FileRecord { bytes, sha256: store::sha256_file(best)? };
        self.complete.files.insert(BEST.to_owned(), record);
        Ok(())
    }

    /// Lets it appear and points `latest` to it. Then all but the `keep` newest are removed (0 keeps
    /// all), and those that another run of this name has left.
    pub fn finish(self, keep: usize) -> Result<PathBuf, StoreError> {
        self.folder.write(COMPLETE, &json(&self.complete))?;
        self.folder.publish()?;
        store::replace_link(&self.home.join("latest"), &self.name)?;
        let path = self.home.join(&self.name);
        let older = checkpoints(&self.home)?.into_iter().filter(|place| place.path != path);
        let (own, others): (Vec<Place>, Vec<Place>) = older.partition(|place| {
            place.json::<TrainerState>(TRAINER_STATE).is_ok_and(|state| state.run == self.run)
        });
        let kept = if keep == 0 { own.len() } else { keep - 1 };
        for place in others.iter().chain(own.iter().skip(kept)) {
            place.remove()?;
        }
        Ok(path)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data is JSON");
    text.push(b'\n');
    text
}

/// A folder that has the name of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// The step in its name.
    step: u64,
}

/// The checkpoints in a folder, newest first; whether they are whole is not known yet.
pub fn checkpoints(home: &Path) -> Result<Vec<Place>, StoreError> {
    let failed = |source| StoreError { doing: "read", path: home.to_owned(), source };
    let mut places = Vec::new();
    for entry in fs::read_dir(home).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("_step_"));
        if let Some(step) = numbers.and_then(|(_, step)| step.parse().ok()) {
            places.push(Place { path, step });
        }
    }
    places.sort_by_key(|place| std::cmp::Reverse(place.step));
    Ok(places)
}

impl Place {
    /// A folder that a person named.
    pub fn named(path: &Path) -> Self {
        Self { path: path.to_owned(), step: 0 }
    }

    /// The same checkpoint in another folder, whole or not at all, by links where the disk has them.
    pub fn linked_into(&self, home: &Path) -> Result<Self, StoreError> {
        let path = home.join(self.path.file_name().unwrap_or_default());
        let folder = NewFolder::create(&path)?;
        self.link_all(Path::new(""), &folder)?;
        folder.publish()?;
        Ok(Self { path, step: self.step })
    }

    /// The files of one of its folders, and of those in it.
    fn link_all(&self, inside: &Path, into: &NewFolder) -> Result<(), StoreError> {
        let failed = |source| StoreError { doing: "read", path: self.path.clone(), source };
        for entry in fs::read_dir(self.path.join(inside)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = inside.join(entry.file_name());
            match entry.path().is_dir() {
                true => self.link_all(&name, into)?,
                false => into.link(&name.to_string_lossy(), &entry.path())?,
            }
        }
        Ok(())
    }

    /// Takes the folder away, first from the list of those that could be taken for whole.
    pub fn remove(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError { doing: "remove", path: self.path.clone(), source };
        match fs::remove_file(self.path.join(COMPLETE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => fs::remove_dir_all(&self.path).map_err(failed),
        }
    }

    /// Reads every file and compares it with the list.
    pub fn verify(&self) -> Result<TrainerState, Broken> {
        let complete: Complete = self.json(COMPLETE)?;
        let needed = [TRAINER_STATE, OPTIMIZER, "model.safetensors", "config.toml"];
        if let Some(name) = needed.iter().find(|&&name| !complete.files.contains_key(name)) {
            return Err(Broken::NotListed { path: self.path.join(name) });
        }
        for (name, record) in &complete.files {
            let path = self.path.join(name);
            let read = |source| Broken::Read { path: path.clone(), source };
            let found = fs::metadata(&path).map_err(read)?.len();
            if found != record.bytes {
                return Err(Broken::Length { path, found, expected: record.bytes });
            }
            let hash = store::sha256_file(&path).map_err(|error| read(error.source))?;
            if hash != record.sha256 {
                return Err(Broken::Hash { path });
            }
        }
        let value: serde_json::Value = self.json(TRAINER_STATE)?;
        let path = self.path.join(TRAINER_STATE);
        if let Some(found) = value["schema"].as_u64().filter(|&found| found > u64::from(SCHEMA)) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Broken::Schema { path, found });
        }
        serde_json::from_value(value).map_err(|source| Broken::Json { path, source })
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<T, Broken> {
        let bytes = self.read(name)?;
        let path = || self.path.join(name);
        serde_json::from_slice(&bytes).map_err(|source| Broken::Json { path: path(), source })
    }

    /// One of its files.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Broken> {
        let path = self.path.join(name);
        fs::read(&path).map_err(|source| Broken::Read { path, source })
    }

    /// Moments and averaged weights.
    pub fn optimizer(&self) -> Result<Vec<u8>, Broken> {
        self.read(OPTIMIZER)
    }

    /// What a follower had gathered; nothing where there was none.
    pub fn gathered(&self) -> Result<Gathered, Broken> {
        if !self.path.join(GATHERED).is_file() {
            return Ok(Gathered::new());
        }
        let bytes = self.read(GATHERED)?;
        let damaged = |message| Broken::Tensors { path: self.path.join(GATHERED), message };
        let file = TensorFile::parse(&bytes).map_err(damaged)?;
        let values = |name: &str| Ok((name.to_owned(), file.finite_f32(name).map_err(damaged)?.1));
        file.names().into_iter().map(values).collect()
    }

    /// The file with the weights of the best evaluation, if there was one.
    pub fn best(&self) -> Option<PathBuf> {
        Some(self.path.join(BEST)).filter(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_listed_by_the_number_of_their_step() {
        let home = tempfile::tempdir().unwrap();
        for name in ["checkpoint_epoch_1_step_900", "checkpoint_epoch_2_step_1200", "best_model"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        fs::create_dir(home.path().join("checkpoint_epoch_1_step_x")).unwrap();
        let steps: Vec<u64> =
            checkpoints(home.path()).unwrap().iter().map(|place| place.step).collect();
        assert_eq!(steps, [1200, 900]);
    }
}
