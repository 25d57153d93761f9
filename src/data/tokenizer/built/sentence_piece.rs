//! A SentencePiece model (Kudo and Richardson 2018, "SentencePiece: A simple and language independent
//! subword tokenizer and detokenizer"): its pieces, its algorithm and its map of characters.
//!
//! The file is one message, `sentencepiece_model.proto` of <https://github.com/google/sentencepiece>.
//! Of its fields those are read that decide about tokens; what this version would have to do otherwise
//! is refused.

use std::collections::HashSet;

use super::protobuf::{Fields, Value};
use super::{MOST_ENTRIES, short};

/// Letters of a piece. sentencepiece makes them of 16 at most unless it is told otherwise.
const LONGEST_PIECE: usize = 256;

/// What a file holds.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// In the order of their ids.
    pub pieces: Vec<Piece>,
    /// The id of the piece that stands for what no piece has.
    pub unknown: usize,
    pub algorithm: Algorithm,
    /// The normalizer, as sentencepiece compiles it; empty where there is none.
    pub charsmap: Vec<u8>,
}

/// One entry of the vocabulary.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    /// The logarithm of its probability, or for byte pairs the rank of its merge, negative.
    pub score: f32,
    pub kind: Kind,
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// How a text becomes pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The most probable sequence of pieces.
    Unigram,
    /// Byte-pair encoding: neighbours are merged, best score first.
    BytePairs,
}

impl SentencePiece {
    /// Reads the content of a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut trainer, mut normalizer) = (Trainer::default(), Normalizer::default());
        for field in Fields::of(bytes) {
            let not_one = |reason| format!("it is not a SentencePiece model: {reason}");
            match field.map_err(not_one)? {
                (1, Value::Bytes(_)) if pieces.len() == MOST_ENTRIES => {
                    return Err(format!("it has more than {MOST_ENTRIES} pieces"));
                }
                (1, Value::Bytes(message)) => {
                    let piece = Piece::read(message);
                    pieces.push(piece.map_err(|why| format!("piece {}: {why}", pieces.len()))?);
                }
                (2, Value::Bytes(message)) => {
                    trainer.read(message).map_err(|why| format!("`trainer_spec`: {why}"))?;
                }
                (3, Value::Bytes(message)) => {
                    normalizer.read(message).map_err(|why| format!("`normalizer_spec`: {why}"))?;
                }
                (1..=3, _) => return Err(not_one("it has a number where a message should be")),
                _ => {}
            }
        }
        if pieces.is_empty() {
            return Err("it has no pieces".to_owned());
        }
        let mut seen = HashSet::new();
        if let Some(twice) = pieces.iter().find(|piece| !seen.insert(&piece.text)) {
            return Err(format!("the piece `{}` occurs twice", short(&twice.text)));
        }
        let unknown = usize::try_from(trainer.unknown)
            .ok()
            .filter(|&id| pieces.get(id).is_some_and(|piece: &Piece| piece.kind == Kind::Unknown));
        let unknown = unknown.ok_or_else(|| {
            format!(
                "`trainer_spec`: `unk_id` is {}, which is not the unknown piece",
                trainer.unknown.cast_signed()
            )
        })?;
        Ok(Self { unknown, algorithm: trainer.algorithm()?, charsmap: normalizer.charsmap, pieces })
    }
}

impl Piece {
    fn read(message: &[u8]) -> Result<Self, String> {
        let (mut text, mut score, mut kind) = (&[][..], 0.0, Kind::Normal);
        for field in Fields::of(message) {
            match field? {
                (1, Value::Bytes(bytes)) => text = bytes,
                (2, Value::Four(bytes)) => score = f32::from_le_bytes(bytes),
                (3, Value::Number(number)) => {
                    kind = match number {
                        1 => Kind::Normal,
                        2 => Kind::Unknown,
                        3 => Kind::Control,
                        4 => Kind::UserDefined,
                        5 => Kind::Unused,
                        6 => Kind::Byte,
                        other => return Err(format!("its `type` is {}", other.cast_signed())),
                    }
                }
                (1..=3, _) => return Err("it has a field of the wrong kind".to_owned()),
                _ => {}
            }
        }
        let text = std::str::from_utf8(text).map_err(|_| "its text is not UTF-8")?;
        let letters = text.chars().count();
        match letters {
            0 => return Err("it has no text".to_owned()),
            _ if letters > LONGEST_PIECE => {
                return Err(format!("it has {letters} letters; the maximum is {LONGEST_PIECE}"));
            }
            _ if !score.is_finite() => return Err(format!("its score is {score}")),
            _ => {}
        }
        Ok(Self { text: text.to_owned(), score, kind })
    }
}

/// `TrainerSpec`.
struct Trainer {
    algorithm: u64,
    unknown: u64,
}

impl Default for Trainer {
    fn default() -> Self {
        Self { algorithm: 1, unknown: 0 }
    }
}

impl Trainer {
    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields::of(message) {
            match field? {
                (3, Value::Number(number)) => self.algorithm = number,
                (24, Value::Number(suffix)) if suffix != 0 => {
                    return Err("`treat_whitespace_as_suffix` is true, and such models are not \
                                read"
                        .to_owned());
                }
                (40, Value::Number(number)) => self.unknown = number,
                (3 | 24 | 40, Value::Bytes(_) | Value::Four(_) | Value::Eight) => {
                    return Err("it has a field of the wrong kind".to_owned());
                }
                // `byte_fallback` too: the fast tokenizers, which models are fine-tuned with, do not
                // follow it.
                _ => {}
            }
        }
        Ok(())
    }

    fn algorithm(&self) -> Result<Algorithm, String> {
        match self.algorithm {
            1 => Ok(Algorithm::Unigram),
            2 => Ok(Algorithm::BytePairs),
            other => Err(format!(
                "`trainer_spec`: `model_type` is {}, but only 1 (unigram) and 2 (BPE) are read",
                other.cast_signed()
            )),
        }
    }
}

/// `NormalizerSpec`.
#[derive(Default)]
struct Normalizer {
    charsmap: Vec<u8>,
}

impl Normalizer {
    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields::of(message) {
            match field? {
                (2, Value::Bytes(bytes)) => self.charsmap = bytes.to_vec(),
                (number @ 3..=5, Value::Number(0)) => {
                    let names =
                        ["add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"];
                    return Err(format!(
                        "`{}` is false, and such models are not read",
                        names[number as usize - 3]
                    ));
                }
                (3..=5, Value::Number(_)) => {}
                (2..=5, _) => return Err("it has a field of the wrong kind".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }
}
