//! Tokenizers built from the files of older versions give the ids of transformers, on texts that are hard to take
//! apart. `tests/python/golden_tokenizers.py` made the vocabularies and the ids, and says what the reference is.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod vocabularies;

use std::path::Path;

use bayes::data::{Encoded, TextTokenizer, Truncation};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vocabularies::Vocabularies;

/// More than any text has.
const LONG: usize = 1 << 20;

/// SplitMix64 (Steele, Lea and Flood 2014), as in the script.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn texts(cases: &Value) -> Vec<String> {
    let parts = |key: &str| -> Vec<&str> {
        cases[key].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect()
    };
    let [words, between, nasty, letters] = ["words", "between", "nasty", "letters"].map(parts);
    let number = |key: &str| cases[key].as_u64().unwrap() as usize;
    let mut numbers = Numbers(number("seed") as u64);
    let one = |index: usize| {
        let mut text = String::new();
        if index % 100 == 99 {
            let few = 1 + numbers.below(3);
            let own: Vec<&str> = (0..few).map(|_| letters[numbers.below(letters.len())]).collect();
            text.extend((0..number("long")).map(|_| own[numbers.below(few)]));
        }
        for _ in 0..numbers.below(14) {
            let word = words[numbers.below(words.len())];
            match numbers.below(8) {
                0 => text += word,
                1 => text += &word.to_uppercase(),
                2 => text.extend([word, words[numbers.below(words.len())]]),
                3 | 4 => {
                    let first = word.chars().next().unwrap();
                    text.extend(first.to_uppercase());
                    text += &word[first.len_utf8()..];
                }
                5 | 6 => text += nasty[numbers.below(nasty.len())],
                _ => {
                    let part = nasty[numbers.below(nasty.len())];
                    text += &part.repeat(1 + numbers.below(5));
                }
            }
            text += between[numbers.below(between.len())];
        }
        text
    };
    (0..number("texts")).map(one).collect()
}

/// Every fourth text has the next one as its pair.
fn encoded(tokenizer: &TextTokenizer, texts: &[String]) -> Vec<Encoded> {
    let pair = |index: usize| (index % 4 == 3).then(|| texts[(index + 1) % texts.len()].as_str());
    let all: Vec<_> =
        texts.iter().enumerate().map(|(index, text)| (text.as_str(), pair(index))).collect();
    tokenizer.encode(&all, LONG, Truncation::Head).unwrap()
}

fn short_hash(encoded: &Encoded) -> [u8; 4] {
    let mut hasher = Sha256::new();
    for number in encoded.ids.iter().chain(&encoded.type_ids) {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize()[..4].try_into().unwrap()
}

#[test]
fn ids_are_those_of_transformers_on_texts_that_are_hard_to_take_apart() {
    let fixtures = Vocabularies::read();
    let texts = texts(&fixtures.cases);
    let mut wrong = Vec::new();
    for name in fixtures.cases["cases"].as_object().unwrap().keys() {
        let folder = fixtures.folder(name);
        let tokenizer = TextTokenizer::of_folder(folder.path()).unwrap();
        let found = encoded(&tokenizer, &texts);
        let expected = std::fs::read(Vocabularies::path(&format!("{name}.ids"))).unwrap();
        assert_eq!(expected.len(), 4 * found.len());
        let differ = |&(index, one): &(usize, &Encoded)| {
            short_hash(one)[..] != expected[4 * index..4 * index + 4]
        };
        let differ: Vec<_> = found.iter().enumerate().filter(differ).collect();
        if let Some((index, first)) = differ.first() {
            let (count, text) =
                (differ.len(), &texts[*index].chars().take(200).collect::<String>());
            let ids = &first.ids[..first.ids.len().min(40)];
            wrong.push(format!("{name}: {count} differ; {index} is {text:?}, with {ids:?}"));
        }
        // What is written is a `tokenizer.json` with the same answers.
        let saved = tokenizer.to_json().unwrap().into_bytes();
        let saved = TextTokenizer::from_bytes(Path::new("tokenizer.json"), saved).unwrap();
        assert_eq!(encoded(&saved, &texts), found, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
