//! Whether the files that a tokenizer is made of are whole: a list that was cut short is a list too.

use std::collections::HashSet;

use serde_json::Value;

/// Tokens that real vocabularies have beside those that their merges make: RoBERTa's has three.
const UNMADE: usize = 16;
/// Rows of embeddings that real encoders have beside their tokens: mDeBERTa has 899.
const SPARE: usize = 1024;

/// What a person should know of a file in the form of `tokenizer.json`.
pub(super) fn merges(file: &Value) -> Option<String> {
    let model = &file["model"];
    let says = |key: &str| model[key].as_str().is_some_and(|text| !text.is_empty());
    let marked = says("continuing_subword_prefix") || says("end_of_word_suffix");
    let whole_words = model["ignore_merges"] == true || model["byte_fallback"] == true;
    if model["type"] != "BPE" || marked || whole_words {
        return None;
    }
    let vocabulary = model["vocab"].as_object()?;
    let made: HashSet<String> = model["merges"].as_array()?.iter().filter_map(product).collect();
    let added = file["added_tokens"].as_array().into_iter().flatten();
    let added: HashSet<&str> = added.filter_map(|token| token["content"].as_str()).collect();
    let unmade = |token: &&String| {
        let is_special = added.contains(token.as_str()) || is_bracketed(token);
        token.chars().nth(1).is_some() && !made.contains(*token) && !is_special
    };
    let count = vocabulary.keys().filter(unmade).count();
    let first = vocabulary.keys().find(unmade)?;
    (count > UNMADE || count * 100 > vocabulary.len()).then(|| {
        let first: String = first.chars().take(40).collect();
        format!(
            "{count} of the {} tokens, such as `{first}`, are made by no merge: texts fall into smaller pieces than \
             the encoder learned, as where the list of merges was cut short; get the tokenizer again",
            vocabulary.len()
        )
    })
}

/// Whether it looks like a special token; a file need not say which are.
fn is_bracketed(token: &str) -> bool {
    [('<', '>'), ('[', ']')].iter().any(|&(a, b)| token.starts_with(a) && token.ends_with(b))
}

/// What a merge makes, in either form.
fn product(merge: &Value) -> Option<String> {
    match merge {
        Value::String(both) => both.split_once(' ').map(|(a, b)| format!("{a}{b}")),
        Value::Array(both) => both.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// What a person should know of a vocabulary of `tokens` for `rows` embeddings.
pub(super) fn vocabulary(tokens: usize, rows: usize) -> Option<String> {
    let missing = rows.saturating_sub(tokens);
    (missing * 8 > rows || missing > SPARE.max(rows / 100)).then(|| {
        format!(
            "the vocabulary has {tokens} tokens, but the encoder has embeddings for {rows}: words behind its end are \
             unknown, as where the file was cut short; get the tokenizer again"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_without_a_merge_are_told_where_there_are_many() {
        let of = |merges: Value, more: Value| {
            let mut model = json!({
                "type": "BPE", "merges": merges,
                "vocab": { "a": 0, "b": 1, "ab": 2, "aba": 3, "é": 4, "<s>": 5, "[A]": 6, "added": 7 },
            });
            for (key, value) in more.as_object().unwrap() {
                model[key] = value.clone();
            }
            super::merges(&json!({ "model": model, "added_tokens": [{ "content": "added" }] }))
        };
        for whole in [json!(["a b", "ab a"]), json!([["a", "b"], ["ab", "a"]])] {
            assert_eq!(of(whole, json!({})), None);
        }
        let told = of(json!(["a b"]), json!({})).unwrap();
        assert!(told.contains("1 of the 8 tokens, such as `aba`"), "{told}");
        for other in [
            json!({ "ignore_merges": true }),
            json!({ "byte_fallback": true }),
            json!({ "end_of_word_suffix": "</w>" }),
            json!({ "type": "WordLevel" }),
        ] {
            assert_eq!(of(json!(["a b"]), other), None);
        }
        let few = |lost: usize| {
            let vocabulary: serde_json::Map<_, _> =
                (0..5000).map(|id| (format!("x{id}"), json!(id))).collect();
            let merges: Vec<_> = (lost..5000).map(|id| json!(["x", id.to_string()])).collect();
            super::merges(
                &json!({ "model": { "type": "BPE", "vocab": vocabulary, "merges": merges } }),
            )
        };
        assert_eq!((few(16).is_some(), few(17).is_some()), (false, true));
    }

    #[test]
    fn a_vocabulary_that_is_far_too_short_is_told() {
        for (tokens, rows) in
            [(30_522, 30_522), (128_001, 128_100), (250_101, 251_000), (50_280, 50_368), (16, 15)]
        {
            assert_eq!(vocabulary(tokens, rows), None, "{tokens} of {rows}");
        }
        for (tokens, rows) in [(60, 100), (29_000, 30_522), (15_000, 30_522)] {
            assert!(vocabulary(tokens, rows).is_some(), "{tokens} of {rows}");
        }
    }
}
