//! The numbers and texts of a `tokenizer.json` against what they will be used for: a file of a few bytes
//! must not make a text of a megabyte out of a letter, or seconds of work out of a word.

use serde_json::Value;

/// Beyond it no embedding reaches.
const MOST_IDS: u64 = 1 << 24;
/// Tokens that are looked for in every text before it is taken apart; the largest of published encoders
/// have some hundreds.
const MOST_ADDED: usize = 20_000;
/// Letters of a word that is not unknown. Word pieces take the cube of it: 100 is usual, 200 occurs.
const LONGEST_WORD: u64 = 512;
/// Letters of a piece, where every place of a text is tried with pieces of every length.
const LONGEST_PIECE: usize = 256;
/// Beginnings of its pieces, in bytes: DeBERTa's 128,000 have 280,419, and each takes some 400 bytes.
const MOST_NODES: usize = 4 << 20;
/// Bytes of a mark that is put before, behind or between pieces.
const LONGEST_MARK: usize = 64;
/// Parts of a normalizer, a pre-tokenizer or a template.
const MOST_PARTS: usize = 64;
/// How many times as long a text may become before it is taken apart.
const MOST_GROWTH: usize = 32;

/// The first thing that is out of bounds, as a message.
pub(super) fn check(file: &Value) -> Result<(), String> {
    check_model(&file["model"])?;
    let added = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    if added.len() > MOST_ADDED {
        return Err(format!(
            "`added_tokens` has {} tokens; the maximum is {MOST_ADDED}",
            added.len()
        ));
    }
    added.iter().try_for_each(|token| check_id("added_tokens", &token["id"]))?;
    for part in ["normalizer", "pre_tokenizer", "post_processor"] {
        let parts = count_parts(&file[part]);
        if parts > MOST_PARTS {
            return Err(format!("`{part}` has {parts} parts; the maximum is {MOST_PARTS}"));
        }
    }
    check_processor(&file["post_processor"])?;
    let growth = growth(&file["normalizer"])?;
    if growth > MOST_GROWTH {
        return Err(format!(
            "`normalizer` may turn one letter into {growth}; the maximum is {MOST_GROWTH}"
        ));
    }
    Ok(())
}

/// Refuses pieces whose tree of beginnings does not fit into memory.
fn check_tree(pieces: &[Value]) -> Result<(), String> {
    let texts = pieces.iter().filter_map(|piece| Some(piece[0].as_str()?.as_bytes()));
    let mut texts: Vec<&[u8]> = texts.collect();
    texts.sort_unstable();
    let all: usize = texts.iter().map(|text| text.len()).sum();
    let shared = |pair: &[&[u8]]| pair[0].iter().zip(pair[1]).take_while(|(a, b)| a == b).count();
    let nodes = all - texts.windows(2).map(shared).sum::<usize>();
    if nodes > MOST_NODES {
        return Err(format!(
            "the pieces of `vocab` have {nodes} beginnings; the maximum is {MOST_NODES}"
        ));
    }
    Ok(())
}

fn check_model(model: &Value) -> Result<(), String> {
    let word = &model["max_input_chars_per_word"];
    if !word.is_null() && word.as_u64().is_none_or(|letters| letters > LONGEST_WORD) {
        return Err(format!(
            "`max_input_chars_per_word` is {}; the maximum is {LONGEST_WORD}, because the time for \
             a word grows with its cube",
            short(word)
        ));
    }
    for mark in ["continuing_subword_prefix", "end_of_word_suffix", "unk_token"] {
        let bytes = model[mark].as_str().map_or(0, str::len);
        if bytes > LONGEST_MARK {
            return Err(format!("`{mark}` has {bytes} bytes; the maximum is {LONGEST_MARK}"));
        }
    }
    match &model["vocab"] {
        Value::Object(ids) => ids.values().try_for_each(|id| check_id("vocab", id)),
        Value::Array(pieces) => {
            let longest =
                pieces.iter().filter_map(|piece| Some(piece[0].as_str()?.chars().count()));
            match longest.max() {
                Some(longest) if longest > LONGEST_PIECE => Err(format!(
                    "`vocab` has a piece of {longest} letters; the maximum is {LONGEST_PIECE}"
                )),
                _ => check_tree(pieces),
            }
        }
        _ => Ok(()),
    }
}

fn check_id(place: &str, id: &Value) -> Result<(), String> {
    // What is no number at all is refused by whoever reads the file.
    match id.as_u64() {
        Some(id) if id >= MOST_IDS => Err(format!(
            "`{place}` has the id {id}, which is larger than any encoder's number of embeddings"
        )),
        _ => Ok(()),
    }
}

/// Ids of special tokens: they stand in the template itself, whether or not the vocabulary has them.
fn check_processor(processor: &Value) -> Result<(), String> {
    for inner in processor["processors"].as_array().into_iter().flatten() {
        check_processor(inner)?;
    }
    for pair in ["sep", "cls"] {
        check_id("post_processor", &processor[pair][1])?;
    }
    for special in processor["special_tokens"].as_object().into_iter().flat_map(|all| all.values())
    {
        let ids = special["ids"].as_array().map_or(&[][..], Vec::as_slice);
        if ids.len() > MOST_PARTS {
            return Err(format!(
                "a special token of `post_processor` has {} ids; the maximum is {MOST_PARTS}",
                ids.len()
            ));
        }
        ids.iter().try_for_each(|id| check_id("post_processor", id))?;
    }
    Ok(())
}

fn count_parts(part: &Value) -> usize {
    let inner = ["normalizers", "pretokenizers", "processors"];
    let inner = inner.into_iter().filter_map(|name| part[name].as_array()).flatten();
    let own = ["single", "pair"].map(|name| part[name].as_array().map_or(0, Vec::len));
    own.iter().sum::<usize>() + 1 + inner.map(count_parts).sum::<usize>()
}

/// How many times as long, in bytes, a text may become. The forms of Unicode are those of Unicode.
fn growth(normalizer: &Value) -> Result<usize, String> {
    let inner = normalizer["normalizers"].as_array().into_iter().flatten();
    let whole = inner.map(growth).try_fold(1_usize, |all, one: Result<usize, String>| {
        one.map(|one| all.saturating_mul(one))
    });
    match normalizer["type"].as_str() {
        Some("Sequence") => whole,
        Some("Replace") => {
            let content = normalizer["content"].as_str().map_or(0, str::len);
            let pattern = match (
                normalizer["pattern"]["String"].as_str(),
                normalizer["pattern"]["Regex"].as_str(),
            ) {
                (Some(""), _) => return Err("`Replace` searches for an empty text".to_owned()),
                (Some(text), _) => text.len(),
                // Of the known expressions each finds a letter or more.
                _ => 1,
            };
            Ok(content.div_ceil(pattern).max(1))
        }
        Some("Prepend") => {
            let bytes = normalizer["prepend"].as_str().map_or(0, str::len);
            match bytes <= LONGEST_MARK {
                true => Ok(1),
                false => Err(format!("`Prepend` has {bytes} bytes; the maximum is {LONGEST_MARK}")),
            }
        }
        Some("Precompiled") => {
            let map = normalizer["precompiled_charsmap"].as_str().unwrap_or_default();
            let longest = longest_entry(map)?;
            match longest <= LONGEST_MARK {
                true => Ok(1),
                false => Err(format!(
                    "`precompiled_charsmap` writes {longest} bytes for a letter; the maximum is \
                     {LONGEST_MARK}"
                )),
            }
        }
        _ => Ok(1),
    }
}

/// The longest of the texts that a map of characters writes: behind the trie, each ends with a zero.
fn longest_entry(base64: &str) -> Result<usize, String> {
    use base64::Engine as _;
    let refused = || "`precompiled_charsmap` is damaged".to_owned();
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_| refused())?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(refused)?;
    let texts = rest.get(u32::from_le_bytes(*size) as usize..).ok_or_else(refused)?;
    Ok(texts.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0))
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replace(from: &str, to: usize) -> Value {
        json!({ "type": "Replace", "pattern": { "String": from }, "content": "b".repeat(to) })
    }

    #[test]
    fn what_published_tokenizers_have_is_within_bounds() {
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        let quotes = json!({ "type": "Replace", "pattern": { "String": "``" }, "content": "\"" });
        let normalizer =
            json!({ "type": "Sequence", "normalizers": [quotes, { "type": "NFKD" }, spaces] });
        let model = json!({ "type": "WordPiece", "max_input_chars_per_word": 200, "vocab": { "a": 250_001 } });
        assert_eq!(check(&json!({ "normalizer": normalizer, "model": model })), Ok(()));
    }

    #[test]
    fn what_makes_a_little_into_much_is_refused_with_its_name() {
        let nested = |parts: Vec<Value>| json!({ "type": "Sequence", "normalizers": parts });
        let two = nested(vec![replace("a", 8), nested(vec![replace("b", 8)])]);
        let base = |text: &[u8]| {
            use base64::Engine as _;
            let bytes = [&0_u32.to_le_bytes()[..], text].concat();
            base64::engine::general_purpose::STANDARD.encode(bytes)
        };
        let map = base(&[&b"xx\0"[..], &[b'y'; 500], b"\0"].concat());
        for (file, words) in [
            (json!({ "normalizer": two }), "one letter into 64"),
            (json!({ "normalizer": replace("", 1) }), "empty"),
            (json!({ "normalizer": replace("ab", 1 << 20) }), "may turn one letter into"),
            (json!({ "normalizer": { "type": "Prepend", "prepend": "x".repeat(100) } }), "Prepend"),
            (
                json!({ "normalizer": { "type": "Precompiled", "precompiled_charsmap": map } }),
                "500 bytes",
            ),
            (
                json!({ "normalizer": { "type": "Precompiled", "precompiled_charsmap": "AAA" } }),
                "damaged",
            ),
            (json!({ "normalizer": nested(vec![json!({ "type": "NFC" }); 100]) }), "parts"),
            (json!({ "model": { "max_input_chars_per_word": 1_000_000_000 } }), "max_input_chars"),
            (json!({ "model": { "max_input_chars_per_word": 1e12 } }), "max_input_chars"),
            (json!({ "model": { "max_input_chars_per_word": 513 } }), "max_input_chars"),
            (json!({ "model": { "continuing_subword_prefix": "#".repeat(100_000) } }), "prefix"),
            (json!({ "model": { "end_of_word_suffix": "#".repeat(100_000) } }), "suffix"),
            (json!({ "model": { "vocab": { "a": 4_294_967_294_u32 } } }), "4294967294"),
            (
                json!({ "model": { "vocab": [["a", 0.0], ["a".repeat(5000), 0.0]] } }),
                "5000 letters",
            ),
            (json!({ "added_tokens": [{ "id": 1_u64 << 40, "content": "a" }] }), "added_tokens"),
            (json!({ "added_tokens": vec![json!({ "id": 1 }); 100_000] }), "100000 tokens"),
            (
                json!({ "post_processor": { "sep": ["a", 4_294_967_295_u32], "cls": ["b", 1] } }),
                "id",
            ),
            (
                json!({ "post_processor": { "type": "Sequence", "processors": [
                    { "special_tokens": { "x": { "ids": [4_294_967_294_u32] } } }
                ] } }),
                "4294967294",
            ),
            (
                json!({ "post_processor": { "special_tokens": { "x": { "ids": vec![1; 1_000_000] } } } }),
                "1000000 ids",
            ),
            (json!({ "post_processor": { "single": vec![json!({}); 1_000_000] } }), "parts"),
        ] {
            let message = check(&file).unwrap_err();
            assert!(message.contains(words) && message.len() < 200, "{words}: {message}");
        }
    }
}
