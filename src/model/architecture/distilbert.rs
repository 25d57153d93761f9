//! DistilBERT: Sanh, Debut, Chaumond and Wolf, "DistilBERT, a distilled version of BERT" (2019).
//!
//! BERT without segments and pooler: half its layers, and a dense layer with ReLU in the classifier.

use serde_json::json;

use super::bert::BERT;
use super::{Architecture, Block, Design, Head, Keys, Rate, Tensors};
use crate::compute::ops::Activation;

pub(super) const DISTILBERT: Architecture = Architecture {
    model_type: "distilbert",
    class: "DistilBert",
    name: "DistilBERT",
    keys: Keys {
        renamed: &[
            ("dim", "hidden_size"),
            ("n_layers", "num_hidden_layers"),
            ("n_heads", "num_attention_heads"),
            ("hidden_dim", "intermediate_size"),
            ("activation", "hidden_act"),
            ("dropout", "hidden_dropout_prob"),
            ("attention_dropout", "attention_probs_dropout_prob"),
            ("seq_classif_dropout", "classifier_dropout"),
        ],
        aliases: &["hidden_size", "num_hidden_layers", "num_attention_heads"],
        defaults: || json!({ "num_hidden_layers": 6, "classifier_dropout": 0.2 }),
        constants: || json!({ "layer_norm_eps": 1e-12, "type_vocab_size": 0 }),
        ..Keys::BERT
    },
    design: |_| {
        let relu = Design::with_head(Activation::Relu);
        let block = Block { attention_output_dropout: Rate::None, ..relu.block };
        Ok(Design { segments: false, block, ..relu })
    },
    segments_given: false,
    tensors: Tensors {
        prefix: "distilbert",
        layers: "transformer.layer",
        qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        attention: ["attention.out_lin", "sa_layer_norm"],
        feed_forward: ["ffn.lin1", "ffn.lin2", "output_layer_norm"],
        ..BERT.tensors
    },
    head: Head { dense: "pre_classifier", ..BERT.head },
    ..BERT
};
