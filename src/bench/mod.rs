//! Measurements of one model on this machine: latency, throughput, memory, size, training speed.
//!
//! The work is cut into rounds, and in each round every measurement has its turn with the same
//! batches, so that a machine that grows slower while it is measured slows all of them alike. What
//! is reported is the median over the rounds, from the smallest to the largest.

mod baseline;
mod document;
mod dump;
mod markdown;
mod measure;
mod process;
mod reference;
mod results;
mod settings;
mod statistics;
mod task;

pub use baseline::{Baseline, Comparison, Verdict};
pub use document::Document;
pub use dump::{dump, is_dump};
pub use markdown::{TITLE, figure, with_unit};
pub use measure::{Subject, measure};
pub use process::{Machine, machine};
pub use reference::{Distance, Reference};
pub use results::Results;
pub use settings::{Order, SUITES, Settings, Suite};

/// What a measurement says while it runs.
#[derive(Clone, Debug)]
pub enum Progress {
    Note(String),
    /// Rounds that are done, and all rounds.
    Rounds(usize, usize),
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("unknown suite `{name}`;{suggestion} available suites: `{known}`")]
    Suite {
        /// What was asked for.
        name: String,
        /// ` did you mean …?`, or empty.
        suggestion: String,
        known: String,
    },
    /// There is nothing to measure with.
    #[error("there are no rows to measure with")]
    NoRows,
    /// A file that `--save` did not write.
    #[error(
        "cannot read the saved benchmark `{path}`: {message}; create one with `bayes bench --save \
         FILE`"
    )]
    Baseline {
        path: std::path::PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A training step failed.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
