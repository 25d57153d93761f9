//! A classifier of pairs, read as a classifier of labels that it was never trained on: each label is a second text,
//! and its score is the logit of "the first text entails the second" (Yin, Hay and Roth, "Benchmarking zero-shot
//! text classification", 2019).

use candle_core::{Result, Tensor};

use super::Classifier;
use super::inference::TOKEN_BUDGET;
use crate::compute::{Packed, Sequence};

/// How the labels of a text are read from its pairs, which stand one after another as one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entailment {
    /// The output of the classifier that says so.
    pub class: usize,
    /// Tokens of each pair beside those of the text, one number for each label.
    pub beside: Vec<usize>,
    /// The most tokens of a pair, whose text is cut where it has more.
    pub longest: usize,
}

impl Entailment {
    /// The logits of entailment of each text, `[b, labels]`.
    pub(super) fn logits(&self, network: &Classifier, batch: &Packed) -> Result<Tensor> {
        let parts = self.pairs(batch).parts(TOKEN_BUDGET);
        let logits = parts.iter().map(|part| network.feature_logits(&network.features(part)?));
        let logits = Tensor::cat(&logits.collect::<Result<Vec<_>>>()?, 0)?;
        logits.narrow(1, self.class, 1)?.reshape((batch.len(), self.beside.len()))
    }

    /// Each pair as a sequence of its own.
    fn pairs(&self, batch: &Packed) -> Packed {
        let mut pairs = Vec::with_capacity(batch.len() * self.beside.len());
        for ((mut start, end), &row) in batch.sequences().zip(batch.rows()) {
            for length in self.lengths(end - start) {
                let place = start..start + length;
                start = place.end;
                let (ids, type_ids) = (&batch.ids()[place.clone()], &batch.type_ids()[place]);
                pairs.push(Sequence { ids: ids.to_vec(), type_ids: type_ids.to_vec(), row });
            }
            debug_assert_eq!(start, end, "a sequence is made of whole pairs");
        }
        Packed::new(pairs)
    }

    /// The tokens of each pair of a text whose pairs have so many tokens in all: the more of the text, the more they
    /// have, until it is cut in each.
    fn lengths(&self, whole: usize) -> impl Iterator<Item = usize> {
        let lengths =
            |text: usize| self.beside.iter().map(move |beside| (text + beside).min(self.longest));
        let fits = |text: &usize| lengths(*text).sum::<usize>() >= whole;
        lengths((0..self.longest).find(fits).unwrap_or(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_divided_into_its_pairs() {
        let entailment = Entailment { class: 0, beside: vec![2, 3], longest: 6 };
        // Two tokens of the text in each, then one.
        let first = Sequence {
            ids: vec![1, 8, 8, 2, 1, 8, 8, 2, 3],
            type_ids: vec![0, 0, 0, 1, 0, 0, 0, 1, 1],
            row: 4,
        };
        let second = Sequence { ids: vec![1, 9, 2, 1, 9, 2, 3], type_ids: vec![], row: 7 };
        let pairs = entailment.pairs(&Packed::new([first, second]));
        assert_eq!(pairs.sequences().collect::<Vec<_>>(), [(0, 4), (4, 9), (9, 12), (12, 16)]);
        assert_eq!(pairs.ids(), [1, 8, 8, 2, 1, 8, 8, 2, 3, 1, 9, 2, 1, 9, 2, 3]);
        assert_eq!(&pairs.type_ids()[..9], [0, 0, 0, 1, 0, 0, 0, 1, 1]);
        // There is room for four tokens of the text beside the first label, and for three beside the second.
        for (text, expected) in [(1, [3, 4]), (3, [5, 6]), (4, [6, 6]), (9, [6, 6])] {
            let whole = [2, 3].map(|beside: usize| (text + beside).min(6));
            assert_eq!(entailment.lengths(whole.iter().sum()).collect::<Vec<_>>(), expected);
        }
        assert_eq!(pairs.rows(), [4, 4, 7, 7]);
    }
}
