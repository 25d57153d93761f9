//! `bayes/manifest.json`: what a model is, where it comes from, and what belongs to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Certificate, Fitted, Verdict, ZeroShot};
use crate::calibrate::CalibrationConfig;
use crate::compute::Precision;
use crate::data::{DataConfig, Dataset, Part, Preprocessing};
use crate::method::FitRecord;
use crate::metrics::Summary;
use crate::store;
use crate::task::Task;

/// Version of the folder's layout.
pub const SCHEMA: u32 = 1;

/// The name of the record of texts without labels that trained a student.
pub const UNLABELLED: &str = "unlabelled";

/// One part of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Rows in it.
    pub rows: usize,
    /// SHA-256 over its texts and labels.
    pub sha256: String,
}

impl PartRecord {
    pub fn of(part: &Part, dataset: &Dataset) -> Self {
        Self { rows: part.rows.len(), sha256: part.hash(dataset) }
    }
}

/// Rows that a model was calibrated by after it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// The data set, and how it was read.
    pub data: DataConfig,
    /// Its classes, whose places its content has.
    pub data_labels: Vec<String>,
    /// All of its rows.
    pub content: PartRecord,
    /// Those of them that calibrate: not those that the model was made or tested with.
    pub rows: usize,
    /// Whether it was known which of the rows the model had seen before; not asked by earlier versions.
    #[serde(default = "yes")]
    pub origin_known: bool,
}

/// A model whose weights were the beginning of another's, or that taught it, and the data that they have seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Name of its experiment.
    pub name: String,
    /// What it was trained on; absent where its own manifest did not say.
    pub data: Option<DataConfig>,
    /// The classes of these data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_labels: Option<Vec<String>>,
    /// What a fit by these data changed; absent where they trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Fitted>,
    /// The seed that divided the data.
    pub seed: u64,
    /// The parts of the data.
    pub parts: BTreeMap<String, PartRecord>,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub schema: u32,
    /// Version of the tool that wrote it.
    pub bayes: String,
    /// Name of the experiment.
    pub name: String,
    /// How the posterior was made and scaled.
    #[serde(flatten)]
    pub fit: FitRecord,
    /// How it was calibrated; not known of folders of the first version.
    #[serde(default)]
    pub calibration: Option<CalibrationConfig>,
    /// What plain transformers computes with the last layer: `posterior mean`, or `stand-in` where the layer
    /// that predicts is one that it does not have.
    pub transformers: String,
    /// What the model is for; folders of earlier versions say nothing, and all have single labels.
    #[serde(default = "unstated_task")]
    pub task: Task,
    /// Class names by label.
    pub labels: Vec<String>,
    /// How the labels are asked for, where a user named them and the last layer is that of a classifier of natural
    /// language inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<ZeroShot>,
    /// Of the numbers of its weights, at which its posterior and its calibration were fitted.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// What other precisions cost, or what its own costs against f32; of a model that was calibrated anew, before that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<Precision, Certificate>,
    /// How a text becomes tokens.
    pub preprocessing: Preprocessing,
    /// What it was trained on; absent for a folder that another tool wrote.
    pub data: Option<DataConfig>,
    /// The classes of these data, whose places the contents of the parts have; not known of folders of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_labels: Option<Vec<String>>,
    /// What a fit by these data changed of a classifier that was there; absent where they trained the model, and not
    /// known of folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Fitted>,
    /// Classes of which the rows that the last layer was fitted to had none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// The Hub id of the encoder or classifier that it was made from, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Where its weights came from, if not from safetensors alone: a pickle, or an adapter that was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The models whose weights this one began with, the newest first; before them the teacher that it learned
    /// from, with those that the teacher began with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<Ancestor>,
    /// Whether it was known, when this one was made, which rows its weights had seen before.
    #[serde(default = "yes")]
    pub lineage_known: bool,
    /// Whether the rows trained the encoder, and not the last layer alone; taken to be so where a folder of an
    /// earlier version does not say.
    #[serde(default = "yes")]
    pub encoder_trained: bool,
    /// The seed that divided the data.
    pub seed: u64,
    /// The parts of the data.
    pub parts: BTreeMap<String, PartRecord>,
    /// Rows of the test part whose text also occurs in another part, or was seen by an ancestor.
    pub seen_in_test: usize,
    /// The rows that calibrated it, where that was done anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated: Option<Recalibration>,
    /// The report on the test part; absent while training.
    pub test: Option<Summary>,
    /// SHA-256 of every file that changes a prediction.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of the files that say how it was made. No prediction depends on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, String>,
    /// SHA-256 over everything else in this file, as it was saved; absent from folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether the file was changed after it was saved.
    #[serde(skip)]
    pub edited: bool,
}

fn unstated_task() -> Task {
    Task::SingleLabel
}

const OWN_HASH: &str = "sha256";

fn yes() -> bool {
    true
}

impl Manifest {
    /// Whether anything was fitted to held-out rows: nothing was of another tool's model, or before a training ended.
    pub fn is_calibrated(&self) -> bool {
        let fitted = |own: &CalibrationConfig| !own.temperature || self.fit.temperature.is_some();
        self.calibration.as_ref().is_some_and(fitted)
    }

    /// Whether the model may stand for f32 at a precision; `None` where that was not checked.
    pub fn verdict(&self, precision: Precision) -> Option<Verdict> {
        let before_recalibration = self.recalibrated.is_some();
        let verdict = self.certificates.get(&precision)?.verdict();
        Some(Verdict { before_recalibration, ..verdict })
    }

    /// The precision of its test figures, where it answers at another one by itself on a CPU with the instructions.
    pub fn tested_at(&self) -> Option<Precision> {
        let other = |own: &Precision| *own != self.precision;
        let granted = |own: &Precision| self.verdict(*own).is_some_and(|verdict| verdict.granted);
        let mut checked = self.certificates.keys().filter(|own| other(own));
        checked.any(granted).then_some(self.precision)
    }

    /// Why `bayes quantize` cannot check a precision of this model, and what to do instead; `None` where it can.
    pub fn why_unchecked(&self) -> Option<String> {
        let apart = self.parts.get("conformal").is_some_and(|part| part.rows > 0);
        let crossed = self.data.is_some() && !apart;
        Some(if !self.precision.is_f32() {
            format!("is stored in {} already; give the model that it was made from", self.precision)
        } else if self.zero_shot.is_some() {
            "has labels that were named by a user; only a classifier of its own classes is quantised".to_owned()
        } else if !self.is_calibrated() {
            "is not calibrated, so it makes no promise that could be checked; run `bayes fit` first"
                .to_owned()
        } else if let Some(Recalibration { data, .. }) = &self.recalibrated {
            format!(
                "was calibrated anew by `{}`, which a check by its own rows would undo; quantise the model that it \
                 was made from, and recalibrate the result",
                data.dataset
            )
        } else if crossed {
            let names: Vec<String> = Precision::available()
                .filter(|one| !one.is_f32())
                .map(|one| format!("\"{one}\""))
                .collect();
            format!(
                "learned its last layer from every row of its data (cross-fitting), so only the training can check a \
                 precision; train it with `--set 'calibration.precisions=[{}]'`",
                names.join(", ")
            )
        } else {
            return None;
        })
    }

    /// Whether it is of a folder of ours: one that another tool wrote has no posterior.
    pub fn is_saved(&self) -> bool {
        self.files.contains_key("bayes/posterior.safetensors")
    }

    /// This model, to those that begin with its weights.
    pub fn as_ancestor(&self) -> Ancestor {
        Ancestor {
            name: self.name.clone(),
            data: self.data.clone(),
            data_labels: self.data_labels.clone(),
            fitted: self.fitted,
            seed: self.seed,
            parts: self.parts.clone(),
        }
    }

    /// Whether rows of its own changed nothing of it: a user has just named its labels, and all that its weights have
    /// seen is what the model of ours had seen that it was made from.
    pub fn is_of_its_lineage(&self) -> bool {
        self.zero_shot.is_some() && self.data.is_none() && !self.lineage.is_empty()
    }

    /// The lineage of a model that begins with the weights of this one.
    pub fn continued(&self) -> Vec<Ancestor> {
        let own = (!self.is_of_its_lineage()).then(|| self.as_ancestor());
        own.into_iter().chain(self.lineage.iter().cloned()).collect()
    }

    /// SHA-256 over all that changes a prediction: the files, and how texts are prepared, which stands in none of them.
    pub fn content(&self) -> String {
        let files = self.files.iter().map(|(name, hash)| format!("{name} {hash}\n"));
        let text = files.collect::<String>() + &self.beside_files();
        store::sha256(text.as_bytes())
    }

    /// What changes a prediction and stands in no other file: how texts are cut, and labels that a user named.
    pub fn beside_files(&self) -> String {
        let asked = self.zero_shot.as_ref().map(|one| format!("{:?}", (one, &self.labels)));
        format!("{:?}{}", self.preprocessing, asked.unwrap_or_default())
    }

    /// The content of the file, with its own hash.
    pub fn to_file(&self) -> Vec<u8> {
        let mut value = serde_json::to_value(self).expect("plain data is JSON");
        let file = value.as_object_mut().expect("a structure is an object");
        file.shift_remove(OWN_HASH);
        let hash = store::sha256(Value::Object(file.clone()).to_string().as_bytes());
        file.insert(OWN_HASH.to_owned(), hash.into());
        super::save::pretty(&value)
    }
}

/// Whether a file has the hash that it was saved with, or none. White space does not count.
pub(super) fn is_as_saved(file: &Value) -> bool {
    let Some(hash) = file.get(OWN_HASH) else { return true };
    let mut rest = file.clone();
    if let Some(rest) = rest.as_object_mut() {
        rest.shift_remove(OWN_HASH);
    }
    *hash == store::sha256(rest.to_string().as_bytes())
}
