//! ModernBERT: Warner et al., "Smarter, better, faster, longer: a modern bidirectional encoder for fast,
//! memory efficient, and long context finetuning and inference" (2024).
//!
//! Rotary positions, norms before the blocks, a gated feed-forward block, no biases unless the config says
//! so. Most layers are local: a token attends to those at most `local_attention` / 2 places away.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bert::{BERT, SPECIAL_TOKENS};
use super::design::{AttentionKind, Fresh, HeadDesign, Rotary, RotaryLayer};
use super::{
    Architecture, Block, Design, Head, HeadActivation, Keys, Rate, Tensors, activation, own,
};

pub(super) const MODERNBERT: Architecture = Architecture {
    model_type: "modernbert",
    class: "ModernBert",
    name: "ModernBERT",
    keys: Keys {
        renamed: &[
            ("norm_eps", "layer_norm_eps"),
            ("hidden_activation", "hidden_act"),
            ("embedding_dropout", "hidden_dropout_prob"),
            ("attention_dropout", "attention_probs_dropout_prob"),
        ],
        aliases: &[],
        defaults,
        constants: || json!({ "type_vocab_size": 0, "position_embedding_type": "absolute" }),
        nulls: &["local_rope_theta", "initializer_cutoff_factor"],
    },
    design,
    segments_given: false,
    tensors: Tensors {
        prefix: "model",
        embeddings: ["embeddings.tok_embeddings", "", "", "embeddings.norm"],
        layers: "layers",
        qkv: &["attn.Wqkv"],
        attention: ["attn.Wo", "attn_norm"],
        feed_forward: ["mlp.Wi", "mlp.Wo", "mlp_norm"],
        last_norm: "final_norm",
        ..BERT.tensors
    },
    head: Head { dense: "head.dense", norm: Some("head.norm"), ..BERT.head },
    special_tokens: SPECIAL_TOKENS,
};

fn defaults() -> Value {
    json!({
        "vocab_size": 50_368, "hidden_size": 768, "intermediate_size": 1152,
        "num_hidden_layers": 22, "num_attention_heads": 12, "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5, "pad_token_id": 50_283, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0, "mlp_dropout": 0.0,
        "norm_bias": false, "attention_bias": false, "mlp_bias": false, "classifier_bias": false,
        "classifier_pooling": "cls", "classifier_activation": "gelu", "local_attention": 128,
        "global_attn_every_n_layers": 3, "global_rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0, "initializer_cutoff_factor": 2.0,
    })
}

/// Its own keys; `layer_types` and `rope_parameters` are those of transformers 5, and where they say nothing
/// the keys of transformers 4 hold.
#[derive(Deserialize)]
struct Own {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    mlp_dropout: f64,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    classifier_bias: bool,
    classifier_pooling: String,
    classifier_activation: String,
    local_attention: i64,
    /// Half of `local_attention`; transformers obeys it in its place.
    sliding_window: Option<i64>,
    layer_types: Option<Vec<String>>,
    global_attn_every_n_layers: usize,
    #[serde(default)]
    rope_parameters: BTreeMap<String, Value>,
    rope_scaling: Option<Rope>,
    global_rope_theta: f64,
    /// Null is the global one, as in transformers 4.
    local_rope_theta: Option<f64>,
    initializer_cutoff_factor: Option<f64>,
}

/// What is said of the positions of one type of layer.
#[derive(Default, Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
}

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

fn design(keys: &Map<String, Value>) -> Result<Design, String> {
    let mut own: Own = own(keys)?;
    if let Some(half) = own.sliding_window {
        if half < 0 {
            return Err(format!("`sliding_window` is {half}; use 0 or more"));
        }
        own.local_attention = half.saturating_mul(2);
    }
    let mean = match own.classifier_pooling.as_str() {
        "cls" => false,
        "mean" => true,
        other => {
            return Err(format!("`classifier_pooling` is `{other}`; use `cls` or `mean`"));
        }
    };
    if own.mlp_dropout < 0.0 || own.mlp_dropout >= 1.0 {
        let rate = own.mlp_dropout;
        return Err(format!("`mlp_dropout` is {rate}; use a number from 0 to below 1"));
    }
    // transformers reads null as 3.
    let cut = own.initializer_cutoff_factor.unwrap_or(3.0);
    if cut.is_nan() || cut <= 0.0 {
        return Err(format!("`initializer_cutoff_factor` is {cut}; use a number above 0"));
    }
    let activation = activation("classifier_activation", &own.classifier_activation)?;
    let activation = HeadActivation::Other(activation);
    Ok(Design {
        positions: None,
        segments: false,
        block: Block {
            pre_norm: true,
            first_norm: false,
            gated: true,
            attention_bias: own.attention_bias,
            feed_forward_bias: own.mlp_bias,
            norm_bias: own.norm_bias,
            attention_output_dropout: Rate::Attention,
            feed_forward_dropout: Rate::None,
            inner_dropout: own.mlp_dropout,
        },
        attention: AttentionKind::Rotary(own.rotary()?),
        head: HeadDesign { mean, bias: own.classifier_bias, activation, ..Design::BERT.head },
        fresh: Fresh::Cut(cut),
        ..Design::BERT
    })
}

impl Own {
    fn rotary(&self) -> Result<Rotary, String> {
        if self.hidden_size.checked_div(self.num_attention_heads).is_some_and(|wide| wide % 2 == 1)
        {
            return Err(format!(
                "`hidden_size` {} in {} heads gives them an odd width; rotary positions turn pairs, \
                 so use another `num_attention_heads`",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if let Some(other) =
            self.rope_parameters.keys().find(|key| ![GLOBAL, LOCAL].contains(&&***key))
        {
            return Err(format!(
                "`rope_parameters` has the key `{other}`; use `{GLOBAL}` and `{LOCAL}`, each with \
                 its own `rope_theta`"
            ));
        }
        if let Some(scaling) = &self.rope_scaling {
            scaling.check("rope_scaling")?;
        }
        let local = self.local_rope_theta.unwrap_or(self.global_rope_theta);
        let theta = |kind: &str, usual: f64| -> Result<f64, String> {
            let Some(rope) = self.rope_parameters.get(kind) else { return checked(usual) };
            let rope: Option<Rope> = serde_json::from_value(rope.clone())
                .map_err(|error| format!("`{kind}` in `rope_parameters`: {error}"))?;
            let rope = rope.unwrap_or_default();
            rope.check("rope_parameters")?;
            checked(rope.rope_theta.unwrap_or(usual))
        };
        let thetas = vec![theta(GLOBAL, self.global_rope_theta)?, theta(LOCAL, local)?];
        let global = RotaryLayer { theta: 0, window: None };
        let window = usize::try_from(self.local_attention / 2).ok();
        let window = window.filter(|_| self.local_attention >= 0).ok_or_else(|| {
            format!("`local_attention` is {}; use 0 or more", self.local_attention)
        })?;
        let local = RotaryLayer { theta: 1, window: Some(window) };
        let layers = self.are_local()?;
        let layers = layers.into_iter().map(|is_local| if is_local { local } else { global });
        Ok(Rotary { thetas, layers: layers.collect() })
    }

    /// Which layers are local.
    fn are_local(&self) -> Result<Vec<bool>, String> {
        let Some(types) = &self.layer_types else {
            if self.global_attn_every_n_layers == 0 {
                return Err("`global_attn_every_n_layers` is 0; use 1 or more".to_owned());
            }
            let every = self.global_attn_every_n_layers;
            return Ok((0..self.num_hidden_layers).map(|index| index % every != 0).collect());
        };
        if types.len() != self.num_hidden_layers {
            return Err(format!(
                "`layer_types` names {} layers, but `num_hidden_layers` is {}",
                types.len(),
                self.num_hidden_layers
            ));
        }
        let is_local = |kind: &String| match kind.as_str() {
            GLOBAL => Ok(false),
            LOCAL => Ok(true),
            other => {
                Err(format!("`layer_types` has `{other}`; only `{GLOBAL}` and `{LOCAL}` are read"))
            }
        };
        types.iter().map(is_local).collect()
    }
}

impl Rope {
    fn check(&self, key: &str) -> Result<(), String> {
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(()),
            Some(other) => {
                Err(format!("`{key}` has the `rope_type` `{other}`; only `default` is supported"))
            }
        }
    }
}

fn checked(theta: f64) -> Result<f64, String> {
    if theta.is_finite() && theta > 0.0 {
        return Ok(theta);
    }
    Err(format!("`rope_theta` is {theta}; use a number above 0, such as 10000"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EncoderConfig;

    fn read(own: &Value) -> Result<EncoderConfig, String> {
        let mut file = json!({
            "model_type": "modernbert", "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 4,
            "num_attention_heads": 4, "intermediate_size": 48,
        });
        let file = file.as_object_mut().expect("the literal is an object");
        file.extend(own.as_object().expect("an object is given").clone());
        EncoderConfig::from_json(file.clone())
    }

    fn rotary(own: &Value) -> Vec<(f64, Option<usize>)> {
        let config = read(own).unwrap();
        let kind = &config.design.attention;
        (0..4).map(|layer| (kind.theta(layer).unwrap(), kind.window(layer))).collect()
    }

    #[test]
    fn keys_of_transformers_5_win_over_those_of_4() {
        let (global, local) = ((160_000.0, None), (10_000.0, Some(64)));
        assert_eq!(rotary(&json!({})), [global, local, local, global]);
        let old = json!({
            "global_attn_every_n_layers": 2, "local_attention": 9, "global_rope_theta": 8.0,
            "local_rope_theta": 9.0,
        });
        let both = |global: f64, local: f64| {
            let (global, local) = ((global, None), (local, Some(4)));
            [global, local, global, local]
        };
        assert_eq!(rotary(&old), both(8.0, 9.0));
        let merged = |own: Value| {
            let mut keys = old.as_object().unwrap().clone();
            keys.extend(own.as_object().unwrap().clone());
            rotary(&Value::Object(keys))
        };
        let ropes = json!({
            "full_attention": { "rope_type": "default", "rope_theta": 3.0 },
            "sliding_attention": { "rope_type": "default" },
        });
        assert_eq!(merged(json!({ "rope_parameters": ropes })), both(3.0, 9.0));
        assert_eq!(merged(json!({ "rope_parameters": null })), both(8.0, 9.0));
        assert_eq!(merged(json!({ "local_rope_theta": null })), both(8.0, 8.0));
        let types = ["sliding_attention", "sliding_attention", "full_attention", "full_attention"];
        let (global, local) = ((8.0, None), (9.0, Some(4)));
        assert_eq!(merged(json!({ "layer_types": types })), [local, local, global, global]);
    }

    /// As transformers 5.24 reads them: its `sliding_window` is half of `local_attention`, and wins over it.
    #[test]
    fn half_a_window_says_how_wide_it_is() {
        let windows = |own: Value| -> Vec<Option<usize>> {
            rotary(&own).into_iter().map(|(_, window)| window).collect()
        };
        let both = |window: usize| [None, Some(window), Some(window), None];
        assert_eq!(windows(json!({ "local_attention": 9 })), both(4));
        assert_eq!(windows(json!({ "sliding_window": 3 })), both(3));
        assert_eq!(windows(json!({ "local_attention": 9, "sliding_window": 1 })), both(1));
        assert_eq!(windows(json!({ "local_attention": 9, "sliding_window": null })), both(4));
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        for (own, message) in [
            (json!({ "layer_types": ["full_attention"] }), "names 1 layers"),
            (json!({ "layer_types": vec!["chunked_attention"; 4] }), "`chunked_attention`"),
            (json!({ "global_attn_every_n_layers": 0 }), "use 1 or more"),
            (json!({ "local_attention": -1 }), "`local_attention` is -1"),
            (json!({ "sliding_window": -1 }), "`sliding_window` is -1"),
            (json!({ "classifier_pooling": "max" }), "`max`; use `cls` or `mean`"),
            (json!({ "classifier_activation": "mish" }), "`mish`"),
            (json!({ "hidden_size": 20 }), "an odd width"),
            (json!({ "mlp_dropout": 1.0 }), "`mlp_dropout` is 1"),
            (json!({ "rope_parameters": { "rope_theta": 5.0 } }), "has the key `rope_theta`"),
            (json!({ "rope_parameters": { "full_attention": 5.0 } }), "`full_attention` in"),
            (json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } }), "`linear`"),
            (
                json!({ "rope_parameters": { "full_attention": { "rope_type": "yarn" } } }),
                "`rope_type` `yarn`",
            ),
            (json!({ "local_rope_theta": 0.0 }), "`rope_theta` is 0"),
        ] {
            let found = read(&own).unwrap_err();
            assert!(found.contains(message), "{own}: {found}");
        }
    }
}
