//! CamemBERT: Martin et al., "CamemBERT: a tasty French language model" (ACL 2020). RoBERTa in French.

use serde_json::json;

use super::roberta::ROBERTA;
use super::{Architecture, Keys};

pub(super) const CAMEMBERT: Architecture = Architecture {
    model_type: "camembert",
    class: "Camembert",
    name: "CamemBERT",
    keys: Keys { defaults: || json!({ "pad_token_id": 1 }), ..ROBERTA.keys },
    ..ROBERTA
};
