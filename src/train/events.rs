//! What a run reports while it works.

use super::inspect::Inspection;
use super::{Plan, Snapshot, Validation};
use crate::model::Parameters;

/// What a line of the log says of the steps since the last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// Mean loss over as many steps as lie between two lines.
    pub loss: f64,
    /// Tokens a second, in the steps themselves.
    pub tokens_per_second: f64,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run begins, or goes on.
    Started {
        plan: &'a Plan,
        /// Steps that were finished before.
        step: u64,
        /// Scalars that are trained.
        trainable: usize,
    },
    /// An optimizer step is done.
    Step {
        step: u64,
        /// Epochs finished, as a fraction.
        epoch: f64,
        /// Mean loss of the step's batch, in nats.
        loss: f64,
        /// What a line of the log says, at a logging step.
        logged: Option<Logged>,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Global norm of the gradient before clipping.
        gradient_norm: f64,
        /// Tokens of the step's batch.
        tokens: usize,
    },
    /// The validation rows are being scored.
    Evaluating { done: usize, rows: usize },
    /// The validation rows were scored.
    Evaluated {
        step: u64,
        /// Epochs finished, as a fraction.
        epoch: f64,
        scores: Validation,
        /// Whether they are of the averaged weights.
        averaged: bool,
        /// The weights, where they are the best so far.
        best: Option<&'a Parameters>,
    },
    /// A look inside the model, every `histogram_steps`.
    Inspected(Inspection<'a>),
    /// The state should be saved now.
    Save(Snapshot<'a>),
    /// Something a person should know of.
    Warning(String),
}

/// What the observer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Continue,
    /// Save the state and end.
    Stop,
}
