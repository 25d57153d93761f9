//! Tokenizers in the forms before `tokenizer.json`, with something changed: tokens or a refusal, and never a panic
//! or memory without end.

use std::path::Path;

use base64::Engine as _;

use bayes::compute::Backend;
use bayes::data::{TextTokenizer, Truncation};
use bayes::predict::{Pairs, Predictor};

use proptest::prelude::*;
use serde_json::Value;

use super::damage::{damage, fuzz};
use super::folder::Foreign;
use super::vocabularies::Vocabularies;

/// What may come of any file: ids below the number of tokens, and the same again from what is written.
fn tokens(folder: &Path) {
    let Ok(tokenizer) = TextTokenizer::of_folder(folder) else { return };
    let texts = [
        "A text of two WORDS, naïve",
        "\u{10fffd}\u{301} [MASK] <mask><s> 日本語 ﬁ½… \u{0}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "",
    ];
    let texts = texts.map(|text| (text, None));
    let Ok(encoded) = tokenizer.encode(&texts, 4096, Truncation::Head) else { return };
    for one in &encoded {
        assert!(one.ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
    }
    let saved = tokenizer.to_json().unwrap().into_bytes();
    let saved = TextTokenizer::from_bytes(Path::new("tokenizer.json"), saved).unwrap();
    assert_eq!(saved.encode(&texts, 4096, Truncation::Head).unwrap(), encoded);
}

/// One file of a case, changed byte by byte.
fn fuzz_file(case: &str, name: &str) {
    let folder = Vocabularies::read().folder(case);
    let path = folder.path().join(name);
    let whole = std::fs::read(&path).unwrap();
    assert!(TextTokenizer::of_folder(folder.path()).is_ok());
    // Most bytes of a model are its pieces and its map of characters: the beginning is looked for on purpose.
    let strategy = (damage(), any::<bool>());
    fuzz(&format!("{case} {name}"), &strategy, |(all, at_the_beginning)| {
        let mut bytes = whole.clone();
        let rest = match at_the_beginning {
            true => bytes.split_off(bytes.len().min(120)),
            false => Vec::new(),
        };
        all.iter().for_each(|one| one.apply(&mut bytes));
        bytes.extend(rest);
        std::fs::write(&path, bytes).unwrap();
        tokens(folder.path());
    });
}

#[test]
fn a_changed_list_of_words_is_tokens_or_a_refusal() {
    fuzz_file("bert-added", "vocab.txt");
}

#[test]
fn changed_byte_pairs_are_tokens_or_a_refusal() {
    fuzz_file("roberta-prefix", "vocab.json");
    fuzz_file("roberta-prefix", "merges.txt");
}

#[test]
fn a_changed_model_of_pieces_is_tokens_or_a_refusal() {
    fuzz_file("xlm-roberta", "sentencepiece.bpe.model");
    fuzz_file("albert", "spiece.model");
    fuzz_file("deberta-pairs", "spm.model");
}

#[test]
fn changed_files_beside_a_vocabulary_are_tokens_or_a_refusal() {
    fuzz_file("bert-added", "tokenizer_config.json");
    fuzz_file("roberta-prefix", "added_tokens.json");
    fuzz_file("mpnet", "special_tokens_map.json");
}

/// The trie of a map of characters is followed without a look at its bounds: that a first text passed says
/// nothing of the next.
#[test]
fn a_map_of_characters_that_leads_astray_refuses_the_text_that_it_meets() {
    let folder = Vocabularies::read().folder("deberta");
    let path = folder.path().join("spm.model");
    let whole = std::fs::read(&path).unwrap();
    let file = TextTokenizer::of_folder(folder.path()).unwrap().to_json().unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let steps = file["normalizer"]["normalizers"].as_array().unwrap();
    let map = steps.iter().find_map(|step| step["precompiled_charsmap"].as_str()).unwrap();
    let map = base64::engine::general_purpose::STANDARD.decode(map).unwrap();
    let start = whole.windows(map.len()).position(|window| window == map).unwrap() + 4;
    let trie = u32::from_le_bytes(map[..4].try_into().unwrap()) as usize;
    let texts = ["…", "½", "²", "ﬁ", "É", "Ａ", "\u{200d}", "ﷺ", "™", "①", "a"];
    let (mut refused, mut taken) = (0, 0);
    for unit in (start..start + trie).step_by(4) {
        let mut bytes = whole.clone();
        // Its label stays, and the way from it leads far beyond the end.
        let far = u32::from_le_bytes(bytes[unit..unit + 4].try_into().unwrap()) | 0x7fff_fe00;
        bytes[unit..unit + 4].copy_from_slice(&far.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let Ok(tokenizer) = TextTokenizer::of_folder(folder.path()) else { continue };
        taken += 1;
        let encode = |text| tokenizer.encode(&[(text, None)], 512, Truncation::Head);
        refused += texts.iter().filter(|text| encode(text).is_err()).count();
    }
    assert!(taken > 10 && refused > 0, "{refused} texts of {taken} maps were refused");
}

#[test]
fn a_segment_that_the_encoder_lacks_is_refused_by_its_number() {
    let with = |template: &str, place: usize| {
        let folder = Foreign::new();
        folder.edit("tokenizer.json", |file| {
            let piece = file["post_processor"][template][place].as_object_mut().unwrap();
            piece.values_mut().for_each(|piece| piece["type_id"] = 5.into());
        });
        folder
    };
    let message = with("single", 1).refused();
    assert!(message.contains("the segment 5") && message.contains("type_vocab_size"), "{message}");
    let of_pairs = Predictor::load(&with("pair", 3).path(""), &Backend::Cpu).unwrap();
    assert_eq!(of_pairs.pairs(), Pairs::NoSegment { segment: 5, rows: 2 });
    let error = of_pairs.pairs().check([false, true]).unwrap_err().to_string();
    assert!(error.contains("the segment 5") && error.contains("`--text-column`"), "{error}");
}
