//! How an encoder is built: what its family has of its own, and what its `config.json` says.
//!
//! The graph and the CPU engine follow a [`Design`] and ask for nothing else. [`Design::BERT`] is the plain
//! one; the file of a family says where its own differs.

use super::HeadActivation;
use super::mpnet::bucket;
use crate::compute::RelativeRows;
use crate::compute::ops::Activation;

/// How an encoder is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Which row of the position table a token takes; without a table there is none.
    pub positions: Option<Positions>,
    /// Whether there is a table of segments.
    pub segments: bool,
    /// How embeddings of another width come to that of the layers.
    pub projection: Option<Projection>,
    /// What each layer is made of.
    pub block: Block,
    /// How tokens attend to each other.
    pub attention: AttentionKind,
    /// What is added to the result of the first layer; nothing without it.
    pub convolution: Option<Convolution>,
    /// Which layers have the same weights; without it, none.
    pub shared: Option<Shared>,
    /// The head of a classifier in transformers.
    pub head: HeadDesign,
    /// How new weights are drawn.
    pub fresh: Fresh,
}

/// Which row of the position table a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Its place in the text.
    FromZero,
    /// Counted from the row after that of the padding id, which is the config's, or this one whatever the
    /// config says. A token with the padding id has that row, and is not counted.
    AfterPadding(Option<usize>),
}

/// A linear map from the width of the embeddings, e, to that of the layers, d.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Width of the embeddings, e.
    pub width: usize,
    /// Whether it stands before the norm of the embeddings, and not after their dropout.
    pub before_norm: bool,
    pub bias: bool,
}

/// What a layer is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Whether norms stand before attention and feed-forward block and leave the sum of the residuals as it
    /// is; a last norm then follows all layers. Xiong et al., "On layer normalization in the Transformer
    /// architecture" (ICML 2020).
    pub pre_norm: bool,
    /// Whether the attention of the first layer has a norm before it; only where norms stand before.
    pub first_norm: bool,
    /// Whether the first product of the feed-forward block makes two halves a and b, and the second one
    /// reads act(a) ∘ b. Shazeer, "GLU variants improve Transformer" (2020).
    pub gated: bool,
    /// Whether the linear layers of the attention have a bias.
    pub attention_bias: bool,
    /// Whether those of the feed-forward block have one.
    pub feed_forward_bias: bool,
    /// Whether norms have β beside γ.
    pub norm_bias: bool,
    /// Dropout on the output of the attention.
    pub attention_output_dropout: Rate,
    /// Dropout on the output of the feed-forward block.
    pub feed_forward_dropout: Rate,
    /// The rate of the dropout on act(a) ∘ b; only where the block is gated.
    pub inner_dropout: f64,
}

/// One of the rates of dropout that a config has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    None,
    /// `hidden_dropout_prob`.
    Hidden,
    /// `attention_probs_dropout_prob`.
    Attention,
}

/// How tokens attend to each other, in all layers of an encoder.
///
/// A kind that is more than a softmax of scaled products is a variant with what its config says, and has its
/// place in
/// * `compute::ops::attention`, for the plain graph, and `graph::Layer::forward`, which calls it;
/// * `compute::kernels::attention::Attention`, which `engine::pass::Pass::attention` fills;
/// * `engine::layer::Layer::attend`, behind the product that makes queries and keys, and
///   `engine::layer_backward::Work::attention`, before the products that take their gradients on: where queries and
///   keys are turned;
/// * `layout::specifications`, `Engine::update` and `engine::backward`, where it has weights of its own that
///   all layers share, with a name that begins with `relative.`.
#[derive(Clone, Debug, PartialEq)]
pub enum AttentionKind {
    /// Vaswani et al., "Attention is all you need" (2017), equation 1.
    Plain,
    /// The same of queries and keys that are turned by their places, in some layers within a window.
    Rotary(Rotary),
    /// A bias on scores by head and distance, of so many rows.
    DistanceBias { buckets: usize },
    /// He, Liu, Gao and Chen, "DeBERTa" (ICLR 2021), equation 4.
    Disentangled(Disentangled),
}

/// Rotary positions: Su et al., "RoFormer" (2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// The θ that there are.
    pub thetas: Vec<f64>,
    /// By layer.
    pub layers: Vec<RotaryLayer>,
}

/// One layer with rotary positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotaryLayer {
    /// Which of the θ is its own.
    pub theta: usize,
    /// Places on each side that a token attends to; all where there is none.
    pub window: Option<usize>,
}

impl AttentionKind {
    /// The row that each distance reads of what all layers add to scores, in texts of at most `reach` tokens.
    pub fn rows(&self, reach: usize) -> Option<RelativeRows> {
        match self {
            Self::Plain | Self::Rotary(_) | Self::Disentangled(_) => None,
            Self::DistanceBias { .. } => Some(RelativeRows::new(reach, bucket)),
        }
    }

    /// Where positions are rotary.
    pub fn rotary(&self) -> Option<&Rotary> {
        match self {
            Self::Rotary(rotary) => Some(rotary),
            Self::Plain | Self::DistanceBias { .. } | Self::Disentangled(_) => None,
        }
    }

    /// What turns the queries and keys of a layer.
    pub fn theta(&self, layer: usize) -> Option<f64> {
        self.rotary().map(|rotary| rotary.thetas[rotary.layers[layer].theta])
    }

    /// Places on each side that a token attends to in a layer; all where there is none.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.rotary().and_then(|rotary| rotary.layers[layer].window)
    }

    /// How the maps of relative keys and queries are called, of those that a layer has of its own.
    pub fn own_maps(&self) -> [Option<&'static str>; 2] {
        match self {
            Self::Disentangled(Disentangled { keys, queries, shared: false, .. }) => {
                [keys.then_some("relative_key"), queries.then_some("relative_query")]
            }
            _ => [None, None],
        }
    }
}

/// Attention with products of content and position. What is relative are the rows of one table, which all
/// layers project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disentangled {
    /// Whether content asks for positions: relative keys.
    pub keys: bool,
    /// Whether positions ask for content: relative queries.
    pub queries: bool,
    /// What 1/√(terms · k) scales scores by: the terms of a score that the config names.
    pub terms: usize,
    /// Whether relative keys and queries are projected as those of the content, and not by maps of their own.
    pub shared: bool,
    /// Whether the rows pass through a norm.
    pub norm: bool,
    /// Which row a distance has.
    pub span: Span,
}

/// From the distance g = s − t of a query and a key to a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Buckets on each side, logarithmic from half of them on; without them, each distance has its own row.
    pub buckets: Option<usize>,
    /// The distance at which the last bucket begins, M.
    pub furthest: usize,
}

impl Span {
    /// Rows on each side of the middle.
    fn rows_by_side(self) -> usize {
        self.buckets.unwrap_or(self.furthest)
    }

    /// Rows of the table.
    pub fn rows(self) -> usize {
        2 * self.rows_by_side()
    }

    /// The row of a distance.
    pub fn row(self, distance: i64) -> u32 {
        let side = self.rows_by_side() as i64;
        (self.bucket(distance) + side).clamp(0, 2 * side - 1) as u32
    }

    /// An odd function, in f32 as transformers has it.
    fn bucket(self, distance: i64) -> i64 {
        let Some(buckets) = self.buckets else { return distance };
        let (middle, size) = ((buckets / 2) as i64, distance.abs());
        if size <= middle {
            return distance;
        }
        let whole = ((self.furthest - 1) as f64 / middle as f64) as f32;
        let share = (size as f32 / middle as f32).ln() / whole.ln();
        let bucket = (share * (middle - 1) as f32).ceil() as i64 + middle;
        bucket * distance.signum()
    }
}

/// A convolution of what enters the first layer over the tokens of a text, which is added to what leaves it:
/// z ← LN(z + act(drop(conv(x)))). He, Liu, Gao and Chen (2021), the second version of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Tokens that each result is made of, an odd number.
    pub window: usize,
    /// Parts that the features are divided into; results of a part are made of that part.
    pub groups: usize,
    pub activation: Activation,
}

/// How new weights are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fresh {
    /// Normal, all of them with the config's deviation.
    Normal,
    /// Normal, cut at so many deviations. What is added to the residuals, and the dense layer of the head,
    /// have the deviation divided by √(2 · layers), and the last layer has 1/√d.
    Cut(f64),
}

/// Which layers have the same weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The number of the weights that each layer has, in the order in which the layers run.
    pub weights: Vec<usize>,
    /// How many layers' weights there are in the file.
    pub count: usize,
    /// How many of them stand in one group.
    pub inner: usize,
}

/// What a head has of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadDesign {
    /// Whether it reads the mean over all tokens, and not the first.
    pub mean: bool,
    /// Whether its dense layer has a bias.
    pub bias: bool,
    /// The non-linearity behind the dense layer.
    pub activation: HeadActivation,
    /// The rate of a dropout before the dense layer, where that is not the one before the last layer.
    pub first_dropout: Option<f64>,
}

impl Design {
    pub const BERT: Self = Self {
        positions: Some(Positions::FromZero),
        segments: true,
        projection: None,
        block: Block {
            pre_norm: false,
            first_norm: true,
            gated: false,
            attention_bias: true,
            feed_forward_bias: true,
            norm_bias: true,
            attention_output_dropout: Rate::Hidden,
            feed_forward_dropout: Rate::Hidden,
            inner_dropout: 0.0,
        },
        attention: AttentionKind::Plain,
        convolution: None,
        shared: None,
        head: HeadDesign {
            mean: false,
            bias: true,
            activation: HeadActivation::Tanh,
            first_dropout: None,
        },
        fresh: Fresh::Normal,
    };

    /// BERT with a head that has another non-linearity.
    pub(super) fn with_head(activation: Activation) -> Self {
        let head = HeadDesign { activation: HeadActivation::Other(activation), ..Self::BERT.head };
        Self { head, ..Self::BERT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the first and the last distances of the buckets of transformers' `make_log_bucket_position`, and
    /// beyond the furthest.
    #[test]
    fn buckets_are_those_of_transformers() {
        let span = Span { buckets: Some(8), furthest: 64 };
        assert_eq!(span.rows(), 16);
        let rows: Vec<u32> = [0, 1, 4, 5, 10, 11, 25, 26, 63, 64, 500].map(|g| span.row(g)).into();
        assert_eq!(rows, [8, 9, 12, 13, 13, 14, 14, 15, 15, 15, 15]);
        let rows: Vec<u32> =
            [-1, -4, -5, -10, -11, -25, -26, -63, -64, -500].map(|g| span.row(g)).into();
        assert_eq!(rows, [7, 4, 3, 3, 2, 2, 1, 1, 0, 0]);
        let span = Span { buckets: None, furthest: 3 };
        let rows: Vec<u32> = (-5..=5).map(|g| span.row(g)).collect();
        assert_eq!(rows, [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]);
    }
}
