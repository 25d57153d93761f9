//! All that a run has to know at an optimizer step to go on to the same bytes.
//!
//! Order of the rows, noise and learning rate are functions of the config and the number of the
//! step, so there is no random state to keep, and a position only in data that are streamed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AdamW, Gathered, Plan, StreamPosition, TrainError, Validation};
use crate::model::Parameters;

/// What is counted over the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Optimizer steps that are finished.
    pub step: u64,
    /// After which of them the model was evaluated last.
    pub evaluated: u64,
    /// Evaluations since the last one that was better.
    pub without_progress: u64,
    /// Whether the run has come to its end and takes no further step.
    pub ended: bool,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Losses of the last steps, as many as a line of the log is the mean of.
    pub recent: Vec<f64>,
    /// Steps that were left out, since loss or gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
    /// Seconds of training in all processes together.
    #[serde(default)]
    pub seconds: f64,
    /// What was warned of, which is done once a run.
    #[serde(default)]
    pub warned: Warned,
    /// Where a stream of rows stands; what the order of rows in memory is follows from the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamPosition>,
    /// Tensors that had no gradient yet, while the guard watches.
    pub silent: Vec<String>,
}

/// Warnings that come once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warned {
    /// Of attention that looks at one token only.
    pub attention: bool,
    /// Of a gradient that vanishes or explodes.
    pub gradient: bool,
}

/// An evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After how many steps.
    pub step: u64,
    /// What the validation rows scored.
    pub scores: Validation,
    /// Whether they are of the averaged weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
}

/// A run between two steps.
#[derive(Clone, Debug)]
pub struct State {
    pub parameters: Parameters,
    /// The weights of the best evaluation, where there was one.
    pub best: Option<Parameters>,
    pub counters: Counters,
    pub(super) optimizer: AdamW,
    pub(super) average: BTreeMap<String, Vec<f32>>,
    pub(super) gathered: Gathered,
}

impl State {
    /// A run that begins.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            best: None,
            counters: Counters::default(),
            optimizer: AdamW::default(),
            average: BTreeMap::new(),
            gathered: Gathered::new(),
        }
    }

    /// A run that goes on; `optimizer` is the file that [`Snapshot::optimizer_file`] gave, `gathered` what a
    /// [`Follower`](super::Follower) had.
    pub fn resumed(
        parameters: Parameters,
        best: Option<Parameters>,
        counters: Counters,
        optimizer: &[u8],
        gathered: Gathered,
    ) -> Result<Self, TrainError> {
        let (optimizer, average) = AdamW::from_bytes(optimizer)?;
        Ok(Self { parameters, best, counters, optimizer, average, gathered })
    }
}

/// The same, lent by a run to whoever saves it.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    pub parameters: &'a Parameters,
    pub counters: &'a Counters,
    pub(super) optimizer: Cow<'a, AdamW>,
    pub(super) average: Option<Cow<'a, BTreeMap<String, Vec<f32>>>>,
    /// What a [`Follower`](super::Follower) has gathered, or an [`Objective`](super::Objective) has of
    /// its own, where there is one.
    pub gathered: Option<Cow<'a, Gathered>>,
}

impl Snapshot<'_> {
    /// The optimizer's moments and the averaged weights, as a safetensors file.
    pub fn optimizer_file(&self) -> Vec<u8> {
        self.optimizer.to_bytes(self.average.as_deref())
    }
}
