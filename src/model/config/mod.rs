//! `config.json` as transformers writes it: what is read from it, and its limits.

mod labels;
mod refused;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::labels::Stated;
pub use self::labels::check_labels;
use self::refused::refusal;
use super::ModelError;
use super::adapter::Adapter;
use super::architecture::{Architecture, Design, Positions, Rate, scratch, why_unread};
use crate::compute::Packed;
use crate::compute::ops::Activation;
use crate::store;
use crate::task::Task;

/// Where the layer norms of a new encoder stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// After the residual sum, as in BERT.
    #[default]
    Post,
    /// Before attention and feed-forward block, and behind all layers: deep encoders learn without a long
    /// warm-up. transformers opens the folder as RoBERTa-PreLayerNorm, or ModernBERT.
    Pre,
}

/// How a new encoder knows where a token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionEmbedding {
    /// A vector for each place, as in BERT.
    #[default]
    Absolute,
    /// Queries and keys are turned by their place. The encoder is a ModernBERT without local layers: norms
    /// before the blocks, a gated feed-forward block, no biases.
    Rotary,
}

/// From the tokens of a text to the feature φ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The architecture's head in transformers: first token, dense, tanh.
    #[default]
    Auto,
    /// The mean over the tokens: a head of our own.
    Mean,
    /// The mean over the tokens, scaled to the length √d: what encoders for sentences are compared by.
    Normalised,
    /// The first token as it is: a head of our own.
    Cls,
}

/// Sizes of an encoder that is trained from scratch, named as in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub num_hidden_layers: usize,
    /// Width `d`.
    pub hidden_size: usize,
    /// Heads `h`.
    pub num_attention_heads: usize,
    /// Feed-forward width `f`.
    pub intermediate_size: usize,
}

/// What the encoder needs to know of `config.json`; the rest of the file is kept as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    pub architecture: &'static Architecture,
    /// How it is built.
    pub design: Design,
    /// Rows of the word embedding, `v`.
    pub vocab_size: usize,
    /// Width `d`.
    pub hidden_size: usize,
    /// Layers that a text passes through; some may have the same weights.
    pub num_hidden_layers: usize,
    /// Heads `h`.
    pub num_attention_heads: usize,
    /// Feed-forward width `f`.
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    /// Dropout on embeddings and on the output of each block.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention weights.
    pub attention_probs_dropout_prob: f64,
    /// Dropout before the last linear layer.
    pub classifier_dropout: f64,
    /// Rows of the position embedding.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding.
    pub type_vocab_size: usize,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
    /// Id of the padding token; RoBERTa's positions begin after it.
    pub pad_token_id: usize,
    /// How φ is made.
    pub pooling: Pooling,
    /// What the head is for: the one that is there and can be used, or the one that will be put on.
    pub task: Task,
    /// Class names by index; empty in an encoder without a head.
    pub labels: Vec<String>,
    /// Why the head that is there cannot be used as a classifier; whoever trains a new one need not mind.
    pub unusable_head: Option<String>,
    /// The whole file, so that what we do not read is written again.
    pub source: Map<String, Value>,
}

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
    architectures: Value,
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
            architectures: Value::Null,
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

const MOST_LAYERS: usize = 1 << 10;

impl Written {
    fn check_layers(&self, architecture: &Architecture) -> Result<(), String> {
        match self.num_hidden_layers {
            1..=MOST_LAYERS => Ok(()),
            other => Err(out_of_range(architecture.key("num_hidden_layers"), other, MOST_LAYERS)),
        }
    }
}

fn out_of_range(name: &str, value: usize, most: usize) -> String {
    format!("`{name}` is {value}; use 1 to {most}")
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
        let written: Written = serde_json::from_value(Value::Object(keys.clone()))
            .map_err(|error| error.to_string())?;
        let hidden_act = serde_json::from_value(Value::String(written.hidden_act.clone()))
            .map_err(|_| {
                format!(
                    "`{}` is `{}`; use `gelu`, `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`, `relu`, \
                     `silu`, `swish` or `tanh`",
                    architecture.key("hidden_act"),
                    written.hidden_act
                )
            })?;
        let position = written.position_embedding_type.as_deref().unwrap_or("absolute");
        if position != "absolute" {
            return Err(format!(
                "`position_embedding_type` is `{position}`; only `absolute` is supported"
            ));
        }
        if written.is_decoder {
            return Err("`is_decoder` is true, but an encoder is needed".to_owned());
        }
        let stated = Stated {
            architecture: written.architectures.get(0).and_then(Value::as_str),
            problem_type: written.problem_type.as_deref(),
            num_labels: written.num_labels.as_ref(),
            id2label: written.id2label.as_ref(),
            label2id: written.label2id.as_object(),
        };
        let (labels, task) = match stated.labels() {
            Ok(labels) => {
                let task = stated.task(labels.len());
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

    /// A BERT config for training from scratch.
    pub fn from_scratch(sizes: Sizes, vocab_size: usize, positions: usize) -> Result<Self, String> {
        Self::new_encoder(None, None, sizes, vocab_size, positions)
    }

    /// The config of an encoder for training from scratch, for texts of so many tokens. What is not chosen
    /// follows from what is: BERT has norms behind the blocks and a table of positions, and rotary positions
    /// come with norms before.
    ///
    /// # Errors
    /// A message, if the choices or the sizes do not go together.
    pub fn new_encoder(
        norm: Option<Norm>,
        positions: Option<PositionEmbedding>,
        sizes: Sizes,
        vocab_size: usize,
        longest: usize,
    ) -> Result<Self, String> {
        let positions = positions.unwrap_or_default();
        let norm = norm.unwrap_or(match positions {
            PositionEmbedding::Absolute => Norm::Post,
            PositionEmbedding::Rotary => Norm::Pre,
        });
        // Before anything is made by layers.
        if !(1..=MOST_LAYERS).contains(&sizes.num_hidden_layers) {
            let layers = sizes.num_hidden_layers;
            return Err(out_of_range("num_hidden_layers", layers, MOST_LAYERS));
        }
        Self::from_json(scratch(norm, positions, sizes, vocab_size, longest)?)
    }

    /// Refuses sizes that cannot be, before anything is allocated.
    fn check(&self) -> Result<(), String> {
        let limits = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 17),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ("type_vocab_size", self.type_vocab_size, 256),
            ("embedding_size", self.embedding_width(), 1 << 14),
        ];
        let key = |name| self.architecture.key(name);
        for (name, value, most) in limits {
            let absent = name == "type_vocab_size" && self.segments().is_none();
            if (value == 0 && !absent) || value > most {
                return Err(out_of_range(key(name), value, most));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "`{}` {} is not a multiple of `{}` {}",
                key("hidden_size"),
                self.hidden_size,
                key("num_attention_heads"),
                self.num_attention_heads
            ));
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout),
        ];
        for (name, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                let name = key(name);
                return Err(format!("`{name}` is {rate}; use a number from 0 to below 1"));
            }
        }
        if !(self.layer_norm_eps >= 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "`{}` is {}; use a number from 0 to below 1: it keeps a layer norm from dividing \
                 by zero, and encoders have 1e-5 or 1e-12",
                key("layer_norm_eps"),
                self.layer_norm_eps
            ));
        }
        if !(self.initializer_range > 0.0 && self.initializer_range <= 1.0) {
            return Err(format!(
                "`{}` is {}; use a number above 0 and at most 1: new weights are drawn with it as \
                 their standard deviation, and encoders have 0.02",
                key("initializer_range"),
                self.initializer_range
            ));
        }
        if self.first_position() >= self.max_position_embeddings {
            return Err("`pad_token_id` leaves no position for a token".to_owned());
        }
        Ok(())
    }

    /// The row of the position table that the first token of a text takes, where it has one.
    pub fn first_position(&self) -> usize {
        match self.design.positions {
            None | Some(Positions::FromZero) => 0,
            Some(Positions::AfterPadding(own)) => own.unwrap_or(self.pad_token_id) + 1,
        }
    }

    /// The row of the position table that each token takes.
    pub(super) fn position_rows(&self, batch: &Packed) -> Vec<u32> {
        let Some(Positions::AfterPadding(own)) = self.design.positions else {
            return batch.positions().collect();
        };
        // A text may contain the padding token: it is not counted.
        let padding = own.unwrap_or(self.pad_token_id) as u32;
        let mut rows = Vec::with_capacity(batch.tokens());
        for (start, end) in batch.sequences() {
            let mut last = padding;
            rows.extend(batch.ids()[start..end].iter().map(|&id| {
                last += u32::from(id != padding);
                if id == padding { padding } else { last }
            }));
        }
        rows
    }

    /// Rows of the segment embedding; `None` where there is none, and segments do not matter.
    pub fn segments(&self) -> Option<usize> {
        self.design.segments.then_some(self.type_vocab_size)
    }

    /// Width of the embeddings, `e`, which is that of the layers where nothing stands between.
    pub fn embedding_width(&self) -> usize {
        self.design.projection.map_or(self.hidden_size, |projection| projection.width)
    }

    /// How many layers have weights of their own.
    pub fn layer_weights(&self) -> usize {
        self.design.shared.as_ref().map_or(self.num_hidden_layers, |shared| shared.count)
    }

    /// The number of the weights that a layer has; behind the last layer, that of no weights.
    pub fn weights_of(&self, layer: usize) -> usize {
        match &self.design.shared {
            Some(shared) => shared.weights.get(layer).copied().unwrap_or(shared.count),
            None => layer,
        }
    }

    /// The lowest number of the weights that the layers from this one on have.
    pub fn lowest_weights(&self, layer: usize) -> usize {
        let above = (layer..self.num_hidden_layers).map(|layer| self.weights_of(layer));
        above.min().unwrap_or(self.layer_weights())
    }

    /// The first layer that has weights of this number, or of a higher one.
    pub fn first_with(&self, weights: usize) -> usize {
        let mut layers = 0..self.num_hidden_layers;
        layers.find(|&layer| self.weights_of(layer) >= weights).unwrap_or(self.num_hidden_layers)
    }

    /// Whether the layers from this one on have no weights of a layer below it.
    pub fn divides_at(&self, layer: usize) -> bool {
        self.first_with(self.lowest_weights(layer)) >= layer
    }

    /// Whether φ is made of all tokens of a text, and not of the first.
    pub fn reads_all_tokens(&self) -> bool {
        match self.pooling {
            Pooling::Auto => self.design.head.mean,
            Pooling::Mean | Pooling::Normalised => true,
            Pooling::Cls => false,
        }
    }

    /// Whether the head that is used has dropout before its dense layer.
    pub(super) fn dropout_before_dense(&self) -> bool {
        self.pooling == Pooling::Auto && self.architecture.head.dropout_first
    }

    /// The share that a dropout sets to zero.
    pub(super) fn rate(&self, rate: Rate) -> f64 {
        match rate {
            Rate::None => 0.0,
            Rate::Hidden => self.hidden_dropout_prob,
            Rate::Attention => self.attention_probs_dropout_prob,
        }
    }

    /// The longest sequence that the position embedding has room for, in tokens.
    pub fn longest_sequence(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// The file to write beside the weights of a classifier: what was read, with the classes, the
    /// architecture and our own block brought up to date.
    pub fn to_json(&self) -> Value {
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
        file.insert("bayes".to_owned(), json!(Block { pooling: self.pooling }));
        Value::Object(file)
    }
}
