//! Texts to token ids, through a `tokenizer.json`.
//!
//! Truncation and padding that a file brings along never apply: transformers' files often cut at
//! 128 tokens. We cut by our own rule, between tokenising and adding the special tokens, so that
//! their template is always whole.

mod built;
mod error;
mod folder;
mod hypotheses;
mod limits;
mod template;
mod truncation;
mod trusted;
mod whole;

use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{Encoding, PreTokenizerWrapper, Tokenizer};

pub use error::TokenizerError;
pub use folder::FolderTokenizer;
use hypotheses::Hypotheses;
use template::{Layout, Piece};
pub use truncation::Truncation;
use truncation::share_room;

use super::quiet;
use crate::store::without_mark;

/// Known and unknown letters, and a word that is long.
const PROBE: &str = "A first text. \u{10fffd}\u{2603} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

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
    /// What each text is put beside, where texts do not stand by themselves.
    hypotheses: Option<Hypotheses>,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTokenizer")
            .field("vocabulary_size", &self.vocabulary_size)
            .finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// The most bytes of a file; the largest of published encoders has 17 million.
    pub const MOST_BYTES: u64 = 64 << 20;

    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let read = |source| TokenizerError::Read { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > Self::MOST_BYTES {
            return Err(TokenizerError::TooLarge { path: path.to_path_buf(), size });
        }
        Self::from_bytes(path, std::fs::read(path).map_err(read)?)
    }

    /// Reads the content of a `tokenizer.json`; `path` stands for it in messages.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, TokenizerError> {
        let parse = |error: serde_json::Error| TokenizerError::Parse {
            path: path.to_path_buf(),
            source: error.into(),
        };
        let json = serde_json::from_slice(without_mark(&bytes)).map_err(parse)?;
        drop(bytes);
        Self::from_json(path, json)
    }

    fn from_json(path: &Path, mut json: Value) -> Result<Self, TokenizerError> {
        let parse = |source| TokenizerError::Parse { path: path.to_path_buf(), source };
        if let Some(expression) = trusted::unknown_expression(&json) {
            let expression = expression.chars().take(60).collect();
            return Err(TokenizerError::Expression { path: path.to_path_buf(), expression });
        }
        if let Some(component) = trusted::unknown_component(&json) {
            return Err(TokenizerError::Component { path: path.to_path_buf(), component });
        }
        limits::check(&json)
            .map_err(|message| TokenizerError::Bounds { path: path.to_path_buf(), message })?;
        // With dropout a text has other tokens each time; it is for training a language model.
        if json["model"]["dropout"].is_number() {
            json["model"]["dropout"] = Value::Null;
        }
        let bytes = serde_json::to_vec(&json).map_err(|error| parse(error.into()))?;
        drop(json);
        // Some files that parse make `tokenizers` panic, at once or at the first text. Padding is off by
        // then: a file can ask for more of it than there is memory.
        let load = || {
            let tokenizer = Tokenizer::from_bytes(bytes).map_err(parse)?;
            let tokenizer = Self::from_tokenizer(tokenizer)?;
            tokenizer.tokenizer.encode_fast(PROBE, false).map_err(parse)?;
            Ok(tokenizer)
        };
        let gave_up = |said| Err(parse(format!("it makes the tokenizer fail: {said}").into()));
        quiet::guarded(load).unwrap_or_else(gave_up)
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
        Ok(Self { tokenizer, single, pair, vocabulary_size, pad_id, hypotheses: None })
    }

    /// The compact `tokenizer.json`, without truncation and padding.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.tokenizer.to_string(false).map_err(TokenizerError::Write)
    }

    /// The highest id, of special tokens too, plus one: rows that an embedding must have.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// Segments of a text: rows that a segment embedding must have.
    pub fn segments(&self) -> usize {
        self.single.segments()
    }

    /// The same of a pair; `None` where there is no place for a second text.
    pub fn pair_segments(&self) -> Option<usize> {
        self.pair.as_ref().map(Layout::segments)
    }

    /// Whether this is a token: a piece, or one that is looked for in the text first.
    pub fn knows(&self, token: &str) -> bool {
        self.tokenizer.token_to_id(token).is_some()
    }

    /// Whether a space is put before a text whose first letter is none, as byte pairs may have it.
    pub fn puts_space(&self) -> bool {
        let words = self.tokenizer.get_pre_tokenizer();
        words.is_some_and(|words| {
            matches!(words, PreTokenizerWrapper::ByteLevel(bytes) if bytes.add_prefix_space)
        })
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
                    .map(|text| Ok(self.encode_one(text)?.get_ids().to_vec()))
                    .collect::<tokenizers::Result<_>>()
                    .map_err(|source| TokenizerError::Encode { index, source })?;
                if let Some(hypotheses) = &self.hypotheses {
                    return Ok(hypotheses.pairs(layout, &segments[0], max_length, truncation));
                }
                Ok(assemble(layout, &segments, room, truncation))
            })
            .collect()
    }

    /// A file that was taken may still make `tokenizers` panic at some text.
    fn encode_one(&self, text: &str) -> tokenizers::Result<Encoding> {
        let encode = || self.tokenizer.encode_fast(text, false);
        quiet::guarded(encode).unwrap_or_else(|said| Err(said.into()))
    }

    /// Refuses a length that leaves no room for a text beside the special tokens.
    pub fn check_room(&self, max_length: usize) -> Result<(), TokenizerError> {
        self.plan(false, max_length).map(|_| ())
    }

    /// The template, and the room that it leaves for text.
    fn plan(&self, pair: bool, max_length: usize) -> Result<(&Layout, usize), TokenizerError> {
        let (layout, special) = match &self.hypotheses {
            None if !pair => (&self.single, self.single.special_ids().count()),
            Some(_) if pair => return Err(TokenizerError::NoPairs),
            hypotheses => {
                let layout = self.pair.as_ref().ok_or(TokenizerError::NoPairs)?;
                let room = hypotheses.as_ref().map(|all| all.room(layout));
                (layout, room.unwrap_or_else(|| layout.special_ids().count()))
            }
        };
        let least = special + if pair { 2 } else { 1 };
        if let Some(hypotheses) = self.hypotheses.as_ref().filter(|_| max_length < least) {
            let (longest, special) = (hypotheses.longest(), layout.special_ids().count());
            return Err(TokenizerError::LongHypothesis { longest, special, max_length });
        }
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
mod tests;
