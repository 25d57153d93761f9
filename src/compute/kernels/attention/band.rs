//! Sliding windows: which keys a block of queries reads.
//!
//! Beltagy, Peters and Cohan, "Longformer" (2020), section 3.1: a query at place s reads the keys at
//! |s − t| ≤ w, both ends included. A block of queries works on the keys that any of them reads, so
//! that time and memory are linear in the length; what single queries do not read is hidden.

use std::ops::Range;

use super::block::{Line, QUERIES};

/// The keys of a block.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) keys: Range<usize>,
    /// Keys on each side of a query, and the place of the block's first query.
    band: Option<(usize, usize)>,
}

impl Reach {
    pub(super) fn all(keys: usize) -> Self {
        Self { keys: 0..keys, band: None }
    }

    /// Of `queries` by their places, in whole tiles of keys.
    pub(super) fn within(window: usize, queries: Range<usize>, keys: usize, tile: usize) -> Self {
        let start = queries.start.saturating_sub(window) / tile * tile;
        let end = queries.end.saturating_add(window).min(keys).next_multiple_of(tile);
        Self { keys: start..end.min(keys), band: Some((window, queries.start)) }
    }

    /// Puts `value` where a query does not read a key; `lines` are those of the keys.
    #[inline(always)]
    pub(super) fn hide(&self, lines: &mut [Line], value: f32) {
        let Some((window, first)) = self.band else { return };
        for (key, line) in self.keys.clone().zip(lines) {
            let start = key.saturating_sub(window.saturating_add(first));
            let end = key.saturating_add(window).saturating_add(1).saturating_sub(first);
            line[..start.min(QUERIES)].fill(value);
            line[end.min(QUERIES)..].fill(value);
        }
    }
}
