//! The recipe behind `bayes train`: data, fine-tuning, posterior, calibration, model folder, report.

mod base;
mod candidate;
mod choice;
mod crossed;
mod describe;
mod evaluation;
mod events;
mod precisions;
mod reader;
mod recipe;
mod refit;
mod report;
mod runs;
mod selection;
mod testing;
mod tuning;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub use choice::RecipeReport;
pub use recipe::train;
pub use report::{MemberReport, TrainReport};

use super::resume::Resume;
use crate::compute::Backend;
// What these files use of the house.
use super::{
    Experiment, ExperimentError, Features, Progress, RunFolder, begun, calibration, certificate,
    cuts, feature_cache, features, head, judged, lessons, observer, origin, plan, posterior,
    prepare, resume, schedule,
};

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    Finished(Box<TrainReport>),
    Interrupted {
        /// Optimizer steps that were finished.
        steps: u64,
        /// Where its state is, if any step was finished by this process.
        checkpoint: Option<PathBuf>,
    },
    /// It was finished before.
    Already {
        model: PathBuf,
        /// The run folder, with the report.
        run: PathBuf,
    },
}

/// Where a run reads and writes, and who listens.
pub struct RunContext<'a> {
    /// Where the tensors are.
    pub device: &'a Backend,
    /// Folder of the models.
    pub checkpoints: &'a Path,
    /// Folder of the runs.
    pub runs: &'a Path,
    /// Raised by a signal to end the run early.
    pub stop: &'a AtomicBool,
    /// Whether a run that was left goes on.
    pub resume: Resume,
    /// The folder of a finished run (`checkpoints/NAME`) that trained the first network of an ensemble with the same
    /// settings: it is not trained again.
    pub first: Option<&'a Path>,
    /// Hears of every checkpoint that is on the disk: its folder, and the steps behind it.
    pub saved: &'a dyn Fn(&Path, u64),
}
