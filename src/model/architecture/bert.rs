//! BERT: Devlin, Chang, Lee and Toutanova (NAACL 2019).

use super::{Architecture, Block, Head, HeadActivation, Keys, Positions, Segments, Tensors};

/// Its tensors, which others have under another prefix.
pub(super) const TENSORS: Tensors = Tensors {
    prefix: "bert",
    layers: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attention: ["attention.output.dense", "attention.output.LayerNorm"],
    feed_forward: ["intermediate.dense", "output.dense", "output.LayerNorm"],
};

/// Its special tokens, which are those of word pieces.
pub(super) const SPECIAL_TOKENS: [&str; 5] = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

pub(super) const BERT: Architecture = Architecture {
    model_type: "bert",
    class: "Bert",
    name: "BERT",
    keys: Keys::BERT,
    positions: Positions::FromZero,
    segments: Segments::Given,
    block: Block { attention_output_dropout: true },
    tensors: TENSORS,
    head: Head {
        dropout_first: false,
        dense: "bert.pooler.dense",
        activation: HeadActivation::Tanh,
        last: "classifier",
    },
    special_tokens: SPECIAL_TOKENS,
};
