//! Where a pass has dropout. Each place has a number that names its noise, in the graph and in the engine
//! alike.

use super::architecture::Block;
use super::{DropoutSource, EncoderConfig};
use crate::compute::ops::Dropout;

/// The first number of the places that BERT does not have: those that it has keep theirs.
const OTHERS: u32 = 1 << 24;

/// How many of them a layer may have.
const OTHERS_BY_LAYER: u32 = 16;

/// The dropout of one pass; none without a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    config: &'a EncoderConfig,
    source: Option<&'a DropoutSource>,
}

/// The dropout of one layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LayerPlaces {
    /// On attention weights.
    pub weights: Option<Dropout>,
    /// On the output of the attention.
    pub attention: Option<Dropout>,
    /// Within a gated feed-forward block.
    pub inner: Option<Dropout>,
    /// On the output of the feed-forward block.
    pub feed_forward: Option<Dropout>,
    /// On the rows of the relative table that this layer reads, whatever the batch: see [`row_places`].
    pub relative: Option<Dropout>,
    /// On the convolution behind the layer.
    pub convolution: Option<Dropout>,
}

impl<'a> Places<'a> {
    pub fn new(config: &'a EncoderConfig, source: Option<&'a DropoutSource>) -> Self {
        Self { config, source }
    }

    fn at(&self, place: u32, rate: f64) -> Option<Dropout> {
        self.source.map(|source| Dropout::new(&source.noise, source.step, place, rate))
    }

    /// Behind the norm of the embeddings.
    pub fn embeddings(&self) -> Option<Dropout> {
        self.at(0, self.config.hidden_dropout_prob)
    }

    /// Of the layer that runs as this one.
    pub fn layer(&self, index: usize) -> LayerPlaces {
        let (config, index) = (self.config, index as u32);
        let Block { attention_output_dropout, feed_forward_dropout, inner_dropout, .. } =
            config.design.block;
        let first = 1 + 3 * index;
        LayerPlaces {
            weights: self.at(first, config.attention_probs_dropout_prob),
            attention: self.at(first + 1, config.rate(attention_output_dropout)),
            feed_forward: self.at(first + 2, config.rate(feed_forward_dropout)),
            inner: self.at(OTHERS + OTHERS_BY_LAYER * index, inner_dropout),
            relative: self.at(OTHERS + OTHERS_BY_LAYER * index + 1, config.hidden_dropout_prob),
            convolution: self.at(OTHERS + OTHERS_BY_LAYER * index + 2, config.hidden_dropout_prob),
        }
    }

    /// Before the dense layer of the head, where there is one, and before the last layer.
    pub fn head(&self) -> [Option<Dropout>; 2] {
        let config = self.config;
        let first = 1 + 3 * config.num_hidden_layers as u32;
        match config.dropout_before_dense() {
            true => {
                let last = config.classifier_dropout;
                let dense = config.design.head.first_dropout.unwrap_or(last);
                [self.at(first, dense), self.at(first + 1, last)]
            }
            false => [None, self.at(first, config.classifier_dropout)],
        }
    }
}

/// Where the noise of each row of a table is drawn.
pub(super) fn row_places(rows: usize) -> Vec<(u64, u32)> {
    (0..rows as u64).map(|row| (row, 0)).collect()
}
