//! BERT: Devlin, Chang, Lee and Toutanova (NAACL 2019).

use super::{Architecture, Design, Head, Keys, Tensors};

/// Its tensors, which others have under another prefix.
pub(super) const TENSORS: Tensors = Tensors {
    prefix: "bert",
    embeddings: [
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
        "embeddings.LayerNorm",
    ],
    projection: "",
    layers: "encoder.layer",
    group: "",
    qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
    attention: ["attention.output.dense", "attention.output.LayerNorm"],
    feed_forward: ["intermediate.dense", "output.dense", "output.LayerNorm"],
    last_norm: "",
    relative: "",
    relative_norm: "",
    relative_maps: ["", ""],
    convolution: ["", ""],
};

/// Its special tokens, which are those of word pieces.
pub(super) const SPECIAL_TOKENS: [&str; 5] = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

pub(super) const BERT: Architecture = Architecture {
    model_type: "bert",
    class: "Bert",
    name: "BERT",
    keys: Keys::BERT,
    design: |_| Ok(Design::BERT),
    segments_given: true,
    tensors: TENSORS,
    head: Head { dropout_first: false, dense: "bert.pooler.dense", norm: None, last: "classifier" },
    special_tokens: SPECIAL_TOKENS,
};
