//! The backward pass of one head.

use pulp::Simd;

use super::block::{
    Head, HeadWork, QUERIES, Scratch, add_block_product, block_product, block_product_within,
    copy_block, transpose_block, transposed,
};
use crate::compute::kernels::gemm::{PANEL, pack};
use crate::compute::kernels::math::exp;

/// What the backward pass is given from above.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    pub(super) result: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) log_sums: &'a [f32],
}

pub(super) struct Backward<'a> {
    pub(super) job: Head<'a>,
    pub(super) outer: Outer<'a>,
    /// Of queries, keys and values, each `[lines, features]`.
    pub(super) gradients: &'a mut [f32],
    /// Of what is added by distance.
    pub(super) relative: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

impl HeadWork for Backward<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const D: usize, const V: usize>(self, simd: S) {
        let Self { job, outer, gradients, relative, scratch: s } = self;
        let (wide, width, scale) = (job.wide(), job.attention.width, job.attention.scale());
        let keys = job.keys();
        let height = keys.div_ceil(M) * M;
        let panels = wide.div_ceil(PANEL);
        relative.fill(0.0);
        if let Some(added) = job.attention.relative {
            added.prepare(&job, s);
        }
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
            let reach = job.reach(block, count, M);
            let (from, lines) = (reach.keys.start, reach.keys.len());
            let (keys_from, values_from) = (&s.keys[from * wide..], &s.values[from * wide..]);
            block_product::<S, M, V>(simd, keys_from, &s.queries, &mut s.scores, lines);
            block_product::<S, M, V>(simd, values_from, &s.outer, &mut s.slopes, lines);
            if let Some(relative) = job.attention.relative {
                relative.add::<S, M, V>(simd, job.head, block * QUERIES, s);
            }
            let factors = match job.factors(block, &reach, &mut s.factors) {
                Some(factors) => factors,
                None => {
                    s.factors.clear();
                    s.factors.resize(lines, [1.0; QUERIES]);
                    &s.factors
                }
            };
            let pairs = s.scores.iter_mut().zip(&mut s.slopes).zip(factors);
            for ((score, slope), factor) in pairs {
                for query in 0..QUERIES {
                    let weight = exp(score[query] - log_sum[query]);
                    slope[query] = weight * (factor[query] * slope[query] - along[query]);
                    score[query] = weight * factor[query];
                }
            }
            reach.hide(&mut s.scores[..lines], 0.0);
            reach.hide(&mut s.slopes[..lines], 0.0);
            let place = (from, height);
            let (outer, queries) = (&s.outer_rows, &s.query_rows);
            add_block_product::<S, M, V>(simd, &s.scores, outer, place, &mut s.value_gradient);
            add_block_product::<S, M, V>(simd, &s.slopes, queries, place, &mut s.key_gradient);
            let slopes = &s.slopes[..lines];
            let place = (from, keys);
            block_product_within::<S, D, V>(simd, &s.rows, place, slopes, &mut s.mixed, wide);
            if let Some(added) = job.attention.relative {
                added.add_back::<S, M, D, V>(simd, &job, block * QUERIES, s, relative);
            }
            for (query, line) in q_gradient.chunks_exact_mut(wide).enumerate() {
                for (value, mixed) in line.iter_mut().zip(&s.mixed) {
                    *value = mixed[query] * scale;
                }
            }
        }
        let totals = [&s.key_gradient, &s.value_gradient];
        let all = job.span.keys.len() * wide;
        for (part, total) in kv_gradient.chunks_exact_mut(all).zip(totals) {
            let (part, unread) = part.split_at_mut(keys * wide);
            unread.fill(0.0);
            for (key, line) in part.chunks_exact_mut(wide).enumerate() {
                for (panel, line) in line.chunks_mut(PANEL).enumerate() {
                    line.copy_from_slice(&total[panel * height + key][..line.len()]);
                }
            }
        }
    }
}
