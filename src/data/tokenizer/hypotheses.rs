//! One text beside each of several second texts, as a classifier of pairs reads it that is asked whether the first
//! entails the second (Yin, Hay and Roth, "Benchmarking zero-shot text classification", 2019).
//!
//! The tokens of all pairs stand one after another, as those of one text. Where a pair ends follows from the length
//! of the whole, since each has all of the text or as much as there is room for.

use super::template::Layout;
use super::truncation::Truncation;
use super::{Encoded, TextTokenizer, TokenizerError, assemble};

/// The second texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hypotheses {
    ids: Vec<Vec<u32>>,
}

impl Hypotheses {
    /// Tokens of the longest.
    pub(super) fn longest(&self) -> usize {
        self.ids.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The pairs of one text with each hypothesis, one after another. Each has at most `max_length` tokens: the text
    /// is cut, and no hypothesis.
    pub(super) fn pairs(
        &self,
        layout: &Layout,
        text: &[u32],
        max_length: usize,
        truncation: Truncation,
    ) -> Encoded {
        let special = layout.special_ids().count();
        let mut whole = Encoded::default();
        for hypothesis in &self.ids {
            let mut kept = Vec::new();
            truncation.keep(text, max_length - special - hypothesis.len(), &mut kept);
            let (cut, room) = (text.len() - kept.len(), kept.len() + hypothesis.len());
            let segments = [kept, hypothesis.clone()];
            let pair = assemble(layout, &segments, room, truncation);
            whole.ids.extend(pair.ids);
            whole.type_ids.extend(pair.type_ids);
            let full = u32::try_from(cut).unwrap_or(u32::MAX).saturating_add(pair.full_length);
            whole.full_length = whole.full_length.saturating_add(full);
        }
        whole
    }

    /// What a text needs beside its own tokens: room for the template and the longest hypothesis.
    pub(super) fn room(&self, layout: &Layout) -> usize {
        layout.special_ids().count() + self.longest()
    }
}

impl TextTokenizer {
    /// The tokenizer that puts each text beside these second texts, and then takes no pairs.
    ///
    /// # Errors
    /// It has no template for pairs, or a hypothesis cannot be tokenised.
    pub fn with_hypotheses(self, texts: &[String]) -> Result<Self, TokenizerError> {
        if self.pair.is_none() {
            return Err(TokenizerError::NoPairs);
        }
        let encoded = |(index, text): (usize, &String)| {
            let tokens = self.encode_one(text);
            let tokens = tokens.map_err(|source| TokenizerError::Encode { index, source })?;
            Ok(tokens.get_ids().to_vec())
        };
        let ids = texts.iter().enumerate().map(encoded).collect::<Result<_, TokenizerError>>()?;
        Ok(Self { hypotheses: Some(Hypotheses { ids }), ..self })
    }

    /// The tokens of each pair beside those of the text, one number for each hypothesis; `None` where texts
    /// stand by themselves.
    pub fn beside(&self) -> Option<Vec<usize>> {
        let (hypotheses, layout) = (self.hypotheses.as_ref()?, self.pair.as_ref()?);
        let special = layout.special_ids().count();
        Some(hypotheses.ids.iter().map(|ids| special + ids.len()).collect())
    }

    /// The most tokens that [`Self::encode`] gives to one text.
    pub fn most_tokens(&self, max_length: usize) -> usize {
        self.hypotheses.as_ref().map_or(1, |all| all.ids.len()) * max_length
    }

    /// What tokens depend on besides the text and the tokenizer's file.
    pub(crate) fn hypothesis_ids(&self) -> &[Vec<u32>] {
        self.hypotheses.as_ref().map_or(&[], |all| &all.ids)
    }
}
