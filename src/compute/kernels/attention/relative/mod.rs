//! What is added to scores by the distance g = s − t of a query s from a key t.
//!
//! A table by distance has a column for every g, ascending. A line of scores holds one key t and the
//! queries s₀ … s₀ + 31, so what is added to it stands side by side, from the column of s₀ − t on: no
//! score has to look up a place of its own.

mod bias;
mod disentangled;

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

pub use self::bias::DistanceBias;
pub use self::disentangled::{Disentangled, RelativeProjections};
use super::block::{Head, Line, QUERIES, Scratch};
use super::{Attention, Span};
use crate::compute::RelativeRows;
use crate::compute::kernels::gemm::PANEL;
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
    /// Products of content with position.
    Disentangled(&'a Disentangled),
}

impl Relative<'_> {
    /// Adds to the scores of a block of queries, `s.scores`, whose keys and queries are packed.
    #[inline(always)]
    pub(super) fn add<S: Simd, const M: usize, const V: usize>(
        self,
        simd: S,
        head: usize,
        first_query: usize,
        s: &mut Scratch,
    ) {
        match self {
            Self::Bias(bias) => bias.add(head, first_query, &mut s.scores),
            Self::Disentangled(own) => own.add::<S, M, V>(simd, head, first_query, s),
        }
    }

    /// What the backward pass of a head begins with.
    #[inline(always)]
    pub(super) fn prepare(self, job: &Head<'_>, s: &mut Scratch) {
        if let Self::Disentangled(own) = self {
            own.prepare(job, &mut s.relative);
        }
    }

    /// From the slopes of a block, `s.slopes`: adds to the gradients of its queries and of the keys, and
    /// to that of what is added by distance.
    #[inline(always)]
    pub(super) fn add_back<S: Simd, const M: usize, const D: usize, const V: usize>(
        self,
        simd: S,
        job: &Head<'_>,
        first_query: usize,
        s: &mut Scratch,
        total: &mut [f32],
    ) {
        let keys = job.span.keys.len();
        match self {
            Self::Bias(_) => bias::add_by_distance(first_query, &s.slopes[..keys], total),
            Self::Disentangled(own) => {
                own.add_to_queries::<S, M, D, V>(simd, job.head, first_query, s);
                own.add_to_keys::<S, M, V>(simd, job.head, first_query, s);
                own.add_to_tables::<S, M, V>(simd, keys, first_query, s, total);
            }
        }
    }
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

    /// The lines of a table, `[width, rows]`, by distance: `[width, columns]`.
    fn spread(self, table: &[f32], rows: &RelativeRows, width: usize, into: &mut Vec<f32>) {
        into.clear();
        if table.is_empty() {
            return;
        }
        into.resize(width * self.count(), 0.0);
        let lines = table.par_chunks_exact(table.len() / width);
        into.par_chunks_exact_mut(self.count()).zip(lines).for_each(|(into, line)| {
            for (value, &row) in into[self.own()].iter_mut().zip(rows.by_distance()) {
                *value = line[row as usize];
            }
        });
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
            Relative::Disentangled(own) => {
                let panels = (attention.width / attention.heads).div_ceil(PANEL);
                Self { planes: own.tables() * panels, lanes: PANEL }
            }
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

    /// Adds to the gradients of the projections of a [`Disentangled`], `[r, d]` each, of those that it
    /// has.
    pub fn add_to_projections(
        &self,
        attention: &Attention<'_>,
        rows: &RelativeRows,
        tables: [&mut [f32]; 2],
    ) {
        let Some(Relative::Disentangled(own)) = attention.relative else { return };
        let (count, wide) = (self.columns.count(), attention.width / attention.heads);
        let panels = wide.div_ceil(PANEL);
        let shift = rows.reach() - self.columns.reach;
        let rows = &rows.by_distance()[shift..];
        let (lines, _) = self.values.as_chunks::<PANEL>();
        let tables = tables.into_iter().zip(own.has()).filter(|(_, has)| *has);
        for (index, (table, _)) in tables.enumerate() {
            for (head, lines) in lines.chunks_exact(own.tables() * panels * count).enumerate() {
                let lines = &lines[index * panels * count..(index + 1) * panels * count];
                for (panel, lines) in lines.chunks_exact(count).enumerate() {
                    let first = head * wide + panel * PANEL;
                    let features = PANEL.min(wide - panel * PANEL);
                    for (line, &row) in lines[self.columns.own()].iter().zip(rows) {
                        let start = row as usize * attention.width + first;
                        add(&mut table[start..start + features], &line[..features]);
                    }
                }
            }
        }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        (self.values.capacity() + self.parts.capacity()) * size_of::<f32>()
    }
}

/// Memory of one thread for a head's backward pass.
#[derive(Debug, Default)]
pub(super) struct Lines {
    keys: Vec<Line>,
    slopes: Vec<Line>,
}

/// A line of a block as vectors.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(line: &[f32]) -> &[S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(line);
    vectors.try_into().expect("a line has V vectors")
}

/// Lines in registers.
#[inline(always)]
fn load<S: Simd, const M: usize, const V: usize>(simd: S, lines: &[Line; M]) -> [[S::f32s; V]; M] {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for (sums, line) in sums.iter_mut().zip(lines) {
        *sums = *vectors::<S, V>(line);
    }
    sums
}

/// Puts lines back.
#[inline(always)]
fn store<S: Simd, const M: usize, const V: usize>(sums: &[[S::f32s; V]; M], lines: &mut [Line; M]) {
    for (sums, line) in sums.iter().zip(lines) {
        let (vectors, _) = S::as_mut_simd_f32s(line);
        vectors.copy_from_slice(sums);
    }
}
