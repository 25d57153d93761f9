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
    /// Which layers have the same weights; without it, none.
    pub shared: Option<Shared>,
    /// The head of a classifier in transformers.
    pub head: HeadDesign,
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
/// * `compute::ops::attention`, for the plain graph, and `classifier::Layer::forward`, which calls it;
/// * `compute::kernels::attention::Attention`, which `engine::forward::Pass::attention` fills;
/// * `engine::forward::Layer::attend`, behind the product that makes queries and keys, and
///   `engine::backward::Work::attention`, before the products that take their gradients on: where queries and
///   keys are turned;
/// * `layout::specifications`, `Engine::update` and `engine::backward`, where it has weights of its own that
///   all layers share, with a name that begins with `relative.`.
#[derive(Clone, Debug, PartialEq)]
pub enum AttentionKind {
    /// Vaswani et al., "Attention is all you need" (2017), equation 1.
    Plain,
    /// A bias on scores by head and distance, of so many rows.
    DistanceBias { buckets: usize },
}

impl AttentionKind {
    /// The row that each distance reads of what all layers add to scores, in texts of at most `reach` tokens.
    pub fn rows(&self, reach: usize) -> Option<RelativeRows> {
        match self {
            Self::Plain => None,
            Self::DistanceBias { .. } => Some(RelativeRows::new(reach, bucket)),
        }
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDesign {
    /// Whether it reads the mean over all tokens, and not the first.
    pub mean: bool,
    /// Whether its dense layer has a bias.
    pub bias: bool,
    /// The non-linearity behind the dense layer.
    pub activation: HeadActivation,
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
        shared: None,
        head: HeadDesign { mean: false, bias: true, activation: HeadActivation::Tanh },
    };

    /// BERT with a head that has another non-linearity.
    pub(super) fn with_head(activation: Activation) -> Self {
        let head = HeadDesign { activation: HeadActivation::Other(activation), ..Self::BERT.head };
        Self { head, ..Self::BERT }
    }
}
