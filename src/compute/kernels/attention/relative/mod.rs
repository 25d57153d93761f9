//! What is added to scores by the distance g = s − t of a query s from a key t.
//!
//! A table by distance has a column for every g, ascending. A line of scores holds one key t and the
//! queries s₀ … s₀ + 31, so what is added to it stands side by side, from the column of s₀ − t on: no
//! score has to look up a place of its own.

mod bias;

use std::ops::Range;

pub use self::bias::DistanceBias;
pub(super) use self::bias::add_by_distance;
use super::block::{Line, QUERIES};
use super::{Attention, Span};
use crate::compute::RelativeRows;
use crate::compute::kernels::norm::add;

/// Columns before the first distance and behind the last, which tiles at the edges read or fill.
const EDGE: usize = 16;

/// Sequences that are worked on at a time where gradients by distance are summed: each has one of its
/// own, and they are added in the order of the sequences whatever the number of threads.
pub(super) const GROUP: usize = 16;

/// What attention has beside the products of queries and keys.
#[derive(Clone, Copy, Debug)]
pub enum Relative<'a> {
    /// A number for each head and distance.
    Bias(&'a DistanceBias),
}

/// The columns of a table by distance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns {
    /// The length of the longest sequence.
    pub(super) reach: usize,
}

impl Columns {
    /// How many there are: an odd number of cache lines, so that the lines of a table do not all fall
    /// into the same few places of the cache.
    pub(super) fn count(self) -> usize {
        ((2 * EDGE + 2 * self.reach + QUERIES).div_ceil(16) | 1) * 16
    }

    /// The column of the first query of a block and a key.
    #[inline(always)]
    pub(super) fn first(self, first_query: usize, key: usize) -> usize {
        EDGE + self.reach + first_query - key - 1
    }

    /// Those of all distances.
    fn own(self) -> Range<usize> {
        EDGE..EDGE + (2 * self.reach).saturating_sub(1)
    }
}

/// The gradient of what attention adds by distance, summed over the sequences of one batch.
#[derive(Clone, Debug, Default)]
pub struct RelativeGradient {
    columns: Columns,
    /// By head in the order of a [`Shape`]; nothing where nothing is added.
    values: Vec<f32>,
    /// The same of each sequence of a group.
    pub(super) parts: Vec<f32>,
}

/// How the gradient of one head is laid out: `[planes, columns, lanes]`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    planes: usize,
    lanes: usize,
}

impl Shape {
    fn of(attention: &Attention<'_>) -> Option<Self> {
        attention.relative.map(|relative| match relative {
            Relative::Bias(_) => Self { planes: 1, lanes: 1 },
        })
    }
}

impl RelativeGradient {
    /// The values that one head of a sequence of so many keys fills.
    pub(super) fn size(attention: &Attention<'_>, keys: usize) -> usize {
        let columns = Columns { reach: keys }.count();
        Shape::of(attention).map_or(0, |shape| shape.planes * columns * shape.lanes)
    }

    /// Becomes zero.
    pub(super) fn clear(&mut self, attention: &Attention<'_>) {
        let longest = attention.spans.iter().map(|span| span.keys.len()).max();
        self.columns = Columns { reach: longest.unwrap_or(0) };
        self.values.clear();
        self.values.resize(attention.heads * Self::size(attention, self.columns.reach), 0.0);
    }

    /// Adds the parts of some sequences.
    pub(super) fn add_parts<'s>(
        &mut self,
        attention: &Attention<'_>,
        spans: impl Iterator<Item = &'s Span>,
    ) {
        let Some(Shape { lanes, .. }) = Shape::of(attention) else { return };
        let mut parts = &self.parts[..];
        for span in spans {
            let own = Columns { reach: span.keys.len() };
            let size = attention.heads * Self::size(attention, own.reach);
            let (part, rest) = parts.split_at(size);
            parts = rest;
            let shift = (self.columns.reach - own.reach) * lanes;
            let (from, to) = (own.own().start * lanes, own.own().end * lanes);
            let totals = self.values.chunks_exact_mut(self.columns.count() * lanes);
            for (total, part) in totals.zip(part.chunks_exact(own.count() * lanes)) {
                add(&mut total[from + shift..to + shift], &part[from..to]);
            }
        }
    }

    /// Adds to the gradient of the table of a [`DistanceBias`], `[r, heads]`.
    pub fn add_to_bias(&self, heads: usize, rows: &RelativeRows, table: &mut [f32]) {
        let count = self.columns.count();
        let shift = rows.reach() - self.columns.reach;
        for (head, line) in self.values.chunks_exact(count).enumerate() {
            for (value, &row) in line[self.columns.own()].iter().zip(&rows.by_distance()[shift..]) {
                table[row as usize * heads + head] += value;
            }
        }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        (self.values.capacity() + self.parts.capacity()) * size_of::<f32>()
    }
}
