//! Attention within the sequences of a packed batch, by blocks of 32 queries, without a tensor of
//! all weights: the backward pass makes them again from the logarithm of their sum.
//!
//! Dao et al., "FlashAttention" (2022), section 3, except that a block holds all keys of its
//! sequence: on a CPU 32 rows of scores fit the second-level cache.
//!
//! Scores stand transposed, `[keys, queries]`, so that sums over keys run down vectors of queries.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::math::exp;
use super::noise::{Factors, fill_columns};
use super::product::{Left, PANEL, pack, tile};
use super::simd::arch;

/// Queries of a block.
const QUERIES: usize = PANEL;

type Line = [f32; QUERIES];

/// One sequence: where its queries and keys stand.
#[derive(Clone, Debug)]
pub struct Span {
    /// Lines of the queries.
    pub queries: Range<usize>,
    /// Lines of keys and values.
    pub keys: Range<usize>,
    /// The row that names its noise.
    pub row: u64,
}

/// Shapes and noise of one attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The sequences. Their queries follow one another without gaps.
    pub spans: &'a [Span],
    /// Heads, side by side in every line.
    pub heads: usize,
    /// Width of all heads together, `d`.
    pub width: usize,
    /// Noise on the weights.
    pub dropout: Option<Factors>,
}

impl Attention<'_> {
    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_width() as f32).sqrt()
    }

    /// `[m, d]` from queries `[m, d]` and keys beside values, `[p, 2d]`. `log_sums` becomes
    /// `[m, heads]` in the order span, head, query.
    pub fn forward(&self, q: &[f32], kv: &[f32], result: &mut [f32], log_sums: &mut [f32]) {
        let (heads, wide) = (self.heads, self.head_width());
        let results = split(result, self.spans, self.width);
        let log_sums = split(log_sums, self.spans, heads);
        self.spans.par_iter().zip(results).zip(log_sums).for_each(|((span, result), log_sums)| {
            let queries = span.queries.len();
            let mut by_head = BY_HEAD.take();
            by_head.resize(result.len(), 0.0);
            let parts =
                by_head.par_chunks_mut(queries * wide).zip(log_sums.par_chunks_mut(queries));
            parts.enumerate().for_each(|(head, (result, log_sums))| {
                SCRATCH.with_borrow_mut(|scratch| {
                    let job = Head { attention: self, span, head, q, kv };
                    arch().dispatch(Forward { job, result, log_sums, scratch });
                });
            });
            for (head, part) in by_head.chunks_exact(queries * wide).enumerate() {
                for (line, part) in result.chunks_exact_mut(self.width).zip(part.chunks_exact(wide))
                {
                    line[head * wide..(head + 1) * wide].copy_from_slice(part);
                }
            }
            BY_HEAD.set(by_head);
        });
    }

    /// Gradients of queries `[m, d]` and of keys beside values `[p, 2d]`, which are overwritten.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the forward pass took, gave, and gradients"
    )]
    pub fn backward(
        &self,
        q: &[f32],
        kv: &[f32],
        result: &[f32],
        log_sums: &[f32],
        gradient: &[f32],
        q_gradient: &mut [f32],
        kv_gradient: &mut [f32],
    ) {
        let (heads, wide, width) = (self.heads, self.head_width(), self.width);
        let q_gradients = split(q_gradient, self.spans, width);
        let key_spans: Vec<Span> = self
            .spans
            .iter()
            .map(|span| Span { queries: span.keys.clone(), ..span.clone() })
            .collect();
        let kv_gradients = split(kv_gradient, &key_spans, 2 * width);
        let work = self.spans.par_iter().zip(q_gradients).zip(kv_gradients);
        work.for_each(|((span, q_gradient), kv_gradient)| {
            let (queries, keys) = (span.queries.len(), span.keys.len());
            let mut by_head = BY_HEAD.take();
            by_head.resize(q_gradient.len() + kv_gradient.len(), 0.0);
            let log_sums = &log_sums[span.queries.start * heads..span.queries.end * heads];
            by_head.par_chunks_mut((queries + 2 * keys) * wide).enumerate().for_each(
                |(head, gradients)| {
                    SCRATCH.with_borrow_mut(|scratch| {
                        let job = Head { attention: self, span, head, q, kv };
                        let log_sums = &log_sums[head * queries..(head + 1) * queries];
                        let outer = Outer { result, gradient, log_sums };
                        arch().dispatch(Backward { job, outer, gradients, scratch });
                    });
                },
            );
            for (head, part) in by_head.chunks_exact((queries + 2 * keys) * wide).enumerate() {
                let columns = head * wide..(head + 1) * wide;
                let (q_part, kv_part) = part.split_at(queries * wide);
                for (line, part) in
                    q_gradient.chunks_exact_mut(width).zip(q_part.chunks_exact(wide))
                {
                    line[columns.clone()].copy_from_slice(part);
                }
                let (k_part, v_part) = kv_part.split_at(keys * wide);
                let parts = k_part.chunks_exact(wide).zip(v_part.chunks_exact(wide));
                for (line, (k_part, v_part)) in kv_gradient.chunks_exact_mut(2 * width).zip(parts) {
                    line[columns.clone()].copy_from_slice(k_part);
                    line[width + columns.start..width + columns.end].copy_from_slice(v_part);
                }
            }
            BY_HEAD.set(by_head);
        });
    }
}

/// One slice for the queries of each span.
fn split<'a>(mut values: &'a mut [f32], spans: &[Span], width: usize) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let (part, rest) = values.split_at_mut(span.queries.len() * width);
        parts.push(part);
        values = rest;
    }
    parts
}

#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    rows: Vec<f32>,
    queries: Vec<Line>,
    outer: Vec<Line>,
    scores: Vec<Line>,
    slopes: Vec<Line>,
    factors: Vec<Line>,
    mixed: Vec<Line>,
    query_rows: Vec<Line>,
    outer_rows: Vec<Line>,
    key_gradient: Vec<Line>,
    value_gradient: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// Results by head, before they are put side by side. It is taken and put back, since a thread
    /// that waits for heads may begin another sequence.
    static BY_HEAD: RefCell<Vec<f32>> = RefCell::default();
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Head<'a> {
    attention: &'a Attention<'a>,
    span: &'a Span,
    head: usize,
    q: &'a [f32],
    kv: &'a [f32],
}

impl<'a> Head<'a> {
    fn wide(&self) -> usize {
        self.attention.head_width()
    }

    /// The lines of a matrix `[m, d]` that belong to the queries, from this head's first column.
    fn query_lines(&self, values: &'a [f32]) -> &'a [f32] {
        &values[self.span.queries.start * self.attention.width + self.head * self.wide()..]
    }

    fn key_start(&self) -> usize {
        self.span.keys.start * 2 * self.attention.width + self.head * self.wide()
    }

    /// Keys as rows: element (key, feature).
    fn key_rows(&self) -> Left<'a> {
        let values = &self.kv[self.key_start()..];
        Left { values, line: 2 * self.attention.width, element: 1 }
    }

    fn value_rows(&self) -> Left<'a> {
        let values = &self.kv[self.key_start() + self.attention.width..];
        Left { values, line: 2 * self.attention.width, element: 1 }
    }

    fn noise(&self, block: usize) -> (u64, u32) {
        let keys = self.span.keys.len();
        (self.span.row, (self.head * keys + block * QUERIES) as u32)
    }
}

/// Columns as rows.
fn transposed(left: Left<'_>) -> Left<'_> {
    Left { values: left.values, line: left.element, element: left.line }
}

/// The lines of a block, transposed and scaled: `[features, queries]`, zero where the block is not
/// full.
#[inline(always)]
fn transpose_block(
    lines: &[f32],
    stride: usize,
    count: usize,
    wide: usize,
    scale: f32,
    to: &mut Vec<Line>,
) {
    to.clear();
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
fn copy_block(
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

/// `[m, queries] = left · right` for packed rows.
#[inline(always)]
fn block_product<S: Simd, const M: usize, const V: usize>(
    simd: S,
    left: &[f32],
    right: &[Line],
    result: &mut Vec<Line>,
    rows: usize,
) {
    result.clear();
    result.resize(rows.div_ceil(M) * M, [0.0; QUERIES]);
    let (blocks, _) = result.as_chunks_mut::<M>();
    for (block, left) in blocks.iter_mut().zip(left.chunks_exact(M * right.len())) {
        let (left, _) = left.as_chunks::<M>();
        tile::<S, M, V>(simd, left, right, block);
    }
}

/// `total += weightsᵀ · lines`, summed over the queries of a block: `[keys, features]` in panels.
#[inline(always)]
fn add_block_product<S: Simd, const M: usize, const V: usize>(
    simd: S,
    weights: &[Line],
    lines: &[Line],
    total: &mut [Line],
) {
    let (weights, _) = weights.as_chunks::<M>();
    let height = weights.len() * M;
    for (lines, total) in lines.chunks_exact(QUERIES).zip(total.chunks_exact_mut(height)) {
        let (total, _) = total.as_chunks_mut::<M>();
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

struct Forward<'a> {
    job: Head<'a>,
    /// `[queries, features]`.
    result: &'a mut [f32],
    log_sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 12, 8, 2>(simd),
            8 => self.run::<S, 3, 3, 4>(simd),
            4 => self.run::<S, 3, 3, 8>(simd),
            _ => self.run::<S, 1, 1, 32>(simd),
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const D: usize, const V: usize>(self, simd: S) {
        let Self { job, result, log_sums, scratch: s } = self;
        let (wide, width) = (job.wide(), job.attention.width);
        let keys = job.span.keys.len();
        pack::<M>(job.key_rows(), keys, 0, wide, &mut s.keys);
        pack::<D>(transposed(job.value_rows()), wide, 0, keys, &mut s.values);
        let lines = job.query_lines(job.q);
        let blocks = result.chunks_mut(QUERIES * wide).zip(log_sums.chunks_mut(QUERIES));
        for (block, (result, log_sums)) in blocks.enumerate() {
            let lines = &lines[block * QUERIES * width..];
            let scale = job.attention.scale();
            transpose_block(lines, width, log_sums.len(), wide, scale, &mut s.queries);
            block_product::<S, M, V>(simd, &s.keys, &s.queries, &mut s.scores, keys);
            let scores = &mut s.scores[..keys];
            let mut peak = [f32::MIN; QUERIES];
            for line in scores.iter() {
                for (peak, &score) in peak.iter_mut().zip(line) {
                    *peak = if score > *peak { score } else { *peak };
                }
            }
            let mut total = [0.0; QUERIES];
            for line in scores.iter_mut() {
                for ((score, &peak), total) in line.iter_mut().zip(&peak).zip(&mut total) {
                    *score = exp(*score - peak);
                    *total += *score;
                }
            }
            if let Some(factors) = job.attention.dropout {
                s.factors.resize(keys, [0.0; QUERIES]);
                let (row, first) = job.noise(block);
                fill_columns(&mut s.factors[..keys], factors, row, first);
                for (line, factors) in scores.iter_mut().zip(&s.factors) {
                    for (score, factor) in line.iter_mut().zip(factors) {
                        *score *= factor;
                    }
                }
            }
            block_product::<S, D, V>(simd, &s.values, scores, &mut s.mixed, wide);
            for (query, line) in result.chunks_exact_mut(wide).enumerate() {
                let inverse = 1.0 / total[query];
                for (value, mixed) in line.iter_mut().zip(&s.mixed) {
                    *value = mixed[query] * inverse;
                }
                log_sums[query] = peak[query] + total[query].ln();
            }
        }
    }
}

/// What the backward pass is given from above.
#[derive(Clone, Copy)]
struct Outer<'a> {
    result: &'a [f32],
    gradient: &'a [f32],
    log_sums: &'a [f32],
}

struct Backward<'a> {
    job: Head<'a>,
    outer: Outer<'a>,
    /// Of queries, keys and values, each `[lines, features]`.
    gradients: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 12, 8, 2>(simd),
            8 => self.run::<S, 3, 3, 4>(simd),
            4 => self.run::<S, 3, 3, 8>(simd),
            _ => self.run::<S, 1, 1, 32>(simd),
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const D: usize, const V: usize>(self, simd: S) {
        let Self { job, outer, gradients, scratch: s } = self;
        let (wide, width, scale) = (job.wide(), job.attention.width, job.attention.scale());
        let keys = job.span.keys.len();
        let height = keys.div_ceil(M) * M;
        let panels = wide.div_ceil(PANEL);
        pack::<M>(job.key_rows(), keys, 0, wide, &mut s.keys);
        pack::<M>(job.value_rows(), keys, 0, wide, &mut s.values);
        pack::<D>(transposed(job.key_rows()), wide, 0, keys, &mut s.rows);
        for total in [&mut s.key_gradient, &mut s.value_gradient] {
            total.clear();
            total.resize(panels * height, [0.0; PANEL]);
        }
        let (q_gradient, kv_gradient) = gradients.split_at_mut(job.span.queries.len() * wide);
        let blocks = q_gradient.chunks_mut(QUERIES * wide).zip(outer.log_sums.chunks(QUERIES));
        for (block, (q_gradient, log_sums)) in blocks.enumerate() {
            let count = log_sums.len();
            let from = block * QUERIES * width;
            let lines = &job.query_lines(job.q)[from..];
            let gradient = &job.query_lines(outer.gradient)[from..];
            let result = &job.query_lines(outer.result)[from..];
            transpose_block(lines, width, count, wide, scale, &mut s.queries);
            transpose_block(gradient, width, count, wide, 1.0, &mut s.outer);
            copy_block(lines, width, count, wide, scale, &mut s.query_rows);
            copy_block(gradient, width, count, wide, 1.0, &mut s.outer_rows);
            // Beyond the last query weights are zero: their logarithm is far below any score.
            let mut log_sum = [1e30; QUERIES];
            log_sum[..count].copy_from_slice(log_sums);
            let mut along = [0.0f32; QUERIES];
            for (query, along) in along.iter_mut().enumerate().take(count) {
                let place = query * width..query * width + wide;
                let pairs = gradient[place.clone()].iter().zip(&result[place]);
                *along = pairs.map(|(gradient, result)| gradient * result).sum();
            }
            block_product::<S, M, V>(simd, &s.keys, &s.queries, &mut s.scores, keys);
            block_product::<S, M, V>(simd, &s.values, &s.outer, &mut s.slopes, keys);
            s.factors.clear();
            s.factors.resize(keys, [1.0; QUERIES]);
            if let Some(factors) = job.attention.dropout {
                let (row, first) = job.noise(block);
                fill_columns(&mut s.factors, factors, row, first);
            }
            let pairs = s.scores.iter_mut().zip(&mut s.slopes).zip(&s.factors);
            for ((score, slope), factor) in pairs {
                for query in 0..QUERIES {
                    let weight = exp(score[query] - log_sum[query]);
                    slope[query] = weight * (factor[query] * slope[query] - along[query]);
                    score[query] = weight * factor[query];
                }
            }
            add_block_product::<S, M, V>(simd, &s.scores, &s.outer_rows, &mut s.value_gradient);
            add_block_product::<S, M, V>(simd, &s.slopes, &s.query_rows, &mut s.key_gradient);
            block_product::<S, D, V>(simd, &s.rows, &s.slopes[..keys], &mut s.mixed, wide);
            for (query, line) in q_gradient.chunks_exact_mut(wide).enumerate() {
                for (value, mixed) in line.iter_mut().zip(&s.mixed) {
                    *value = mixed[query] * scale;
                }
            }
        }
        let totals = [&s.key_gradient, &s.value_gradient];
        for (part, total) in kv_gradient.chunks_exact_mut(keys * wide).zip(totals) {
            for (key, line) in part.chunks_exact_mut(wide).enumerate() {
                for (panel, line) in line.chunks_mut(PANEL).enumerate() {
                    line.copy_from_slice(&total[panel * height + key][..line.len()]);
                }
            }
        }
    }
}
