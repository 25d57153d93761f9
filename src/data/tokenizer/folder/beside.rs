//! Tokens that files beside `tokenizer.json` declare and that it does not have: transformers would add them to it.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::content;
use crate::numbers::counted;
use crate::store::without_mark;

/// Tokens that a message names.
const MOST_NAMED: usize = 3;
/// Letters of each.
const LONGEST: usize = 60;

/// Refuses a folder whose other files declare tokens that `tokenizer.json` does not have: read without them, a text
/// that has one becomes other tokens than in training.
pub(super) fn check(folder: &Path, config: &Value, file: &Value) -> Result<(), String> {
    let contents = |list: &Value| -> Vec<String> {
        let all = list.as_array().into_iter().flatten();
        all.filter_map(|token| token["content"].as_str().map(str::to_owned)).collect()
    };
    let known: HashSet<String> = contents(&file["added_tokens"]).into_iter().collect();
    // Those of SentencePiece's Unigram are pairs of a piece and its score.
    let vocabulary = &file["model"]["vocab"];
    let pieces: HashSet<&str> = match vocabulary {
        Value::Object(ids) => ids.keys().map(String::as_str).collect(),
        Value::Array(pairs) => pairs.iter().filter_map(|pair| pair[0].as_str()).collect(),
        _ => return Ok(()),
    };
    for (name, declared) in declared(folder, config) {
        let lacks = |token: &&String| !known.contains(*token) && !pieces.contains(token.as_str());
        let missing: Vec<&String> = declared.iter().filter(lacks).collect();
        if missing.is_empty() {
            continue;
        }
        let named: Vec<String> =
            missing.iter().take(MOST_NAMED).map(|token| shown(token)).collect();
        return Err(format!(
            "`{name}` declares {} that `tokenizer.json` does not have: {}; load and save the tokenizer with \
             transformers, which writes them into it, or remove them there",
            counted(missing.len(), "token"),
            named.join(", ")
        ));
    }
    Ok(())
}

fn shown(token: &str) -> String {
    format!("`{}`", token.chars().take(LONGEST).collect::<String>())
}

/// Tokens that are added to the vocabulary, by the file that says so. A file that is none says nothing.
fn declared(folder: &Path, config: &Value) -> Vec<(&'static str, Vec<String>)> {
    let read = |name: &str| -> Value {
        let bytes = content(&folder.join(name)).ok().flatten();
        bytes
            .and_then(|bytes| serde_json::from_slice(without_mark(&bytes)).ok())
            .unwrap_or_default()
    };
    let text =
        |token: &Value| token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned);
    let of_list = |list: &Value| -> Vec<String> {
        match list {
            Value::Array(tokens) => tokens.iter().filter_map(text).collect(),
            Value::Object(tokens) => tokens.values().filter_map(text).collect(),
            _ => Vec::new(),
        }
    };
    let further = |from: &Value| -> Vec<String> {
        let keys = ["additional_special_tokens", "extra_special_tokens"];
        keys.iter().flat_map(|key| of_list(&from[*key])).collect()
    };
    let decoder = &config["added_tokens_decoder"];
    let mut all = vec![
        ("tokenizer_config.json", of_list(decoder)),
        ("tokenizer_config.json", further(config)),
    ];
    // Older files, which count where the newer key is not there.
    if !decoder.is_object() {
        let ids = read("added_tokens.json");
        let names = ids.as_object().map(|ids| ids.keys().cloned().collect()).unwrap_or_default();
        all.push(("added_tokens.json", names));
        all.push(("special_tokens_map.json", further(&read("special_tokens_map.json"))));
    }
    all
}
