//! Single texts, or pairs: what a model was trained on, and what it is asked.

use crate::artifact::{Artifact, Manifest};

/// Whether a model reads pairs of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// It was trained on single texts, or its tokenizer has no place for a second one.
    Never,
    /// Its tokenizer gives a second text a segment that its encoder has no embedding for.
    NoSegment {
        /// That segment.
        segment: usize,
        /// Rows of the segment embedding.
        rows: usize,
    },
    /// It was trained on pairs.
    Always,
    /// Nothing is said against it.
    Either,
}

/// Texts that are not what a model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Single texts for a model of pairs.
    #[error(
        "the model classifies pairs of texts, but a row has no second text; name both columns with \
         `--text-column` and `--text-pair-column`"
    )]
    Single,
    /// Pairs for a model of single texts.
    #[error(
        "the model classifies single texts, but a row has a second text; give only the text column \
         with `--text-column`"
    )]
    Pair,
    /// Pairs for an encoder without the segment of the second text.
    #[error(
        "the tokenizer gives a second text the segment {segment}, but the encoder has embeddings for \
         {rows} (`type_vocab_size`); give only the text column with `--text-column`"
    )]
    NoSegment {
        segment: usize,
        /// Rows of the segment embedding.
        rows: usize,
    },
}

impl Pairs {
    /// What a model reads.
    pub fn of(artifact: &Artifact) -> Self {
        let Artifact { manifest, tokenizer, encoder, .. } = artifact;
        let missing = |segments: usize| encoder.segments().filter(|&rows| segments > rows);
        match (tokenizer.pair_segments(), Self::trained_on(manifest)) {
            (None, _) | (_, Self::Never) => Self::Never,
            (Some(segments), trained) => match missing(segments) {
                Some(rows) => Self::NoSegment { segment: segments - 1, rows },
                None => trained,
            },
        }
    }

    /// What a model was trained on, as far as its manifest says it.
    pub fn trained_on(manifest: &Manifest) -> Self {
        match manifest.data.as_ref().map(|data| data.text_pair_column.is_empty()) {
            _ if manifest.zero_shot.is_some() => Self::Never,
            Some(true) => Self::Never,
            Some(false) => Self::Always,
            None => Self::Either,
        }
    }

    /// Refuses texts of the other kind; each is told by whether it has a second text.
    pub fn check(self, texts: impl IntoIterator<Item = bool>) -> Result<(), PairError> {
        let mut texts = texts.into_iter();
        match self {
            Self::Never if texts.any(|pair| pair) => Err(PairError::Pair),
            Self::NoSegment { segment, rows } if texts.any(|pair| pair) => {
                Err(PairError::NoSegment { segment, rows })
            }
            Self::Always if texts.any(|pair| !pair) => Err(PairError::Single),
            _ => Ok(()),
        }
    }
}
