use serde_json::{Value, json};

use super::*;
use crate::data::Truncation;

const TOKENS: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "resume", "résumé", "us", "US", "papa", "papá",
    "中", "文", "中文", "x", "##x",
];
const TEXT: &str = "Résumé US us papá 中文 x";

/// A folder with these files; `vocab.txt` always.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), TOKENS.join("\n") + "\n").unwrap();
    for (name, value) in files {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

/// A `tokenizer.json` that lower-cases, or not.
fn file(lowercase: bool) -> Value {
    let folder = folder(&[("tokenizer_config.json", json!({ "do_lower_case": lowercase }))]);
    let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
    serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap()
}

fn tokens(folder: &tempfile::TempDir) -> String {
    let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
    let encoded = tokenizer.encode(&[(TEXT, None)], 64, Truncation::Head).unwrap().remove(0);
    let inside = &encoded.ids[1..encoded.ids.len() - 1];
    inside.iter().map(|&id| TOKENS[id as usize]).collect::<Vec<_>>().join(" ")
}

const LOWER: &str = "resume us us papa 中 文 x";
const CASED: &str = "[UNK] US us papá 中 文 x";

/// What transformers makes of the same folders, in version 4 and in version 5.
#[test]
fn the_class_of_bert_follows_its_config_and_no_other_does() {
    for (lowercase, config, expected) in [
        (true, json!({ "tokenizer_class": "BertTokenizer", "do_lower_case": false }), CASED),
        (true, json!({ "tokenizer_class": "BertTokenizerFast", "do_lower_case": false }), CASED),
        (true, json!({ "tokenizer_class": "DistilBertTokenizer", "do_lower_case": false }), CASED),
        (true, json!({ "tokenizer_class": "MPNetTokenizer", "do_lower_case": false }), CASED),
        (true, json!({ "do_lower_case": false }), CASED),
        (false, json!({ "tokenizer_class": "BertTokenizer", "do_lower_case": true }), LOWER),
        (false, json!({ "tokenizer_class": "BertTokenizer" }), LOWER),
        (false, json!({ "tokenizer_class": "BertTokenizer", "do_lower_case": null }), LOWER),
        (
            true,
            json!({ "tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false }),
            LOWER,
        ),
        (false, json!({ "tokenizer_class": "PreTrainedTokenizerFast" }), CASED),
        (true, json!({ "tokenizer_class": "TokenizersBackend", "do_lower_case": false }), LOWER),
        (
            true,
            json!({ "tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": true }),
            "[UNK] US us papa 中 文 x",
        ),
        (
            true,
            json!({ "tokenizer_class": "BertTokenizer", "strip_accents": false }),
            "résumé us us papá 中 文 x",
        ),
        (
            true,
            json!({ "tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": false }),
            "resume us us papa 中文 x",
        ),
    ] {
        let folder = folder(&[
            ("tokenizer.json", file(lowercase)),
            ("tokenizer_config.json", config.clone()),
        ]);
        assert_eq!(tokens(&folder), expected, "{config}");
    }
}

/// What transformers 4.57 makes of the same files: its `BertTokenizerFast` changes three options of BERT's normalizer.
#[test]
fn what_the_file_has_of_its_own_is_followed_and_said() {
    let options =
        |lowercase: bool| built::bert_normalizer(&json!({ "do_lower_case": lowercase })).unwrap();
    let (bert, other) =
        (json!({ "type": "BertPreTokenizer" }), json!({ "type": "WhitespaceSplit" }));
    let mut unclean = options(false);
    unclean["clean_text"] = false.into();
    let mut unclean_lower = options(true);
    unclean_lower["clean_text"] = false.into();
    let sequence =
        json!({ "type": "Sequence", "normalizers": [{ "type": "NFD" }, { "type": "Lowercase" }] });
    for (normalizer, words, expected, said) in [
        (options(false), &bert, options(true), None),
        (options(false), &other, options(true), Some("is followed")),
        (sequence.clone(), &other, sequence.clone(), Some("is followed")),
        (json!({ "type": "NFC" }), &bert, json!({ "type": "NFC" }), Some("is followed")),
        (unclean, &bert, unclean_lower, Some("is followed")),
        (Value::Null, &other, options(true), Some("has no normalizer")),
    ] {
        let mut file = json!({ "normalizer": normalizer, "pre_tokenizer": words });
        let found = take_options(&mut file, &options(true));
        assert_eq!(file["normalizer"], expected);
        assert_eq!(&file["pre_tokenizer"], if normalizer.is_null() { &bert } else { words });
        match said {
            Some(said) => assert!(found.unwrap().contains(said)),
            None => assert_eq!(found, None),
        }
    }
    // In a folder: nothing is lowered, and Chinese letters stay together.
    let mut own = file(true);
    own["normalizer"] = json!({ "type": "NFC" });
    let config = json!({ "tokenizer_class": "BertTokenizer" });
    let folder = folder(&[("tokenizer.json", own), ("tokenizer_config.json", config)]);
    assert_eq!(tokens(&folder), "[UNK] US us papá 中文 x");
}

#[test]
fn a_vocabulary_alone_is_enough_and_other_classes_of_it_are_refused() {
    assert_eq!(tokens(&folder(&[])), LOWER);
    let cased = json!({ "do_lower_case": false });
    assert_eq!(tokens(&folder(&[("tokenizer_config.json", cased)])), CASED);
    let refused = |files: &[(&str, Value)]| {
        TextTokenizer::of_folder(folder(files).path()).unwrap_err().to_string()
    };
    let japanese = json!({ "tokenizer_class": "BertJapaneseTokenizer" });
    assert!(refused(&[("tokenizer_config.json", japanese)]).contains("BertJapaneseTokenizer"));
    let far = refused(&[("added_tokens.json", json!({ "new": 20 }))]);
    assert!(far.contains("`added_tokens.json` gives `new` the id 20"), "{far}");
    let files =
        refused(&[("tokenizer_config.json", json!({ "tokenizer_class": "AlbertTokenizer" }))]);
    assert!(files.contains("`AlbertTokenizer`, which needs `spiece.model`"), "{files}");
    let word = json!({ "do_lower_case": "false" });
    assert!(refused(&[("tokenizer_config.json", word)]).contains("`do_lower_case`"));
    let names = json!({ "cls_token": "<s>" });
    assert!(refused(&[("tokenizer_config.json", names)]).contains("`<s>`"));
}

#[test]
fn special_tokens_have_the_names_that_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("vocab.txt", "<pad>\n<unk>\n<s>\n</s>\na\n");
    let config = json!({
        "cls_token": "<s>", "sep_token": { "content": "</s>", "lstrip": false },
        "unk_token": "<unk>", "pad_token": "<pad>",
    });
    write("tokenizer_config.json", &config.to_string());
    let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
    let pair = tokenizer.encode(&[("a b", Some("a"))], 64, Truncation::Head).unwrap().remove(0);
    assert_eq!(pair.ids, [2, 4, 1, 3, 4, 3]);
    assert_eq!(pair.type_ids, [0, 0, 0, 0, 1, 1]);
    assert_eq!(tokenizer.pad_id(), Some(0));
}

#[test]
fn byte_pairs_come_from_a_vocabulary_and_merges() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let tokens = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "Ġ", "ab", "Ġab"];
    let vocabulary: Map<String, Value> =
        tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), Value::from(id))).collect();
    write("vocab.json", &Value::from(vocabulary).to_string());
    write("merges.txt", "#version: 0.2\na b\nĠ ab\n");
    let ids = |text| {
        let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
        tokenizer.encode(&[(text, None)], 64, Truncation::Head).unwrap().remove(0).ids
    };
    assert_eq!(ids("ab ab"), [0, 7, 8, 2]);
    write("tokenizer_config.json", &json!({ "add_prefix_space": true }).to_string());
    assert_eq!(ids("ab ab"), [0, 8, 8, 2]);
    std::fs::remove_file(folder.path().join("merges.txt")).unwrap();
    let error = TextTokenizer::of_folder(folder.path()).unwrap_err();
    assert!(matches!(error, TokenizerError::NoFiles { .. }), "{error}");
}

/// What transformers 4.57 makes of the same files, but for a key that is not there beside a class of no kind.
#[test]
fn the_space_before_a_text_is_that_of_the_config() {
    let class = |name: &str| json!({ "tokenizer_class": name });
    let asked =
        |name: &str, asked: bool| json!({ "tokenizer_class": name, "add_prefix_space": asked });
    for (config, own, expected, said) in [
        (class("RobertaTokenizer"), false, false, false),
        (class("RobertaTokenizer"), true, false, true),
        (asked("RobertaTokenizerFast", true), false, true, true),
        (asked("GPT2Tokenizer", true), false, true, true),
        (asked("PreTrainedTokenizerFast", false), true, false, true),
        (asked("PreTrainedTokenizerFast", true), true, true, false),
        (class("PreTrainedTokenizerFast"), true, true, true),
        (class("PreTrainedTokenizerFast"), false, false, false),
        (asked("TokenizersBackend", false), true, true, false),
    ] {
        let sources = Sources { config: config.clone(), ..Sources::default() };
        let asked = config["add_prefix_space"].as_bool();
        let config = Config { path: PathBuf::new(), is_there: true, sources };
        let mut own = json!(own);
        let remark = config.take_prefix(&mut own, asked);
        assert_eq!((own, remark.is_some()), (json!(expected), said), "{}", config.sources.config);
    }
}

#[test]
fn dropout_of_a_file_does_not_apply() {
    let tokens = ["a", "b", "ab", "abab", "<s>", "</s>"];
    let vocabulary: Map<String, Value> =
        tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), Value::from(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": 0.5, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": [["a", "b"], ["ab", "ab"]],
        },
    });
    let folder = folder(&[("tokenizer.json", file)]);
    let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
    let encode = || tokenizer.encode(&[("abab abab abab", None)], 64, Truncation::Head).unwrap();
    for _ in 0..50 {
        assert_eq!(encode()[0].ids, [3, 3, 3]);
    }
    assert!(tokenizer.to_json().unwrap().contains("\"dropout\":null"));
}

#[test]
fn a_word_that_is_as_long_as_may_be_takes_no_time() {
    let mut file = file(true);
    file["model"]["max_input_chars_per_word"] = 512.into();
    let folder = folder(&[("tokenizer.json", file)]);
    let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
    let began = std::time::Instant::now();
    for length in [512, 8_000, 100_000] {
        let word = "x".repeat(length);
        tokenizer.encode(&[(&word, None)], 64, Truncation::Head).unwrap();
    }
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// As transformers hands segments to the model: by `model_input_names`, else by the class.
#[test]
fn segments_are_given_where_the_model_is_told_of_them() {
    let pair = |files: &[(&str, Value)]| {
        let tokenizer = TextTokenizer::of_folder(folder(files).path()).unwrap();
        let pair =
            tokenizer.encode(&[("x", Some("us x"))], 64, Truncation::Head).unwrap().remove(0);
        let saved = TextTokenizer::from_bytes(
            Path::new("tokenizer.json"),
            tokenizer.to_json().unwrap().into_bytes(),
        );
        assert_eq!(saved.unwrap().pair_segments(), tokenizer.pair_segments());
        pair.type_ids
    };
    let (told, untold) = ([0, 0, 0, 1, 1, 1], [0; 6]);
    let without = json!(["input_ids", "attention_mask"]);
    let mut processing = file(true);
    processing["post_processor"] =
        json!({ "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] });
    for (config, expected) in [
        (json!({}), told),
        (json!({ "tokenizer_class": "BertTokenizer" }), told),
        (json!({ "tokenizer_class": "ElectraTokenizerFast" }), told),
        (json!({ "tokenizer_class": "DistilBertTokenizer" }), untold),
        (json!({ "tokenizer_class": "PreTrainedTokenizerFast" }), told),
        (json!({ "tokenizer_class": "TokenizersBackend" }), untold),
        (
            json!({ "tokenizer_class": "TokenizersBackend", "model_input_names": ["token_type_ids"] }),
            told,
        ),
        (json!({ "tokenizer_class": "BertTokenizer", "model_input_names": without }), untold),
        (
            json!({ "tokenizer_class": "DistilBertTokenizer", "model_input_names": ["token_type_ids"] }),
            told,
        ),
    ] {
        let config = || ("tokenizer_config.json", config.clone());
        assert_eq!(pair(&[config()]), expected, "{:?}", config());
        assert_eq!(pair(&[config(), ("tokenizer.json", file(true))]), expected, "{:?}", config());
        assert_eq!(pair(&[config(), ("tokenizer.json", processing.clone())]), expected);
    }
}

/// The segments of one text are those of the template, where the model is told of them.
#[test]
fn segments_of_a_template_go_where_the_model_is_not_told_of_them() {
    let piece =
        |kind: &str, id: &str, segment: u32| json!({ kind: { "id": id, "type_id": segment } });
    let mut template = file(true);
    template["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [piece("SpecialToken", "[CLS]", 1), piece("Sequence", "A", 1)],
        "pair": [piece("Sequence", "A", 0), piece("Sequence", "B", 1)],
        "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] } },
    });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let [mut none, mut lone] = [file(true), file(true)];
    none["post_processor"] = Value::Null;
    lone["post_processor"] = json!({ "type": "Sequence", "processors": [bytes] });
    for (names, single, second) in
        [(json!(["input_ids", "token_type_ids"]), 1, 1), (json!(["input_ids"]), 0, 0)]
    {
        let config = json!({ "tokenizer_class": "TokenizersBackend", "model_input_names": names });
        for (file, single) in [(&template, single), (&none, 0), (&lone, 0)] {
            let files =
                [("tokenizer_config.json", config.clone()), ("tokenizer.json", file.clone())];
            let tokenizer = TextTokenizer::of_folder(folder(&files).path()).unwrap();
            let encoded =
                tokenizer.encode(&[("x", None), ("x", Some("us"))], 64, Truncation::Head).unwrap();
            let last = |place: usize| *encoded[place].type_ids.last().unwrap();
            assert_eq!((last(0), last(1)), (single, second), "{names} {}", file["post_processor"]);
        }
    }
}

#[test]
fn special_tokens_of_a_text_that_should_be_letters_are_refused() {
    let read = |value: Value| {
        let files = [
            ("tokenizer_config.json", json!({ "split_special_tokens": value })),
            ("tokenizer.json", file(true)),
        ];
        TextTokenizer::of_folder(folder(&files).path()).map(drop)
    };
    for value in [json!(null), json!(false)] {
        read(value).unwrap();
    }
    for value in [json!(true), json!("true")] {
        let message = read(value).unwrap_err().to_string();
        assert!(message.contains("`split_special_tokens` is"), "{message}");
    }
}

/// A token of which no file says anything is left out where the encoder has no embedding for it.
#[test]
fn the_class_adds_no_token_behind_the_embeddings() {
    let without_mask = TOKENS.join("\n").replace("[MASK]\n", "");
    let size = |files: &[(&str, Value)]| {
        let folder = folder(files);
        std::fs::write(folder.path().join("vocab.txt"), &without_mask).unwrap();
        TextTokenizer::of_folder(folder.path()).unwrap().vocabulary_size()
    };
    let rows = |rows: usize| ("config.json", json!({ "vocab_size": rows }));
    assert_eq!((size(&[]), size(&[rows(16)]), size(&[rows(15)])), (16, 16, 15));
    let said = ("special_tokens_map.json", json!({ "mask_token": "[MASK]" }));
    assert_eq!(size(&[rows(15), said]), 16);
}

#[test]
fn tokens_that_other_files_add_to_it_are_not_passed_over() {
    let own =
        |name: &'static str, value: Value| folder(&[("tokenizer.json", file(true)), (name, value)]);
    let config = "tokenizer_config.json";
    for (folder, name) in [
        (own(config, json!({ "additional_special_tokens": ["<e1>"] })), config),
        (own(config, json!({ "extra_special_tokens": { "e": { "content": "<e1>" } } })), config),
        (own(config, json!({ "added_tokens_decoder": { "16": { "content": "<e1>" } } })), config),
        (own("added_tokens.json", json!({ "<e1>": 16 })), "added_tokens.json"),
        (
            own("special_tokens_map.json", json!({ "additional_special_tokens": ["<e1>"] })),
            "special_tokens_map.json",
        ),
    ] {
        let told = TextTokenizer::of_folder(folder.path()).unwrap_err().to_string();
        assert!(told.contains(name) && told.contains("`<e1>`"), "{told}");
    }
    // What it has, and what no file can be read for.
    for (name, value) in [
        (
            config,
            json!({ "additional_special_tokens": ["[MASK]"], "added_tokens_decoder": { "14": { "content": "x" } } }),
        ),
        ("added_tokens.json", json!({ "papa": 9 })),
        ("special_tokens_map.json", json!(["no map"])),
    ] {
        assert!(TextTokenizer::of_folder(own(name, value).path()).is_ok(), "{name}");
    }
}

#[test]
fn the_side_that_is_cut_stands_in_either_file() {
    let mut cut = file(true);
    cut["truncation"] = json!({
        "direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0,
    });
    for (config, expected) in [
        (json!({}), true),
        (json!({ "truncation_side": "right" }), false),
        (json!({ "truncation_side": "left" }), true),
    ] {
        let folder = folder(&[("tokenizer.json", cut.clone()), ("tokenizer_config.json", config)]);
        assert_eq!(FolderTokenizer::read(folder.path()).unwrap().keeps_the_end, expected);
    }
    assert!(
        !FolderTokenizer::read(folder(&[("tokenizer.json", file(true))]).path())
            .unwrap()
            .keeps_the_end
    );
}
