//! New encoders: the `config.json` of one that is trained from scratch, so that transformers reads it.
//!
//! Norms behind the blocks and a table of positions make a BERT. Norms before them make RoBERTa's pre-norm
//! form, and with rotary positions a ModernBERT whose layers are all global.

use serde_json::{Map, Value, json};

use crate::model::{Norm, PositionEmbedding, Sizes};

/// ω of the slowest pair is 1 / θ: that of the paper.
const THETA: f64 = 10_000.0;

/// The config of an encoder with so many tokens and places. Ids are those of our own vocabularies.
///
/// # Errors
/// A message, if no family has both of them.
pub(in crate::model) fn scratch(
    norm: Norm,
    positions: PositionEmbedding,
    sizes: Sizes,
    vocab_size: usize,
    longest: usize,
) -> Result<Map<String, Value>, String> {
    let (model_type, own) = match (norm, positions) {
        (Norm::Post, PositionEmbedding::Absolute) => (
            "bert",
            json!({
                "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1,
                "attention_probs_dropout_prob": 0.1,
                "max_position_embeddings": longest,
                "type_vocab_size": 2,
                "layer_norm_eps": 1e-12,
            }),
        ),
        (Norm::Pre, PositionEmbedding::Absolute) => (
            "roberta-prelayernorm",
            json!({
                "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1,
                "attention_probs_dropout_prob": 0.1,
                // The row of the padding token comes first.
                "max_position_embeddings": longest.saturating_add(1),
                "type_vocab_size": 2,
                "layer_norm_eps": 1e-12,
                "bos_token_id": 2,
                "eos_token_id": 3,
            }),
        ),
        (Norm::Pre, PositionEmbedding::Rotary) => {
            let rope = json!({ "rope_type": "default", "rope_theta": THETA });
            let own = json!({
                "hidden_activation": "gelu",
                "embedding_dropout": 0.1,
                "attention_dropout": 0.1,
                "mlp_dropout": 0.1,
                "classifier_dropout": 0.1,
                "max_position_embeddings": longest,
                "norm_eps": 1e-5,
                // In the keys of transformers 4 and 5.
                "global_attn_every_n_layers": 1,
                "global_rope_theta": THETA,
                "local_rope_theta": THETA,
                "layer_types": vec!["full_attention"; sizes.num_hidden_layers],
                "rope_parameters": { "full_attention": rope, "sliding_attention": rope },
                "cls_token_id": 2,
                "bos_token_id": 2,
                "sep_token_id": 3,
                "eos_token_id": 3,
            });
            ("modernbert", own)
        }
        (Norm::Post, PositionEmbedding::Rotary) => {
            return Err(
                "`position_embedding_type = \"rotary\"` comes with norms before the blocks, \
                        as in ModernBERT; leave `norm` out, or set it to \"pre\""
                    .to_owned(),
            );
        }
    };
    let first = json!({
        "model_type": model_type,
        "vocab_size": vocab_size,
        "hidden_size": sizes.hidden_size,
        "num_hidden_layers": sizes.num_hidden_layers,
        "num_attention_heads": sizes.num_attention_heads,
        "intermediate_size": sizes.intermediate_size,
    });
    let last = json!({
        "initializer_range": 1.0 / (sizes.hidden_size.max(1) as f64).sqrt(),
        "pad_token_id": 0,
    });
    let parts = [first, own, last].into_iter().flat_map(|part| match part {
        Value::Object(part) => part,
        _ => unreachable!("the literals are objects"),
    });
    Ok(parts.collect())
}
