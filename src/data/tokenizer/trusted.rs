//! What a `tokenizer.json` from somebody else may hold.
//!
//! Regular expressions of the file's own are refused: `tokenizers` runs them with backtracking on every
//! text, and a made one needs exponential time. Those that published BERT and RoBERTa files bring
//! along stand in a list.

use serde_json::Value;

/// Expressions that are known to be harmless: none looks at a letter more than a fixed number of times. The last
/// three stand in files that transformers 5 saved, of DeBERTa and of SentencePiece models without a class.
const KNOWN: [&str; 5] = [" {2,}", r"\s+", r"\s{2,}|[\n\r\t]", r"\A +| +\z", r"\A▁"];

/// Parts that take a text apart, by their place in the file. Others exist; what nobody uses need not be
/// trusted.
const COMPONENTS: [(&str, &[&str]); 2] = [
    (
        "normalizer",
        &[
            "BertNormalizer",
            "ByteLevel",
            "Lowercase",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Nmt",
            "Precompiled",
            "Prepend",
            "Replace",
            "Sequence",
            "Strip",
            "StripAccents",
        ],
    ),
    (
        "pre_tokenizer",
        &[
            "BertPreTokenizer",
            "ByteLevel",
            "Digits",
            "Metaspace",
            "Punctuation",
            "Sequence",
            "Split",
            "Whitespace",
            "WhitespaceSplit",
        ],
    ),
];

/// The first component that is not known.
pub fn unknown_component(file: &Value) -> Option<String> {
    let unknown = |(place, known): (&str, &[&str])| unknown_inside(&file[place], known);
    COMPONENTS.into_iter().find_map(unknown)
}

fn unknown_inside(part: &Value, known: &[&str]) -> Option<String> {
    if part.is_null() {
        return None;
    }
    let kind = part["type"].as_str().unwrap_or("without a type");
    if !known.contains(&kind) {
        return Some(kind.chars().take(60).collect());
    }
    let inner =
        ["normalizers", "pretokenizers"].into_iter().filter_map(|name| part[name].as_array());
    inner.flatten().find_map(|part| unknown_inside(part, known))
}

/// The first expression that is not known.
pub fn unknown_expression(file: &Value) -> Option<&str> {
    match file {
        Value::Object(entries) => {
            let own = file["pattern"]["Regex"].as_str().filter(|own| !KNOWN.contains(own));
            own.or_else(|| entries.values().find_map(unknown_expression))
        }
        Value::Array(items) => items.iter().find_map(unknown_expression),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_component_is_known_wherever_it_stands_or_refused() {
        let nested = |kind| {
            let inner = json!({ "type": "Sequence", "pretokenizers": [{ "type": kind }] });
            json!({ "pre_tokenizer": { "type": "Sequence", "pretokenizers": [inner] } })
        };
        assert_eq!(unknown_component(&nested("Whitespace")), None);
        assert_eq!(unknown_component(&nested("FixedLength")).as_deref(), Some("FixedLength"));
        // `tokenizers` guesses what a part without a type is.
        let untyped = json!({ "normalizer": null, "pre_tokenizer": { "length": 0 } });
        assert_eq!(unknown_component(&untyped).as_deref(), Some("without a type"));
        assert_eq!(unknown_component(&json!({ "model": {} })), None);
    }

    #[test]
    fn an_expression_is_found_wherever_it_stands() {
        let split = json!({ "type": "Split", "pattern": { "Regex": "(a+)+$" } });
        let nested = json!({ "normalizer": null, "pre_tokenizer": { "pretokenizers": [split] } });
        assert_eq!(unknown_expression(&nested), Some("(a+)+$"));
        let plain = json!({ "normalizer": { "pattern": { "String": "(a+)+$" } }, "model": {} });
        assert_eq!(unknown_expression(&plain), None);
        let known = json!([{ "type": "Replace", "pattern": { "Regex": " {2,}" } }]);
        assert_eq!(unknown_expression(&known), None);
    }
}
