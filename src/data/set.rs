//! Rows of one split: tokens in a shared cache, and labels.

use std::sync::Arc;

use super::Tokens;
use crate::compute::Sequence;

/// Labelled token sequences. Cheap to divide: the tokens are shared.
#[derive(Clone, Debug)]
pub struct TokenSet {
    tokens: Arc<Tokens>,
    rows: Vec<u32>,
    labels: Vec<u32>,
}

impl TokenSet {
    /// The given rows of a cache, with one label for each.
    pub fn new(tokens: Arc<Tokens>, rows: Vec<u32>, labels: Vec<u32>) -> Self {
        assert_eq!(rows.len(), labels.len(), "one label for each row");
        Self { tokens, rows, labels }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Tokens of each row.
    pub fn lengths(&self) -> Vec<u32> {
        self.rows.iter().map(|&row| self.tokens.length(row as usize) as u32).collect()
    }

    /// Rows that were truncated.
    pub fn truncated(&self) -> usize {
        let cut =
            |&&row: &&u32| self.tokens.full_length(row as usize) > self.tokens.length(row as usize);
        self.rows.iter().filter(cut).count()
    }

    /// A row as it goes into a batch. Its noise is named by its row in the file.
    pub fn sequence(&self, index: usize) -> Sequence {
        let row = self.rows[index];
        let tokens = self.tokens.get(row as usize);
        Sequence { ids: tokens.ids(), type_ids: tokens.type_ids(), row: u64::from(row) }
    }
}
