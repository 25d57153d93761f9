//! Attention within the sequences of a packed batch, by blocks of 32 queries, without a tensor of
//! all weights: the backward pass makes them again from the logarithm of their sum.
//!
//! Dao et al., "FlashAttention" (2022), section 3, except that a block holds all keys of its
//! sequence: on a CPU 32 rows of scores fit the second-level cache.
//!
//! Scores stand transposed, `[keys, queries]`, so that sums over keys run down vectors of queries.
//!
//! Below f32 the two products of the forward pass are made in bf16: queries (scaled), keys, values and weights are
//! rounded, while scores, the softmax and what is added by distance are f32.

mod backward;
mod band;
mod block;
mod forward;
mod relative;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use self::backward::{Backward, Outer};
use self::block::{Head, Scratch, Tiles};
use self::forward::Forward;
use self::relative::GROUP;
pub use self::relative::{
    Disentangled, DistanceBias, Relative, RelativeGradient, RelativeProjections,
};
use super::noise::Factors;
use super::simd::arch;
use crate::compute::Precision;

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
    /// Keys that a query reads on each side of its place, counted in the span; all where there is none.
    pub window: Option<usize>,
    /// What is added to the scores by distance, where there is no window.
    pub relative: Option<Relative<'a>>,
    /// Noise on the weights.
    pub dropout: Option<Factors>,
    /// Below f32 the forward pass has its two products in bf16, where this CPU has the instructions.
    pub precision: Precision,
}

impl Attention<'_> {
    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        let both = self.window.is_some() && self.relative.is_some();
        assert!(!both, "what is added by distance has no window");
        match self.relative {
            Some(Relative::Disentangled(own)) => own.scale(),
            _ => 1.0 / (self.head_width() as f32).sqrt(),
        }
    }

    fn in_bf16(&self) -> bool {
        self.precision != Precision::F32 && Precision::Bf16.check().is_ok()
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
                    arch().dispatch(Tiles(Forward { job, result, log_sums, scratch }));
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

    /// Gradients of queries `[m, d]` and of keys beside values `[p, 2d]`, which are overwritten, and
    /// of what is added by distance.
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
        relative: &mut RelativeGradient,
    ) {
        let q_gradients = split(q_gradient, self.spans, self.width);
        let key_spans: Vec<Span> = self
            .spans
            .iter()
            .map(|span| Span { queries: span.keys.clone(), ..span.clone() })
            .collect();
        let kv_gradients = split(kv_gradient, &key_spans, 2 * self.width);
        let mut work: Vec<_> = self.spans.iter().zip(q_gradients).zip(kv_gradients).collect();
        relative.clear(self);
        let group = if self.relative.is_some() { GROUP } else { work.len().max(1) };
        for work in work.chunks_mut(group) {
            let sizes = |span: &Span| self.heads * RelativeGradient::size(self, span.keys.len());
            let size = work.iter().map(|((span, _), _)| sizes(span)).sum();
            relative.parts.resize(size, 0.0);
            let mut parts = &mut relative.parts[..];
            let mut own = Vec::with_capacity(work.len());
            for ((span, _), _) in work.iter() {
                own.push(parts.split_off_mut(..sizes(span)).expect("there is a part for each"));
            }
            work.par_iter_mut().zip(own).for_each(|(((span, q_gradient), kv_gradient), part)| {
                let outer = Outer { result, gradient, log_sums };
                self.span_backward(span, (q, kv), outer, [q_gradient, kv_gradient, part]);
            });
            relative.add_parts(self, work.iter().map(|((span, _), _)| *span));
        }
    }

    /// The same of one sequence; `gradients` are its own.
    fn span_backward(
        &self,
        span: &Span,
        (q, kv): (&[f32], &[f32]),
        outer: Outer<'_>,
        [q_gradient, kv_gradient, relative]: [&mut [f32]; 3],
    ) {
        let (heads, wide, width) = (self.heads, self.head_width(), self.width);
        let (queries, keys) = (span.queries.len(), span.keys.len());
        let (products, added) = ((queries + 2 * keys) * wide, relative.len() / heads);
        let mut by_head = BY_HEAD.take();
        by_head.resize(heads * (products + added), 0.0);
        let log_sums = &outer.log_sums[span.queries.start * heads..span.queries.end * heads];
        by_head.par_chunks_mut(products + added).enumerate().for_each(|(head, gradients)| {
            SCRATCH.with_borrow_mut(|scratch| {
                let job = Head { attention: self, span, head, q, kv };
                let log_sums = &log_sums[head * queries..(head + 1) * queries];
                let outer = Outer { log_sums, ..outer };
                let (gradients, relative) = gradients.split_at_mut(products);
                let work = Backward { job, outer, gradients, relative, scratch };
                arch().dispatch(Tiles(work));
            });
        });
        for (head, part) in by_head.chunks_exact(products + added).enumerate() {
            let columns = head * wide..(head + 1) * wide;
            let (q_part, kv_part) = part.split_at(queries * wide);
            for (line, part) in q_gradient.chunks_exact_mut(width).zip(q_part.chunks_exact(wide)) {
                line[columns.clone()].copy_from_slice(part);
            }
            let (k_part, rest) = kv_part.split_at(keys * wide);
            let (v_part, added_part) = rest.split_at(keys * wide);
            let parts = k_part.chunks_exact(wide).zip(v_part.chunks_exact(wide));
            for (line, (k_part, v_part)) in kv_gradient.chunks_exact_mut(2 * width).zip(parts) {
                line[columns.clone()].copy_from_slice(k_part);
                line[width + columns.start..width + columns.end].copy_from_slice(v_part);
            }
            relative[head * added..(head + 1) * added].copy_from_slice(added_part);
        }
        BY_HEAD.set(by_head);
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

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// Results by head, before they are put side by side. It is taken and put back, since a thread
    /// that waits for heads may begin another sequence.
    static BY_HEAD: RefCell<Vec<f32>> = RefCell::default();
}
