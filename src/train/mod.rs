//! The training loop. It knows nothing of Bayes: methods call it, it never calls them.

mod average;
mod batch_source;
mod checkpoint;
mod class_weights;
mod config;
mod evaluation;
mod events;
mod follower;
mod gradients;
mod inspect;
mod objective;
mod on_device;
mod optimizer;
mod pass;
mod run;
mod schedule;
mod state;
mod step;
mod stepper;
mod steps;
mod tensorboard;
mod updater;

pub use batch_source::StreamPosition;
pub use checkpoint::{Broken, NewCheckpoint, Origin, Place, TrainerState, checkpoints};
pub use class_weights::{ClassWeights, counts as class_counts};
pub use config::{Recipe, SchedulerType, TrainConfig};
pub use evaluation::{CalibratedNll, Validation};
pub use events::{Control, Event, Logged};
pub use follower::{Follower, Gathered};
pub use gradients::{Gradients, Guard};
pub use inspect::{Inspection, LayerView};
pub use objective::{Answers, Objective, OwnParameter};
pub use optimizer::{AdamW, Group};
pub use run::{Ended, Job, Outcome, fit};
pub use schedule::Plan;
pub use state::{Best, Counters, Snapshot, State, Warned};
pub use stepper::Stepper;
pub use steps::Steps;
pub use tensorboard::{EventWriter, reliability_png, scalars as event_scalars};

/// Why a run stopped without a result.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A parameter that should be trained got no gradient: some operation has no backward pass.
    #[error(
        "parameter `{name}` has no gradient: an operation between it and the loss has no backward pass"
    )]
    NoGradient {
        /// Our name of the parameter.
        name: String,
    },
    /// A gradient has the wrong shape.
    #[error("the gradient of `{name}` has shape {found:?} where the parameter has {expected:?}")]
    GradientShape {
        /// Our name of the parameter.
        name: String,
        /// Shape of the gradient.
        found: Vec<usize>,
        /// Shape of the parameter.
        expected: Vec<usize>,
    },
    /// The loss or a gradient is not a finite number.
    #[error(
        "{what} is not finite at step {step}; try a lower `train.learning_rate`, or skip such steps \
         with `--set train.skip_nonfinite=true` (rows {rows:?} of the training data)"
    )]
    NotFinite {
        /// `the loss`, or the gradient's parameter.
        what: String,
        /// Optimizer step, from 1.
        step: u64,
        /// Rows of the batch.
        rows: Vec<u64>,
    },
    /// The message says which instructions are missing.
    #[error("`train.bf16` is true, but {0}")]
    Bf16Cpu(String),
    #[error("the train split has no rows")]
    NoTraining,
    /// There is nothing to choose by.
    #[error(
        "the validation split has no rows; set `data.validation_fraction` above 0, such as 0.1, or \
         provide a validation split"
    )]
    NoValidation,
    /// The weights are beyond all bounds.
    #[error(
        "the trained model returns NaN instead of probabilities; try a lower `train.learning_rate`"
    )]
    NoProbabilities,
    /// A saved optimizer state is damaged.
    #[error("the optimizer state is damaged: {message}")]
    OptimizerState {
        /// The first thing that is wrong with it.
        message: String,
    },
    /// Scores of the validation rows could not be computed.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
    /// The observer of the run failed.
    #[error(transparent)]
    Observer(#[from] std::io::Error),
    /// The stream of training rows broke off.
    #[error(transparent)]
    Data(#[from] Box<crate::data::DataError>),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
