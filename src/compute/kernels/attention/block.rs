//! One head of one sequence, and the products of a block of its queries.

use pulp::{Simd, WithSimd};

use super::band::Reach;
use super::relative::Lines;
use super::{Attention, Span};
use crate::compute::kernels::gemm::{Left, PANEL, PairHead, Start, tile};
use crate::compute::kernels::noise::{CHUNK, fill_columns};

/// Queries of a block.
pub(super) const QUERIES: usize = PANEL;

/// One value for each query of a block.
pub(super) type Line = [f32; QUERIES];

/// Work on a head in tiles of `M` keys and of `D` features, with `V` vectors a line.
pub(super) trait HeadWork {
    fn run<S: Simd, const M: usize, const D: usize, const V: usize>(self, simd: S);
}

/// Chooses the tiles that fit the registers.
pub(super) struct Tiles<W>(pub(super) W);

impl<W: HeadWork> WithSimd for Tiles<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.0.run::<S, 12, 8, 2>(simd),
            8 => self.0.run::<S, 3, 3, 4>(simd),
            4 => self.0.run::<S, 3, 3, 8>(simd),
            _ => self.0.run::<S, 1, 1, 32>(simd),
        }
    }
}

/// What the work of one thread uses again.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) rows: Vec<f32>,
    pub(super) queries: Vec<Line>,
    pub(super) outer: Vec<Line>,
    pub(super) scores: Vec<Line>,
    pub(super) slopes: Vec<Line>,
    pub(super) factors: Vec<Line>,
    pub(super) mixed: Vec<Line>,
    pub(super) query_rows: Vec<Line>,
    pub(super) outer_rows: Vec<Line>,
    pub(super) key_gradient: Vec<Line>,
    pub(super) value_gradient: Vec<Line>,
    pub(super) relative: Lines,
    pub(super) pairs: PairHead,
}

/// One head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) span: &'a Span,
    pub(super) head: usize,
    pub(super) q: &'a [f32],
    pub(super) kv: &'a [f32],
}

impl<'a> Head<'a> {
    pub(super) fn wide(&self) -> usize {
        self.attention.head_width()
    }

    /// The lines of a matrix `[m, d]` that belong to the queries, from this head's first column.
    pub(super) fn query_lines(&self, values: &'a [f32]) -> &'a [f32] {
        &values[self.span.queries.start * self.attention.width + self.head * self.wide()..]
    }

    pub(super) fn key_start(&self) -> usize {
        self.span.keys.start * 2 * self.attention.width + self.head * self.wide()
    }

    /// Keys as rows: element (key, feature).
    pub(super) fn key_rows(&self) -> Left<'a> {
        let values = &self.kv[self.key_start()..];
        Left { values, line: 2 * self.attention.width, element: 1 }
    }

    pub(super) fn value_rows(&self) -> Left<'a> {
        let values = &self.kv[self.key_start() + self.attention.width..];
        Left { values, line: 2 * self.attention.width, element: 1 }
    }

    /// How many keys are read, from the first on.
    pub(super) fn keys(&self) -> usize {
        let Span { queries, keys, .. } = self.span;
        let reach = |window: usize| window.saturating_add(queries.len()).min(keys.len());
        self.attention.window.map_or(keys.len(), reach)
    }

    /// The keys that a block of so many queries reads, in whole tiles.
    pub(super) fn reach(&self, block: usize, count: usize, tile: usize) -> Reach {
        let (first, keys) = (block * QUERIES, self.keys());
        match self.attention.window {
            Some(window) => Reach::within(window, first..first + count, keys, tile),
            None => Reach::all(keys),
        }
    }

    /// The dropout of a block's weights, `[keys, queries]` for the keys of its reach. It is drawn in
    /// whole chunks, by the place of a key in its sequence; `factors` is memory for it.
    #[inline(always)]
    pub(super) fn factors<'m>(
        &self,
        block: usize,
        reach: &Reach,
        factors: &'m mut Vec<Line>,
    ) -> Option<&'m [Line]> {
        let noise = self.attention.dropout?;
        let start = reach.keys.start / CHUNK * CHUNK;
        factors.resize(reach.keys.end - start, [0.0; QUERIES]);
        let first = (self.head * self.span.keys.len() + block * QUERIES) as u32;
        fill_columns(factors, noise, (self.span.row, first), start);
        Some(&factors[reach.keys.start - start..])
    }
}

pub(super) fn transposed(left: Left<'_>) -> Left<'_> {
    Left { values: left.values, line: left.element, element: left.line }
}

/// The lines of a block, transposed and scaled: `[features, queries]`, zero where the block is not
/// full.
#[inline(always)]
pub(super) fn transpose_block(
    lines: &[f32],
    stride: usize,
    count: usize,
    wide: usize,
    scale: f32,
    to: &mut Vec<Line>,
) {
    if count < QUERIES {
        to.clear();
    }
    to.resize(wide, [0.0; QUERIES]);
    for query in 0..count {
        let line = &lines[query * stride..query * stride + wide];
        for (to, &value) in to.iter_mut().zip(line) {
            to[query] = value * scale;
        }
    }
}

/// The lines of a block in panels of features: `[panels, queries, PANEL]`.
#[inline(always)]
pub(super) fn copy_block(
    lines: &[f32],
    stride: usize,
    count: usize,
    wide: usize,
    scale: f32,
    to: &mut Vec<Line>,
) {
    to.clear();
    to.resize(wide.div_ceil(PANEL) * QUERIES, [0.0; PANEL]);
    for query in 0..count {
        let line = &lines[query * stride..query * stride + wide];
        for (panel, part) in line.chunks(PANEL).enumerate() {
            for (to, &value) in to[panel * QUERIES + query].iter_mut().zip(part) {
                *to = value * scale;
            }
        }
    }
}

/// `[m, queries] = left · right` for packed rows, the rows that fill up the last tile included.
#[inline(always)]
pub(super) fn block_product<S: Simd, const M: usize, const V: usize>(
    simd: S,
    left: &[f32],
    right: &[Line],
    result: &mut Vec<Line>,
    rows: usize,
) {
    block_product_within::<S, M, V>(simd, left, (0, right.len()), right, result, rows);
}

/// The same where `right` is the lines from `from` on of the `depth` that the rows were packed for.
#[inline(always)]
pub(super) fn block_product_within<S: Simd, const M: usize, const V: usize>(
    simd: S,
    left: &[f32],
    (from, depth): (usize, usize),
    right: &[Line],
    result: &mut Vec<Line>,
    rows: usize,
) {
    result.resize(rows.div_ceil(M) * M, [0.0; QUERIES]);
    let (blocks, _) = result.as_chunks_mut::<M>();
    for (block, left) in blocks.iter_mut().zip(left.chunks_exact(M * depth)) {
        let (left, _) = left[from * M..(from + right.len()) * M].as_chunks::<M>();
        tile::<S, M, V>(simd, left, right, Start::Zero, block.each_mut());
    }
}

/// `total += weightsᵀ · lines`, summed over the queries of a block: `[keys, features]` in panels of
/// `height` keys, the weights being those of the keys from `from` on.
#[inline(always)]
pub(super) fn add_block_product<S: Simd, const M: usize, const V: usize>(
    simd: S,
    weights: &[Line],
    lines: &[Line],
    (from, height): (usize, usize),
    total: &mut [Line],
) {
    let (weights, _) = weights.as_chunks::<M>();
    for (lines, total) in lines.chunks_exact(QUERIES).zip(total.chunks_exact_mut(height)) {
        let (total, _) = total[from..from + weights.len() * M].as_chunks_mut::<M>();
        for (weights, total) in weights.iter().zip(total) {
            let mut sums = [[simd.splat_f32s(0.0); V]; M];
            for (sums, total) in sums.iter_mut().zip(total.iter()) {
                let (vectors, _) = S::as_simd_f32s(total);
                for (sum, &vector) in sums.iter_mut().zip(vectors) {
                    *sum = vector;
                }
            }
            for (query, line) in lines.iter().enumerate() {
                let (right, _) = S::as_simd_f32s(line);
                let right: &[S::f32s; V] = right.try_into().expect("a line has V vectors");
                for (sums, weights) in sums.iter_mut().zip(weights) {
                    let value = simd.splat_f32s(weights[query % QUERIES]);
                    for (sum, &vector) in sums.iter_mut().zip(right) {
                        *sum = simd.mul_add_f32s(value, vector, *sum);
                    }
                }
            }
            for (sums, total) in sums.iter().zip(total.iter_mut()) {
                let (vectors, _) = S::as_mut_simd_f32s(total);
                for (&sum, vector) in sums.iter().zip(vectors) {
                    *vector = sum;
                }
            }
        }
    }
}
