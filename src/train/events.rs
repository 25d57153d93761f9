//! What a run reports while it works.

use serde::{Deserialize, Serialize};

use super::inspect::Inspection;
use super::{Plan, Snapshot};
use crate::metrics::{self, MetricsError, Scored};
use crate::model::Parameters;

/// Scores of the validation rows, before any temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean negative log likelihood in nats.
    pub nll: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Macro-averaged F1.
    pub f1: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
}

impl Scores {
    /// Of logits `[n, c]` under a softmax.
    pub fn of_logits(logits_nc: &[f64], labels: &[u32]) -> Result<Self, MetricsError> {
        let classes = logits_nc.len() / labels.len().max(1);
        let mut probability_nc = logits_nc.to_vec();
        let mut nll = 0.0;
        for (line_c, &label) in probability_nc.chunks_exact_mut(classes.max(1)).zip(labels) {
            let peak = line_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = line_c.iter().map(|logit| (logit - peak).exp()).sum();
            let log_sum = peak + sum.ln();
            nll += log_sum - line_c.get(label as usize).copied().unwrap_or(f64::NAN);
            line_c.iter_mut().for_each(|logit| *logit = (*logit - log_sum).exp());
        }
        let scored = Scored::new(&probability_nc, classes, labels)?;
        Ok(Self {
            nll: nll / labels.len() as f64,
            accuracy: metrics::accuracy(&scored),
            f1: metrics::macro_f1(&scored),
            ece: metrics::ece(&scored, metrics::BINS),
        })
    }
}

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
        /// Its plan.
        plan: &'a Plan,
        /// Steps that were finished before.
        step: u64,
        /// Scalars that are trained.
        trainable: usize,
    },
    /// An optimizer step is done.
    Step {
        /// Steps finished.
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
    Evaluating {
        /// Rows done.
        done: usize,
        /// All rows.
        rows: usize,
    },
    /// The validation rows were scored.
    Evaluated {
        /// Steps finished.
        step: u64,
        /// Epochs finished, as a fraction.
        epoch: f64,
        /// The scores.
        scores: Scores,
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
    /// Go on.
    Continue,
    /// Save the state and end.
    Stop,
}
