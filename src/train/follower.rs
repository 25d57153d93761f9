//! What follows the weights that a run passes through.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::{Result, Var};

use super::{Gradients, Plan};
use crate::model::Parameters;

/// What a follower has gathered, by name.
pub type Gathered = BTreeMap<String, Vec<f32>>;

/// Follows the weights of a run. What it gathers is part of every checkpoint, so that a run that resumes
/// comes to the same bytes.
pub trait Follower: Debug {
    /// The learning rate of a step, counted from 0, as a share of the peak.
    fn rate(&self, plan: &Plan, step: u64) -> f64 {
        plan.rate(step)
    }

    /// Sees the weights after so many steps.
    fn follow(&mut self, steps: u64, weights: &BTreeMap<String, Var>) -> Result<()>;

    /// Whether it updates this parameter itself, in the place of the optimizer.
    fn owns(&self, _: &str) -> bool {
        false
    }

    /// Moves weights that it owns, before the gradients of a step, counted from 0, are taken.
    fn perturb(&mut self, _step: u64, _weights: &BTreeMap<String, Var>) -> Result<()> {
        Ok(())
    }

    /// Puts them back, to the bit.
    fn restore(&mut self, _weights: &BTreeMap<String, Var>) -> Result<()> {
        Ok(())
    }

    /// Updates what it owns by the gradients at the moved weights; `rate` is the learning rate as a share of the
    /// peak.
    fn update(
        &mut self,
        _rate: f64,
        _weights: &BTreeMap<String, Var>,
        _gradients: &Gradients,
    ) -> Result<()> {
        Ok(())
    }

    /// What it has gathered.
    fn gathered(&self) -> &Gathered;

    /// Resumes from what it had gathered.
    fn resume(&mut self, gathered: Gathered);

    /// The weights that the run ends with, where these are not the best of its evaluations. `last` are those
    /// after the last step.
    fn weights(&self, last: &Parameters) -> Result<Option<Parameters>>;
}
