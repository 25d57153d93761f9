//! `bayes/evaluation.json`: what a model folder says of its quality, its data and its training. No text
//! of the data is in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::data::{Dataset, PartSummary};
use crate::evaluate::Report;
use crate::metrics::Scores;
use crate::train::Recipe;

/// How the training went.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TrainingFacts {
    /// The name of the run folder.
    pub(super) run: String,
    /// What the model is: `head` or `full`.
    pub(super) kept: Recipe,
    /// Whether there was fine-tuning that made it no better.
    pub(super) tuning_left: bool,
    /// How every row both trains and calibrates, where it does.
    pub(super) crossed: Option<String>,
    /// Whether the prior of the last layer was chosen by held-out rows, and not by the evidence.
    pub(super) prior_by_held_out_rows: bool,
    /// What else is to be known of the rows that it was made with, as sentences.
    pub(super) notes: Vec<String>,
    pub(super) steps: u64,
    /// After how many of them the weights were best.
    pub(super) best_step: u64,
    /// Seconds from the start of the last process to the report.
    pub(super) seconds: f64,
    /// Scores of the validation rows at the best step, where there was fine-tuning.
    pub(super) validation: Option<Scores>,
}

/// The metrics object of the test part, with what it is about before it and what the model was made
/// from behind it.
pub(super) fn evaluation(
    dataset: &Dataset,
    test: &Report,
    uncalibrated: &Scores,
    parts: &BTreeMap<&'static str, PartSummary>,
    training: &TrainingFacts,
) -> Value {
    let mut object = json!({
        "schema": 1,
        "dataset": dataset.name,
        "split": "test",
        "generated": dataset.generated,
        "without_temperature": uncalibrated,
    });
    let metrics = serde_json::to_value(test).expect("a report is plain data");
    if let (Some(object), Value::Object(metrics)) = (object.as_object_mut(), metrics) {
        object.extend(metrics);
        object.insert("parts".to_owned(), json!(parts));
        object.insert("training".to_owned(), json!(training));
    }
    object
}
