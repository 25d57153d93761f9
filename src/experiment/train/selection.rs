//! The models of a run, from the first to the one that is kept.

use std::path::PathBuf;

use super::base::Base;
use super::calibration::FitSettings;
use super::candidate::Shop;
use super::choice::{Choice, Decided};
use super::events::new_events;
use super::posterior::weights_of_classes;
use super::prepare::{Crossing, Prepared, Sets};
use super::resume::Home;
use super::tuning::Tuning;
use super::{ExperimentError, Progress, RunContext, RunFolder};
use crate::data::StreamedRows;
use crate::train::{self, EventWriter, Job, Plan, Recipe, State, class_counts};

/// What the models of a run are made from.
pub(super) struct Selection<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) base: &'a Base,
    pub(super) sets: &'a Sets,
    pub(super) home: &'a Home,
    pub(super) context: &'a RunContext<'a>,
}

/// What the selection comes to.
pub(super) enum Selected {
    /// A model, and the event files of its fine-tuning.
    Kept(Box<Decided>, Option<EventWriter>),
    /// Nothing yet: the run was stopped after these steps.
    Stopped { steps: u64, checkpoint: Option<PathBuf> },
}

impl<'a> Selection<'a> {
    /// Fits a head, fine-tunes, or both, and keeps the better model. `begun` is the state of a run that is
    /// resumed.
    pub(super) fn run(
        &self,
        begun: Option<State>,
        run: &mut RunFolder,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Selected, ExperimentError> {
        let stream = self.prepared.streamed();
        let (shop, mut choice) = self.first(stream.as_ref(), begun.is_none(), show)?;
        if !choice.goes_on(&shop, begun.as_ref(), show)? {
            return Ok(Selected::Kept(Box::new(choice.decide(show)), None));
        }
        let state = begun.unwrap_or_else(|| State::new(choice.start()));
        let crossing = shop.crossing.as_ref();
        let (ended, events) = self.tune(state, stream.as_ref(), crossing, run, show)?;
        let outcome = match ended {
            (train::Ended::Finished(outcome), _) => *outcome,
            (train::Ended::Stopped(steps), checkpoint) => {
                return Ok(Selected::Stopped { steps, checkpoint });
            }
        };
        let gathered = outcome.follower.as_ref().map(|follower| follower.gathered());
        let tuned = shop.tuned(&outcome.parameters, gathered, show)?;
        choice.compare(tuned, outcome, show);
        Ok(Selected::Kept(Box::new(choice.decide(show)), events))
    }

    /// What candidates are made from, and the head, where the recipe begins with one.
    fn first(
        &self,
        stream: Option<&StreamedRows>,
        fresh: bool,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Shop<'a>, Choice), ExperimentError> {
        let Self { prepared, base, sets, .. } = *self;
        let Prepared { experiment, start, noise, crossing, .. } = prepared;
        let recipe = experiment.train.recipe;
        let (initial, missing) = start.parameters(noise, self.context.device)?;
        if fresh && !missing.is_empty() && recipe == Recipe::Full {
            show(Progress::Note(format!("randomly initialised (seeded): {}", missing.join(", "))));
        }
        let weights = experiment.train.class_weights;
        let counts = match stream {
            Some(stream) => stream.counts(),
            None => class_counts(sets.train.labels(), start.encoder.labels.len()),
        };
        let shop = Shop {
            prepared,
            sets,
            base,
            crossing: crossing.clone(),
            settings: FitSettings {
                posterior: &experiment.posterior,
                calibration: &experiment.calibration,
                class_weights: weights,
            },
            class_weights: weights_of_classes(weights, &counts),
        };
        match recipe {
            Recipe::Full => Ok((shop, Choice::begin(None, initial))),
            Recipe::Head | Recipe::Auto => {
                let mut frozen = shop.frozen(&initial, show)?;
                let shop = Shop { crossing: frozen.crossing.take(), ..shop };
                Ok((shop, Choice::with_head(frozen, show)))
            }
        }
    }

    /// Trains all weights from `state` on. Also gives the last checkpoint that was written.
    fn tune(
        &self,
        state: State,
        stream: Option<&StreamedRows>,
        crossing: Option<&Crossing>,
        run: &mut RunFolder,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Tuned, ExperimentError> {
        let Prepared { experiment, start, .. } = self.prepared;
        let (train, validation) = self.sets.tuning(crossing);
        let job = Job {
            encoder: &start.encoder,
            config: &experiment.train,
            train: &train,
            stream,
            validation: &validation,
        };
        let plan = Plan::new(&experiment.train, job.rows());
        let follower = experiment.posterior.approach().follower(&plan);
        let follower = follower.map_err(ExperimentError::Encoder)?;
        let mut events = new_events(experiment, &start.encoder, run, &state, show);
        let (stop, saved) = (self.context.stop, self.context.saved);
        let tuning = Tuning { experiment, home: self.home, job, base: self.base, stop, saved };
        let ended = tuning.run(state, follower, run, events.as_mut(), show)?;
        Ok((ended, events))
    }
}

/// How fine-tuning ended, its last checkpoint, and its event files.
type Tuned = ((train::Ended, Option<PathBuf>), Option<EventWriter>);
