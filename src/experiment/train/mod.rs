//! The recipe behind `bayes train`.

mod base;
mod candidate;
mod choice;
mod crossed;
mod describe;
mod evaluation;
mod head;
mod recipe;
mod tuning;

pub use recipe::{Ended, RecipeReport, RunContext, TrainReport, train};

// What these files use of the house.
use super::{
    Experiment, ExperimentError, Features, Progress, RunFolder, calibration, feature_cache, judged,
    observer, origin, plan, posterior, prepare, resume, schedule,
};
