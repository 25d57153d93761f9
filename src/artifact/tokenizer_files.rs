//! The small files beside `tokenizer.json` that transformers looks for.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::data::{Preprocessing, TextTokenizer, Truncation};
use crate::model::{Architecture, EncoderConfig};

/// The tokens of [`Architecture::special_tokens`], by transformers' keys.
const KEYS: [&str; 5] = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What people call them otherwise: a tokenizer need not be that of its encoder's first authors.
const OTHER_NAMES: [[&str; 5]; 2] =
    [["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"], ["<unk>", "</s>", "<pad>", "<s>", "<mask>"]];

/// `special_tokens_map.json`, as key and token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpecialTokens(Map<String, Value>);

impl SpecialTokens {
    /// The map in a folder, if there is one that can be read, else what the architecture has, or what else
    /// the tokenizer knows.
    pub fn of(
        folder: Option<&Path>,
        architecture: &Architecture,
        tokenizer: &TextTokenizer,
    ) -> Self {
        let read = |name: &str| -> Option<Map<String, Value>> {
            let text = std::fs::read_to_string(folder?.join(name)).ok()?;
            let map: Map<String, Value> = serde_json::from_str(&text).ok()?;
            let own: Map<String, Value> =
                map.into_iter().filter(|(key, _)| KEYS.contains(&key.as_str())).collect();
            (!own.is_empty()).then_some(own)
        };
        let usual = || {
            KEYS.iter().zip(architecture.special_tokens).enumerate().map(|(place, (key, own))| {
                let others = OTHER_NAMES.iter().map(|names| names[place]);
                let known = std::iter::once(own).chain(others).find(|name| tokenizer.knows(name));
                ((*key).to_owned(), json!(known.unwrap_or(own)))
            })
        };
        let found = read("special_tokens_map.json").or_else(|| read("tokenizer_config.json"));
        Self(found.unwrap_or_else(|| usual().collect()))
    }

    /// `special_tokens_map.json`.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// `tokenizer_config.json`. The class is the one that obeys `tokenizer.json` to the letter:
    /// `BertTokenizer` would take only the vocabulary from it and lower-case as it sees fit.
    /// Nothing there stands for [`Truncation::HeadTail`].
    /// A space before the texts stands there as well: transformers would take it away.
    pub fn tokenizer_config(
        &self,
        encoder: &EncoderConfig,
        cut: &Preprocessing,
        puts_space: bool,
    ) -> Value {
        let mut file = self.0.clone();
        let inputs = match encoder.architecture.segments_given {
            true => json!(["input_ids", "token_type_ids", "attention_mask"]),
            false => json!(["input_ids", "attention_mask"]),
        };
        file.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
        file.insert("model_input_names".to_owned(), inputs);
        file.insert("model_max_length".to_owned(), json!(cut.max_length));
        if cut.truncation == Truncation::Tail {
            file.insert("truncation_side".to_owned(), json!("left"));
        }
        if puts_space {
            file.insert("add_prefix_space".to_owned(), json!(true));
        }
        file.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
        Value::Object(file)
    }
}

/// Tokens that the encoder has no embedding for, as (tokens, embeddings).
pub fn vocabulary_mismatch(
    tokenizer: &TextTokenizer,
    encoder: &EncoderConfig,
) -> Option<(usize, usize)> {
    let tokens = tokenizer.vocabulary_size();
    (tokens > encoder.vocab_size).then_some((tokens, encoder.vocab_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_that_is_cut_is_said_where_it_is_not_the_usual_one() {
        let Value::Object(file) = json!({ "model_type": "bert" }) else { unreachable!() };
        let encoder = EncoderConfig::from_json(file).unwrap();
        for (truncation, expected) in [
            (Truncation::Head, Value::Null),
            (Truncation::HeadTail, Value::Null),
            (Truncation::Tail, json!("left")),
        ] {
            let cut = Preprocessing::new(16, truncation);
            let puts_space = truncation == Truncation::Tail;
            let found = SpecialTokens::default().tokenizer_config(&encoder, &cut, puts_space);
            assert_eq!(found.get("add_prefix_space").is_some(), puts_space);
            assert_eq!(
                (&found["truncation_side"], &found["model_max_length"]),
                (&expected, &json!(16))
            );
        }
    }
}
