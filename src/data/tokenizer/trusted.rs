//! What a `tokenizer.json` from somebody else may hold.
//!
//! Regular expressions of the file's own are refused: `tokenizers` runs them with backtracking on every
//! text, and a made one needs exponential time. Those that published BERT and RoBERTa files bring
//! along stand in a list.

use serde_json::Value;

/// The most bytes of a file; the largest of published encoders has 17 million.
pub const MOST_BYTES: u64 = 64 << 20;

/// Expressions that are known to be harmless.
const KNOWN: [&str; 2] = [" {2,}", r"\s+"];

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
