//! The forward pass of one head.

use pulp::Simd;

use super::Relative;
use super::block::{Head, HeadWork, QUERIES, Scratch, block_product, transpose_block, transposed};
use crate::compute::kernels::gemm::pack;
use crate::compute::kernels::math::exp;
use crate::compute::kernels::noise::fill_columns;

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
            if let Some(Relative::Bias(bias)) = job.attention.relative {
                bias.add(job.head, block * QUERIES, scores);
            }
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
