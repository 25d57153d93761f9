//! The fine-tuning of a run: the loop, its log, its best weights and its checkpoints.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::base::Base;
use super::events::no_events;
use super::observer::Log;
use super::resume::best_model;
use super::{Experiment, ExperimentError, Progress, RunFolder};
use crate::artifact;
use crate::model;
use crate::train::{
    self, Ended, Event, EventWriter, Follower, Job, NewCheckpoint, Origin, Snapshot, State,
};

/// What the fine-tuning works with.
pub(super) struct Tuning<'a> {
    pub(super) experiment: &'a Experiment,
    /// Where its checkpoints and its best weights are.
    pub(super) home: PathBuf,
    /// Its number, where several networks are trained one after another, and the steps of those before it.
    pub(super) member: Option<usize>,
    pub(super) steps_before: u64,
    pub(super) job: Job<'a>,
    pub(super) base: &'a Base,
    pub(super) stop: &'a AtomicBool,
    /// Hears of every checkpoint, and of the steps of all networks that are behind it.
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
        let mut log = Log::new(run, events, self.stop).of_member(self.member);
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
                let origin = Origin {
                    run: log.run().path(),
                    log_bytes: log.run().sync_metrics()?,
                    number: self.member.unwrap_or(0),
                };
                let folder = self.save(snapshot, &origin).map_err(io::Error::other)?;
                (self.saved)(&folder, self.steps_before + snapshot.counters.step);
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
        let config = Some(self.experiment.to_toml());
        artifact::save_with_config(&self.base.with(parameters), config, &self.best_model())?;
        Ok(())
    }

    /// A checkpoint: a model folder with the training's state beside it.
    fn save(
        &self,
        snapshot: &Snapshot<'_>,
        origin: &Origin<'_>,
    ) -> Result<PathBuf, ExperimentError> {
        let mut new = NewCheckpoint::create(&self.home, snapshot, origin)?;
        new.write("config.toml", self.experiment.to_toml().as_bytes())?;
        let weights = model::save(&self.base.encoder, snapshot.parameters)?;
        let artifact = self.base.with(snapshot.parameters);
        artifact::write(&artifact, &weights, None, |name, bytes| new.write(name, bytes))?;
        if snapshot.counters.best.is_some() {
            new.keep_best(&self.best_model().join("model.safetensors"))?;
        }
        // Of a network that others follow only the last is ever read again.
        let over = self.member.is_some() && snapshot.counters.ended;
        Ok(new.finish(if over { 1 } else { self.experiment.train.save_total_limit })?)
    }

    fn best_model(&self) -> PathBuf {
        best_model(&self.home)
    }
}
