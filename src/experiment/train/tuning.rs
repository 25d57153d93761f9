//! The fine-tuning of a run: the loop, its log, its best weights and its checkpoints.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::base::Base;
use super::events::no_events;
use super::observer::Log;
use super::resume::Home;
use super::{Experiment, ExperimentError, Progress, RunFolder};
use crate::artifact;
use crate::model;
use crate::train::{
    self, Ended, Event, EventWriter, Follower, Job, NewCheckpoint, Snapshot, State,
};

/// What the fine-tuning works with.
pub(super) struct Tuning<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) home: &'a Home,
    pub(super) job: Job<'a>,
    pub(super) base: &'a Base,
    pub(super) stop: &'a AtomicBool,
    /// Hears of every checkpoint.
    pub(super) saved: &'a dyn Fn(&Path, u64),
}

impl Tuning<'_> {
    /// Trains from `state` on. The second part is the last checkpoint that was written.
    pub(super) fn run(
        &self,
        state: State,
        follower: Option<Box<dyn Follower>>,
        run: &mut RunFolder,
        events: Option<&mut EventWriter>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Ended, Option<PathBuf>), ExperimentError> {
        self.restore_best(&state)?;
        let mut log = Log::new(run, events, self.stop);
        let mut last = None;
        let ended = train::fit(&self.job, state, follower, &mut |event| {
            if let Event::Evaluated { best: Some(parameters), .. } = &event {
                self.save_best(parameters).map_err(io::Error::other)?;
            }
            show(Progress::Train(&event));
            let control = log.hear(&event)?;
            if let Some(error) = log.events_failure() {
                show(Progress::Warning(no_events(&error)));
            }
            if let Event::Save(snapshot) = &event {
                let saved = self.save(snapshot, log.run().path(), log.run().sync_metrics()?);
                let folder = saved.map_err(io::Error::other)?;
                (self.saved)(&folder, snapshot.counters.step);
                last = Some(folder);
            }
            Ok(control)
        })?;
        Ok((ended, last))
    }

    /// `best_model` may be of a later step than the checkpoint that the run goes on from.
    fn restore_best(&self, state: &State) -> Result<(), ExperimentError> {
        if let Some(parameters) = &state.best {
            self.save_best(parameters)?;
        }
        Ok(())
    }

    fn save_best(&self, parameters: &model::Parameters) -> Result<(), ExperimentError> {
        artifact::save(&self.base.with(parameters), &self.home.best_model())?;
        Ok(())
    }

    /// A checkpoint: a model folder with the training's state beside it.
    fn save(
        &self,
        snapshot: &Snapshot<'_>,
        run: &Path,
        log_bytes: u64,
    ) -> Result<PathBuf, ExperimentError> {
        let mut new = NewCheckpoint::create(&self.home.path, snapshot, run, log_bytes)?;
        new.write("config.toml", self.experiment.to_toml().as_bytes())?;
        let weights = model::save(&self.base.encoder, snapshot.parameters)?;
        let artifact = self.base.with(snapshot.parameters);
        artifact::write(&artifact, &weights, |name, bytes| new.write(name, bytes))?;
        if snapshot.counters.best.is_some() {
            new.keep_best(&self.home.best_model().join("model.safetensors"))?;
        }
        Ok(new.finish(self.experiment.train.save_total_limit)?)
    }
}
