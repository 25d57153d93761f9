//! Families of encoders: what differs between them, one file each.
//!
//! A file fills one [`Architecture`], and everything else follows it: the graph, the CPU engine, the files
//! of transformers, TensorBoard's graph, the benchmark and the card. A new family is a new file and a line of
//! [`ALL`]; nothing outside this folder asks which family it has. What depends on a config is its [`Design`].

mod albert;
mod bert;
mod camembert;
mod deberta;
mod design;
mod distilbert;
mod electra;
mod modernbert;
mod mpnet;
mod roberta;
mod roberta_prelayernorm;
mod scratch;
mod unread;
mod xlm_roberta;

use candle_core::{Result, Tensor};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::design::{
    AttentionKind, Block, Convolution, Design, Disentangled, Fresh, HeadDesign, Positions,
    Projection, Rate, Rotary, RotaryLayer, Shared, Span,
};
pub(super) use self::scratch::scratch;
pub(super) use self::unread::why_unread;
use crate::compute::ops::{Activation, activate};

/// Every family that is read.
const ALL: [&Architecture; 11] = [
    &bert::BERT,
    &roberta::ROBERTA,
    &distilbert::DISTILBERT,
    &xlm_roberta::XLM_ROBERTA,
    &camembert::CAMEMBERT,
    &electra::ELECTRA,
    &albert::ALBERT,
    &deberta::DEBERTA,
    &mpnet::MPNET,
    &modernbert::MODERNBERT,
    &roberta_prelayernorm::ROBERTA_PRELAYERNORM,
];

/// What one family of encoders has of its own.
#[derive(Debug)]
pub struct Architecture {
    /// Its `model_type` in `config.json`.
    pub model_type: &'static str,
    /// How the names of its classes in transformers begin, such as `Bert`.
    pub class: &'static str,
    /// Its name, as people write it.
    pub name: &'static str,
    /// Its keys of `config.json`.
    pub(super) keys: Keys,
    /// How an encoder with these keys, under BERT's names, is built.
    pub(super) design: fn(&Map<String, Value>) -> std::result::Result<Design, String>,
    /// Whether the tokenizers of transformers hand the segments of a pair to it.
    pub segments_given: bool,
    /// Names of its tensors.
    pub(super) tensors: Tensors,
    /// From the first token to the logits, as its classifier in transformers has it.
    pub(super) head: Head,
    /// Its tokens for unknown, separation, padding, classification and mask.
    pub special_tokens: [&'static str; 5],
}

/// Keys of `config.json`, in terms of BERT's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// Those with another name, as (own, BERT's).
    pub renamed: &'static [(&'static str, &'static str)],
    /// BERT's names that transformers takes for the own ones as well (`attribute_map`). Beside them they win.
    pub aliases: &'static [&'static str],
    /// What holds for a key that is left out, under BERT's names, where BERT has another default.
    pub defaults: fn() -> Value,
    /// What holds whatever the file says, under BERT's names.
    pub constants: fn() -> Value,
    /// Own ones where null says something else than a key that is left out.
    pub nulls: &'static [&'static str],
}

impl Keys {
    /// BERT's own.
    const BERT: Self =
        Self { renamed: &[], aliases: &[], defaults: nothing, constants: nothing, nulls: &[] };
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

/// Those of a family's own keys that a design is made of. The family has defaults for all of them.
fn own<T: DeserializeOwned>(keys: &Map<String, Value>) -> std::result::Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(keys.clone()))
        .map_err(|error| format!("`{}`: {}", error.path(), error.inner()))
}

/// A non-linearity by the name that transformers has for it.
pub(super) fn activation(key: &str, name: &str) -> std::result::Result<Activation, String> {
    serde_json::from_value(Value::String(name.to_owned())).map_err(|_| {
        format!(
            "`{key}` is `{name}`; use `gelu`, `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`, `relu`, \
             `silu`, `swish` or `tanh`"
        )
    })
}

/// Names of tensors. Those of a layer follow `prefix.layers.N.`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensors {
    /// Before all but the head; the file of a bare encoder leaves it out.
    pub prefix: &'static str,
    /// The tables of words, positions and segments, and the norm behind their sum.
    pub embeddings: [&'static str; 4],
    /// From the width of the embeddings to that of the layers.
    pub projection: &'static str,
    /// The list of layers, or of groups of layers with the same weights.
    pub layers: &'static str,
    /// The list of layers in such a group.
    pub group: &'static str,
    /// Query, key and value: one tensor each, or one for all.
    pub qkv: &'static [&'static str],
    /// The convolution behind the first layer, and the norm behind that.
    pub convolution: [&'static str; 2],
    /// The output of the attention, and the norm behind it, or before it.
    pub attention: [&'static str; 2],
    /// The two linear layers of the feed-forward block, and the norm behind it, or before it.
    pub feed_forward: [&'static str; 3],
    /// The norm behind all layers, where norms stand before the blocks.
    pub last_norm: &'static str,
    /// The table of what belongs to distances, which all layers read.
    pub relative: &'static str,
    /// The norm that its rows pass through.
    pub relative_norm: &'static str,
    /// A layer's own maps of its rows to relative keys and queries.
    pub relative_maps: [&'static str; 2],
}

/// The head of a classifier in transformers: first token, dense layer, non-linearity, last layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Whether there is dropout before the dense layer, besides that before the last one.
    pub dropout_first: bool,
    /// The whole name of the dense layer.
    pub dense: &'static str,
    /// The whole name of a norm behind the non-linearity.
    pub norm: Option<&'static str>,
    /// The whole name of the last layer.
    pub last: &'static str,
}

/// The non-linearity of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadActivation {
    Tanh,
    /// One of those of the feed-forward block.
    Other(Activation),
}

impl HeadActivation {
    /// As TensorBoard's graph names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "Tanh",
            Self::Other(activation) => activation.name(),
        }
    }

    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Tanh => x.tanh(),
            Self::Other(activation) => activate(x, activation),
        }
    }
}

impl Architecture {
    /// The family of a `model_type`.
    ///
    /// # Errors
    /// A message, if it is not read.
    pub(super) fn of(model_type: &str) -> std::result::Result<&'static Self, String> {
        if let Some(found) = ALL.into_iter().find(|one| one.model_type == model_type) {
            return Ok(found);
        }
        let known: Vec<String> = ALL.iter().map(|one| format!("`{}`", one.model_type)).collect();
        let (last, others) = known.split_last().expect("there are families");
        let known = format!("{} or {last}", others.join(", "));
        Err(match model_type {
            "" => format!("has no `model_type`; use {known}"),
            other => format!("model type `{other}` is not supported; use {known}"),
        })
    }

    /// Whether its head has a norm behind the non-linearity.
    pub fn has_head_norm(&self) -> bool {
        self.head.norm.is_some()
    }

    /// The content of a `config.json` under BERT's keys.
    pub(super) fn under_berts_keys(&self, source: &Map<String, Value>) -> Map<String, Value> {
        let mut keys = source.clone();
        for (own, berts) in self.keys.renamed {
            let is_alias = |value: &Value| !value.is_null() && self.keys.aliases.contains(berts);
            let alias = keys.shift_remove(*berts).filter(is_alias);
            if let Some(value) = alias.or_else(|| source.get(*own).cloned()) {
                keys.insert((*berts).to_owned(), value);
            }
        }
        keys.retain(|key, value| !value.is_null() || self.keys.nulls.contains(&&**key));
        if let Value::Object(defaults) = (self.keys.defaults)() {
            defaults.into_iter().for_each(|(key, value)| {
                keys.entry(key).or_insert(value);
            });
        }
        if let Value::Object(constants) = (self.keys.constants)() {
            keys.extend(constants);
        }
        keys
    }

    /// The key of the dropout before the last layer; where the head has that of the layers, theirs.
    pub(super) fn head_dropout_key(&self) -> &'static str {
        let constants = (self.keys.constants)();
        self.key(match constants.get("classifier_dropout") {
            Some(_) => "hidden_dropout_prob",
            None => "classifier_dropout",
        })
    }

    /// What this family calls one of BERT's keys.
    pub(super) fn key<'a>(&self, berts: &'a str) -> &'a str {
        let own = self.keys.renamed.iter().find(|(_, name)| *name == berts);
        own.map_or(berts, |(own, _)| own)
    }
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compute::Precision;
    use crate::model::EncoderConfig;

    fn read(file: &Value) -> std::result::Result<EncoderConfig, String> {
        EncoderConfig::from_bytes(Path::new("config.json"), file.to_string().as_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_file_leaves_out_is_what_transformers_has() {
        for (model_type, vocabulary, layers, padding, dropout) in [
            ("bert", 30_522, 12, 0, 0.1),
            ("roberta", 50_265, 12, 1, 0.1),
            ("xlm-roberta", 30_522, 12, 1, 0.1),
            ("camembert", 30_522, 12, 1, 0.1),
            ("distilbert", 30_522, 6, 0, 0.2),
            ("electra", 30_522, 12, 0, 0.1),
            ("albert", 30_000, 12, 0, 0.1),
            ("mpnet", 30_527, 12, 1, 0.1),
            ("modernbert", 50_368, 22, 50_283, 0.0),
            ("roberta-prelayernorm", 50_265, 12, 1, 0.1),
        ] {
            let found = read(&serde_json::json!({ "model_type": model_type })).unwrap();
            let sizes = (found.vocab_size, found.num_hidden_layers, found.pad_token_id);
            assert_eq!((sizes, found.classifier_dropout), ((vocabulary, layers, padding), dropout));
            assert_eq!(found.to_json(Precision::F32)["model_type"], model_type);
        }
        let nothing = serde_json::json!({ "model_type": "roberta", "pad_token_id": null });
        assert_eq!(read(&nothing).unwrap().first_position(), 2);
    }

    #[test]
    fn what_a_family_cannot_have_is_refused_by_its_key() {
        for (file, words) in [
            (
                r#"{ "model_type": "mpnet", "relative_attention_num_buckets": 16 }"#,
                "_num_buckets` is 16",
            ),
            (r#"{ "model_type": "albert", "num_hidden_groups": 13 }"#, "use 1 to 12"),
            (r#"{ "model_type": "albert", "num_hidden_groups": 0 }"#, "use 1 to 12"),
            (r#"{ "model_type": "albert", "inner_group_num": 86 }"#, "use 1 to 85"),
            (r#"{ "model_type": "albert", "num_hidden_layers": 0 }"#, "`num_hidden_layers` is 0"),
            (r#"{ "model_type": "electra", "embedding_size": 0 }"#, "`embedding_size` is 0"),
            (
                r#"{ "model_type": "electra", "embedding_size": "8" }"#,
                "`embedding_size`: invalid type",
            ),
        ] {
            let message = read(&serde_json::from_str(file).unwrap()).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn layers_that_have_the_same_weights_are_those_of_transformers() {
        let file = |layers: usize, groups: usize, inner: usize| {
            serde_json::json!({
                "model_type": "albert", "num_hidden_layers": layers, "num_hidden_groups": groups,
                "inner_group_num": inner,
            })
        };
        for (sizes, expected) in [
            ([3, 1, 1], &[0, 0, 0][..]),
            ([4, 2, 2], &[0, 1, 0, 1, 2, 3, 2, 3]),
            ([5, 3, 1], &[0, 0, 1, 1, 2]),
        ] {
            let config = read(&file(sizes[0], sizes[1], sizes[2])).unwrap();
            let found: Vec<usize> =
                (0..config.num_hidden_layers).map(|layer| config.weights_of(layer)).collect();
            assert_eq!(found, expected);
            assert_eq!(config.layer_weights(), sizes[1] * sizes[2]);
        }
    }

    /// As transformers 5.24 reads them: `DistilBertConfig.from_dict` of each of these files.
    #[test]
    fn other_names_of_a_key_win_over_its_own() {
        let sizes = |more: Value| {
            let mut file = serde_json::json!({
                "model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 4,
            });
            let keys = file.as_object_mut().unwrap();
            keys.extend(more.as_object().unwrap().clone());
            keys.retain(|_, value| *value != "none");
            let found = read(&file).unwrap();
            [found.hidden_size, found.num_hidden_layers, found.num_attention_heads]
        };
        for (more, expected) in [
            (serde_json::json!({}), [32, 2, 4]),
            (serde_json::json!({ "num_attention_heads": 2 }), [32, 2, 2]),
            (serde_json::json!({ "num_hidden_layers": 1 }), [32, 1, 4]),
            (serde_json::json!({ "hidden_size": 8 }), [8, 2, 4]),
            (serde_json::json!({ "n_heads": "none", "num_attention_heads": 8 }), [32, 2, 8]),
            (
                serde_json::json!({ "dim": "none", "hidden_size": 16, "n_layers": "none" }),
                [16, 6, 4],
            ),
            (serde_json::json!({ "num_hidden_layers": null }), [32, 2, 4]),
        ] {
            assert_eq!(sizes(more.clone()), expected, "{more}");
        }
    }

    #[test]
    fn keys_are_those_of_the_family_also_in_messages() {
        let file = |n_heads: usize| {
            serde_json::json!({
                "model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": n_heads,
                "hidden_dim": 64, "activation": "relu", "dropout": 0.3, "attention_dropout": 0.0,
                // Keys of BERT, which transformers passes over here.
                "intermediate_size": 48, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
            })
        };
        let found = read(&file(4)).unwrap();
        assert_eq!(
            (found.hidden_size, found.num_hidden_layers, found.intermediate_size),
            (32, 2, 64)
        );
        assert_eq!((found.hidden_dropout_prob, found.layer_norm_eps), (0.3, 1e-12));
        assert_eq!(
            (found.segments(), found.design.block.attention_output_dropout),
            (None, Rate::None)
        );
        assert!(read(&file(5)).unwrap_err().contains("`dim` 32 is not a multiple of `n_heads` 5"));
        let unknown = read(&serde_json::json!({ "model_type": "gpt2" })).unwrap_err();
        assert!(unknown.contains("`gpt2`") && unknown.contains("`camembert`"), "{unknown}");
    }
}
