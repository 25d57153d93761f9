//! ALBERT: Lan et al., "ALBERT: a lite BERT for self-supervised learning of language representations"
//! (ICLR 2020). Embeddings of their own width, and layers that have the same weights.

use serde::Deserialize;
use serde_json::json;

use super::bert::BERT;
use super::{Architecture, Block, Design, Head, Keys, Projection, Rate, Shared, Tensors, own};
use crate::model::config::{MOST_LAYERS, out_of_range};

#[derive(Deserialize)]
struct Own {
    embedding_size: usize,
    num_hidden_layers: usize,
    num_hidden_groups: usize,
    inner_group_num: usize,
}

impl Own {
    /// A layer of the config runs all layers of its group, so it is as many of ours.
    fn shared(&self) -> Result<Shared, String> {
        let Self { num_hidden_layers: layers, num_hidden_groups: groups, .. } = *self;
        let inner = self.inner_group_num;
        let range = |key: &str, value: usize, most: usize| match (1..=most).contains(&value) {
            true => Ok(()),
            false => Err(out_of_range(key, value, most)),
        };
        range("num_hidden_groups", groups, layers)?;
        range("inner_group_num", inner, MOST_LAYERS / layers)?;
        // As transformers divides, rounding included.
        let group = |layer: usize| (layer as f64 / (layers as f64 / groups as f64)) as usize;
        let weights = |layer| (0..inner).map(move |one| group(layer) * inner + one);
        let weights = (0..layers).flat_map(weights).collect();
        Ok(Shared { weights, count: groups * inner, inner })
    }
}

pub(super) const ALBERT: Architecture = Architecture {
    model_type: "albert",
    class: "Albert",
    name: "ALBERT",
    keys: Keys {
        renamed: &[("classifier_dropout_prob", "classifier_dropout")],
        defaults: || {
            json!({
                "vocab_size": 30_000,
                "embedding_size": 128,
                "hidden_size": 4096,
                "num_hidden_groups": 1,
                "inner_group_num": 1,
                "num_hidden_layers": 12,
                "num_attention_heads": 64,
                "intermediate_size": 16_384,
                "hidden_act": "gelu_new",
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
                "classifier_dropout": 0.1,
            })
        },
        ..Keys::BERT
    },
    design: |keys| {
        let own: Own = own(keys)?;
        let width = own.embedding_size;
        let block = Block { feed_forward_dropout: Rate::None, ..Design::BERT.block };
        Ok(Design {
            projection: Some(Projection { width, before_norm: false, bias: true }),
            shared: Some(own.shared()?),
            block,
            ..Design::BERT
        })
    },
    tensors: Tensors {
        prefix: "albert",
        projection: "encoder.embedding_hidden_mapping_in",
        layers: "encoder.albert_layer_groups",
        group: "albert_layers",
        qkv: &["attention.query", "attention.key", "attention.value"],
        attention: ["attention.dense", "attention.LayerNorm"],
        feed_forward: ["ffn", "ffn_output", "full_layer_layer_norm"],
        ..BERT.tensors
    },
    head: Head { dense: "albert.pooler", ..BERT.head },
    special_tokens: ["<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"],
    ..BERT
};
