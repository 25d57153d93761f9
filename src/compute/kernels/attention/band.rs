//! Sliding windows: which keys a block of queries reads.
//!
//! Beltagy, Peters and Cohan, "Longformer" (2020), section 3.1: a query at place s reads the keys at
//! |s − t| ≤ w, both ends included. A block of queries works on the keys that any of them reads, so
//! that time and memory are linear in the length; what single queries do not read is hidden.

use std::ops::Range;

use super::block::{Line, QUERIES};

/// The keys of a block.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) keys: Range<usize>,
    /// Keys on each side of a query, and the place of the block's first query.
    band: Option<(usize, usize)>,
}

impl Reach {
    pub(super) fn all(keys: usize) -> Self {
        Self { keys: 0..keys, band: None }
    }

    /// Of `queries` by their places, in whole tiles of keys.
    pub(super) fn within(window: usize, queries: Range<usize>, keys: usize, tile: usize) -> Self {
        let start = queries.start.saturating_sub(window) / tile * tile;
        let end = queries.end.saturating_add(window).min(keys).next_multiple_of(tile);
        Self { keys: start..end.min(keys), band: Some((window, queries.start)) }
    }

    /// Puts `value` where a query does not read a key; `lines` are those of the keys.
    #[inline(always)]
    pub(super) fn hide(&self, lines: &mut [Line], value: f32) {
        let Some((window, first)) = self.band else { return };
        for (key, line) in self.keys.clone().zip(lines) {
            let start = key.saturating_sub(window.saturating_add(first));
            let end = key.saturating_add(window).saturating_add(1).saturating_sub(first);
            line[..start.min(QUERIES)].fill(value);
            line[end.min(QUERIES)..].fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor, Var};

    use super::super::{Attention, RelativeGradient, Span};
    use crate::compute::ops::gradient_check::sample;
    use crate::compute::ops::{Attending, Dropout, attention};
    use crate::compute::{Noise, Packed, Sequence};

    const HEADS: usize = 2;
    const WIDTH: usize = 2 * 20;

    /// One attention, forward and backward: results, and gradients of queries, keys beside values.
    #[derive(Debug, PartialEq)]
    struct Run {
        result: Vec<f32>,
        query: Vec<f32>,
        key_value: Vec<f32>,
    }

    fn batch(lengths: &[usize]) -> Packed {
        let sequence = |(row, &length): (usize, &usize)| Sequence {
            ids: vec![0; length],
            type_ids: vec![],
            row: row as u64 + 7,
        };
        Packed::new(lengths.iter().enumerate().map(sequence))
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        let tensor = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        tensor.to_vec1().unwrap()
    }

    /// The lines of the queries: of all tokens, or of the first of each sequence.
    fn lines(batch: &Packed, first: bool) -> Vec<u32> {
        let ends = |(start, end)| start as u32..if first { start as u32 + 1 } else { end as u32 };
        batch.sequences().flat_map(ends).collect()
    }

    fn weight(batch: &Packed, first: bool) -> Tensor {
        sample(&[lines(batch, first).len(), WIDTH], 5)
    }

    fn by_kernel(
        qkv: &Tensor,
        batch: &Packed,
        first: bool,
        window: Option<usize>,
        dropout: Option<Dropout>,
    ) -> Run {
        let chosen = lines(batch, first);
        let index = Tensor::new(&chosen[..], qkv.device()).unwrap();
        let q = qkv.narrow(1, 0, WIDTH).unwrap().contiguous().unwrap();
        let q = flat(&q.index_select(&index, 0).unwrap());
        let kv = flat(&qkv.narrow(1, WIDTH, 2 * WIDTH).unwrap().contiguous().unwrap());
        let mut before = 0;
        let spans = batch.sequences().zip(batch.rows()).map(|((start, end), &row)| {
            let queries = before..before + if first { 1 } else { end - start };
            before = queries.end;
            Span { queries, keys: start..end, row }
        });
        let spans: Vec<Span> = spans.collect();
        let dropout = dropout.and_then(Dropout::factors);
        let relative = None;
        let attention =
            Attention { spans: &spans, heads: HEADS, width: WIDTH, window, relative, dropout };
        let mut result = vec![0.0; q.len()];
        let mut log_sums = vec![0.0; HEADS * chosen.len()];
        attention.forward(&q, &kv, &mut result, &mut log_sums);
        let gradient = flat(&weight(batch, first));
        // What stood there before must not matter.
        let (mut query, mut key_value) = (vec![9.0; q.len()], vec![9.0; kv.len()]);
        let gradients = (&mut query[..], &mut key_value[..]);
        let none = &mut RelativeGradient::default();
        attention.backward(&q, &kv, &result, &log_sums, &gradient, gradients.0, gradients.1, none);
        Run { result, query, key_value }
    }

    fn plainly(
        qkv: &Tensor,
        batch: &Packed,
        first: bool,
        window: Option<usize>,
        dropout: Option<Dropout>,
    ) -> Run {
        let qkv = Var::from_tensor(&qkv.to_dtype(DType::F64).unwrap()).unwrap();
        let index = Tensor::new(&lines(batch, first)[..], qkv.device()).unwrap();
        let result =
            attention(&qkv, batch, Attending { window, ..Attending::plain(HEADS) }, dropout)
                .unwrap();
        let result = result.index_select(&index, 0).unwrap();
        let objective = (&result * weight(batch, first)).unwrap().sum_all().unwrap();
        let gradients = objective.backward().unwrap();
        let gradient = gradients.get(&qkv).unwrap();
        let query = gradient.narrow(1, 0, WIDTH).unwrap().contiguous().unwrap();
        let key_value = gradient.narrow(1, WIDTH, 2 * WIDTH).unwrap().contiguous().unwrap();
        Run {
            result: flat(&result),
            query: flat(&query.index_select(&index, 0).unwrap()),
            key_value: flat(&key_value),
        }
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len());
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            let far = (found - expected).abs();
            assert!(far < 1e-5 * (1.0 + expected.abs()), "{what} {place}: {found} for {expected}");
        }
    }

    /// Lengths below, at and above a block of queries, a tile of keys and a chunk of noise.
    #[test]
    fn the_kernel_agrees_with_the_plain_operation_and_its_gradients() {
        let batch = batch(&[1, 2, 31, 32, 33, 75, 290]);
        let qkv = sample(&[batch.tokens(), 3 * WIDTH], 3).affine(2.0, 0.0).unwrap();
        let dropout = Dropout::new(&Noise::new(1), 0, 0, 0.3);
        for window in [None, Some(0), Some(1), Some(4), Some(30), Some(64), Some(usize::MAX)] {
            for (first, dropout) in [(false, None), (false, Some(dropout)), (true, Some(dropout))] {
                let found = by_kernel(&qkv, &batch, first, window, dropout);
                let expected = plainly(&qkv, &batch, first, window, dropout);
                assert_close(&found.result, &expected.result, "result");
                assert_close(&found.query, &expected.query, "query");
                assert_close(&found.key_value, &expected.key_value, "key and value");
            }
        }
    }

    #[test]
    fn a_window_that_reaches_everything_changes_no_bit() {
        let batch = batch(&[75, 3]);
        let qkv = sample(&[78, 3 * WIDTH], 3);
        let run = |window| by_kernel(&qkv, &batch, false, window, None);
        assert_eq!(run(None), run(Some(74)));
        assert_ne!(run(None), run(Some(73)));
    }

    #[test]
    fn neither_the_batch_nor_the_threads_change_a_bit() {
        let noise = Dropout::new(&Noise::new(1), 0, 0, 0.3);
        let both = batch(&[75, 130]);
        let qkv = sample(&[205, 3 * WIDTH], 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| by_kernel(&qkv, &both, false, Some(9), Some(noise)))
        };
        let (one, three) = (run(1), run(3));
        assert_eq!(one, three);
        let own = qkv.narrow(0, 0, 75).unwrap().contiguous().unwrap();
        let alone = by_kernel(&own, &batch(&[75]), false, Some(9), Some(noise));
        assert_eq!(alone.result, one.result[..75 * WIDTH]);
        // The gradients' weights are drawn line by line, so they are those of the first lines.
        assert_eq!(alone.query, one.query[..75 * WIDTH]);
        assert_eq!(alone.key_value, one.key_value[..75 * 2 * WIDTH]);
    }
}
