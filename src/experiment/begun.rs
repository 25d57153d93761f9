//! What was begun in the folder of a name: checkpoints that are whole, and of the run that is wanted.

use std::path::{Path, PathBuf};

use super::differences::differences;
use super::resume::Wanted;
use super::{Experiment, ExperimentError};
use crate::compute::{Backend, Noise};
use crate::model::{self, EncoderConfig, Parameters};
use crate::train::{Broken, Outcome, Place, State, TrainerState};

/// A checkpoint of the run that is whole.
pub(super) struct Begun {
    pub(super) place: Place,
    pub(super) state: TrainerState,
}

impl Begun {
    pub(super) fn has_ended(&self) -> bool {
        self.state.counters.ended
    }

    /// Optimizer steps behind it.
    pub(super) fn steps(&self) -> u64 {
        self.state.counters.step
    }

    fn read(
        path: &Path,
        encoder: &EncoderConfig,
        device: &Backend,
    ) -> Result<Parameters, ExperimentError> {
        Ok(model::load_file(path, encoder, &Noise::new(0), device)?.parameters)
    }

    /// What it came to, if it has ended.
    pub(super) fn outcome(
        &self,
        encoder: &EncoderConfig,
        device: &Backend,
    ) -> Result<Option<Outcome>, ExperimentError> {
        let Some(best) = self.place.best().filter(|_| self.has_ended()) else { return Ok(None) };
        Ok(Outcome::of_ended(&self.state.counters, Self::read(&best, encoder, device)?))
    }

    /// The state that training resumes from.
    pub(super) fn state(
        &self,
        encoder: &EncoderConfig,
        device: &Backend,
    ) -> Result<State, ExperimentError> {
        let place = &self.place;
        let parameters = Self::read(&place.path.join("model.safetensors"), encoder, device)?;
        let best = place.best().map(|path| Self::read(&path, encoder, device)).transpose()?;
        let optimizer = place.optimizer().map_err(Unusable::from)?;
        let gathered = place.gathered().map_err(Unusable::from)?;
        let counters = self.state.counters.clone();
        Ok(State::resumed(parameters, best, counters, &optimizer, gathered)?)
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
    /// The networks before that of a checkpoint have not ended.
    #[error(
        "checkpoint `{path}` is of network {number}, but those before it are not finished; use \
         `--resume auto`"
    )]
    Later { path: PathBuf, number: usize },
}

impl From<Broken> for Unusable {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// A whole checkpoint of the same trajectory.
pub(super) fn usable(place: Place, wanted: &Wanted<'_>) -> Result<Begun, Unusable> {
    let state = place.verify()?;
    let path = place.path.join("config.toml");
    let other = |differences| Unusable::OtherConfig { path: path.clone(), differences };
    let text = String::from_utf8(place.read("config.toml")?)
        .map_err(|error| other(vec![error.to_string()]))?;
    let mut config = Experiment::parse(&text, "its config", &[])
        .map_err(|error| other(vec![error.to_string()]))?;
    if state.number == 0 && wanted.networks() > 1 && !config.shapes_training() {
        // The first of several networks is that of a run of one.
        config.posterior = wanted.experiment.posterior;
    }
    let differences = differences(&config, wanted.experiment, false);
    if differences.is_empty() { Ok(Begun { place, state }) } else { Err(other(differences)) }
}
