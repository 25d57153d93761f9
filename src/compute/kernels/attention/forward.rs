//! The forward pass of one head.

use pulp::Simd;

use super::Relative;
use super::band::Reach;
use super::block::{
    Head, HeadWork, Line, QUERIES, Scratch, block_product, block_product_within, transpose_block,
    transposed,
};
use crate::compute::kernels::gemm::{PANEL, pack};
use crate::compute::kernels::math::exp;

pub(super) struct Forward<'a> {
    pub(super) job: Head<'a>,
    /// `[queries, features]`.
    pub(super) result: &'a mut [f32],
    pub(super) log_sums: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

impl HeadWork for Forward<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const D: usize, const V: usize>(self, simd: S) {
        if self.job.attention.in_bf16() {
            return self.run_in_bf16::<S, M, V>(simd);
        }
        let Self { job, result, log_sums, scratch: s } = self;
        let (wide, width) = (job.wide(), job.attention.width);
        let keys = job.keys();
        pack::<M>(job.key_rows(), keys, 0, wide, &mut s.keys);
        pack::<D>(transposed(job.value_rows()), wide, 0, keys, &mut s.values);
        let lines = job.query_lines(job.q);
        let blocks = result.chunks_mut(QUERIES * wide).zip(log_sums.chunks_mut(QUERIES));
        for (block, (result, log_sums)) in blocks.enumerate() {
            let lines = &lines[block * QUERIES * width..];
            let scale = job.attention.scale();
            transpose_block(lines, width, log_sums.len(), wide, scale, &mut s.queries);
            let reach = job.reach(block, log_sums.len(), M);
            let (from, lines) = (reach.keys.start, reach.keys.len());
            let rows = &s.keys[from * wide..];
            block_product::<S, M, V>(simd, rows, &s.queries, &mut s.scores, lines);
            if let Some(relative) = job.attention.relative {
                relative.add::<S, M, V>(simd, job.head, block * QUERIES, s);
            }
            let scores = &mut s.scores[..lines];
            let sums = weigh(&job, block, &reach, scores, &mut s.factors);
            let place = (from, keys);
            block_product_within::<S, D, V>(simd, &s.values, place, scores, &mut s.mixed, wide);
            for (query, line) in result.chunks_exact_mut(wide).enumerate() {
                let inverse = 1.0 / sums.total[query];
                for (value, mixed) in line.iter_mut().zip(&s.mixed) {
                    *value = mixed[query] * inverse;
                }
                log_sums[query] = sums.logarithm(query);
            }
        }
    }
}

impl Forward<'_> {
    /// The same with both products in bf16.
    #[inline(always)]
    fn run_in_bf16<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Self { job, result, log_sums, scratch: s } = self;
        let (wide, width) = (job.wide(), job.attention.width);
        let (keys, scale) = (job.keys(), job.attention.scale());
        let tile = s.pairs.take(job.key_rows(), job.value_rows(), keys, wide);
        let reads_packed = matches!(job.attention.relative, Some(Relative::Disentangled(_)));
        if reads_packed {
            pack::<M>(job.key_rows(), keys, 0, wide, &mut s.keys);
        }
        let lines = job.query_lines(job.q);
        let blocks = result.chunks_mut(QUERIES * wide).zip(log_sums.chunks_mut(QUERIES));
        for (block, (result, log_sums)) in blocks.enumerate() {
            let lines = &lines[block * QUERIES * width..];
            let queries = log_sums.len();
            s.rows.resize(queries * wide, 0.0);
            for (row, line) in s.rows.chunks_exact_mut(wide).zip(lines.chunks(width)) {
                for (value, own) in row.iter_mut().zip(line) {
                    *value = own * scale;
                }
            }
            if reads_packed {
                transpose_block(lines, width, queries, wide, scale, &mut s.queries);
            }
            // From a pair of keys on.
            let reach = job.reach(block, queries, 2 * tile);
            let (from, lines) = (reach.keys.start, reach.keys.len());
            let whole = lines.next_multiple_of(tile);
            s.scores.resize(whole.max(lines.next_multiple_of(M)), [0.0; QUERIES]);
            s.pairs.scores(&s.rows, wide, from, &mut s.scores[..whole]);
            if let Some(relative) = job.attention.relative {
                relative.add::<S, M, V>(simd, job.head, block * QUERIES, s);
            }
            let scores = &mut s.scores[..lines];
            let sums = weigh(&job, block, &reach, scores, &mut s.factors);
            s.pairs.mix(scores, from, queries, &mut s.mixed);
            let height = s.mixed.len() / wide.div_ceil(PANEL);
            for (query, line) in result.chunks_exact_mut(wide).enumerate() {
                let inverse = 1.0 / sums.total[query];
                for (panel, line) in line.chunks_mut(PANEL).enumerate() {
                    for (value, mixed) in line.iter_mut().zip(&s.mixed[panel * height + query]) {
                        *value = mixed * inverse;
                    }
                }
                log_sums[query] = sums.logarithm(query);
            }
        }
    }
}

/// Of the weights of a block's queries.
struct Sums {
    /// The largest score.
    peak: Line,
    /// The sum of the weights before dropout, each divided by that of the largest score.
    total: Line,
}

impl Sums {
    fn logarithm(&self, query: usize) -> f32 {
        self.peak[query] + self.total[query].ln()
    }
}

/// Replaces the scores of a block by its weights, which are not yet divided by their sums.
#[inline(always)]
fn weigh(
    job: &Head<'_>,
    block: usize,
    reach: &Reach,
    scores: &mut [Line],
    factors: &mut Vec<Line>,
) -> Sums {
    reach.hide(scores, f32::MIN);
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
    // `exp` gives what is hidden 1.6e-38, which a total of at least 1 does not see.
    reach.hide(scores, 0.0);
    if let Some(factors) = job.factors(block, reach, factors) {
        for (line, factors) in scores.iter_mut().zip(factors) {
            for (score, factor) in line.iter_mut().zip(factors) {
                *score *= factor;
            }
        }
    }
    Sums { peak, total }
}
