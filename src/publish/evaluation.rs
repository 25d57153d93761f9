//! What the card takes from the evaluation file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::PublishError;
use crate::artifact::{EVALUATION, Manifest};
use crate::data::PartSummary;
use crate::metrics::{Interval, Scores, Summary};
use crate::store::sha256;
use crate::train::Recipe;

/// The report on the test part. What an older or foreign folder does not say is absent.
#[derive(Clone, Debug, Deserialize)]
pub struct Evaluation {
    /// The name of the data set.
    pub dataset: String,
    /// Which part.
    pub split: String,
    /// Whether its texts are generated.
    #[serde(default)]
    pub generated: bool,
    /// The metrics, under their fixed keys.
    #[serde(flatten)]
    pub summary: Summary,
    /// Scores without the temperature.
    #[serde(default)]
    pub without_temperature: Option<Scores>,
    /// Mean uncertainty of `all`, `right` and `wrong` answers.
    #[serde(default)]
    pub uncertainty: BTreeMap<String, MeanUncertainty>,
    /// Prediction sets.
    #[serde(default)]
    pub sets: Option<Sets>,
    /// Rows that were cut.
    #[serde(default)]
    pub truncated: Option<usize>,
    /// The score without texts that were also trained on.
    #[serde(default)]
    pub without_seen: Option<WithoutSeen>,
    /// Against the truth, where it is known.
    #[serde(default)]
    pub truth: Option<Truth>,
    /// Texts of no class.
    #[serde(default)]
    pub ood: BTreeMap<String, OutOfScope>,
    /// Rows of each part.
    #[serde(default)]
    pub parts: BTreeMap<String, PartSummary>,
    /// The training.
    #[serde(default)]
    pub training: Option<Training>,
}

/// Means in nats.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct MeanUncertainty {
    /// Answers.
    pub rows: usize,
    /// Entropy of the prediction.
    pub total: f64,
    /// Its part that more data would not remove.
    pub aleatoric: Option<f64>,
    /// Its part that comes from not knowing the weights.
    pub epistemic: Option<f64>,
}

/// How prediction sets kept their promise.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Sets {
    /// The share of labels that they may miss.
    pub alpha: f64,
    /// The share that they held.
    pub coverage: Interval,
    /// Classes on average.
    pub mean_size: f64,
}

/// Without texts that were also trained or calibrated on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct WithoutSeen {
    /// Rows left out.
    pub seen: usize,
    /// Accuracy on the others, where there are any.
    pub accuracy: Option<f64>,
}

/// Against the truth.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Truth {
    /// The accuracy of someone who knows p(label | text).
    pub best_accuracy: f64,
    /// Mean |p − truth| of the predicted class.
    pub mean_error: f64,
}

/// Texts of no class.
#[derive(Clone, Debug, Deserialize)]
pub struct OutOfScope {
    /// Such texts.
    pub rows: usize,
    /// The score that tells them apart.
    pub score: String,
    /// How well.
    pub auroc: Interval,
}

/// How the training went.
#[derive(Clone, Debug, Deserialize)]
pub struct Training {
    /// The name of the run folder.
    pub run: String,
    /// What the model is: `head` or `full`.
    #[serde(default)]
    pub kept: Option<Recipe>,
    /// Whether there was fine-tuning that made it no better.
    #[serde(default)]
    pub tuning_left: bool,
    /// How every row both trains and calibrates, where it does.
    #[serde(default)]
    pub crossed: Option<String>,
    /// What else is to be known of the rows that it was made with, as sentences.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Whether the prior of the last layer was chosen by held-out rows, and not by the evidence.
    #[serde(default)]
    pub prior_by_held_out_rows: bool,
    /// Optimizer steps.
    pub steps: u64,
    /// The step whose weights were taken.
    pub best_step: u64,
    /// Seconds, with the evaluation.
    pub seconds: f64,
}

impl Evaluation {
    /// Reads the file of a model folder; without it, what the manifest says of the same report.
    ///
    /// # Errors
    /// The file is damaged, or is about another model than the manifest.
    pub fn read(folder: &Path, manifest: &Manifest) -> Result<Option<Self>, PublishError> {
        let path = folder.join(EVALUATION);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(manifest
                    .test
                    .clone()
                    .map(|summary| Self::of_summary(summary, manifest)));
            }
            Err(source) => return Err(PublishError::Read { path, source }),
        };
        let found: Self = serde_json::from_str(&text)
            .map_err(|source| PublishError::Damaged { path: path.clone(), source })?;
        let hash = manifest.records.get(EVALUATION);
        let other = hash.is_some_and(|hash| *hash != sha256(text.as_bytes()));
        if other || manifest.test.as_ref() != Some(&found.summary) {
            return Err(PublishError::OtherEvaluation { path });
        }
        Ok(Some(found))
    }

    fn of_summary(summary: Summary, manifest: &Manifest) -> Self {
        let data = manifest.data.as_ref();
        Self {
            dataset: data.map_or_else(String::new, |data| data.dataset.clone()),
            split: "test".to_owned(),
            generated: data.is_some_and(|data| data.dataset == "reviews"),
            summary,
            without_temperature: None,
            uncertainty: BTreeMap::new(),
            sets: None,
            truncated: None,
            without_seen: None,
            truth: None,
            ood: BTreeMap::new(),
            parts: BTreeMap::new(),
            training: None,
        }
    }
}
