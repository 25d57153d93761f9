//! Why texts were not predicted one after another.

use std::io;

use crate::data::table::TableError;
use crate::numbers::counted;
use crate::predict::PairError;

/// Why the texts of an input were not predicted, or not written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("cannot read {name}")]
    Read {
        name: String,
        #[source]
        source: io::Error,
    },
    /// What is said of tables cannot be.
    #[error("{0}")]
    Overrides(String),
    /// Texts without a table for a model of pairs.
    #[error(
        "this model classifies pairs of texts, but a text here has no second text; give a table \
         with both columns, with `--input` or `--format`"
    )]
    NoPair,
    /// A table without the second of the columns that the model was made from.
    #[error(
        "this model classifies pairs (`{text}`, `{pair}`), but there is no column `{pair}`; name \
         the second text column with `--text-pair-column`"
    )]
    NoPairColumn { text: String, pair: String },
    #[error(
        "this model classifies single texts, but `{text}` and `{pair}` form a pair; give only the \
         text column with `--text-column`"
    )]
    Pair { text: String, pair: String },
    #[error(transparent)]
    Pairs(#[from] PairError),
    /// The model cannot know what the rows are to be sorted by.
    #[error("this model reports no {what} because {why}; use `--sort-by uncertainty`{hint}")]
    NotReported { what: &'static str, why: &'static str, hint: &'static str },
    /// The model cannot know what rows are to be chosen by.
    #[error(
        "this model reports no epistemic uncertainty because {why}, so texts cannot be chosen by it; use `--strategy \
         badge` or `--strategy coverage`"
    )]
    CannotChoose { why: &'static str },
    #[error("the prediction in line {line} has no such value")]
    NoKey { line: u64 },
    /// A row that cannot be classified, where that ends the work; with its place.
    #[error("{0}")]
    Row(String),
    #[error("none of {} could be classified: {first}", counted(*rows, "row"))]
    NoRow {
        rows: usize,
        /// What is wrong with the first one.
        first: String,
    },
    #[error("`{path}` is also the input file; choose a different output file")]
    SameFile { path: String },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}
