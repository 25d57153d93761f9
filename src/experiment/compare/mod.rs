//! The recipe behind `bayes compare`: methods on the same data, over several seeds, in one table.
//!
//! For each seed one run is trained that all methods share which need nothing of the training but its weights: it is
//! the run `NAME-seedK` with the method `map`, and each of them is fitted to its model as `bayes fit` does, on cached
//! features and the same parts. A method that follows the weights during training (`needs().shapes_training()`) has a run of
//! its own. Every model is evaluated as `bayes eval` does.
//!
//! A method at a seed is a cell. A cell that is done is a file in the folder of the comparison, and is not done again
//! unless what it follows from has changed; a run that was stopped goes on from its checkpoint. So the same command
//! goes on where it was left, and its table has the same figures but for times.

mod cell;
mod entry;
mod job;
mod markdown;
mod measure;
mod run;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

pub use entry::{Entry, EntryError};
pub use markdown::markdown;
pub use run::compare;
pub use table::{Estimate, Row, Table};

// What these files use of the house.
use super::{Ended, Experiment, ExperimentError, FitJob, Progress, RunContext, fit, train};
use crate::bench::Machine;
use crate::data::Overrides;
use crate::evaluate::shift::Damage;

/// What to compare.
#[derive(Clone, Debug)]
pub struct CompareJob {
    /// The data, the encoder and the training; its seed is the first one. Its method is not looked at, but the keys
    /// that it has for it are those of that method.
    pub experiment: Experiment,
    pub entries: Vec<Entry>,
    /// How many seeds.
    pub seeds: u64,
    pub shift: Vec<Damage>,
    /// Texts of no class, as `bayes eval --ood` takes them. Those of the data set itself are taken in any case.
    pub ood: Vec<String>,
    /// Labelled rows of other sources with the same classes, as `bayes eval --dataset` takes them.
    pub other_data: Vec<String>,
    /// How their tables are read.
    pub ood_overrides: Overrides,
}

/// What a comparison comes to.
#[derive(Debug)]
pub enum Compared {
    Finished(Box<CompareReport>),
    /// Stopped by a signal; so many cells are done.
    Interrupted {
        done: usize,
        cells: usize,
    },
}

/// The whole, as it is written to `compare.json`.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    pub schema: u32,
    pub name: String,
    pub dataset: String,
    pub seeds: Vec<u64>,
    pub shift: Vec<String>,
    /// Sources of texts of no class.
    pub ood: Vec<String>,
    /// Other sources of labelled rows.
    pub other_data: Vec<String>,
    /// How many test rows there were at each seed.
    pub rows: Vec<usize>,
    pub table: Table,
    /// The experiment of the first seed, every key written out, as TOML.
    pub experiment: String,
    /// UTC.
    pub date: String,
    pub machine: Machine,
    /// The folder with the tables and the cells.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Numbers of one cell by key; `None` where one is not defined.
pub type Figures = BTreeMap<String, Option<f64>>;
