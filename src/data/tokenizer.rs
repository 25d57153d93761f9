//! Texts to token ids, through a `tokenizer.json`.
//!
//! Truncation and padding that a file brings along never apply: transformers' files often cut at
//! 128 tokens. We cut by our own rule, between tokenising and adding the special tokens, so that
//! their template is always whole.

mod template;
mod truncation;
mod trusted;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tokenizers::Tokenizer;

use template::{Layout, Piece};
pub use truncation::Truncation;
use truncation::share_room;

/// Why a tokenizer could not be loaded, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file could not be read.
    #[error("cannot read the tokenizer `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no tokenizer.
    #[error("`{path}` is not a `tokenizer.json` that this version can read")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the `tokenizers` crate said.
        #[source]
        source: tokenizers::Error,
    },
    /// The file is larger than any tokenizer.
    #[error("`{path}` has {size} bytes, more than any tokenizer needs")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The file brings a regular expression of its own.
    #[error(
        "`{path}` has the regular expression `{expression}`, and only known ones are run: a text \
         could make it take for ever"
    )]
    Expression {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        expression: String,
    },
    /// The part that adds special tokens is broken.
    #[error("the tokenizer's post-processor is unusable: {reason}")]
    PostProcessor {
        /// What is wrong with it.
        reason: String,
    },
    /// The template has no place for a second text.
    #[error("this tokenizer has no template for text pairs")]
    NoPairs,
    /// The special tokens leave no room.
    #[error(
        "`max_length` {max_length} leaves no room for text beside the {special} special tokens: it \
         must be at least {least}"
    )]
    TooShort {
        /// The configured length.
        max_length: usize,
        /// Special tokens of the template.
        special: usize,
        /// The smallest length that works.
        least: usize,
    },
    /// The `tokenizers` crate failed on a text.
    #[error("cannot tokenise text {index}")]
    Encode {
        /// Its place in the call.
        index: usize,
        /// What the crate said.
        #[source]
        source: tokenizers::Error,
    },
    /// The tokenizer cannot be written as JSON.
    #[error("cannot write the tokenizer as JSON")]
    Write(#[source] tokenizers::Error),
}

/// One encoded text or pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids with special tokens, at most `max_length`.
    pub ids: Vec<u32>,
    /// Segment of each token, as long as `ids`.
    pub type_ids: Vec<u32>,
    /// Tokens before truncation, special ones included.
    pub full_length: u32,
}

/// A tokenizer whose truncation and padding are off.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    single: Layout,
    pair: Option<Layout>,
    vocabulary_size: usize,
    pad_id: Option<u32>,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTokenizer")
            .field("vocabulary_size", &self.vocabulary_size)
            .finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let read = |source| TokenizerError::Read { path: path.to_path_buf(), source };
        let parse = |source| TokenizerError::Parse { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > trusted::MOST_BYTES {
            return Err(TokenizerError::TooLarge { path: path.to_path_buf(), size });
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let json = serde_json::from_slice(&bytes).map_err(|error| parse(error.into()))?;
        if let Some(expression) = trusted::unknown_expression(&json) {
            let expression = expression.chars().take(60).collect();
            return Err(TokenizerError::Expression { path: path.to_path_buf(), expression });
        }
        // Some files that parse make `tokenizers` panic, at once or at the first text.
        let load = || -> tokenizers::Result<Tokenizer> {
            let tokenizer = Tokenizer::from_bytes(bytes)?;
            tokenizer.encode_fast("A first text.", false)?;
            Ok(tokenizer)
        };
        let loaded = std::panic::catch_unwind(load);
        let loaded = loaded.unwrap_or_else(|_| Err("it makes the tokenizer panic".into()));
        let tokenizer = loaded.map_err(parse)?;
        Self::from_tokenizer(tokenizer)
    }

    /// Takes a tokenizer over and switches its truncation and padding off.
    pub fn from_tokenizer(mut tokenizer: Tokenizer) -> Result<Self, TokenizerError> {
        let padding = tokenizer.get_padding().map(|padding| padding.pad_id);
        let named = || ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token));
        let pad_id = padding.or_else(named);
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| TokenizerError::PostProcessor { reason: error.to_string() })?;

        let (single, pair) = template::layouts(&tokenizer)?;
        let special = single.special_ids().chain(pair.iter().flat_map(Layout::special_ids));
        let highest = tokenizer.get_vocab(true).into_values().chain(special).max();
        let vocabulary_size = highest.map_or(0, |id| id as usize + 1);
        Ok(Self { tokenizer, single, pair, vocabulary_size, pad_id })
    }

    /// The compact `tokenizer.json`, without truncation and padding.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.tokenizer.to_string(false).map_err(TokenizerError::Write)
    }

    /// The highest id, of special tokens too, plus one: rows that an embedding must have.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The padding token's id, if there is one. We never pad; others who load the model do.
    pub fn pad_id(&self) -> Option<u32> {
        self.pad_id
    }

    /// Encodes texts and pairs, on all threads of the current pool; results in the order of the
    /// input. Texts are taken as they are: apply [`clean`](super::clean::clean) first.
    ///
    /// A pair that is too long loses tokens of its longer text until it fits or both are equal;
    /// then each is cut by the rule of `truncation`.
    pub fn encode(
        &self,
        texts: &[(&str, Option<&str>)],
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Vec<Encoded>, TokenizerError> {
        texts
            .par_iter()
            .enumerate()
            .map(|(index, &(text, pair))| {
                let (layout, room) = self.plan(pair.is_some(), max_length)?;
                let segments = std::iter::once(text).chain(pair);
                let segments: Vec<Vec<u32>> = segments
                    .map(|text| Ok(self.tokenizer.encode_fast(text, false)?.get_ids().to_vec()))
                    .collect::<tokenizers::Result<_>>()
                    .map_err(|source| TokenizerError::Encode { index, source })?;
                Ok(assemble(layout, &segments, room, truncation))
            })
            .collect()
    }

    /// The template, and the room that it leaves for text.
    fn plan(&self, pair: bool, max_length: usize) -> Result<(&Layout, usize), TokenizerError> {
        let layout =
            if pair { self.pair.as_ref().ok_or(TokenizerError::NoPairs)? } else { &self.single };
        let special = layout.special_ids().count();
        let least = special + if pair { 2 } else { 1 };
        if max_length < least {
            return Err(TokenizerError::TooShort { max_length, special, least });
        }
        Ok((layout, max_length - special))
    }
}

/// Cuts one or two segments into `room` tokens and puts them into the template.
fn assemble(
    layout: &Layout,
    segments: &[Vec<u32>],
    room: usize,
    truncation: Truncation,
) -> Encoded {
    let lengths = [segments[0].len(), segments.get(1).map_or(0, Vec::len)];
    let rooms = share_room(lengths, room);
    let mut encoded = Encoded::default();
    for piece in layout.pieces() {
        let type_id = match *piece {
            Piece::Special { id, type_id } => {
                encoded.ids.push(id);
                type_id
            }
            Piece::Segment { index, type_id } => {
                truncation.keep(&segments[index], rooms[index], &mut encoded.ids);
                type_id
            }
        };
        encoded.type_ids.resize(encoded.ids.len(), type_id);
    }
    let full_length = lengths[0] + lengths[1] + layout.special_ids().count();
    encoded.full_length = u32::try_from(full_length).unwrap_or(u32::MAX);
    encoded
}

#[cfg(test)]
mod tests {
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
            for (text, pair) in [
                ("a bc d", None),
                ("", None),
                ("a b", Some("c d e")),
                ("", Some("f")),
                ("g", Some("")),
            ] {
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
    fn a_broken_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let error = TextTokenizer::from_file(&path).unwrap_err();
        assert!(matches!(error, TokenizerError::Read { .. }), "{error}");
        std::fs::write(&path, "{\"version\": 1").unwrap();
        let error = TextTokenizer::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }
}
