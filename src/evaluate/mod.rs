//! Predictions against labels.

mod answers;
mod baseline;
mod classes;
mod compare;
mod evaluation;
mod file;
mod gate;
mod hygiene;
mod labels;
pub mod models;
mod origin;
mod outside;
mod renamed;
mod render;
mod report;
mod score;
mod selective;

pub use answers::{Answer, Answers, Link, Novelty, Truth};
pub use baseline::{BaselineReport, Difference, Rival};
pub use classes::{ClassReport, ConfusionReport, least_covered, without_absent, worst_first};
pub use compare::{Comparison, compare};
pub use evaluation::Evaluation;
pub use file::{FileError, read, write};
pub use gate::{Gate, GateError};
pub use hygiene::Hygiene;
pub use labels::{LabelError, labels_of_model, labels_of_trained};
pub use origin::{Origin, OriginError, Seen, own_parts};
pub use outside::{Histogram, OutOfScope};
pub use renamed::read_unlike_training;
pub use render::{About, Page};
pub use report::{Report, TruthReport, Uncertainty, WithoutSeen, evaluate};
pub use score::{EvalRows, EvaluateError, OUT_OF_SCOPE, answer, answer_outside, score};
pub use selective::Selective;
