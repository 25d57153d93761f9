//! Rows of one split: tokens, in a shared cache or in memory, and labels.

use std::sync::Arc;

use super::{Encoded, Tokens};
use crate::compute::Sequence;

/// Labelled token sequences. Cheap to divide: the tokens are shared.
#[derive(Clone, Debug)]
pub struct TokenSet {
    source: Source,
    labels: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Source {
    /// Some rows of a cache.
    Cache { tokens: Arc<Tokens>, rows: Vec<u32> },
    /// All of these, each with its number in the data set.
    Memory(Arc<Vec<(u64, Encoded)>>),
}

impl TokenSet {
    /// The given rows of a cache, with one label for each.
    pub fn new(tokens: Arc<Tokens>, rows: Vec<u32>, labels: Vec<u32>) -> Self {
        assert_eq!(rows.len(), labels.len(), "one label for each row");
        Self { source: Source::Cache { tokens, rows }, labels }
    }

    /// Rows in memory, each with its number in the data set, and one label for each.
    pub fn in_memory(rows: Vec<(u64, Encoded)>, labels: Vec<u32>) -> Self {
        assert_eq!(rows.len(), labels.len(), "one label for each row");
        Self { source: Source::Memory(Arc::new(rows)), labels }
    }

    /// Some of the rows, by their places.
    pub fn some(&self, places: &[usize]) -> Self {
        let source = match &self.source {
            Source::Cache { tokens, rows } => Source::Cache {
                tokens: Arc::clone(tokens),
                rows: places.iter().map(|&place| rows[place]).collect(),
            },
            Source::Memory(rows) => {
                Source::Memory(Arc::new(places.iter().map(|&place| rows[place].clone()).collect()))
            }
        };
        let labels = places.iter().map(|&place| self.labels[place]).collect();
        Self { source, labels }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Tokens of each row.
    pub fn lengths(&self) -> Vec<u32> {
        let cut = |(_, length): (usize, usize)| length as u32;
        self.full_and_cut().map(cut).collect()
    }

    /// Tokens of each row before truncation.
    pub fn full_lengths(&self) -> Vec<usize> {
        self.full_and_cut().map(|(full, _)| full).collect()
    }

    /// Rows that were truncated.
    pub fn truncated(&self) -> usize {
        self.full_and_cut().filter(|(full, length)| full > length).count()
    }

    /// Tokens of each row before and after truncation.
    fn full_and_cut(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.len()).map(|index| match &self.source {
            Source::Cache { tokens, rows } => {
                let row = rows[index] as usize;
                (tokens.full_length(row), tokens.length(row))
            }
            Source::Memory(rows) => {
                let (_, encoded) = &rows[index];
                (encoded.full_length as usize, encoded.ids.len())
            }
        })
    }

    /// A row as it goes into a batch. Its noise is named by its row in the file.
    pub fn sequence(&self, index: usize) -> Sequence {
        match &self.source {
            Source::Cache { tokens, rows } => {
                let row = rows[index];
                let tokens = tokens.get(row as usize);
                Sequence { ids: tokens.ids(), type_ids: tokens.type_ids(), row: u64::from(row) }
            }
            Source::Memory(rows) => {
                let (row, Encoded { ids, type_ids, .. }) = &rows[index];
                Sequence { ids: ids.clone(), type_ids: type_ids.clone(), row: *row }
            }
        }
    }
}
