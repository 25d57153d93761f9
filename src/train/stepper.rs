//! Single optimizer steps, for whoever measures them.

use super::run::{Job, Run};
use super::{State, TrainError};
use crate::model::Parameters;

/// Takes steps as [`super::fit`] does, on rows of the caller's choice; nothing is evaluated.
pub struct Stepper<'a> {
    run: Run<'a>,
    taken: u64,
}

impl<'a> Stepper<'a> {
    /// Begins with a copy of `initial`.
    pub fn new(job: &'a Job<'a>, initial: &Parameters) -> Result<Self, TrainError> {
        Ok(Self { run: Run::new(job, State::new(initial.clone()), None)?, taken: 0 })
    }

    /// Megabytes that the activations of the steps so far have needed.
    pub fn activation_mb(&self) -> f64 {
        self.run.pass.activation_bytes() as f64 / f64::from(1 << 20)
    }

    /// One step at the peak learning rate over a batch of rows; returns its loss.
    pub fn step(&mut self, rows: &[u32]) -> Result<f64, TrainError> {
        let learning_rate = self.run.job.config.learning_rate;
        let done = self.run.step(self.taken, learning_rate, &[rows.to_vec()])?;
        self.taken += 1;
        let done = done.map_err(|found| found.error(self.taken))?;
        Ok(done.loss)
    }
}
