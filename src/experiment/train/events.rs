//! The event files of a run, for TensorBoard. Training does not stop where they cannot be written.

use std::io;

use super::{Experiment, Progress, RunFolder};
use crate::evaluate::Report;
use crate::model::EncoderConfig;
use crate::train::{EventWriter, Outcome, TrainConfig};

/// Why there are none.
pub(super) fn no_events(error: &io::Error) -> String {
    format!("no more TensorBoard data are written: {error}")
}

/// Where event files are written, and of what.
pub(super) struct EventFiles<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) encoder: &'a EncoderConfig,
    /// The settings of the network that is trained.
    pub(super) config: &'a TrainConfig,
    /// Its number; those after the first have a folder in that of the run, so that TensorBoard draws their curves
    /// beside the others.
    pub(super) number: usize,
}

impl EventFiles<'_> {
    /// The event files from a step on, where they are wanted and can be written.
    pub(super) fn open(
        &self,
        run: &RunFolder,
        step: u64,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Option<EventWriter> {
        if !self.experiment.train.tensorboard {
            return None;
        }
        match self.create(run, step) {
            Ok(mut events) => {
                events.describe(&self.experiment.to_toml(), self.encoder, self.config);
                if self.number == 0 {
                    let runs = run.path().parent().unwrap_or(run.path());
                    show(Progress::Note(format!(
                        "to follow the run: tensorboard --logdir {}",
                        runs.display()
                    )));
                }
                Some(events)
            }
            Err(error) => {
                show(Progress::Warning(no_events(&error)));
                None
            }
        }
    }

    fn create(&self, run: &RunFolder, step: u64) -> io::Result<EventWriter> {
        if self.number == 0 {
            return EventWriter::create(run.path(), step);
        }
        let folder = run.path().join(format!("member_{}", self.number));
        std::fs::create_dir_all(&folder)?;
        EventWriter::create(&folder, step)
    }
}

/// Writes what a run came to.
pub(super) fn finish_events(
    events: &mut EventWriter,
    outcome: &Outcome,
    test: &Report,
    show: &mut dyn FnMut(Progress<'_>),
) {
    let summary = &test.summary;
    events.finish(outcome.steps, outcome.final_loss, summary.accuracy.value, &summary.bins);
    if let Some(error) = events.take_failure() {
        show(Progress::Warning(no_events(&error)));
    }
}
