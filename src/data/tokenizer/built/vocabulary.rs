//! Word pieces and byte pairs.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::specials::Vocabulary;
use super::{Built, CONFIG, MOST_ENTRIES, Parts, Wrong, bert_normalizer, short};
use crate::store::without_mark;

const VOCAB_TXT: &str = "vocab.txt";
const VOCAB_JSON: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// The lines of a file. Only `\n` ends one, with or without `\r`: what else Unicode calls the end of a
/// line may be a token.
fn lines(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(without_mark(bytes)).map_err(|_| "it is not UTF-8")?;
    let lines: Vec<&str> = text.lines().take(MOST_ENTRIES + 1).collect();
    match lines.len() > MOST_ENTRIES {
        true => Err(format!("it has more than {MOST_ENTRIES} lines")),
        false => Ok(lines),
    }
}

/// The tokens of `vocab.json` with their ids.
struct Entries(Vec<(String, u64)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of tokens and ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(token) = map.next_key()? {
                    if entries.len() == MOST_ENTRIES {
                        let most = format!("it has more than {MOST_ENTRIES} tokens");
                        return Err(de::Error::custom(most));
                    }
                    entries.push((token, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(Bounded)
    }
}

impl Built<'_> {
    /// `vocab.txt`: a token a line, its id the number of the line. Of two equal ones the later counts.
    pub(super) fn word_pieces(&self, vocabulary: &[u8]) -> Result<Value, Wrong> {
        let wrong = |message| Wrong { file: VOCAB_TXT, message };
        let lines = lines(vocabulary).map_err(wrong)?;
        let tokens = || lines.iter().copied().zip(0_u64..);
        let known = Vocabulary::of(tokens());
        let unknown = self.specials.needed("unk_token").map_err(wrong)?;
        for key in ["cls_token", "sep_token", "unk_token"] {
            known.id(self.specials.needed(key).map_err(wrong)?).map_err(wrong)?;
        }
        let normalizer = bert_normalizer(&self.sources.config)
            .map_err(|message| Wrong { file: CONFIG, message })?;
        let ids: Map<String, Value> =
            tokens().map(|(token, id)| (token.to_owned(), id.into())).collect();
        let parts = Parts {
            normalizer,
            pre_tokenizer: json!({ "type": "BertPreTokenizer" }),
            decoder: json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
            model: json!({
                "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": ids,
            }),
        };
        self.file(parts, &known).map_err(wrong)
    }

    /// `vocab.json` and `merges.txt`, over bytes that are written as letters.
    pub(super) fn byte_pairs(&self, vocabulary: &[u8], merges: &[u8]) -> Result<Value, Wrong> {
        let wrong = |message| Wrong { file: VOCAB_JSON, message };
        let Entries(entries) = serde_json::from_slice(without_mark(vocabulary))
            .map_err(|error| wrong(error.to_string()))?;
        let tokens = || entries.iter().map(|(token, id)| (token.as_str(), *id));
        let known = Vocabulary::of(tokens());
        let mut owners = HashMap::new();
        for (token, id) in known.tokens() {
            if let Some(other) = owners.insert(id, token) {
                let (first, second) = (token.min(other), token.max(other));
                return Err(wrong(format!(
                    "`{}` and `{}` both have the id {id}",
                    short(first),
                    short(second)
                )));
            }
        }
        drop(owners);
        for key in ["cls_token", "sep_token"] {
            known.id(self.specials.needed(key).map_err(wrong)?).map_err(wrong)?;
        }
        let merges =
            read_merges(merges, &known).map_err(|message| Wrong { file: MERGES, message })?;
        let prefix = self.flag("add_prefix_space", false)?;
        let bytes = |prefix: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
                "use_regex": true,
            })
        };
        let ids: Map<String, Value> =
            tokens().map(|(token, id)| (token.to_owned(), id.into())).collect();
        let parts = Parts {
            normalizer: Value::Null,
            pre_tokenizer: bytes(prefix),
            decoder: bytes(true),
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": false, "vocab": ids, "merges": merges,
            }),
        };
        self.file(parts, &known).map_err(wrong)
    }
}

/// `merges.txt`: two tokens a line, the most urgent pair first.
fn read_merges(merges: &[u8], known: &Vocabulary<'_>) -> Result<Vec<Value>, String> {
    let lines = lines(merges)?;
    let mut read = Vec::with_capacity(lines.len());
    let mut whole = String::new();
    for (line, number) in lines.iter().zip(1..) {
        if line.is_empty() || (number == 1 && line.starts_with("#version")) {
            continue;
        }
        let pair: Vec<&str> = line.split(' ').collect();
        let [left, right] = pair[..] else {
            return Err(format!("line {number} is `{}`, not two tokens", short(line)));
        };
        whole.clear();
        whole.extend([left, right]);
        for token in [left, right, &whole] {
            if token.is_empty() || known.id(token).is_err() {
                return Err(format!(
                    "line {number} merges `{}` and `{}`, but `{VOCAB_JSON}` has no `{}`",
                    short(left),
                    short(right),
                    short(token)
                ));
            }
        }
        read.push(json!([left, right]));
    }
    Ok(read)
}
