//! The section `[model]`.

use serde::{Deserialize, Serialize};

use super::{Norm, Pooling, PositionEmbedding};

/// How tokens are pooled into the feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolingChoice {
    /// As in the encoder's folder, if it is a sentence-transformers model; otherwise `normalised`
    /// for the recipes `head` and `auto`, and `head` for `full`.
    #[default]
    Auto,
    /// The architecture's head in transformers: in BERT the first token, a dense layer and tanh.
    Head,
    /// The mean over the tokens.
    Mean,
    /// The mean over the tokens, scaled to one length.
    Normalised,
    /// The first token.
    Cls,
}

impl PoolingChoice {
    /// What was chosen; `None` where it is left to the encoder and the recipe.
    pub fn fixed(self) -> Option<Pooling> {
        match self {
            Self::Auto => None,
            Self::Head => Some(Pooling::Auto),
            Self::Mean => Some(Pooling::Mean),
            Self::Normalised => Some(Pooling::Normalised),
            Self::Cls => Some(Pooling::Cls),
        }
    }
}

/// What stands for no encoder in `model.init`.
pub const FROM_SCRATCH: &str = "none";

/// Keys that describe a new encoder.
pub const SIZES: [&str; 7] = [
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "norm",
    "position_embedding_type",
];

/// Which encoder: a pretrained one, or the sizes of a new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Folder or Hub id; absent, or `none`, to train from scratch with the sizes below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Layers of a new encoder (default 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_hidden_layers: Option<usize>,
    /// Width of a new encoder (default 64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
    /// Heads of a new encoder (default 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_attention_heads: Option<usize>,
    /// Feed-forward width of a new encoder (default four times its width).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// Maximum vocabulary size of a new encoder (default 8000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<usize>,
    /// Position of the layer norms in a new encoder (default `post`, with rotary positions `pre`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// How a new encoder knows where a token stands (default `absolute`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_embedding_type: Option<PositionEmbedding>,
    /// How tokens are pooled into the feature.
    pub pooling: PoolingChoice,
}

impl ModelConfig {
    /// Every key, for the list of keys that exist.
    pub fn example() -> Self {
        Self {
            init: Some(String::new()),
            num_hidden_layers: Some(2),
            hidden_size: Some(64),
            num_attention_heads: Some(4),
            intermediate_size: Some(256),
            vocab_size: Some(8000),
            norm: Some(Norm::Post),
            position_embedding_type: Some(PositionEmbedding::Absolute),
            pooling: PoolingChoice::Auto,
        }
    }

    /// The width of a new encoder.
    pub fn width(&self) -> usize {
        self.hidden_size.unwrap_or(64)
    }

    /// The feed-forward width of a new encoder.
    pub fn feed_forward(&self) -> usize {
        self.intermediate_size.unwrap_or(self.width().saturating_mul(4))
    }

    /// The first pair of keys that contradict each other, as a message.
    pub fn check(&self) -> Result<(), String> {
        let Some(init) = &self.init else { return Ok(()) };
        let sizes = [
            ("num_hidden_layers", self.num_hidden_layers.is_some()),
            ("hidden_size", self.hidden_size.is_some()),
            ("num_attention_heads", self.num_attention_heads.is_some()),
            ("intermediate_size", self.intermediate_size.is_some()),
            ("vocab_size", self.vocab_size.is_some()),
            ("norm", self.norm.is_some()),
            ("position_embedding_type", self.position_embedding_type.is_some()),
        ];
        match sizes.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!(
                "`model.{key}` describes a new encoder, but `model.init` is `{init}`; give only \
                 one of the two"
            )),
            None => Ok(()),
        }
    }
}
