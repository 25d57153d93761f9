//! Packed batches: the tokens of all sequences stand one after another, and nothing is padded.

use sha2::{Digest, Sha256};

/// One sequence on its way into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids, specials included.
    pub ids: Vec<u32>,
    /// Segment of each token; empty means all zero.
    pub type_ids: Vec<u32>,
    /// Row of the data set or position in the request: it names the noise of this sequence.
    pub row: u64,
}

/// A batch of `b` sequences with `p` tokens together.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    ids_p: Vec<u32>,
    type_ids_p: Vec<u32>,
    offsets: Vec<usize>,
    rows_b: Vec<u64>,
}

/// 64 bits of the SHA-256 of what a model reads. It is as good as drawn, and the same text has the same
/// in any batch. A sequence without segments is one whose segments are all zero.
pub fn token_key(ids: &[u32], type_ids: &[u32]) -> u64 {
    let mut hasher = Sha256::new();
    for (place, id) in ids.iter().enumerate() {
        hasher.update(id.to_le_bytes());
        hasher.update(type_ids.get(place).copied().unwrap_or(0).to_le_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"))
}

impl Packed {
    /// Packs sequences in the order given. A sequence without tokens is an invariant broken.
    pub fn new(sequences: impl IntoIterator<Item = Sequence>) -> Self {
        let mut packed = Self { offsets: vec![0], ..Self::default() };
        for sequence in sequences {
            assert!(!sequence.ids.is_empty(), "a sequence has at least one token");
            packed.ids_p.extend(sequence.ids);
            packed.type_ids_p.extend(sequence.type_ids);
            packed.type_ids_p.resize(packed.ids_p.len(), 0);
            packed.offsets.push(packed.ids_p.len());
            packed.rows_b.push(sequence.row);
        }
        packed
    }

    /// The same sequences in batches of at most that many tokens, or of one longer sequence.
    pub fn parts(&self, most_tokens: usize) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for ((start, end), &row) in self.sequences().zip(&self.rows_b) {
            let length = end - start;
            if parts.last().is_none_or(|part| part.tokens() + length > most_tokens) {
                parts.push(Self { offsets: vec![0], ..Self::default() });
            }
            let part = parts.last_mut().expect("one was pushed");
            part.ids_p.extend(&self.ids_p[start..end]);
            part.type_ids_p.extend(&self.type_ids_p[start..end]);
            part.offsets.push(part.ids_p.len());
            part.rows_b.push(row);
        }
        parts
    }

    /// The same sequences with noise that is named by their text, and not by their place.
    pub fn by_text(&self) -> Self {
        let key = |(start, end)| token_key(&self.ids_p[start..end], &self.type_ids_p[start..end]);
        Self { rows_b: self.sequences().map(key).collect(), ..self.clone() }
    }

    /// The number of sequences, `b`.
    pub fn len(&self) -> usize {
        self.rows_b.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.rows_b.is_empty()
    }

    /// The number of tokens, `p`.
    pub fn tokens(&self) -> usize {
        self.ids_p.len()
    }

    /// Token ids, `p` of them.
    pub fn ids(&self) -> &[u32] {
        &self.ids_p
    }

    /// Segment ids, `p` of them.
    pub fn type_ids(&self) -> &[u32] {
        &self.type_ids_p
    }

    /// The row of each sequence, `b` of them.
    pub fn rows(&self) -> &[u64] {
        &self.rows_b
    }

    /// Begin and end of each sequence on the packed axis.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        self.offsets.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// The place of each packed token in its own sequence, from 0.
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.sequences().flat_map(|(start, end)| 0..(end - start) as u32)
    }

    /// (row, position) of each packed token: where its noise is drawn.
    pub fn places(&self) -> Vec<(u64, u32)> {
        let rows = self.sequences().zip(&self.rows_b);
        rows.flat_map(|((start, end), &row)| (0..(end - start) as u32).map(move |s| (row, s)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_stand_one_after_another() {
        let packed = Packed::new([
            Sequence { ids: vec![5, 6, 7], type_ids: vec![], row: 9 },
            Sequence { ids: vec![8, 4], type_ids: vec![0, 1], row: 2 },
        ]);
        assert_eq!(packed.ids(), [5, 6, 7, 8, 4]);
        assert_eq!(packed.type_ids(), [0, 0, 0, 0, 1]);
        assert_eq!(packed.sequences().collect::<Vec<_>>(), [(0, 3), (3, 5)]);
        assert_eq!(packed.positions().collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        assert_eq!(packed.places(), [(9, 0), (9, 1), (9, 2), (2, 0), (2, 1)]);
    }
}
