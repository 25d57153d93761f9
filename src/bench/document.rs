//! One benchmark as it is saved and reported.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Comparison, Machine, Reference, Results, Settings, Suite};
use crate::compute::Precision;
use crate::model::EncoderConfig;

/// Version of the JSON.
pub const SCHEMA: u32 = 1;

/// Everything that is known of a run.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// Name of the model.
    pub model: &'a str,
    pub folder: String,
    /// When it was measured, in UTC.
    pub date: String,
    /// The data set that the texts are from.
    pub dataset: &'a str,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Texts for the predictions.
    pub rows: usize,
    pub tokens: u64,
    /// Most tokens a text.
    pub max_length: usize,
    /// The suites that were asked for.
    pub suites: &'a [Suite],
    /// How much was measured.
    pub settings: &'a Settings,
    pub encoder: &'a EncoderConfig,
    /// How the posterior was made.
    pub method: Value,
    /// Of the products in its layers.
    pub precision: Precision,
    /// Where it was measured.
    pub machine: &'a Machine,
    pub results: &'a Results,
    /// The report of `bayes eval`, where there is one.
    pub calibration: Option<Value>,
    /// How far methods are from the exact posterior, where that was sampled.
    pub reference: Option<&'a Reference>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// Against a saved run.
    pub comparisons: Vec<Comparison>,
}

/// The sizes of the encoder.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sizes {
    pub(super) architecture: &'static str,
    pub(super) num_hidden_layers: usize,
    pub(super) hidden_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) vocab_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) num_labels: usize,
}

impl Document<'_> {
    pub(super) fn sizes(&self) -> Sizes {
        let encoder = self.encoder;
        Sizes {
            architecture: encoder.architecture.model_type,
            num_hidden_layers: encoder.num_hidden_layers,
            hidden_size: encoder.hidden_size,
            num_attention_heads: encoder.num_attention_heads,
            intermediate_size: encoder.intermediate_size,
            vocab_size: encoder.vocab_size,
            max_position_embeddings: encoder.max_position_embeddings,
            num_labels: encoder.labels.len(),
        }
    }

    /// The JSON: what `--json` prints and `--save` writes.
    pub fn to_json(&self) -> Value {
        let mut object: Map<String, Value> = Map::new();
        let mut put = |key: &str, value: Value| {
            object.insert(key.to_owned(), value);
        };
        put("schema", json!(SCHEMA));
        put("model", json!(self.model));
        put("folder", json!(self.folder));
        put("method", self.method.clone());
        put("precision", json!(self.precision));
        put("date", json!(self.date));
        put("dataset", json!(self.dataset));
        put("generated", json!(self.generated));
        put("rows", json!(self.rows));
        put("tokens", json!(self.tokens));
        put("max_length", json!(self.max_length));
        put("suites", json!(self.suites));
        put("settings", json!(self.settings));
        put("architecture", json!(self.sizes()));
        for (key, value) in self.results.to_json() {
            put(&key, value);
        }
        if let Some(calibration) = &self.calibration {
            put("calibration", calibration.clone());
        }
        if let Some(reference) = self.reference {
            put("reference", json!(reference));
        }
        put("machine", json!(self.machine));
        put("samples", Value::Object(self.results.samples_json()));
        put("warnings", json!(self.warnings));
        if !self.comparisons.is_empty() {
            put("comparison", json!(self.comparisons));
        }
        Value::Object(object)
    }
}
