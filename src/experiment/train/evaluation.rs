//! `bayes/evaluation.json`: what a model folder says of its quality, its data and its training. No text
//! of the data is in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::TrainReport;
use crate::data::{Dataset, PartSummary};
use crate::train::{Recipe, Validation};

/// How the training went.
#[derive(Clone, Debug, Serialize)]
struct TrainingFacts {
    /// The name of the run folder.
    run: String,
    /// What the model is: `head` or `full`.
    kept: Recipe,
    /// Whether there was fine-tuning that made it no better.
    tuning_left: bool,
    /// How every row both trains and calibrates, where it does.
    crossed: Option<String>,
    /// Whether the prior of the last layer was chosen by held-out rows, and not by the evidence.
    prior_by_held_out_rows: bool,
    /// What else is to be known of the rows that it was made with, as sentences.
    notes: Vec<String>,
    steps: u64,
    /// After how many of them the weights were best.
    best_step: u64,
    /// Seconds from the start of the last process to the report.
    seconds: f64,
    /// Scores of the validation rows at the best step, where there was fine-tuning.
    validation: Option<Validation>,
}

impl TrainingFacts {
    fn of(report: &TrainReport) -> Self {
        let recipe = &report.recipe;
        Self {
            run: report.run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            kept: recipe.kept,
            tuning_left: recipe.kept == Recipe::Head && recipe.full.is_some(),
            crossed: report.calibration.crossed.clone(),
            prior_by_held_out_rows: report.posterior.prior_by_held_out_rows,
            notes: report.notes.clone(),
            steps: report.steps,
            best_step: report.best_step,
            seconds: report.seconds,
            validation: report.validation,
        }
    }
}

/// The metrics object of the test part, with what it is about before it and what the model was made
/// from behind it.
pub(super) fn evaluation(
    dataset: &Dataset,
    report: &TrainReport,
    parts: &BTreeMap<&'static str, PartSummary>,
) -> Value {
    let mut object = json!({
        "schema": 1,
        "dataset": dataset.name,
        "split": dataset.origin_of("test"),
        "generated": dataset.generated,
        "without_temperature": report.uncalibrated,
    });
    let metrics = serde_json::to_value(&report.test).expect("a report is plain data");
    if let (Some(object), Value::Object(metrics)) = (object.as_object_mut(), metrics) {
        object.extend(metrics);
        object.insert("parts".to_owned(), json!(parts));
        object.insert("training".to_owned(), json!(TrainingFacts::of(report)));
    }
    object
}
