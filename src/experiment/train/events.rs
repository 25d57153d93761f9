//! The event files of a run, for TensorBoard. Training does not stop where they cannot be written.

use std::io;

use super::{Experiment, Progress, RunFolder};
use crate::evaluate::Report;
use crate::model::EncoderConfig;
use crate::train::{EventWriter, Outcome, State};

/// Why there are none.
pub(super) fn no_events(error: &io::Error) -> String {
    format!("no more TensorBoard data are written: {error}")
}

/// The event files of the run, where they are wanted and can be written.
pub(super) fn new_events(
    experiment: &Experiment,
    encoder: &EncoderConfig,
    run: &RunFolder,
    state: &State,
    show: &mut dyn FnMut(Progress<'_>),
) -> Option<EventWriter> {
    if !experiment.train.tensorboard {
        return None;
    }
    match EventWriter::create(run.path(), state.counters.step) {
        Ok(mut events) => {
            events.describe(&experiment.to_toml(), encoder, &experiment.train);
            let runs = run.path().parent().unwrap_or(run.path());
            show(Progress::Note(format!(
                "to follow the run: tensorboard --logdir {}",
                runs.display()
            )));
            Some(events)
        }
        Err(error) => {
            show(Progress::Warning(no_events(&error)));
            None
        }
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
