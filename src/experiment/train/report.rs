//! What a finished run says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::choice::{Decided, RecipeReport};
use super::prepare::Prepared;
use super::runs::Network;
use super::{ExperimentError, RunFolder};
use crate::artifact::PartRecord;
use crate::calibrate::CalibrationSummary;
use crate::compute::Precision;
use crate::data::{repeated_calibration, repeated_validation, sentence};
use crate::evaluate::{BaselineReport, EvaluateError, Evaluation, Report};
use crate::method::FitRecord;
use crate::metrics::Scores;
use crate::model::Pooling;
use crate::numbers::grouped;
use crate::train::{Recipe, Validation};

/// What a finished run says.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// Name of the experiment.
    pub name: String,
    pub model: PathBuf,
    /// How its encoder pools, which decides what loads it in Python.
    pub pooling: Pooling,
    pub run: PathBuf,
    pub dataset: String,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Whether they are pairs.
    pub pairs: bool,
    /// The encoder that it began with; `None` from scratch.
    pub init: Option<String>,
    /// Parameters of the classifier, of all its networks together.
    pub parameters: usize,
    /// Rows in the stream that it was trained on; `None` where they were in memory.
    pub streamed: Option<u64>,
    /// How many of them are not held out, and trained on unless they repeat a held-out text.
    pub streamed_not_held_out: Option<u64>,
    /// What else is to be known of the rows, as sentences.
    pub notes: Vec<String>,
    /// Rows and content hash of each part.
    pub parts: BTreeMap<String, PartRecord>,
    /// What the model is, and how it was chosen.
    pub recipe: RecipeReport,
    /// Optimizer steps, of all networks together.
    pub steps: u64,
    /// After how many of them the weights were best; of the first network, where there are several.
    pub best_step: u64,
    /// Scores of the validation rows at that point, with the last layer as it was trained; `None` where there are
    /// several networks.
    pub validation: Option<Validation>,
    /// The networks of an ensemble, each by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberReport>,
    /// The posterior, temperature and scale.
    #[serde(flatten)]
    pub posterior: FitRecord,
    /// What was fitted on the conformal part.
    pub calibration: CalibrationSummary,
    /// NLL and ECE on the test part as the softmax of the mean logits has them.
    pub uncalibrated: Scores,
    /// The report on the test part.
    pub test: Report,
    /// The precision that it was measured at, where the model answers at another one by itself on a CPU with the
    /// instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tested_at: Option<Precision>,
    /// What the model has over a linear classifier on the words of the same training rows.
    pub baseline: Option<BaselineReport>,
    /// The report with the answers that it is about; in no file.
    #[serde(skip)]
    pub evaluation: Evaluation,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// A network of an ensemble, as it was trained.
#[derive(Clone, Debug, Serialize)]
pub struct MemberReport {
    pub seed: u64,
    pub learning_rate: f64,
    pub steps: u64,
    /// After how many of them its weights were best.
    pub best_step: u64,
    /// Its own scores of the validation rows at that point, before any temperature.
    pub validation: Validation,
}

impl From<&Network> for MemberReport {
    fn from(Network { config, outcome }: &Network) -> Self {
        Self {
            seed: config.seed,
            learning_rate: config.learning_rate,
            steps: outcome.steps,
            best_step: outcome.best_step,
            validation: outcome.scores,
        }
    }
}

impl TrainReport {
    /// The report on a model that was kept, saved and tested.
    pub(super) fn new(
        prepared: &Prepared,
        decided: &Decided,
        tested: Evaluation,
        (model, run): (PathBuf, &RunFolder),
        began: Instant,
    ) -> Result<Self, ExperimentError> {
        let Prepared { experiment, dataset, parts, start, .. } = prepared;
        let Decided { candidate, recipe, networks } = decided;
        let (members, validation) = match networks.as_slice() {
            [] => (Vec::new(), None),
            [one] => (Vec::new(), Some(one.outcome.scores)),
            several => (several.iter().map(MemberReport::from).collect(), None),
        };
        Ok(Self {
            name: experiment.name.clone(),
            model,
            pooling: start.encoder.pooling,
            run: run.path().to_owned(),
            dataset: dataset.name.clone(),
            generated: dataset.generated,
            pairs: parts.test.examples(dataset).any(|example| example.pair.is_some()),
            init: experiment.model.init.clone(),
            parameters: candidate.artifact.parameters.count() * networks.len().max(1),
            streamed: dataset.stream.as_ref().map(|stream| stream.rows()),
            streamed_not_held_out: not_held_out(prepared),
            notes: notes(prepared, recipe.kept),
            parts: candidate.artifact.manifest.parts.clone(),
            recipe: recipe.clone(),
            steps: networks.iter().map(|one| one.outcome.steps).sum(),
            best_step: networks.first().map_or(0, |one| one.outcome.best_step),
            validation,
            members,
            posterior: candidate.artifact.manifest.fit.clone(),
            calibration: candidate.calibration.clone(),
            uncalibrated: tested.answers.uncalibrated().map_err(EvaluateError::from)?,
            test: tested.report.clone(),
            tested_at: candidate.artifact.manifest.tested_at(),
            baseline: tested.baseline.clone(),
            evaluation: tested,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

fn not_held_out(prepared: &Prepared) -> Option<u64> {
    prepared.streamed().map(|stream| stream.not_held_out())
}

/// What a report and the model card say of the rows besides their numbers.
fn notes(prepared: &Prepared, kept: Recipe) -> Vec<String> {
    let Prepared { dataset, parts, lineage, .. } = prepared;
    let of_stream = |rows: u64| match kept {
        Recipe::Full => format!(
            "The weights were trained on a stream of {} rows, all but the rows of a held-out text, so on at \
             most {} rows; the training rows counted here are a sample, which the posterior was fitted on.",
            grouped(rows),
            grouped(not_held_out(prepared).unwrap_or(rows))
        ),
        Recipe::Head | Recipe::Auto => format!(
            "The training rows are a sample of a stream of {} rows; the others were not used.",
            grouped(rows)
        ),
    };
    let seen = lineage.notes(dataset, parts);
    let repeated = [repeated_validation(dataset, parts), repeated_calibration(dataset, parts)];
    let repeated = repeated.into_iter().flatten().chain(seen);
    let repeated = repeated.map(|remark| sentence(remark.text()));
    let streamed = dataset.stream.as_ref().map(|stream| of_stream(stream.rows()));
    repeated.chain(streamed).collect()
}
