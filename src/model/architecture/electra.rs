//! ELECTRA: Clark, Luong, Le and Manning, "ELECTRA: pre-training text encoders as discriminators rather than
//! generators" (ICLR 2020). BERT with embeddings of another width in its small size.

use serde::Deserialize;
use serde_json::json;

use super::bert::BERT;
use super::roberta::ROBERTA;
use super::{Architecture, Design, Keys, Projection, Tensors, own};
use crate::compute::ops::Activation;

#[derive(Deserialize)]
struct Own {
    hidden_size: usize,
    embedding_size: usize,
}

pub(super) const ELECTRA: Architecture = Architecture {
    model_type: "electra",
    class: "Electra",
    name: "ELECTRA",
    keys: Keys {
        defaults: || {
            json!({
                "embedding_size": 128,
                "hidden_size": 256,
                "num_attention_heads": 4,
                "intermediate_size": 1024,
            })
        },
        ..Keys::BERT
    },
    design: |keys| {
        let Own { hidden_size, embedding_size: width } = own(keys)?;
        let projection = Projection { width, before_norm: false, bias: true };
        let projection = (width != hidden_size).then_some(projection);
        // The head has GELU, whatever the layers have.
        Ok(Design { projection, ..Design::with_head(Activation::Gelu) })
    },
    tensors: Tensors { prefix: "electra", projection: "embeddings_project", ..BERT.tensors },
    head: ROBERTA.head,
    ..BERT
};
