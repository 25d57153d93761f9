//! A `tokenizer.json` from the files that came before it.

use serde_json::{Map, Value, json};

use crate::store::without_mark;

/// The names of the special tokens.
pub(super) struct Names {
    unk: String,
    sep: String,
    cls: String,
    all: [String; 5],
}

impl Names {
    /// Those that are given, else BERT's.
    pub(super) fn bert(given: impl Fn(&str) -> Option<String>) -> Self {
        Self::new(given, ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"])
    }

    /// Those that are given, else RoBERTa's.
    pub(super) fn roberta(given: impl Fn(&str) -> Option<String>) -> Self {
        Self::new(given, ["<unk>", "</s>", "<pad>", "<s>", "<mask>"])
    }

    fn new(given: impl Fn(&str) -> Option<String>, usual: [&str; 5]) -> Self {
        let keys = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
        let all: [String; 5] =
            std::array::from_fn(|i| given(keys[i]).unwrap_or_else(|| usual[i].to_owned()));
        Self { unk: all[0].clone(), sep: all[1].clone(), cls: all[3].clone(), all }
    }

    /// The entries of those that the vocabulary has, in the order of their ids.
    fn added(&self, vocabulary: &Map<String, Value>) -> Value {
        let entry = |content: &String| {
            vocabulary.get(content).map(|id| {
                json!({
                    "id": id, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
        };
        let mut entries: Vec<Value> = self.all.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry["id"].as_u64());
        Value::Array(entries)
    }
}

fn id<'a>(vocabulary: &'a Map<String, Value>, token: &str) -> Result<&'a Value, String> {
    vocabulary.get(token).ok_or_else(|| format!("the vocabulary has no `{token}`"))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(without_mark(bytes)).map_err(|_| "it is not UTF-8".to_owned())
}

/// Word pieces from `vocab.txt`: a token a line, its id the number of the line.
pub(super) fn word_pieces(
    vocabulary: &[u8],
    names: &Names,
    normalizer: &Value,
) -> Result<Value, String> {
    let mut tokens = Map::new();
    for (line, token) in text(vocabulary)?.lines().enumerate() {
        // Of two equal ones the later counts.
        tokens.insert(token.to_owned(), line.into());
    }
    let (cls, sep) = (id(&tokens, &names.cls)?, id(&tokens, &names.sep)?);
    id(&tokens, &names.unk)?;
    let special = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let end = json!({ "SpecialToken": { "id": names.sep, "type_id": 1 } });
    let segment = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
    let entry = |name: &str, id: &Value| json!({ "id": name, "ids": [id], "tokens": [name] });
    let (first, last) = (special(&names.cls), special(&names.sep));
    let mut specials = Map::new();
    specials.insert(names.cls.clone(), entry(&names.cls, cls));
    specials.insert(names.sep.clone(), entry(&names.sep, sep));
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": names.added(&tokens),
        "normalizer": normalizer,
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, segment("A", 0), last],
            "pair": [first, segment("A", 0), last, segment("B", 1), end],
            "special_tokens": specials,
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": names.unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": tokens,
        },
    }))
}

/// Byte pairs from `vocab.json` and `merges.txt`.
pub(super) fn byte_pairs(
    vocabulary: &[u8],
    merges: &[u8],
    names: &Names,
    add_prefix_space: bool,
) -> Result<Value, String> {
    let tokens: Map<String, Value> =
        serde_json::from_slice(without_mark(vocabulary)).map_err(|error| error.to_string())?;
    let lines = text(merges)?.lines();
    let merges: Vec<&str> =
        lines.filter(|line| !line.starts_with("#version") && !line.is_empty()).collect();
    let (cls, sep) = (id(&tokens, &names.cls)?, id(&tokens, &names.sep)?);
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": names.added(&tokens),
        "normalizer": null,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
            "use_regex": true,
        },
        "post_processor": {
            "type": "RobertaProcessing", "sep": [names.sep, sep], "cls": [names.cls, cls],
            "trim_offsets": true, "add_prefix_space": add_prefix_space,
        },
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": tokens, "merges": merges,
        },
    }))
}
