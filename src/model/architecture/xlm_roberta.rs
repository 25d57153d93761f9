//! XLM-RoBERTa: Conneau et al., "Unsupervised cross-lingual representation learning at scale" (ACL 2020).
//! RoBERTa in a hundred languages.

use serde_json::json;

use super::roberta::ROBERTA;
use super::{Architecture, Keys};

pub(super) const XLM_ROBERTA: Architecture = Architecture {
    model_type: "xlm-roberta",
    class: "XLMRoberta",
    name: "XLM-RoBERTa",
    keys: Keys { defaults: || json!({ "pad_token_id": 1 }), ..ROBERTA.keys },
    ..ROBERTA
};
