use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{PaddingParams, PaddingStrategy, TruncationParams, TruncationStrategy};

use super::*;

const LETTERS: &str = "a b c d e f g h i j k l m n o p q r s t u v w x y z";

fn bert() -> Tokenizer {
    crate::data::vocabulary::build(&[LETTERS], 100).unwrap()
}

fn roberta() -> Tokenizer {
    let mut tokenizer = bert();
    let id = |token| (format!("[{token}]"), bert().token_to_id(&format!("[{token}]")).unwrap());
    tokenizer.with_post_processor(Some(RobertaProcessing::new(id("SEP"), id("CLS"))));
    tokenizer
}

fn one(tokenizer: Tokenizer, text: (&str, Option<&str>), n: usize, t: Truncation) -> Encoded {
    TextTokenizer::from_tokenizer(tokenizer).unwrap().encode(&[text], n, t).unwrap().remove(0)
}

/// The tokens as text, special ones included.
fn shown(encoded: &Encoded) -> String {
    bert().decode(&encoded.ids, false).unwrap()
}

#[test]
fn what_fits_is_what_the_tokenizer_itself_gives_under_every_template() {
    let mut bert_processing = bert();
    let id = |token: &str| (token.to_string(), bert().token_to_id(token).unwrap());
    bert_processing.with_post_processor(Some(BertProcessing::new(id("[SEP]"), id("[CLS]"))));
    let mut plain = bert();
    plain.with_post_processor(None::<BertProcessing>);
    for tokenizer in [bert(), bert_processing, roberta(), plain] {
        for (text, pair) in
            [("a bc d", None), ("", None), ("a b", Some("c d e")), ("", Some("f")), ("g", Some(""))]
        {
            let ours = one(tokenizer.clone(), (text, pair), 64, Truncation::Head);
            let theirs = match pair {
                None => tokenizer.encode(text, true).unwrap(),
                Some(pair) => tokenizer.encode((text, pair), true).unwrap(),
            };
            assert_eq!(ours.ids, theirs.get_ids());
            assert_eq!(ours.type_ids, theirs.get_type_ids());
            assert_eq!(ours.full_length as usize, theirs.len());
        }
    }
    let pair = one(roberta(), ("a", Some("b")), 64, Truncation::Head);
    assert_eq!(shown(&pair), "[CLS] a [SEP] [SEP] b [SEP]");
    assert_eq!(pair.type_ids, [0; 6]);
}

#[test]
fn truncation_and_padding_of_the_file_do_not_apply() {
    let mut tokenizer = bert();
    let limits = TruncationParams { max_length: 4, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(limits)).unwrap();
    let strategy = PaddingStrategy::Fixed(50);
    tokenizer.with_padding(Some(PaddingParams { strategy, pad_id: 3, ..Default::default() }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    tokenizer.save(&path, true).unwrap();

    let loaded = TextTokenizer::from_file(&path).unwrap();
    assert_eq!(loaded.pad_id(), Some(3));
    let encoded = loaded.encode(&[(LETTERS, None)], 512, Truncation::Head).unwrap();
    assert_eq!(encoded[0].ids.len(), 28);
    let json = loaded.to_json().unwrap();
    assert!(json.contains("\"truncation\":null,\"padding\":null"));
    assert_eq!(json, bert().to_string(false).unwrap());
}

#[test]
fn a_long_text_keeps_its_head_or_head_and_tail() {
    let head = one(bert(), (LETTERS, None), 8, Truncation::Head);
    assert_eq!(shown(&head), "[CLS] a b c d e f [SEP]");
    let both = one(bert(), (LETTERS, None), 10, Truncation::HeadTail);
    assert_eq!(shown(&both), "[CLS] a b u v w x y z [SEP]");
    assert_eq!((head.full_length, both.full_length), (28, 28));
    assert_eq!(one(bert(), (LETTERS, None), 28, Truncation::HeadTail).ids.len(), 28);
}

#[test]
fn the_longer_text_of_a_pair_is_shortened_first() {
    // 12 - 3 special = 9 tokens: "a b" stays, the other keeps 7, of which 2 are its head.
    let pair = one(bert(), ("a b", Some(LETTERS)), 12, Truncation::HeadTail);
    assert_eq!(shown(&pair), "[CLS] a b [SEP] a b v w x y z [SEP]");
    assert_eq!(pair.type_ids, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(pair.full_length, 31);
    for lengths in [[0, 9], [9, 0], [3, 20], [20, 3], [5, 5], [20, 21], [21, 20], [4, 5]] {
        // Below the longer one's length `tokenizers` stops early and forgets which was longer.
        for room in lengths[0].max(lengths[1]).max(2)..45 {
            let mut tokenizer = bert();
            let params = TruncationParams {
                max_length: room + 3,
                strategy: TruncationStrategy::LongestFirst,
                ..TruncationParams::default()
            };
            tokenizer.with_truncation(Some(params)).unwrap();
            let [text, pair] = lengths.map(|n| "a ".repeat(n));
            let theirs = tokenizer.encode((text, pair), true).unwrap();
            let second = theirs.get_type_ids().iter().sum::<u32>() as usize - 1;
            let rooms = share_room(lengths, room);
            assert_eq!(rooms, [theirs.len() - 3 - second, second], "{lengths:?} {room}");
        }
    }
}

#[test]
fn the_order_of_a_batch_is_kept() {
    let texts: Vec<String> =
        (0..300).map(|i| LETTERS.chars().cycle().skip(2 * i).take(9).collect()).collect();
    let batch: Vec<_> = texts.iter().map(|text| (text.as_str(), None)).collect();
    let tokenizer = TextTokenizer::from_tokenizer(bert()).unwrap();
    let together = tokenizer.encode(&batch, 16, Truncation::Head).unwrap();
    for (text, encoded) in batch.iter().zip(&together) {
        assert_eq!(tokenizer.encode(&[*text], 16, Truncation::Head).unwrap()[0], *encoded);
    }
}

#[test]
fn a_length_without_room_for_text_is_refused() {
    let tokenizer = TextTokenizer::from_tokenizer(bert()).unwrap();
    let error = tokenizer.encode(&[("a", None)], 2, Truncation::Head).unwrap_err();
    assert!(matches!(error, TokenizerError::TooShort { special: 2, least: 3, .. }), "{error}");
    let error = tokenizer.encode(&[("a", Some("b"))], 4, Truncation::Head).unwrap_err();
    assert!(matches!(error, TokenizerError::TooShort { special: 3, least: 5, .. }), "{error}");
}

#[test]
fn the_vocabulary_reaches_to_the_highest_id() {
    let mut tokenizer = bert();
    let size = TextTokenizer::from_tokenizer(tokenizer.clone()).unwrap().vocabulary_size();
    assert_eq!(size, 5 + 26 + 26);
    let template = TemplateProcessing::builder()
        .try_single("<far> $A")
        .unwrap()
        .special_tokens(vec![("<far>", 99)])
        .build()
        .unwrap();
    tokenizer.with_post_processor(Some(template));
    assert_eq!(TextTokenizer::from_tokenizer(tokenizer).unwrap().vocabulary_size(), 100);
}

#[test]
fn a_file_beyond_all_tokenizers_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    // Its end is a hole that no disk has.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = TextTokenizer::from_file(&path).unwrap_err();
    assert!(matches!(error, TokenizerError::TooLarge { size, .. } if size == 1 << 40), "{error}");
}

#[test]
fn a_broken_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let error = TextTokenizer::from_file(&path).unwrap_err();
    assert!(matches!(error, TokenizerError::Read { .. }), "{error}");
    std::fs::write(&path, "{\"version\": 1").unwrap();
    let error = TextTokenizer::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}
