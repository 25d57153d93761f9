//! RoBERTa: Liu et al., "A robustly optimized BERT pretraining approach" (2019).

use serde_json::json;

use super::bert::{BERT, TENSORS};
use super::{Architecture, Design, Head, Keys, Positions, Tensors};

pub(super) const ROBERTA: Architecture = Architecture {
    model_type: "roberta",
    class: "Roberta",
    name: "RoBERTa",
    keys: Keys { defaults: || json!({ "vocab_size": 50_265, "pad_token_id": 1 }), ..Keys::BERT },
    design: |_| Ok(Design { positions: Some(Positions::AfterPadding(None)), ..Design::BERT }),
    segments_given: false,
    tensors: Tensors { prefix: "roberta", ..TENSORS },
    head: Head {
        dropout_first: true,
        dense: "classifier.dense",
        last: "classifier.out_proj",
        ..BERT.head
    },
    special_tokens: ["<unk>", "</s>", "<pad>", "<s>", "<mask>"],
};
