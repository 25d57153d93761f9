//! Single texts, or pairs: what a model was trained on, and what it is asked.

use crate::artifact::Artifact;
use crate::data::DataConfig;

/// Whether a model reads pairs of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// It was trained on single texts, its tokenizer has no place for a second one, or its encoder no
    /// segment.
    Never,
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
}

impl Pairs {
    /// What a model reads.
    pub fn of(artifact: &Artifact) -> Self {
        let Artifact { manifest, tokenizer, encoder, .. } = artifact;
        if manifest.zero_shot.is_some() {
            return Self::Never;
        }
        let trained = |data: &DataConfig| !data.text_pair_column.is_empty();
        match (tokenizer.pair_segments(), manifest.data.as_ref().map(trained)) {
            (None, _) | (_, Some(false)) => Self::Never,
            (Some(segments), _) if encoder.segments().is_some_and(|rows| segments > rows) => {
                Self::Never
            }
            (_, Some(true)) => Self::Always,
            (_, None) => Self::Either,
        }
    }

    /// Refuses texts of the other kind; each is told by whether it has a second text.
    pub fn check(self, texts: impl IntoIterator<Item = bool>) -> Result<(), PairError> {
        let mut texts = texts.into_iter();
        match self {
            Self::Never if texts.any(|pair| pair) => Err(PairError::Pair),
            Self::Always if texts.any(|pair| !pair) => Err(PairError::Single),
            _ => Ok(()),
        }
    }
}
