//! The forward pass of one head.

use pulp::Simd;

use super::block::{
    Head, HeadWork, QUERIES, Scratch, block_product, block_product_within, transpose_block,
    transposed,
};
use crate::compute::kernels::gemm::pack;
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
            if let Some(factors) = job.factors(block, &reach, &mut s.factors) {
                for (line, factors) in scores.iter_mut().zip(factors) {
                    for (score, factor) in line.iter_mut().zip(factors) {
                        *score *= factor;
                    }
                }
            }
            let place = (from, keys);
            block_product_within::<S, D, V>(simd, &s.values, place, scores, &mut s.mixed, wide);
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
