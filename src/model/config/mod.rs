//! `config.json` as transformers writes it: what is read from it, and its limits.

mod check;
mod class;
mod file;
mod labels;
mod refused;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use self::check::{MOST_LAYERS, out_of_range};
pub use self::labels::check_labels;
use super::architecture::{Architecture, Block, Design, Positions, Rate, scratch};
use crate::compute::Packed;
use crate::compute::ops::Activation;
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
    /// The architecture's head in transformers: in BERT the first token, a dense layer and tanh.
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

impl EncoderConfig {
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

    /// The row of the position table that the first token of a text takes, where it has one.
    pub fn first_position(&self) -> usize {
        match self.design.positions {
            None | Some(Positions::FromZero) => 0,
            Some(Positions::AfterPadding(own)) => {
                own.unwrap_or(self.pad_token_id).saturating_add(1)
            }
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

    /// Whether passes with dropout in so many of the top layers drop anything; 0 = all, and the embeddings.
    pub fn has_dropout(&self, layers: usize) -> bool {
        let Block { attention_output_dropout, feed_forward_dropout, inner_dropout, .. } =
            self.design.block;
        let whole = layers == 0 || layers >= self.num_hidden_layers;
        let embeddings = if whole { self.hidden_dropout_prob } else { 0.0 };
        let head = self.design.head.first_dropout.filter(|_| self.dropout_before_dense());
        [
            embeddings,
            self.attention_probs_dropout_prob,
            inner_dropout,
            self.rate(attention_output_dropout),
            self.rate(feed_forward_dropout),
            head.unwrap_or(0.0),
            self.classifier_dropout,
        ]
        .iter()
        .any(|&rate| rate > 0.0)
    }

    /// The key of a dropout that every layer has.
    pub fn layer_dropout_key(&self) -> &'static str {
        let Block { attention_output_dropout, feed_forward_dropout, .. } = self.design.block;
        let hidden = [attention_output_dropout, feed_forward_dropout].contains(&Rate::Hidden);
        self.architecture.key(match hidden {
            true => "hidden_dropout_prob",
            false => "attention_probs_dropout_prob",
        })
    }

    /// The key of the dropout before the last layer.
    pub fn head_dropout_key(&self) -> &'static str {
        self.architecture.head_dropout_key()
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
}
