//! The file that a person writes, and the recipes behind `train` and `fit`.

mod altered;
mod audit;
mod begun;
mod calibration;
mod certificate;
pub mod compare;
mod config;
mod cuts;
mod differences;
mod encoder;
mod feature_cache;
mod features;
mod fit;
mod head;
mod judged;
mod kept;
mod keys;
mod lessons;
mod lineage;
mod observer;
mod origin;
mod plan;
mod posterior;
mod prepare;
mod quantize;
mod recalibrate;
mod repeated;
mod resume;
mod run_folder;
mod schedule;
mod teacher;
mod train;
mod unused;

pub use audit::{Audited, audit, of_model};
pub use begun::Unusable;
pub use config::{CLASSIFY, Experiment, QUICK_START};
pub use features::Features;
pub use fit::{FitJob, FitReport, FitScore, ReferenceJob, compare_with_exact, fit};
pub use judged::HeldOutScores;
pub use keys::known as known_keys;
pub use observer::Progress;
pub use plan::{Plan, plan};
pub use prepare::{PreparedSplit, prepare_tokens};
pub use quantize::{QuantizeJob, QuantizeReport, quantize};
pub use recalibrate::{Fitness, RecalibrateJob, RecalibrateReport, recalibrate};
pub use repeated::{check_repeated, told_repeated};
pub use resume::Resume;
pub use run_folder::{RunFolder, create_run_folder};
pub use train::{Ended, MemberReport, RecipeReport, RunContext, TrainReport, train};

use std::path::PathBuf;

use crate::numbers::counted;

/// Why an experiment did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// A fit whose result would take the place of what it is made from.
    #[error(
        "`{0}` is the model that is being fitted, and the result would replace it; choose a \
         different folder with `--output`"
    )]
    FitInPlace(PathBuf),
    /// A fit whose result would take the place of that of another classifier.
    #[error(
        "`{model}` {}, so it is not replaced; choose a different folder with `--output`, or remove that one",
        match before {
            Some(before) => format!("was fitted from another model, `{before}`"),
            None => "exists, and nothing says which model it was fitted from".to_owned(),
        }
    )]
    FitOfOther {
        model: PathBuf,
        /// What it was fitted from, where that is known.
        before: Option<String>,
    },
    /// A model under the name of a run, which no run of that name has made.
    #[error(
        "`{model}` exists, but no run of the name `{name}` made it, so it is not replaced; choose a \
         different `name` for this run, or replace the model with `--resume never`"
    )]
    ModelOfOther { name: String, model: PathBuf },
    #[error("file `{0}` not found")]
    NoFile(PathBuf),
    /// A config file cannot be read.
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    /// A config is not TOML, or has a value of the wrong kind.
    #[error("{place}: {message}")]
    Config {
        /// The file, or `--set KEY`.
        place: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// No rows to report on.
    #[error(
        "the test split of `{0}` is empty, but every run ends with a report on it; set \
         `data.test_fraction` above 0 (for example 0.1), or add a test split to the data"
    )]
    NoTest(String),
    /// The encoder cannot tell the rows apart.
    #[error(
        "all {0} training texts look the same to the encoder, so nothing can be learned from them; its \
         tokenizer may not know any of their words; choose an encoder for their language and script (`--init` of `bayes train`)"
    )]
    SameTexts(usize),
    /// A model that does not say what it was trained on.
    #[error("`{0}` does not record its training data; give a data set with `--dataset`")]
    NoData(PathBuf),
    /// The encoder is not on this machine.
    #[error(
        "the encoder `{name}` is not on this machine and could not be downloaded; connect to the \
         internet once (the encoder is then cached), give a local folder with `--init DIR`, or \
         train a small encoder from scratch with `--init none` (far less accurate)"
    )]
    NoEncoder { name: String, source: Box<crate::hub::HubError> },
    #[error("you gave no method; use `--method laplace`")]
    NoMethod,
    /// Too few rows to judge each by the others.
    #[error(
        "{rows} rows are too few for cross-fitting; give at least 10, or set `data.cross_fit = \
         \"never\"`"
    )]
    FewForFolds { rows: usize },
    /// Too few rows to calibrate by.
    #[error(
        "{} with {} are too few to calibrate by: the classes among them need rows of different texts on both sides \
         of a division; add more of them",
        counted(*rows, "row"),
        counted(*texts, "different text")
    )]
    FewToRecalibrate { rows: usize, texts: usize },
    /// No row but those that the model has seen.
    #[error(
        "`{dataset}` has no row that the model was not made or tested with; give labelled rows that are new to it"
    )]
    NoneFresh { dataset: String },
    /// Rows that would be scored as new ones are not.
    #[error(
        "the starting model was trained on {rows} of these rows, so cross-fitting cannot score them as \
         new rows; set `data.cross_fit` to auto, or give rows that the model has not seen"
    )]
    SeenByEncoder { rows: usize },
    /// Too few rows for a factor and an offset of each class.
    #[error(
        "`calibration.vector` needs {} temperature rows of each class, but `{label}` has {rows}; \
         switch it off, or add rows of this class",
        crate::calibrate::ROWS_A_CLASS
    )]
    FewForVector {
        /// The class with the fewest rows in the temperature part.
        label: String,
        /// How many these are.
        rows: u64,
    },
    /// Another process trains under the same name.
    #[error(
        "another process is already training `{0}`; wait for it to finish, or choose a different \
         `name` for this run"
    )]
    Busy(String),
    /// The same of a run that a comparison needs.
    #[error(
        "`{name}`, which this comparison needs, {} with different settings or data: {}; restore the settings and \
         data, or choose a different `name` for the comparison (`--set name=…`)",
        if *finished { "was trained" } else { "was started" },
        differences.join("; ")
    )]
    OtherCell {
        /// Name of the run.
        name: String,
        finished: bool,
        /// As of `OtherTrajectory`.
        differences: Vec<String>,
    },
    /// The run of this name has other settings or data.
    #[error(
        "`{name}` {} with different settings or data: {}; restore the settings and data, choose a \
         different `name` for this run, or start over with `--resume never`",
        if *finished { "was trained" } else { "was started" },
        differences.join("; ")
    )]
    OtherTrajectory {
        /// Name of the experiment.
        name: String,
        /// Whether that run is finished.
        finished: bool,
        /// What differs, key by key.
        differences: Vec<String>,
    },
    /// A checkpoint that was asked for cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] Unusable),
    /// Settings that do not fit the encoder.
    #[error("{0}")]
    Encoder(String),
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    #[error(transparent)]
    Artifact(#[from] crate::artifact::ArtifactError),
    /// A method that was fitted on other rows than the run that it is compared on.
    #[error(
        "the rows of `{0}` do not divide as those of the run that it was fitted to, so it cannot be compared;          the data have changed, or this is a bug"
    )]
    OtherParts(PathBuf),
    #[error(transparent)]
    Models(#[from] crate::evaluate::models::ModelsError),
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
