//! The recipe behind `bayes fit`: a posterior for a classifier that exists. Its encoder stays, byte for
//! byte; texts are encoded once, and every method is fitted on the same features.

mod absent;
mod comparison;
mod encoder;
mod recipe;
mod reference;
mod rows;
mod settings;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

pub use recipe::fit;
pub use reference::{ReferenceJob, compare_with_exact};
pub(super) use target::Target;

// What these files use of the house.
use super::{
    Experiment, ExperimentError, Features, Progress, calibration, certificate, cuts, feature_cache,
    features, kept, lineage, origin, posterior, prepare, resume, unused,
};
use crate::artifact::ZeroShotLabels;
use crate::calibrate::CalibrationSummary;
use crate::compute::Precision;
use crate::data::Overrides;
use crate::evaluate::WithoutSeen;
use crate::method::laplace::Head;
use crate::method::{FitRecord, Method};
use crate::metrics::Summary;
use crate::model::Pooling;

/// What to fit.
#[derive(Clone, Debug)]
pub struct FitJob {
    /// A model folder: one of ours, or a classifier in the layout of transformers.
    pub model: PathBuf,
    /// A data set with labels; `None` for the one that the model was trained on.
    pub dataset: Option<String>,
    /// How its tables are read.
    pub overrides: Overrides,
    /// The labels that the user names, for a classifier of natural language inference.
    pub labels: Option<ZeroShotLabels>,
    /// The methods to compare; the first one is written. None for the usual one.
    pub methods: Vec<Method>,
    /// Keys of `[posterior]` and `[calibration]`, as `key=value`, besides the method, and those of `[data]` that divide
    /// the rows.
    pub settings: Vec<String>,
    /// At most so many training and so many test rows; 0 for all.
    pub limit: usize,
    /// Whether the last layer may move.
    pub head: Head,
    /// The model folder to write; by default `checkpoints/NAME-METHOD/model`.
    pub output: Option<PathBuf>,
}

/// One row of the comparison, on the test part.
#[derive(Clone, Debug, Serialize)]
pub struct FitScore {
    /// `before`, or a method.
    pub name: String,
    /// All metrics, under their fixed keys.
    pub test: Summary,
    /// The scores without test rows that the weights or the fit have seen, where there are any.
    pub without_seen: Option<WithoutSeen>,
    /// What was fitted; absent for `before`.
    pub fitted: Option<FitRecord>,
    /// Seconds that the fit took, without encoding.
    pub seconds: f64,
}

/// What a finished fit says.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The classifier that was there.
    pub source: PathBuf,
    /// The folder that was written, with the first method.
    pub model: PathBuf,
    /// How its encoder pools, which decides what loads it in Python.
    pub pooling: Pooling,
    /// Whether its labels were named by a user, and are not classes of its last layer.
    pub zero_shot: bool,
    pub dataset: String,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Whether they are pairs.
    pub pairs: bool,
    /// Rows of each part that was used.
    pub rows: BTreeMap<&'static str, usize>,
    /// Rows whose features had to be computed.
    pub encoded: usize,
    /// What was fitted on the conformal part, for the first method.
    pub calibration: CalibrationSummary,
    /// The classifier as it was, and with each method.
    pub scores: Vec<FitScore>,
    /// The precision of these scores, where the model that was written answers at another one by itself on a CPU with
    /// the instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tested_at: Option<Precision>,
}
