//! Small files of each form, right ones and wrong ones; `tests/tokenizers.rs` has what transformers makes of
//! larger ones.

use std::path::Path;

use serde_json::{Value, json};

use crate::data::{TextTokenizer, Truncation};

/// A folder with these files.
fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn json_file(name: &'static str, value: &Value) -> (&'static str, Vec<u8>) {
    (name, value.to_string().into_bytes())
}

fn refused(files: &[(&str, Vec<u8>)]) -> String {
    TextTokenizer::of_folder(folder(files).path()).unwrap_err().to_string()
}

fn ids(files: &[(&str, Vec<u8>)], text: &str) -> Vec<u32> {
    let tokenizer = TextTokenizer::of_folder(folder(files).path()).unwrap();
    let found = tokenizer.encode(&[(text, None)], 512, Truncation::Head).unwrap().remove(0).ids;
    // What is written is the same tokenizer.
    let saved = tokenizer.to_json().unwrap().into_bytes();
    let saved = TextTokenizer::from_bytes(Path::new("tokenizer.json"), saved).unwrap();
    let again = saved.encode(&[(text, None)], 512, Truncation::Head).unwrap().remove(0).ids;
    assert_eq!(found, again);
    found
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn piece(text: &str, score: f32, kind: u64) -> Vec<u8> {
    let score = [&[0x15][..], &score.to_le_bytes()].concat();
    field(1, &[field(1, text.as_bytes()), score, number(3, kind)].concat())
}

/// A model as fairseq's encoders have it, of letters and `▁ab`.
fn fairseq(more: &[Vec<u8>]) -> Vec<u8> {
    let pieces = [piece("<unk>", 0.0, 2), piece("<s>", 0.0, 3), piece("</s>", 0.0, 3)];
    let letters = ["▁", "a", "b", "▁a", "▁ab"].map(|text| piece(text, -1.0, 1));
    [pieces.concat(), letters.concat(), more.concat()].concat()
}

const XLM_ROBERTA: &str = "sentencepiece.bpe.model";

#[test]
fn ids_of_a_model_are_moved_as_the_class_moves_them() {
    let model = || (XLM_ROBERTA, fairseq(&[]));
    assert_eq!(ids(&[model()], "ab b<mask>"), [0, 8, 4, 6, 9, 2]);
    let class =
        |name: &str| json_file("tokenizer_config.json", &json!({ "tokenizer_class": name }));
    assert_eq!(
        ids(&[model(), class("CamembertTokenizerFast")], "ab b<mask>"),
        [5, 11, 7, 9, 12, 6]
    );
    // The architecture is asked last.
    let type_of = |name: &str| json_file("config.json", &json!({ "model_type": name }));
    assert_eq!(ids(&[model(), type_of("camembert")], "b"), [5, 7, 9, 6]);
    assert_eq!(ids(&[model(), type_of("bert")], "b"), [0, 4, 6, 2]);
    let both = [model(), type_of("camembert"), class("XLMRobertaTokenizer")];
    assert_eq!(ids(&both, "b"), [0, 4, 6, 2]);
    let named = json_file("config.json", &json!({ "tokenizer_class": "CamembertTokenizer" }));
    assert_eq!(ids(&[model(), named], "b"), [5, 7, 9, 6]);
}

/// As sentencepiece does, the slow classes of transformers 4.57 and version 5. The fast class of 4.57 has a `▁` there
/// for ALBERT alone, and writes it into `tokenizer.json`: a Metaspace without a division at white space.
#[test]
fn white_space_at_the_end_of_a_text_is_no_token_unless_a_tokenizer_says_so() {
    let special = |text: &str, kind: u64| piece(text, 0.0, kind);
    let model = [
        [special("<pad>", 3), special("<unk>", 2), special("[CLS]", 3), special("[SEP]", 3)]
            .concat(),
        ["▁", "a", "b", "▁ab"].map(|text| piece(text, -1.0, 1)).concat(),
        special("[MASK]", 3),
        field(2, &number(40, 1)),
    ];
    let model = || ("spiece.model", model.concat());
    let class = || json_file("config.json", &json!({ "model_type": "albert" }));
    for end in ["", " ", "  ", "\n", "\t ", "\u{3000}"] {
        let text = format!("ab{end}");
        assert_eq!(ids(&[model(), class()], &text), [2, 7, 3], "{text:?}");
        assert_eq!(ids(&[(XLM_ROBERTA, fairseq(&[]))], &text), [0, 8, 2], "{text:?}");
    }
    let built = folder(&[model(), class()]);
    let built = TextTokenizer::of_folder(built.path()).unwrap().to_json().unwrap();
    let mut file: Value = serde_json::from_str(&built).unwrap();
    file["pre_tokenizer"] = file["pre_tokenizer"]["pretokenizers"][1].clone();
    let saved = || json_file("tokenizer.json", &file);
    assert_eq!(ids(&[saved(), class()], "ab"), [2, 7, 3]);
    assert_eq!(ids(&[saved(), class()], "ab  "), [2, 7, 4, 3]);
}

#[test]
fn byte_pairs_of_a_model_are_merged_by_score() {
    let pieces = [
        piece("<unk>", 0.0, 2),
        piece("<s>", 0.0, 3),
        piece("</s>", 0.0, 3),
        piece("ab", -0.0, 1),
        piece("▁a", -1.0, 1),
        piece("aba", -2.0, 1),
        piece("▁", -3.0, 1),
        piece("a", -4.0, 1),
        piece("b", -5.0, 1),
    ];
    let model = [pieces.concat(), field(2, &number(3, 2))].concat();
    // "ab" is before "▁a", so "▁aba" is "▁", "aba"; letters that are unknown are one token.
    assert_eq!(ids(&[(XLM_ROBERTA, model)], "aba xy"), [0, 7, 6, 7, 3, 2]);
}

#[test]
fn the_mask_takes_the_space_before_it_unless_a_file_says_otherwise() {
    let model = || (XLM_ROBERTA, fairseq(&[]));
    let map = |lstrip| {
        let token = json!({ "content": "<mask>", "lstrip": lstrip });
        json_file("special_tokens_map.json", &json!({ "mask_token": token }))
    };
    let vocabulary: Value = ["<s>", "<pad>", "</s>", "<unk>", "Ġ", "a", "<mask>"]
        .into_iter()
        .zip(0..)
        .map(|(token, id)| (token.to_owned(), Value::from(id)))
        .collect();
    let pairs = || [json_file("vocab.json", &vocabulary), ("merges.txt", Vec::new())];
    assert_eq!(ids(&pairs(), "a <mask>"), [0, 5, 6, 2]);
    assert_eq!(ids(&[&pairs()[..], &[map(true)]].concat(), "a <mask>"), [0, 5, 6, 2]);
    assert_eq!(ids(&[&pairs()[..], &[map(false)]].concat(), "a <mask>"), [0, 5, 4, 6, 2]);
    assert_eq!(ids(&[model(), map(false)], "a <mask>"), [0, 7, 9, 2]);
}

#[test]
fn a_model_that_is_none_or_would_be_read_otherwise_is_refused_with_the_reason() {
    let trainer = |field_: u64, value: u64| fairseq(&[field(2, &number(field_, value))]);
    let normalizer = |field_: u64| fairseq(&[field(3, &number(field_, 0))]);
    let charsmap = |bytes: &[u8]| fairseq(&[field(3, &field(2, bytes))]);
    let long = "a".repeat(300);
    let whole = fairseq(&[]);
    let nan = field(1, &[field(1, b"x"), [&[0x15][..], &f32::NAN.to_le_bytes()].concat()].concat());
    let cut = |bytes: usize| whole[..bytes].to_vec();
    for (model, words) in [
        (Vec::new(), "no pieces"),
        (b"\n".to_vec(), "in the middle of a field"),
        (cut(whole.len() - 3), "in the middle of a field"),
        (b"PK\x03\x04 something else".to_vec(), "not a SentencePiece model"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "not a SentencePiece model"),
        ([varint(1 << 3 | 2), varint(1 << 40)].concat(), "in the middle of a field"),
        ([varint(1 << 3 | 2), vec![0xff; 12]].concat(), "64 bits"),
        (number(1, 7), "a number where a message should be"),
        (fairseq(&[piece("", 0.0, 1)]), "piece 8: it has no text"),
        (fairseq(&[piece(&long, 0.0, 1)]), "piece 8: it has 300 letters"),
        (fairseq(&[piece("a", 0.0, 1)]), "`a` occurs twice"),
        (fairseq(&[nan]), "piece 8: its score is NaN"),
        (fairseq(&[piece("x", f32::INFINITY, 1)]), "score is inf"),
        (fairseq(&[piece("x", 0.0, 7)]), "`type` is 7"),
        (fairseq(&[piece("x", 0.0, -1_i64 as u64)]), "`type` is -1"),
        (fairseq(&[field(1, &field(1, b"\xff\xfe"))]), "not UTF-8"),
        (fairseq(&[field(1, &number(1, 3))]), "piece 8: it has a field of the wrong kind"),
        (trainer(3, 3), "`model_type` is 3"),
        (trainer(3, -2_i64 as u64), "`model_type` is -2"),
        (trainer(40, 8), "`unk_id` is 8"),
        (trainer(40, 1), "`unk_id` is 1"),
        (trainer(40, -1_i64 as u64), "`unk_id` is -1"),
        (trainer(24, 1), "treat_whitespace_as_suffix"),
        (normalizer(3), "`add_dummy_prefix` is false"),
        (normalizer(4), "`remove_extra_whitespaces` is false"),
        (normalizer(5), "`escape_whitespaces` is false"),
        (charsmap(&[1, 2]), "`precompiled_charsmap` is damaged"),
        (charsmap(&[0xff; 8]), "`precompiled_charsmap` is damaged"),
        (piece("<unk>", 0.0, 2), "the first three pieces"),
        ([piece("<unk>", 0.0, 2), piece("a", 0.0, 1), piece("b", 0.0, 1)].concat(), "first three"),
    ] {
        let message = refused(&[(XLM_ROBERTA, model)]);
        assert!(message.contains(words) && message.len() < 400, "{words}: {message}");
        assert!(message.contains(XLM_ROBERTA), "{message}");
    }
    let many = vec![field(1, &[]); (1 << 20) + 1].concat();
    let message = refused(&[(XLM_ROBERTA, many)]);
    assert!(message.contains("piece 0: it has no text"), "{message}");
}

#[test]
fn a_list_of_words_is_read_by_its_lines() {
    // Of two equal ones the later counts; a line may be empty, and only \n ends one.
    let lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "", "a", "b\u{85}c", "\u{2028}", "a", "##b"];
    for (end, mark) in [("\n", ""), ("\r\n", ""), ("\n", "\u{feff}")] {
        let text: String = lines.iter().map(|line| format!("{line}{end}")).collect();
        assert_eq!(
            ids(&[("vocab.txt", (mark.to_owned() + &text).into_bytes())], "a ab c"),
            [2, 8, 8, 9, 1, 3]
        );
    }
    let text = |lines: &[&str]| vec![("vocab.txt", lines.join("\n").into_bytes())];
    for (files, words) in [
        (text(&[]), "has no `[CLS]`"),
        (text(&["[PAD]", "[UNK]", "a"]), "has no `[CLS]`"),
        (vec![("vocab.txt", vec![0xff, 0xfe, b'\n'])], "not UTF-8"),
        (vec![("vocab.txt", b"\n".repeat((1 << 20) + 1))], "more than 1048576 lines"),
    ] {
        let message = refused(&files);
        assert!(message.contains(words) && message.contains("vocab.txt"), "{words}: {message}");
    }
    // With a gap below, what is added would get an id that is taken.
    let added = json_file("added_tokens.json", &json!({ "new": 10 }));
    let message = refused(&[text(&lines).remove(0), added]);
    assert!(message.contains("gaps") && message.contains("`new`"), "{message}");
}

#[test]
fn merges_are_of_tokens_that_are_there() {
    let tokens = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "Ġ", "ab", "Ġab", "#version:", "0.2"];
    let vocabulary = |more: Value| {
        let ids = tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), Value::from(id)));
        let mut all: serde_json::Map<String, Value> = ids.collect();
        all.extend(more.as_object().unwrap().clone());
        json_file("vocab.json", &all.into())
    };
    let files = |more: Value, merges: &str| {
        vec![vocabulary(more), ("merges.txt", merges.to_owned().into_bytes())]
    };
    for merges in [
        "#version: 0.2\na b\nĠ ab\n",
        "a b\nĠ ab",
        "#version: 0.2\r\na b\r\n\r\nĠ ab\r\n",
        "\u{feff}#version: 0.2\na b\nĠ ab\n",
    ] {
        assert_eq!(ids(&files(json!({}), merges), "ab ab"), [0, 7, 8, 2], "{merges:?}");
    }
    // Ids may have gaps, as long as nothing is added.
    assert_eq!(ids(&files(json!({ "<mask>": 30, "c": 20 }), "a b\n"), "c<mask>"), [0, 20, 30, 2]);
    for (more, merges, words) in [
        (json!({}), "a b\na x\n", "line 2 merges `a` and `x`, but `vocab.json` has no `x`"),
        (json!({}), "b a\n", "has no `ba`"),
        (json!({}), "a\n", "line 1 is `a`, not two tokens"),
        (json!({}), "a b\na b c\n", "line 2"),
        (json!({}), " b\n", "has no ``"),
        (json!({}), "a b\n#version: 0.2\n", "line 2"),
        (json!({ "x": 4 }), "", "`a` and `x` both have the id 4"),
        (json!({ "x": -1 }), "", "invalid value"),
        (json!({ "x": 1.5 }), "", "invalid type"),
        (json!({ "x": "1" }), "", "invalid type"),
        (json!({ "x": 1_u64 << 40 }), "", "1099511627776"),
    ] {
        let message = refused(&files(more, merges));
        assert!(message.contains(words) && message.len() < 400, "{words}: {message}");
    }
    let message = refused(&[("vocab.json", b"[]".to_vec()), ("merges.txt", Vec::new())]);
    assert!(message.contains("an object of tokens and ids"), "{message}");
    let message = refused(&[("vocab.json", b"{}".to_vec()), ("merges.txt", Vec::new())]);
    assert!(message.contains("has no `<s>`"), "{message}");
}

#[test]
fn tokens_that_are_added_are_as_the_files_say_or_refused() {
    let words = || ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nnew".to_vec());
    let config = |value: Value| json_file("tokenizer_config.json", &value);
    let file = |value: Value| json_file("added_tokens.json", &value);
    assert_eq!(
        ids(&[words(), file(json!({ "<x>": 8, "<y>": 7 }))], "a<x> <y>NEW"),
        [2, 5, 8, 7, 6, 3]
    );
    // Of a token in both places the first file counts alone.
    let decoder = json!({ "added_tokens_decoder": { "7": { "content": "<z>", "special": true } } });
    assert_eq!(ids(&[words(), file(json!({ "<x>": 7 })), config(decoder)], "<z>"), [2, 7, 3]);
    let normalized =
        json!({ "added_tokens_decoder": { "7": { "content": "A a", "normalized": true } } });
    assert_eq!(ids(&[words(), config(normalized)], "a A"), [2, 7, 3]);
    let more = json!({ "additional_special_tokens": ["<x>", { "content": "<y>" }] });
    assert_eq!(ids(&[words(), config(more)], "<y><x>"), [2, 8, 7, 3]);
    for (other, words_) in [
        (file(json!({ "<x>": 9 })), "`added_tokens.json` gives `<x>` the id 9"),
        (file(json!({ "a": 7 })), "gives `a` the id 7, but the tokenizer would give it 5"),
        (file(json!({ "<x>": 7, "<y>": 7 })), "`<x>` and `<y>` both have the id 7"),
        (file(json!({ "<x>": -7 })), "gives `<x>` the id -7"),
        (file(json!({ "": 7 })), "empty token"),
        (file(json!({ "x".repeat(5000): 7 })), "5000 bytes"),
        (file(json!([])), "invalid type"),
        (config(json!({ "added_tokens_decoder": { "x": { "content": "<x>" } } })), "the id `x`"),
        (config(json!({ "added_tokens_decoder": { "7": { "text": "<x>" } } })), "not a token"),
        (config(json!({ "added_tokens_decoder": { "70": "<x>" } })), "the id 70"),
        (config(json!({ "mask_token": 3 })), "`mask_token` has 3, not a token"),
        (config(json!({ "unk_token": "<unk>" })), "has no `<unk>`"),
        (config(json!({ "tokenizer_class": "T5Tokenizer" })), "`T5Tokenizer`"),
        (config(json!({ "tokenizer_class": "RobertaTokenizer" })), "needs `vocab.json`"),
    ] {
        let message = refused(&[words(), other]);
        assert!(message.contains(words_) && message.len() < 500, "{words_}: {message}");
    }
}
