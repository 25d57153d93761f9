//! All that is known of the model that is published.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::reduce::{file_name, reduced};
use super::{Evaluation, PublishError};
use crate::artifact::{self, Artifact, CONFIG, Manifest};
use crate::compute::Backend;
use crate::data::{Known, Terms, find_known};
use crate::hub;
use crate::store::sha256;

/// The name of a data set to show: that of a file or folder without its path.
pub(super) fn shown_name(name: &str) -> String {
    if find_known(name).is_some() || is_on_hub(name) {
        return name.to_owned();
    }
    file_name(name)
}

/// Whether a data set that is not known by name is one of the Hub.
fn is_on_hub(name: &str) -> bool {
    hub::is_id(name) && !Path::new(name).exists()
}

/// What a checkpoint has and a model folder has not.
pub(super) const TRAINER_STATE: &str = "trainer_state.json";

/// A model folder with what lies around it.
#[derive(Clone, Debug)]
pub struct Source {
    pub folder: PathBuf,
    /// What is in it. Its weights are checked against the manifest.
    pub artifact: Artifact,
    /// The report on the test part.
    pub evaluation: Option<Evaluation>,
    /// The config of the run, with paths reduced to names.
    pub config: Option<Table>,
    pub run: Option<PathBuf>,
    /// Whether it is a checkpoint of a training that may go on.
    pub checkpoint: bool,
    /// What of the card nothing vouches for, in sentences.
    pub doubts: Vec<String>,
}

impl Source {
    /// Reads a model folder; `runs` is where run folders are looked for.
    ///
    /// # Errors
    /// It is no whole model folder, or one of another tool.
    pub fn open(folder: &Path, runs: &Path) -> Result<Self, PublishError> {
        let artifact = artifact::load(folder, &Backend::Cpu)?;
        if !folder.join("bayes").join("manifest.json").is_file() {
            return Err(PublishError::Foreign { folder: folder.to_owned() });
        }
        let evaluation = Evaluation::read(folder, &artifact.manifest)?;
        let named = evaluation.as_ref().and_then(|one| one.training.as_ref());
        let run = match named {
            // A name from a file is no path to follow.
            Some(training) if file_name(&training.run) == training.run => {
                let beside = folder.join("../../..").join("runs");
                let mut places = [runs, beside.as_path()].into_iter();
                places.find_map(|place| Some(place.join(&training.run)).filter(|run| run.is_dir()))
            }
            Some(_) => None,
            None => checkpoint_run(folder),
        };
        let config = match Self::config_text(folder)? {
            Some(text) => {
                let path = folder.join(CONFIG);
                let table: Table =
                    text.parse().map_err(|source| PublishError::Config { path, source })?;
                Some(reduced(Value::Table(table)).as_table().cloned().unwrap_or_default())
            }
            None => None,
        };
        let checkpoint = folder.join(TRAINER_STATE).is_file();
        if artifact.manifest.edited {
            return Err(PublishError::EditedManifest { folder: folder.to_owned() });
        }
        let doubts = doubts(folder, &artifact.manifest)?;
        let folder = folder.to_owned();
        Ok(Self { folder, artifact, evaluation, config, run, checkpoint, doubts })
    }

    /// The resolved config that lies in a model folder or checkpoint, as it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config_text(folder: &Path) -> Result<Option<String>, PublishError> {
        for name in [CONFIG, "config.toml"] {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => return Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(PublishError::Read { path, source }),
            }
        }
        Ok(None)
    }

    /// The data set that it was trained on, as `[data]` names it.
    pub(super) fn dataset(&self) -> Option<&str> {
        self.artifact.manifest.data.as_ref().map(|data| data.dataset.as_str())
    }

    /// The row of the table, if the data set is known by name.
    pub(super) fn known(&self) -> Option<&'static Known> {
        self.dataset().and_then(find_known)
    }

    /// The data set's name to show: no path.
    pub(super) fn dataset_name(&self) -> String {
        self.dataset().map_or_else(|| "unknown data".to_owned(), shown_name)
    }

    /// The data sets that are known by name, but for its own: those of the models that it was made from, texts without
    /// labels, and what calibrated it anew. Each with the sentence that its name ends.
    pub(super) fn others(&self) -> Vec<(String, &'static Known)> {
        let manifest = &self.artifact.manifest;
        let verb = if manifest.fit.teacher.is_some() { "learned from" } else { "was made from" };
        let own = manifest
            .data
            .iter()
            .map(|data| ("This model learned from texts of".to_owned(), data.unlabelled.as_str()));
        let before = manifest.lineage.iter().filter_map(|one| Some((one, one.data.as_ref()?)));
        let before = before.flat_map(|(one, data)| {
            let text = |made: &str| format!("This model {verb} one {made}");
            [
                (text(one.made_on()), data.dataset.as_str()),
                (text("that learned from texts of"), data.unlabelled.as_str()),
            ]
        });
        let anew = manifest.recalibrated.iter().map(|one| {
            ("This model was calibrated anew by rows of".to_owned(), one.data.dataset.as_str())
        });
        let mut all: Vec<(String, &Known)> = Vec::new();
        for (text, name) in own.chain(before).chain(anew) {
            let Some(known) = find_known(name) else { continue };
            let is_told = |known: &Known| {
                let others = all.iter().map(|(_, other)| *other);
                self.known().into_iter().chain(others).any(|other| other.name == known.name)
            };
            if !is_told(known) {
                all.push((text, known));
            }
        }
        all
    }

    /// The data set that calibrated it anew, as `[data]` names it, and how many of its rows did.
    pub(super) fn recalibrated_by(&self) -> Option<(String, usize)> {
        let own = self.artifact.manifest.recalibrated.as_ref()?;
        Some((shown_name(&own.data.dataset), own.rows))
    }

    /// The ids on the Hub of its own data set and of those that are known of the models before it.
    pub(super) fn dataset_ids(&self) -> Vec<String> {
        let others = self.others().into_iter().map(|(_, known)| known.hub_id.to_owned());
        let mut ids: Vec<String> = self.dataset_id().into_iter().collect();
        for id in others.filter(|id| !id.is_empty()) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// The id of its own on the Hub.
    pub(super) fn dataset_id(&self) -> Option<String> {
        match self.known() {
            Some(known) => Some(known.hub_id).filter(|id| !id.is_empty()).map(str::to_owned),
            None => {
                let name = self.dataset()?;
                is_on_hub(name).then(|| name.to_owned())
            }
        }
    }

    /// What the terms of all data allow that are known to have made it; `stated` is what the author says of its own data,
    /// where they are not known by name.
    pub(super) fn terms(&self, stated: &str) -> Terms {
        let others = self.others().into_iter().map(|(_, known)| known.allows);
        others.fold(self.own_terms(stated), Terms::max)
    }

    /// The same of its own data alone.
    pub(super) fn own_terms(&self, stated: &str) -> Terms {
        match self.known() {
            Some(known) => known.allows,
            None if stated.is_empty() => Terms::Unknown,
            None => Terms::Open,
        }
    }
}

/// What is not as it was saved, or cannot be told to be. Another report than the saved one is refused.
fn doubts(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, PublishError> {
    let mut doubts = Vec::new();
    if manifest.sha256.is_none() {
        doubts.push(format!(
            "`{}` has no hash of its own (`sha256`), as in folders of earlier versions, so the \
             figures of the card cannot be verified",
            folder.join("bayes").join("manifest.json").display()
        ));
    }
    for (name, hash) in &manifest.records {
        let path = folder.join(name);
        let shown = path.display();
        match std::fs::read(&path) {
            Ok(bytes) if *hash == sha256(&bytes) => {}
            Ok(_) => doubts.push(format!(
                "`{shown}` has changed since the model was saved; the card shows the current file"
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                doubts.push(format!("`{shown}` is missing, so the card is made without it"));
            }
            Err(source) => return Err(PublishError::Read { path, source }),
        }
    }
    Ok(doubts)
}

/// The run that wrote a checkpoint.
fn checkpoint_run(folder: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(folder.join(TRAINER_STATE)).ok()?;
    let state: serde_json::Value = serde_json::from_str(&text).ok()?;
    let run = PathBuf::from(state["run"].as_str()?);
    run.is_dir().then_some(run)
}
