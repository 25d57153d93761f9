//! A bias on scores by head and distance.

use super::Columns;
use crate::compute::RelativeRows;
use crate::compute::kernels::attention::block::{Line, QUERIES};

/// A bias on scores by head and distance: `[heads, columns]`.
///
/// Raffel et al., "Exploring the limits of transfer learning" (2020), section 2.1.
#[derive(Clone, Debug, Default)]
pub struct DistanceBias {
    columns: Columns,
    values: Vec<f32>,
}

impl DistanceBias {
    /// Takes the rows of a table `[r, heads]` that the distances read.
    pub fn take(&mut self, table: &[f32], heads: usize, rows: &RelativeRows) {
        self.columns = Columns { reach: rows.reach() };
        self.values.clear();
        self.values.resize(heads * self.columns.count(), 0.0);
        for (head, line) in self.values.chunks_exact_mut(self.columns.count()).enumerate() {
            for (value, &row) in line[self.columns.own()].iter_mut().zip(rows.by_distance()) {
                *value = table[row as usize * heads + head];
            }
        }
    }

    /// Adds to the scores of a block of queries, one line a key.
    #[inline(always)]
    pub(super) fn add(&self, head: usize, first_query: usize, scores: &mut [Line]) {
        let bias = &self.values[head * self.columns.count()..(head + 1) * self.columns.count()];
        for (key, scores) in scores.iter_mut().enumerate() {
            let first = self.columns.first(first_query, key);
            for (score, bias) in scores.iter_mut().zip(&bias[first..first + QUERIES]) {
                *score += bias;
            }
        }
    }
}

/// Sums the slopes of a block of queries by distance.
#[inline(always)]
pub(super) fn add_by_distance(first_query: usize, slopes: &[Line], total: &mut [f32]) {
    let columns = Columns { reach: slopes.len() };
    for (key, slopes) in slopes.iter().enumerate() {
        let first = columns.first(first_query, key);
        for (total, slope) in total[first..first + QUERIES].iter_mut().zip(slopes) {
            *total += slope;
        }
    }
}
