//! The training runs that a method asks for: one, or one for each network of an ensemble, one after another.
//!
//! Each network has its checkpoints in a folder of its own ([`Home::of_network`]), and a network that has ended
//! is read from its last checkpoint, so a run that was killed resumes within the network that it was in. The
//! log has the lines of all of them, one network after another.

use std::path::PathBuf;

use super::base::Base;
use super::begun::Begun;
use super::events::EventFiles;
use super::prepare::Prepared;
use super::resume::Home;
use super::tuning::Tuning;
use super::{ExperimentError, Progress, RunContext, RunFolder};
use crate::calibrate::calibrated_nll;
use crate::compute::Noise;
use crate::data::{StreamedRows, TokenSet};
use crate::method::{FollowedRun, ObjectiveInput, TeacherLogits};
use crate::model::Parameters;
use crate::train::{Ended, EventWriter, Job, Outcome, Plan, State, TrainConfig};

/// The rows of fine-tuning.
pub(super) struct TunedRows {
    pub(super) train: TokenSet,
    /// Where they are streamed.
    pub(super) stream: Option<StreamedRows>,
    /// Rows that choose the best weights.
    pub(super) validation: TokenSet,
    /// What a teacher says of the first ones, where there is one.
    pub(super) teacher: Option<TeacherLogits>,
}

/// What the runs work with.
pub(super) struct Runs<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) base: &'a Base,
    pub(super) rows: TunedRows,
    pub(super) home: &'a Home,
    pub(super) context: &'a RunContext<'a>,
}

/// A network that was trained.
pub(super) struct Network {
    /// Its settings.
    pub(super) config: TrainConfig,
    pub(super) outcome: Outcome,
}

/// How they ended.
pub(super) enum Trained {
    /// With all networks, and the event files of the first.
    All(Vec<Network>, Option<EventWriter>),
    /// They were stopped after these steps of all together.
    Stopped { steps: u64, checkpoint: Option<PathBuf> },
}

impl Runs<'_> {
    /// Trains what is missing. `begun` are the checkpoints of networks that were begun before, `start` the weights
    /// that the first begins with.
    pub(super) fn run(
        &self,
        begun: &[Begun],
        start: Parameters,
        run: &mut RunFolder,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Trained, ExperimentError> {
        let approach = self.prepared.experiment.posterior.approach();
        let total = approach.needs().runs;
        let mut networks: Vec<Network> = Vec::new();
        let (mut first_events, mut checkpoint, mut start) = (None, None, Some(start));
        for number in 0..total {
            let one = self.one(number, total);
            if total > 1 {
                show(Progress::Network { number, total });
            }
            let mut events = one.events(run, begun.get(number), show);
            let known = match begun.get(number).filter(|_| total > 1) {
                Some(begun) => begun.outcome(&self.base.encoder, self.context.device)?,
                None => None,
            };
            let outcome = match known {
                Some(outcome) => outcome,
                None => {
                    let state = one.state(begun.get(number), start.take())?;
                    let before = networks.iter().map(|network| network.outcome.steps).sum();
                    let (ended, last) = one.tune(state, before, run, events.as_mut(), show)?;
                    checkpoint = last.or(checkpoint);
                    match ended {
                        Ended::Finished(outcome) => *outcome,
                        Ended::Stopped(own) => {
                            return Ok(Trained::Stopped { steps: before + own, checkpoint });
                        }
                    }
                }
            };
            networks.push(Network { config: one.config, outcome });
            if number == 0 {
                first_events = events;
            }
        }
        Ok(Trained::All(networks, first_events))
    }

    fn one(&self, number: usize, total: usize) -> One<'_> {
        let experiment = &self.prepared.experiment;
        let mut config = experiment.posterior.approach().of_run(&experiment.train, number);
        // Of the time that the whole has, each gets the same share.
        config.max_time /= total as f64;
        let noise = Noise::new(config.seed);
        let stream = self.rows.stream.as_ref().map(|stream| stream.clone().with_noise(noise));
        One { runs: self, number, several: total > 1, config, stream }
    }
}

/// One of the runs.
struct One<'a> {
    runs: &'a Runs<'a>,
    number: usize,
    /// Whether it is one of several.
    several: bool,
    config: TrainConfig,
    stream: Option<StreamedRows>,
}

impl One<'_> {
    fn events(
        &self,
        run: &RunFolder,
        begun: Option<&Begun>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Option<EventWriter> {
        let Prepared { experiment, start, .. } = self.runs.prepared;
        let encoder = &start.encoder;
        let files = EventFiles { experiment, encoder, config: &self.config, number: self.number };
        files.open(run, begun.map_or(0, Begun::steps), show)
    }

    /// Where it begins or resumes; `start` is given to the first.
    fn state(
        &self,
        begun: Option<&Begun>,
        start: Option<Parameters>,
    ) -> Result<State, ExperimentError> {
        let Runs { prepared, home, context, .. } = self.runs;
        let Prepared { start: encoder, .. } = prepared;
        if let Some(begun) = begun {
            return begun.state(&encoder.encoder, context.device);
        }
        if self.number == 0
            && let Some(start) = start
        {
            return Ok(State::new(start));
        }
        home.clear_network(self.number)?;
        let noise = Noise::new(self.config.seed);
        Ok(State::new(encoder.parameters(&noise, context.device)?.0))
    }

    /// Trains all weights from `state` on. Also gives the last checkpoint that was written.
    fn tune(
        &self,
        state: State,
        steps_before: u64,
        run: &mut RunFolder,
        events: Option<&mut EventWriter>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Ended, Option<PathBuf>), ExperimentError> {
        let Runs { prepared, base, rows, home, context } = self.runs;
        let Prepared { experiment, start, .. } = prepared;
        let approach = experiment.posterior.approach();
        let mut job = Job {
            encoder: &start.encoder,
            config: &self.config,
            train: &rows.train,
            stream: self.stream.as_ref(),
            validation: &rows.validation,
            objective: None,
            calibrated_nll,
        };
        let objective = approach.objective(ObjectiveInput {
            classes: job.encoder.labels.len(),
            width: job.encoder.hidden_size,
            rows: job.rows(),
            teacher: rows.teacher.as_ref(),
        })?;
        job.objective = objective.as_deref();
        let plan = Plan::new(&self.config, job.rows());
        let followed = FollowedRun {
            rows: job.rows(),
            layers: start.encoder.layer_weights(),
            frozen_layers: start.encoder.weights_of(self.config.frozen_layers),
            seed: self.config.seed,
        };
        let follower = approach.follower(&plan, &followed);
        let follower = follower.map_err(ExperimentError::Encoder)?;
        let tuning = Tuning {
            experiment,
            home: home.of_network(self.number),
            member: self.several.then_some(self.number),
            steps_before,
            job,
            base,
            stop: context.stop,
            saved: context.saved,
        };
        tuning.run(state, follower, run, events, show)
    }
}
