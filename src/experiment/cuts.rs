//! Copies of held-out rows that are cut short.
//!
//! A model of long texts has seen no short ones, and what is usual for those cannot be guessed from the
//! others. It can be made: a held-out row that is cut after its first few tokens is a short text about
//! what the model knows. Copies fit what is usual at each length and nothing else; no p-value is counted
//! among them.

use super::Features;
use crate::calibrate::Cuts;
use crate::calibrate::conformal::uniform;
use crate::data::{Encoded, TokenSet};

/// Copies at most; more say nothing new of a curve.
const MOST: usize = 2000;
/// Tokens of a copy at least, besides the first and the last.
const LEAST: usize = 3;

/// What the encoder makes of copies, and the row that each is of.
#[derive(Clone, Debug, Default)]
pub(super) struct CutRows {
    pub(super) features: Features,
    pub(super) rows: Vec<usize>,
}

impl CutRows {
    pub(super) fn view(&self) -> Cuts<'_> {
        let Features { novelty_ne, tokens, .. } = &self.features;
        Cuts { novelty_ne, tokens, rows: &self.rows }
    }
}

/// Copies of some of these rows, and the row that each is of. The length is uniform in its logarithm; it
/// follows from the text alone, so that copies are the same in every run. A pair is not cut: the part
/// that is left would not be one.
pub(super) fn cut(set: &TokenSet, rows: &[usize]) -> (TokenSet, Vec<usize>) {
    let (mut copies, mut labels, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for &place in rows.iter().step_by(rows.len().div_ceil(MOST).max(1)) {
        let sequence = set.sequence(place);
        let (ids, type_ids) = (sequence.ids, sequence.type_ids);
        let Some((&last, before)) = ids.split_last() else { continue };
        let inside = ids.len().saturating_sub(2);
        // The last token closes a text; where it stands in between too, there are two.
        if inside <= LEAST || before.contains(&last) {
            continue;
        }
        let share = uniform(&ids, &type_ids);
        let least = LEAST as f64;
        let kept = (least * (inside as f64 / least).powf(share)) as usize;
        let own = |all: &[u32]| [&all[..=kept], &all[all.len() - 1..]].concat();
        let (ids, type_ids) = (own(&ids), own(&type_ids));
        let full_length = ids.len() as u32;
        copies.push((sequence.row, Encoded { ids, type_ids, full_length }));
        labels.push(set.labels()[place]);
        places.push(place);
    }
    (TokenSet::in_memory(copies, labels), places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_begin_like_their_rows_and_pairs_are_left_alone() {
        let row = |ids: Vec<u32>| {
            let type_ids = vec![0; ids.len()];
            let full_length = ids.len() as u32;
            (7, Encoded { ids, type_ids, full_length })
        };
        let text = |words: u32, of: u32| {
            let mut ids = vec![101];
            ids.extend((0..words).map(|word| 1000 + (word * of) % 977));
            ids.push(102);
            ids
        };
        let mut rows: Vec<_> = (1..=200).map(|of| row(text(100, of))).collect();
        rows.push(row(text(3, 1)));
        let pair = [text(20, 3), text(20, 5)[1..].to_vec()].concat();
        rows.push(row(pair));
        let labels = vec![1; rows.len()];
        let set = TokenSet::in_memory(rows, labels);
        let all: Vec<usize> = (0..set.len()).collect();
        let (copies, places) = cut(&set, &all);
        assert_eq!(places, (0..200).collect::<Vec<_>>());
        let mut lengths = Vec::new();
        for (copy, &place) in places.iter().enumerate() {
            let (found, whole) = (copies.sequence(copy), set.sequence(place));
            let kept = found.ids.len() - 1;
            assert_eq!(found.ids[..kept], whole.ids[..kept]);
            assert_eq!((found.ids[kept], found.type_ids.len()), (102, kept + 1));
            lengths.push(kept - 1);
        }
        assert!(lengths.iter().all(|kept| (3..100).contains(kept)));
        // Uniform in the logarithm: half are below √(3 · 100).
        let below = lengths.iter().filter(|&&kept| kept < 17).count();
        assert!((70..130).contains(&below), "{below}");
        let (again, _) = cut(&set, &all);
        assert_eq!(again.lengths(), copies.lengths());
    }

    #[test]
    fn many_rows_are_thinned() {
        let row = |of: u32| {
            let ids: Vec<u32> = std::iter::once(1).chain((10..30).map(|id| id + of)).collect();
            (0, Encoded { type_ids: vec![0; 21], full_length: 21, ids })
        };
        let set = TokenSet::in_memory((0..4500).map(row).collect(), vec![0; 4500]);
        let all: Vec<usize> = (0..4500).collect();
        let (copies, places) = cut(&set, &all);
        assert_eq!((copies.len(), places[1]), (1500, 3));
    }
}
