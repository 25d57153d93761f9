//! Whether a run begins, goes on, or is finished already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::differences::{differences, other_labels, other_parts, without_effect};
use super::{Experiment, ExperimentError, Progress, RunFolder};
use crate::artifact::{self, PartRecord};
use crate::compute::Noise;
use crate::model::{self, EncoderConfig};
use crate::store::{self, Lock, StoreError};
use crate::train::{Broken, Place, State, TrainerState, checkpoints};

/// What `--resume` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Go on where the run of this name was left, if it was.
    Auto,
    Never,
    /// Go on from this checkpoint.
    From(PathBuf),
}

/// The file of a [`Record`].
const RECORD: &str = "run.json";

/// The run that a name stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    schema: u32,
    run: PathBuf,
    finished: bool,
    experiment: Experiment,
    parts: BTreeMap<String, PartRecord>,
    /// SHA-256 over the files of the encoder that it began with; absent from files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    /// Class names, whose places the rows of the parts have; none in records of earlier versions.
    #[serde(default)]
    labels: Vec<String>,
}

/// The folder of a name under `checkpoints`, held by this process.
pub(super) struct Home {
    pub(super) path: PathBuf,
    _lock: Lock,
}

/// Refuses a model folder in that of a name under which a run stands: the run would go on beside a model that
/// is not its own.
pub(super) fn refuse_folder_of_run(model: &Path) -> Result<(), ExperimentError> {
    let homes = [Some(model), model.parent()];
    let Some(home) = homes.into_iter().flatten().find(|home| home.join(RECORD).is_file()) else {
        return Ok(());
    };
    Err(ExperimentError::Config {
        place: "`--output`".to_owned(),
        message: format!(
            "`{}` belongs to the training run in `{}`; choose a different folder, such as \
             `checkpoints/fitted/model`",
            model.display(),
            home.display()
        ),
    })
}

/// What a run is told by its config and data.
pub(super) struct Wanted<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) parts: &'a BTreeMap<String, PartRecord>,
    pub(super) labels: &'a [String],
    pub(super) encoder: &'a EncoderConfig,
    /// SHA-256 over the files of the encoder that it begins with, if with any.
    pub(super) init: Option<String>,
    pub(super) device: &'a Device,
    pub(super) runs: &'a Path,
}

/// How it starts.
pub(super) enum Decision {
    /// From the initial weights.
    Fresh(RunFolder),
    Resume(RunFolder, Box<State>),
    /// Not at all: its report is in this run folder.
    Finished(PathBuf),
}

impl Home {
    /// Takes the folder for this process and clears away what a killed one left.
    pub(super) fn open(checkpoints: &Path, name: &str) -> Result<Self, ExperimentError> {
        let path = checkpoints.join(name);
        let failed = |source| StoreError { doing: "create", path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let lock = Lock::try_take(&path.join(".lock"))?;
        let lock = lock.ok_or_else(|| ExperimentError::Busy(name.to_owned()))?;
        store::tidy(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder of the best weights.
    pub(super) fn best_model(&self) -> PathBuf {
        self.path.join("best_model")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// Decides, and writes down which run the name stands for from now on.
    pub(super) fn start(
        &self,
        resume: &Resume,
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Decision, ExperimentError> {
        let start = match resume {
            Resume::Never => None,
            Resume::Auto => self.automatic(wanted, show)?,
            Resume::From(path) if !path.is_dir() => {
                return Err(Unusable::Absent(path.clone()).into());
            }
            Resume::From(path) => {
                let place = Place::named(path);
                let state = usable(&place, wanted).map_err(ExperimentError::Checkpoint)?;
                Some(go_on(&place, state, wanted, show)?)
            }
        };
        let start = match start {
            Some(start) => start,
            None => Decision::Fresh(RunFolder::create(wanted.runs, &wanted.experiment.name)?),
        };
        if let Decision::Fresh(run) | Decision::Resume(run, _) = &start {
            for folder in [self.model(), self.best_model()] {
                artifact::check_target(&folder)?;
            }
            self.write(run.path(), wanted, false)?;
        }
        Ok(start)
    }

    /// Writes down that the run is over and its model in place.
    pub(super) fn finish(&self, run: &Path, wanted: &Wanted<'_>) -> Result<(), ExperimentError> {
        self.write(run, wanted, true)
    }

    fn write(
        &self,
        run: &Path,
        wanted: &Wanted<'_>,
        finished: bool,
    ) -> Result<(), ExperimentError> {
        let record = Record {
            schema: 1,
            run: run.to_owned(),
            finished,
            experiment: wanted.experiment.clone(),
            parts: wanted.parts.clone(),
            init: wanted.init.clone(),
            labels: wanted.labels.to_vec(),
        };
        let bytes = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        Ok(store::write_atomically(&self.path.join(RECORD), &bytes)?)
    }

    fn automatic(
        &self,
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Decision>, ExperimentError> {
        let path = self.path.join(RECORD);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(&path)
            .map_err(|source| ExperimentError::Read { path: path.clone(), source })?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("{error}; start over with `--resume never`");
            ExperimentError::Config { place: format!("`{}`", path.display()), message }
        })?;
        let finished = record.finished && self.model().is_dir();
        let mut differences = differences(&record.experiment, wanted.experiment, finished);
        differences.extend(other_labels(&record.labels, wanted.labels));
        differences.extend(other_parts(&record.parts, wanted.parts));
        if let (Some(before), Some(now)) = (&record.init, &wanted.init)
            && before != now
            && differences.is_empty()
        {
            differences.push("the encoder files (`model.init`) have changed".to_owned());
        }
        if !differences.is_empty() {
            let name = wanted.experiment.name.clone();
            return Err(ExperimentError::OtherTrajectory { name, finished, differences });
        }
        if finished {
            let late = without_effect(&record.experiment, wanted.experiment);
            if !late.is_empty() {
                show(Progress::Warning(format!(
                    "this run is already finished, so these changes have no effect: {}",
                    late.join("; ")
                )));
            }
            return Ok(Some(Decision::Finished(record.run)));
        }
        for place in checkpoints(&self.path)? {
            match usable(&place, wanted) {
                // A checkpoint that another run of this name has left.
                Ok(state) if state.run != record.run => {}
                Ok(state) => return Ok(Some(go_on(&place, state, wanted, show)?)),
                Err(why) => show(Progress::Warning(format!("{why}; this checkpoint is skipped"))),
            }
        }
        // Stopped before its first checkpoint: the same run from its beginning.
        Ok(RunFolder::reopen(&record.run, 0)?.map(Decision::Fresh))
    }
}

/// Why a checkpoint is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A person named it, and it is not there.
    #[error(
        "checkpoint folder `{0}` not found; `--resume` takes auto, never or a checkpoint folder"
    )]
    Absent(PathBuf),
    /// It is not whole. The message says it all: there is no source to repeat it.
    #[error("checkpoint {0}")]
    Broken(Broken),
    /// It belongs to another trajectory.
    #[error("checkpoint `{path}` belongs to a different config: {}", differences.join("; "))]
    OtherConfig {
        path: PathBuf,
        /// What differs, key by key.
        differences: Vec<String>,
    },
}

impl From<Broken> for Unusable {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// A whole checkpoint of the same trajectory.
fn usable(place: &Place, wanted: &Wanted<'_>) -> Result<TrainerState, Unusable> {
    let state = place.verify()?;
    let path = place.path.join("config.toml");
    let other = |differences| Unusable::OtherConfig { path: path.clone(), differences };
    let text = String::from_utf8(place.read("config.toml")?)
        .map_err(|error| other(vec![error.to_string()]))?;
    let config = Experiment::parse(&text, "its config", &[])
        .map_err(|error| other(vec![error.to_string()]))?;
    let differences = differences(&config, wanted.experiment, false);
    if differences.is_empty() { Ok(state) } else { Err(other(differences)) }
}

fn go_on(
    place: &Place,
    state: TrainerState,
    wanted: &Wanted<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Decision, ExperimentError> {
    let read = |path: &Path| {
        model::load_file(path, wanted.encoder, &Noise::new(0), wanted.device)
            .map(|loaded| loaded.parameters)
    };
    let parameters = read(&place.path.join("model.safetensors"))?;
    let best = place.best().map(|path| read(&path)).transpose()?;
    let optimizer = place.optimizer().map_err(Unusable::from)?;
    let gathered = place.gathered().map_err(Unusable::from)?;
    show(Progress::Note(format!("resuming this run: going on from {}", place.path.display())));
    let run = match RunFolder::reopen(&state.run, state.log_bytes)? {
        Some(run) => run,
        None => {
            show(Progress::Warning(format!(
                "the run folder `{}` or its log is missing; a new one begins at this step",
                state.run.display()
            )));
            RunFolder::create(wanted.runs, &wanted.experiment.name)?
        }
    };
    let state = State::resumed(parameters, best, state.counters, &optimizer, gathered)?;
    Ok(Decision::Resume(run, Box::new(state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_folder_of_a_run_is_refused_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("tickets");
        std::fs::create_dir(&home).unwrap();
        let model = home.join("model");
        refuse_folder_of_run(&model).unwrap();
        std::fs::write(home.join(RECORD), "{}").unwrap();
        for path in [&model, &home, &home.join("best_model"), &model.join("")] {
            let message = refuse_folder_of_run(path).unwrap_err().to_string();
            assert!(
                message.contains("belongs to the training run") && message.contains("`--output`"),
                "{message}"
            );
        }
        refuse_folder_of_run(&folder.path().join("fitted/model")).unwrap();
    }
}
