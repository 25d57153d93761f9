//! `config.json` to and from [`EncoderConfig`].

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::check::{MOST_LAYERS, out_of_range};
use super::class::classes;
use super::labels::Stated;
use super::refused::{ENCODER, QUANTISED, integers, refusal};
use super::{EncoderConfig, Pooling};
use crate::compute::Precision;
use crate::model::ModelError;
use crate::model::adapter::Adapter;
use crate::model::architecture::{Architecture, activation, why_unread};
use crate::store;
use crate::task::Task;

/// The fields that we read, with the defaults of transformers' `BertConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct Written {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    hidden_dropout_prob: f64,
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    initializer_range: f64,
    pad_token_id: usize,
    position_embedding_type: Option<String>,
    is_decoder: bool,
    id2label: Option<Map<String, Value>>,
    label2id: Value,
    num_labels: Option<Value>,
    problem_type: Option<String>,
    bayes: Block,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            pad_token_id: 0,
            position_embedding_type: None,
            is_decoder: false,
            id2label: None,
            label2id: Value::Null,
            num_labels: None,
            problem_type: None,
            bayes: Block::default(),
        }
    }
}

/// Our own block in `config.json`; transformers keeps keys that it does not know.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Block {
    pooling: Pooling,
}

impl Written {
    fn check_layers(&self, architecture: &Architecture) -> Result<(), String> {
        match self.num_hidden_layers {
            1..=MOST_LAYERS => Ok(()),
            other => Err(out_of_range(architecture.key("num_hidden_layers"), other, MOST_LAYERS)),
        }
    }
}

impl EncoderConfig {
    /// Reads and checks `config.json` in a model folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if let Some(adapter) = Adapter::of(folder)? {
                    return Self::of_adapter(&adapter);
                }
                if folder.join("model").join("config.json").is_file() {
                    return Err(ModelError::OfRun(folder.to_owned()));
                }
                return Err(ModelError::Missing {
                    folder: folder.to_owned(),
                    file: "config.json",
                    hint: "give a model folder written by `bayes` or by transformers' `save_pretrained`",
                });
            }
            Err(source) => return Err(ModelError::Read { path, source }),
        };
        Self::from_bytes(&path, &bytes)
    }

    /// The config of an adapter's base, with the classes that the adapter has.
    fn of_adapter(adapter: &Adapter) -> Result<Self, ModelError> {
        let path = adapter.base()?.join("config.json");
        let bytes = std::fs::read(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let refuse = |message| ModelError::Config { path: path.clone(), message };
        let mut source: Map<String, Value> = store::from_json(store::without_mark(&bytes))
            .map_err(|error| refuse(error.to_string()))?;
        adapter.amend(&mut source)?;
        Self::from_json(source).map_err(refuse)
    }

    /// Checks the content of a `config.json`; `path` stands for it in messages.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let refuse = |message| ModelError::Config { path: path.to_owned(), message };
        let source: Map<String, Value> = store::from_json(store::without_mark(bytes))
            .map_err(|error| refuse(error.to_string()))?;
        Self::from_json(source).map_err(refuse)
    }

    /// Checks a config that is already parsed; the error is a message without the file's name.
    pub fn from_json(source: Map<String, Value>) -> Result<Self, String> {
        let model_type = source.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architecture =
            Architecture::of(model_type).map_err(|known| why_unread(&source, known))?;
        if let Some(message) = refusal(&source) {
            return Err(message);
        }
        let keys = architecture.under_berts_keys(&source);
        let written: Written = serde_path_to_error::deserialize(Value::Object(keys.clone()))
            .map_err(|error| {
                let path = error.path().to_string();
                format!("`{}`: {}", architecture.key(&path), error.inner())
            })?;
        let hidden_act = activation(architecture.key("hidden_act"), &written.hidden_act)?;
        let position = written.position_embedding_type.as_deref().unwrap_or("absolute");
        if position != "absolute" {
            return Err(format!(
                "`position_embedding_type` is `{position}`, and of this family only `absolute` is supported; {ENCODER}"
            ));
        }
        if written.is_decoder {
            return Err(format!(
                "`is_decoder` is true: it reads a text from left to right, and only encoders are supported; {ENCODER}"
            ));
        }
        let stated = Stated {
            classes: classes(&source),
            problem_type: written.problem_type.as_deref(),
            num_labels: written.num_labels.as_ref(),
            id2label: written.id2label.as_ref(),
            label2id: written.label2id.as_object(),
        };
        let (labels, task) = match stated.labels() {
            Ok(labels) => {
                let task = stated.task(&labels);
                (labels, task)
            }
            Err(message) => (Vec::new(), Err(message)),
        };
        let (task, unusable_head) = match task {
            Ok(task) => (task, None),
            Err(message) => (Task::SingleLabel, Some(message)),
        };
        // Whatever is made by layers is made after their number is known to be one.
        written.check_layers(architecture)?;
        let design = (architecture.design)(&keys)?;
        let layers = design.shared.as_ref().map(|shared| shared.weights.len());
        let config = Self {
            architecture,
            design,
            vocab_size: written.vocab_size,
            hidden_size: written.hidden_size,
            num_hidden_layers: layers.unwrap_or(written.num_hidden_layers),
            num_attention_heads: written.num_attention_heads,
            intermediate_size: written.intermediate_size,
            hidden_act,
            hidden_dropout_prob: written.hidden_dropout_prob,
            attention_probs_dropout_prob: written.attention_probs_dropout_prob,
            classifier_dropout: written.classifier_dropout.unwrap_or(written.hidden_dropout_prob),
            max_position_embeddings: written.max_position_embeddings,
            type_vocab_size: written.type_vocab_size,
            layer_norm_eps: written.layer_norm_eps,
            initializer_range: written.initializer_range,
            pad_token_id: written.pad_token_id,
            pooling: written.bayes.pooling,
            task,
            labels,
            unusable_head,
            source,
        };
        config.check()?;
        Ok(config)
    }

    /// The file to write beside the weights of a classifier, which are stored at a precision: what was read, with
    /// the classes, the architecture and our own block brought up to date.
    pub fn to_json(&self, stored: Precision) -> Value {
        let mut file = self.source.clone();
        let Architecture { class, model_type, .. } = self.architecture;
        let suffix = match self.pooling {
            Pooling::Auto => "ForSequenceClassification",
            Pooling::Mean | Pooling::Normalised | Pooling::Cls => "Model",
        };
        file.insert("architectures".to_owned(), json!([format!("{class}{suffix}")]));
        file.insert("model_type".to_owned(), json!(model_type));
        let by_id = self.labels.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name)));
        file.insert("id2label".to_owned(), Value::Object(by_id.collect()));
        let by_name = self.labels.iter().enumerate().map(|(id, name)| (name.clone(), json!(id)));
        file.insert("label2id".to_owned(), Value::Object(by_name.collect()));
        file.shift_remove("num_labels");
        file.insert("problem_type".to_owned(), json!(self.task.problem_type()));
        file.shift_remove("torch_dtype");
        file.insert("dtype".to_owned(), json!("float32"));
        file.shift_remove("_name_or_path");
        file.shift_remove(QUANTISED);
        if stored == Precision::Int8 {
            file.insert(QUANTISED.to_owned(), integers());
        }
        file.insert("bayes".to_owned(), json!(Block { pooling: self.pooling }));
        Value::Object(file)
    }
}
