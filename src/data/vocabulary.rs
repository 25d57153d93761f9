//! A WordPiece vocabulary made from texts, for encoders trained from scratch.
//!
//! `tokenizers`' own `WordPieceTrainer` gives another vocabulary in every process, because it
//! iterates over hash maps; this one is a pure function of the texts.

use std::collections::{BTreeSet, HashMap, HashSet};

use rayon::prelude::*;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NFC, NormalizerWrapper, Sequence};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

/// The special tokens, in the order of their ids.
pub const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

const PREFIX: &str = "##";
/// `tokenizers`' limit: a longer word is unknown, so it would only take up room.
const LONGEST_WORD: usize = 100;

/// Why no vocabulary could be made.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// Not even the characters fit.
    #[error(
        "`model.vocab_size` is {size}, which is too small for the special tokens and the \
         characters of these texts; use at least {needed}"
    )]
    TooSmall {
        /// The size asked for.
        size: usize,
        /// Special tokens, characters and continued characters.
        needed: usize,
    },
    /// The `tokenizers` crate refused a part.
    #[error("the tokenizer could not be built")]
    Tokenizer(#[source] tokenizers::Error),
}

/// BERT's rules in lower case, but accents stay: without them words of many languages are others (`ma` and `má`), and
/// the vowels of Devanagari or Thai are gone. However a letter with an accent is written, it is one character.
fn normalizer() -> Sequence {
    let bert = BertNormalizer::new(true, true, Some(false), true);
    Sequence::new(vec![NormalizerWrapper::NFC(NFC), NormalizerWrapper::BertNormalizer(bert)])
}

/// A lower-casing BERT tokenizer that keeps accents, with a vocabulary of at most `size` entries: special tokens, every
/// character, every continued character, then the most frequent words (of equally frequent ones
/// the first in code-point order).
pub fn build(texts: &[&str], size: usize) -> Result<Tokenizer, VocabularyError> {
    let counts = count_words(texts, &normalizer())?;
    let vocabulary = choose(&counts, size)?;
    assemble(&vocabulary).map_err(VocabularyError::Tokenizer)
}

/// How often each word stands in the texts. Sums do not depend on the order of the work.
fn count_words(
    texts: &[&str],
    normalizer: &Sequence,
) -> Result<HashMap<String, u64>, VocabularyError> {
    texts
        .par_iter()
        .try_fold(HashMap::new, |mut counts, text| {
            for word in words(text, normalizer)? {
                *counts.entry(word).or_default() += 1;
            }
            Ok(counts)
        })
        .try_reduce(HashMap::new, |mut left, right| {
            for (word, count) in right {
                *left.entry(word).or_default() += count;
            }
            Ok(left)
        })
        .map_err(VocabularyError::Tokenizer)
}

/// The words of a text as the finished tokenizer will see them.
fn words(text: &str, normalizer: &Sequence) -> tokenizers::Result<Vec<String>> {
    let mut normalized = NormalizedString::from(text);
    normalizer.normalize(&mut normalized)?;
    let mut split = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut split)?;
    let pieces = split.get_splits(OffsetReferential::Normalized, OffsetType::None);
    Ok(pieces.into_iter().map(|(word, _, _)| word.to_string()).collect())
}

/// The entries in the order of their ids.
fn choose(counts: &HashMap<String, u64>, size: usize) -> Result<Vec<String>, VocabularyError> {
    let characters: BTreeSet<char> = counts.keys().flat_map(|word| word.chars()).collect();
    let mut vocabulary: Vec<String> = SPECIAL_TOKENS.map(str::to_string).into();
    vocabulary.extend(characters.iter().map(char::to_string));
    // Chinese characters are words by themselves, and are never continued.
    let continued = characters.iter().filter(|&&character| !is_ideograph(character));
    vocabulary.extend(continued.map(|character| format!("{PREFIX}{character}")));
    if vocabulary.len() > size {
        return Err(VocabularyError::TooSmall { size, needed: vocabulary.len() });
    }
    let taken: HashSet<&str> = vocabulary.iter().map(String::as_str).collect();
    let mut words: Vec<(&String, u64)> = counts
        .iter()
        .filter(|(word, _)| !taken.contains(word.as_str()) && word.chars().count() <= LONGEST_WORD)
        .map(|(word, &count)| (word, count))
        .collect();
    words.sort_by(|(a, count_a), (b, count_b)| count_b.cmp(count_a).then_with(|| a.cmp(b)));
    let room = size - vocabulary.len();
    let words: Vec<String> = words.into_iter().take(room).map(|(word, _)| word.clone()).collect();
    vocabulary.extend(words);
    Ok(vocabulary)
}

/// The characters that `BertNormalizer` puts spaces around.
fn is_ideograph(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
            | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f
    )
}

fn assemble(vocabulary: &[String]) -> tokenizers::Result<Tokenizer> {
    let ids: HashMap<&str, u32> =
        (0..).zip(vocabulary).map(|(id, token)| (token.as_str(), id)).collect();
    let (cls, sep) = (("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"]));
    // The builder wants a map of a crate that is not ours to name.
    let model = WordPiece::from_bytes(serde_json::to_vec(&serde_json::json!({
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": LONGEST_WORD,
        "vocab": ids,
    }))?)?;
    let template = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")?
        .try_pair("[CLS] $A [SEP] $B:1 [SEP]:1")?
        .special_tokens(vec![cls, sep])
        .build()
        .map_err(|error| error.to_string())?;

    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer()))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(template));
    tokenizer.with_decoder(Some(WordPieceDecoder::new(PREFIX.to_string(), true)));
    tokenizer.add_special_tokens(SPECIAL_TOKENS.map(|token| AddedToken::from(token, true)))?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 3] = ["A dull film, a long film.", "Bé dull!", "b film"];

    fn entries(tokenizer: &Tokenizer) -> Vec<String> {
        let size = tokenizer.get_vocab_size(true) as u32;
        (0..size).map(|id| tokenizer.id_to_token(id).unwrap()).collect()
    }

    #[test]
    fn entries_stand_in_the_stated_order_up_to_the_size() {
        let characters =
            ["!", ",", ".", "a", "b", "d", "f", "g", "i", "l", "m", "n", "o", "u", "é"];
        let mut expected: Vec<String> = SPECIAL_TOKENS.map(str::to_string).into();
        expected.extend(characters.map(str::to_string));
        expected.extend(characters.map(|character| format!("##{character}")));
        // "film" 3 times, "dull" twice, "long" and "bé" once, in their order.
        expected.extend(["film", "dull", "bé", "long"].map(str::to_string));
        assert_eq!(entries(&build(&TEXTS, 1000).unwrap()), expected);
        assert_eq!(entries(&build(&TEXTS, 38).unwrap()), expected[..38]);
        let error = build(&TEXTS, 34).unwrap_err();
        assert!(matches!(error, VocabularyError::TooSmall { size: 34, needed: 35 }), "{error}");
    }

    #[test]
    fn the_same_texts_give_the_same_bytes() {
        let texts: Vec<String> = (0..500).map(|i| format!("w{} x{} shared", i % 97, i)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let reversed: Vec<&str> = texts.iter().rev().copied().collect();
        let json = |texts| build(texts, 300).unwrap().to_string(false).unwrap();
        let first = json(&texts);
        assert!((0..5).all(|_| json(&texts) == first));
        assert_eq!(json(&reversed), first);
        assert_eq!(first.parse::<Tokenizer>().unwrap().to_string(false).unwrap(), first);
    }

    #[test]
    fn words_and_unseen_words_are_encoded_with_special_tokens() {
        let tokenizer = build(&TEXTS, 1000).unwrap();
        // The accent of É is a character of its own here.
        let encoding = tokenizer.encode(("Long film", "BE\u{301}D \u{4e2d}"), true).unwrap();
        let tokens =
            ["[CLS]", "long", "film", "[SEP]", "bé", "##d", "[UNK]", "[SEP]"].map(str::to_string);
        assert_eq!(encoding.get_tokens(), tokens);
        assert_eq!(encoding.get_type_ids(), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "long film béd");
    }

    /// Words that differ by their marks alone, in Vietnamese, Hindi, Thai and Hebrew.
    #[test]
    fn marks_are_parts_of_words() {
        for words in ["ma má mạ mả", "कि की कु", "กา กี กู", "שָׁלוֹם שָׁלֵם"]
        {
            let tokenizer = build(&[words], 200).unwrap();
            let mut ids: Vec<u32> = tokenizer.encode(words, false).unwrap().get_ids().to_vec();
            let count = words.split(' ').count();
            assert_eq!(ids.len(), count, "{words} are whole words");
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "{words} are different words");
        }
    }

    #[test]
    fn chinese_characters_take_one_entry_each_and_are_known_inside_a_text() {
        let texts: Vec<String> = (0x4e00..0x4e00 + 600)
            .step_by(20)
            .map(|first| (first..first + 20).filter_map(char::from_u32).collect())
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokenizer = build(&texts, 605).unwrap();
        let encoded = tokenizer.encode("丁丂七", false).unwrap();
        assert_eq!(encoded.get_tokens(), ["丁", "丂", "七"]);
        assert!(build(&texts, 604).unwrap_err().to_string().contains("`model.vocab_size` is 604"));
    }
}
