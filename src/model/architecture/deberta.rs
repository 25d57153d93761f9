//! DeBERTa, its second and third version: He, Liu, Gao and Chen, "DeBERTa: decoding-enhanced BERT with
//! disentangled attention" (ICLR 2021); He, Gao and Chen, "DeBERTaV3" (ICLR 2023).
//!
//! Attention knows the distance of two tokens by products of content and position; positions are usually not
//! added to the embeddings.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bert::BERT;
use super::{
    Architecture, AttentionKind, Convolution, Design, Disentangled, Head, HeadActivation,
    HeadDesign, Keys, Positions, Projection, Span, Tensors, activation, own,
};

/// The most rows of a table of distances on each side, and the furthest distance that is asked for.
const MOST_ROWS: i64 = 1 << 20;

#[derive(Deserialize)]
struct Own {
    hidden_size: usize,
    num_attention_heads: usize,
    max_position_embeddings: i64,
    type_vocab_size: usize,
    position_biased_input: bool,
    relative_attention: bool,
    position_buckets: i64,
    max_relative_positions: i64,
    share_att_key: bool,
    pos_att_type: Value,
    norm_rel_ebd: String,
    embedding_size: Option<usize>,
    attention_head_size: Option<usize>,
    pooler_hidden_size: Option<usize>,
    pooler_hidden_act: String,
    pooler_dropout: f64,
    conv_kernel_size: i64,
    conv_groups: usize,
    conv_act: String,
}

impl Own {
    /// Whether content asks for positions, and positions for content.
    fn terms(&self) -> Result<[bool; 2], String> {
        let written = match &self.pos_att_type {
            // As transformers reads them: only a list in one text may have capitals.
            Value::String(text) => text.to_lowercase().split('|').map(str::to_owned).collect(),
            Value::Array(list) => {
                let text = |one: &Value| one.as_str().map(str::to_owned);
                let texts: Option<Vec<String>> = list.iter().map(text).collect();
                texts.ok_or("`pos_att_type` is a list of something other than texts")?
            }
            Value::Null => Vec::new(),
            other => return Err(format!("`pos_att_type` is {other}; use `p2c|c2p`")),
        };
        let mut terms = [false; 2];
        for one in &written {
            match one.trim() {
                "c2p" => terms[0] = true,
                "p2c" => terms[1] = true,
                "" | "none" => {}
                other => {
                    return Err(format!(
                        "`pos_att_type` has `{other}`; only `c2p` and `p2c` are supported"
                    ));
                }
            }
        }
        Ok(terms)
    }

    fn span(&self) -> Result<Span, String> {
        let buckets = usize::try_from(self.position_buckets).ok().filter(|&buckets| buckets > 0);
        let (key, furthest) = match self.max_relative_positions {
            ..1 => ("max_position_embeddings", self.max_position_embeddings),
            given => ("max_relative_positions", given),
        };
        if !(1..=MOST_ROWS).contains(&furthest) || self.position_buckets > MOST_ROWS {
            let (key, value) = match self.position_buckets > MOST_ROWS {
                true => ("position_buckets", self.position_buckets),
                false => (key, furthest),
            };
            return Err(format!("`{key}` is {value}; use 1 to {MOST_ROWS}"));
        }
        let furthest = furthest as usize;
        if let Some(buckets) = buckets {
            let middle = buckets / 2;
            if middle == 0 || furthest < middle + 2 {
                return Err(format!(
                    "`position_buckets` is {buckets} and `{key}` {furthest}: use at least 2 buckets, \
                     and distances of more than half as many and one"
                ));
            }
        }
        Ok(Span { buckets, furthest })
    }

    fn attention(&self) -> Result<AttentionKind, String> {
        let [keys, queries] = self.terms()?;
        let terms = 1 + usize::from(keys) + usize::from(queries);
        if terms == 1 {
            return Ok(AttentionKind::Plain);
        }
        let norm = match &*self.norm_rel_ebd.to_lowercase() {
            "none" | "" => false,
            "layer_norm" => true,
            other => {
                return Err(format!("`norm_rel_ebd` is `{other}`; use `none` or `layer_norm`"));
            }
        };
        let relative = self.relative_attention;
        // Without relative attention the terms are not there, but transformers scales as if they were.
        Ok(AttentionKind::Disentangled(Disentangled {
            keys: keys && relative,
            queries: queries && relative,
            terms,
            shared: self.share_att_key,
            norm,
            span: self.span()?,
        }))
    }

    fn convolution(&self) -> Result<Option<Convolution>, String> {
        let (width, groups) = (self.hidden_size, self.conv_groups);
        let window = match self.conv_kernel_size {
            ..1 => return Ok(None),
            size if size % 2 == 1 && size < 100 => size as usize,
            size => {
                return Err(format!("`conv_kernel_size` is {size}; use an odd number below 100"));
            }
        };
        if groups == 0 || !width.is_multiple_of(groups) {
            return Err(format!(
                "`conv_groups` is {groups}; use a number that divides `hidden_size`, {width}"
            ));
        }
        let activation = activation("conv_act", &self.conv_act)?;
        Ok(Some(Convolution { window, groups, activation }))
    }

    /// Refuses sizes that differ from those of the layers.
    fn check(&self) -> Result<(), String> {
        let width = self.hidden_size;
        let heads = self.num_attention_heads.max(1);
        for (key, found, expected) in [
            ("attention_head_size", self.attention_head_size, width / heads),
            ("pooler_hidden_size", self.pooler_hidden_size, width),
        ] {
            if let Some(found) = found.filter(|&found| found != expected) {
                return Err(format!("`{key}` is {found}; only {expected} is supported here"));
            }
        }
        if !(0.0..1.0).contains(&self.pooler_dropout) {
            let rate = self.pooler_dropout;
            return Err(format!("`pooler_dropout` is {rate}; use a number from 0 to below 1"));
        }
        Ok(())
    }

    fn design(&self) -> Result<Design, String> {
        self.check()?;
        let projection = self.embedding_size.filter(|&width| width != self.hidden_size);
        let head = activation("pooler_hidden_act", &self.pooler_hidden_act)?;
        Ok(Design {
            positions: self.position_biased_input.then_some(Positions::FromZero),
            segments: self.type_vocab_size > 0,
            projection: projection.map(|width| Projection {
                width,
                before_norm: true,
                bias: false,
            }),
            attention: self.attention()?,
            convolution: self.convolution()?,
            head: HeadDesign {
                activation: HeadActivation::Other(head),
                first_dropout: Some(self.pooler_dropout),
                ..Design::BERT.head
            },
            ..Design::BERT
        })
    }
}

pub(super) const DEBERTA: Architecture = Architecture {
    model_type: "deberta-v2",
    class: "DebertaV2",
    name: "DeBERTa",
    keys: Keys {
        renamed: &[("cls_dropout", "classifier_dropout")],
        defaults: || {
            json!({
                "vocab_size": 128_100,
                "hidden_size": 1536,
                "num_hidden_layers": 24,
                "num_attention_heads": 24,
                "intermediate_size": 6144,
                "type_vocab_size": 0,
                "layer_norm_eps": 1e-7,
                "max_position_embeddings": 512,
                "position_biased_input": true,
                "relative_attention": false,
                "position_buckets": -1,
                "max_relative_positions": -1,
                "share_att_key": false,
                "pos_att_type": [],
                "norm_rel_ebd": "none",
                "pooler_hidden_act": "gelu",
                "pooler_dropout": 0.0,
                "conv_kernel_size": 0,
                "conv_groups": 1,
                "conv_act": "tanh",
            })
        },
        ..Keys::BERT
    },
    design: |keys| own::<Own>(keys)?.design(),
    tensors: Tensors {
        prefix: "deberta",
        projection: "embeddings.embed_proj",
        qkv: &["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"],
        relative: "encoder.rel_embeddings",
        relative_norm: "encoder.LayerNorm",
        relative_maps: ["attention.self.pos_key_proj", "attention.self.pos_query_proj"],
        convolution: ["encoder.conv.conv", "encoder.conv.LayerNorm"],
        ..BERT.tensors
    },
    head: Head { dropout_first: true, dense: "pooler.dense", ..BERT.head },
    ..BERT
};

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::model::EncoderConfig;

    fn read(changes: &Value) -> Result<EncoderConfig, String> {
        let mut file = Map::from_iter([
            ("model_type".to_owned(), json!("deberta-v2")),
            ("relative_attention".to_owned(), json!(true)),
            ("pos_att_type".to_owned(), json!("p2c|c2p")),
        ]);
        file.extend(changes.as_object().expect("an object is given").clone());
        EncoderConfig::from_json(file)
    }

    fn attention(changes: &Value) -> Disentangled {
        match read(changes).unwrap().design.attention {
            AttentionKind::Disentangled(own) => own,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn terms_are_read_in_every_spelling() {
        for (written, expected) in [
            (json!("p2c|c2p"), [true, true]),
            (json!(["c2p", "p2c"]), [true, true]),
            (json!("P2C"), [false, true]),
            (json!(["c2p"]), [true, false]),
            (json!(" c2p | none"), [true, false]),
        ] {
            let own = attention(&json!({ "pos_att_type": written }));
            assert_eq!([own.keys, own.queries], expected, "{written}");
            let terms = expected.iter().filter(|&&one| one).count();
            assert_eq!(own.terms, 1 + terms, "{written}");
        }
        for written in [json!(null), json!([]), json!(""), json!("none")] {
            let found = read(&json!({ "pos_att_type": written })).unwrap();
            assert_eq!(found.design.attention, AttentionKind::Plain, "{written}");
        }
        // Scaled as if the terms were there.
        let own = attention(&json!({ "relative_attention": false }));
        assert_eq!((own.keys, own.queries, own.terms), (false, false, 3));
    }

    #[test]
    fn what_is_left_out_is_what_transformers_has() {
        let found = read(&json!({})).unwrap();
        assert_eq!(
            (found.vocab_size, found.hidden_size, found.num_hidden_layers),
            (128_100, 1536, 24)
        );
        assert_eq!((found.layer_norm_eps, found.segments()), (1e-7, None));
        assert_eq!(found.design.positions, Some(Positions::FromZero));
        let own = attention(&json!({}));
        assert_eq!(
            (own.span, own.shared, own.norm),
            (Span { buckets: None, furthest: 512 }, false, false)
        );
        let own = attention(&json!({ "position_buckets": 256, "max_relative_positions": 400 }));
        assert_eq!((own.span, own.span.rows()), (Span { buckets: Some(256), furthest: 400 }, 512));
        let rates = |changes| {
            let found = read(&changes).unwrap();
            (found.classifier_dropout, found.design.head.first_dropout)
        };
        assert_eq!(rates(json!({ "hidden_dropout_prob": 0.3 })), (0.3, Some(0.0)));
        assert_eq!(rates(json!({ "cls_dropout": 0.2, "pooler_dropout": 0.1 })), (0.2, Some(0.1)));
        let projected = read(&json!({ "embedding_size": 1536 })).unwrap();
        assert_eq!(projected.design.projection, None);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (changes, key) in [
            (json!({ "pos_att_type": "p2p" }), "pos_att_type"),
            (json!({ "pos_att_type": [1] }), "pos_att_type"),
            (json!({ "pos_att_type": 2 }), "pos_att_type"),
            (json!({ "norm_rel_ebd": "batch_norm" }), "norm_rel_ebd"),
            (json!({ "attention_head_size": 32 }), "attention_head_size"),
            (json!({ "pooler_hidden_size": 32 }), "pooler_hidden_size"),
            (json!({ "pooler_hidden_act": "mish" }), "pooler_hidden_act"),
            (json!({ "pooler_dropout": 1.0 }), "pooler_dropout"),
            (json!({ "conv_kernel_size": 4 }), "conv_kernel_size"),
            (json!({ "conv_kernel_size": 3, "conv_groups": 7 }), "conv_groups"),
            (json!({ "conv_kernel_size": 3, "conv_act": "mish" }), "conv_act"),
            (json!({ "position_buckets": 1 }), "position_buckets"),
            (json!({ "position_buckets": 256, "max_relative_positions": 100 }), "position_buckets"),
            (json!({ "max_relative_positions": 1_i64 << 40 }), "max_relative_positions"),
            (json!({ "embedding_size": 0 }), "embedding_size"),
        ] {
            let message = read(&changes).unwrap_err();
            assert!(message.contains(&format!("`{key}`")), "{changes}: {message}");
        }
    }
}
