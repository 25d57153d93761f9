//! Multi-head attention within each sequence of a packed batch.

use candle_core::{D, Result, Tensor};

use super::{Dropout, Relative};
use crate::compute::Packed;

/// How the tokens of a sequence attend to each other.
#[derive(Clone, Copy, Debug)]
pub struct Attending<'a> {
    /// Heads, side by side.
    pub heads: usize,
    /// How many places away from itself a token attends to; all where there is none.
    pub window: Option<usize>,
    /// What scores have beside the products of queries and keys.
    pub relative: Option<&'a Relative>,
}

impl Attending<'_> {
    /// To all tokens of the sequence, wherever they stand.
    pub fn plain(heads: usize) -> Self {
        Self { heads, window: None, relative: None }
    }
}

/// `qkv_pe` is `[p, 3d]`: query, key and value side by side. Gives `[p, d]`, heads side by side.
///
/// Vaswani et al., "Attention is all you need" (2017), equation 1, with dropout on the weights. A
/// sequence is worked on alone, so its result does not depend on its batch.
pub fn attention(
    qkv_pe: &Tensor,
    batch: &Packed,
    attending: Attending<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    by_sequence(qkv_pe, batch, attending, |weight_hst, row| {
        let Some(dropout) = dropout else { return Ok(weight_hst) };
        let (heads, length, _) = weight_hst.dims3()?;
        let mask = dropout.attention_mask(row, heads, length);
        let mask = Tensor::from_vec(mask, (heads, length, length), weight_hst.device())?;
        weight_hst * mask.to_dtype(qkv_pe.dtype())?
    })
}

/// The same with another dropout of the weights `[h, s, t]` of the sequence of a row.
pub(super) fn by_sequence(
    qkv_pe: &Tensor,
    batch: &Packed,
    attending: Attending<'_>,
    dropout: impl Fn(Tensor, u64) -> Result<Tensor>,
) -> Result<Tensor> {
    let (_, stacked) = qkv_pe.dims2()?;
    let heads = attending.heads;
    let width = stacked / 3;
    let head_width = width / heads;
    let mut results = Vec::with_capacity(batch.len());
    for ((start, end), &row) in batch.sequences().zip(batch.rows()) {
        let length = end - start;
        let qkv_se = qkv_pe.narrow(0, start, length)?;
        let qkv_3hsk = qkv_se.reshape((length, 3, heads, head_width))?.permute((1, 2, 0, 3))?;
        let v_htk = qkv_3hsk.get(2)?.contiguous()?;
        let weight_hst = dropout(weights(&qkv_3hsk, attending)?, row)?;
        let mixed_hsk = weight_hst.matmul(&v_htk)?;
        results.push(mixed_hsk.transpose(0, 1)?.reshape((length, width))?);
    }
    Tensor::cat(&results, 0)
}

/// The weights `[h, s, t]` with which the tokens of one sequence attend to each other; `qkv_se` is
/// `[s, 3d]`, as for [`attention`].
pub fn attention_weights(qkv_se: &Tensor, attending: Attending<'_>) -> Result<Tensor> {
    let (length, stacked) = qkv_se.dims2()?;
    let heads = attending.heads;
    let qkv_3hsk = qkv_se.reshape((length, 3, heads, stacked / 3 / heads))?;
    weights(&qkv_3hsk.permute((1, 2, 0, 3))?, attending)
}

fn weights(qkv_3hsk: &Tensor, attending: Attending<'_>) -> Result<Tensor> {
    let q_hsk = qkv_3hsk.get(0)?.contiguous()?;
    let k_htk = qkv_3hsk.get(1)?.contiguous()?;
    let score_hst = match attending.relative {
        Some(relative) => relative.scores(&q_hsk, &k_htk)?,
        None => {
            let scale = 1.0 / (q_hsk.dim(D::Minus1)? as f64).sqrt();
            (q_hsk.matmul(&k_htk.t()?)? * scale)?
        }
    };
    match attending.window {
        Some(window) => softmax(&score_hst.broadcast_add(&band(window, &score_hst)?)?),
        None => softmax(&score_hst),
    }
}

/// −∞ where a token does not attend to another, else 0: `[1, s, t]`.
fn band(window: usize, score_hst: &Tensor) -> Result<Tensor> {
    let (_, length, _) = score_hst.dims3()?;
    let places = (0..length).flat_map(|s| (0..length).map(move |t| s.abs_diff(t)));
    let hidden = places.map(|far| if far > window { f32::NEG_INFINITY } else { 0.0 });
    let band_1st = Tensor::from_iter(hidden, score_hst.device())?.reshape((1, length, length))?;
    band_1st.to_dtype(score_hst.dtype())
}

/// Softmax over the last axis, as a composition that has a backward pass.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let exponential = shifted.exp()?;
    exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use std::sync::Arc;

    use super::super::Disentangled;
    use super::*;
    use crate::compute::{Noise, RelativeRows, Sequence};

    fn batch(lengths: &[usize]) -> Packed {
        let sequence = |(row, &length): (usize, &usize)| Sequence {
            ids: vec![0; length],
            type_ids: vec![],
            row: row as u64,
        };
        Packed::new(lengths.iter().enumerate().map(sequence))
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let batch = batch(&[1, 4, 2]);
        let dropout = Dropout::new(&Noise::new(1), 0, 0, 0.3);
        for (window, dropout) in [(None, None), (None, Some(dropout)), (Some(1), Some(dropout))] {
            assert_gradients(&[sample(&[7, 12], 1)], |x| {
                attention(&x[0], &batch, Attending { window, ..Attending::plain(2) }, dropout)
            });
        }
    }

    #[test]
    fn a_bias_by_distance_has_the_gradients_of_finite_differences() {
        let batch = batch(&[1, 4, 2]);
        let rows = Arc::new(RelativeRows::new(5, |distance| (2 + distance).clamp(0, 3) as u32));
        let dropout = Some(Dropout::new(&Noise::new(1), 0, 0, 0.3));
        assert_gradients(&[sample(&[7, 12], 1), sample(&[4, 2], 2)], |x| {
            let relative = Relative::Bias { table_rh: x[1].clone(), rows: rows.clone() };
            attention(
                &x[0],
                &batch,
                Attending { relative: Some(&relative), ..Attending::plain(2) },
                dropout,
            )
        });
    }

    #[test]
    fn disentangled_scores_have_the_gradients_of_finite_differences() {
        let batch = batch(&[1, 4, 2]);
        let rows = Arc::new(RelativeRows::new(5, |distance| (2 + distance).clamp(0, 3) as u32));
        let dropout = Some(Dropout::new(&Noise::new(1), 0, 0, 0.3));
        for (keys, queries) in [(true, true), (true, false), (false, true)] {
            let table = |seed| sample(&[4, 4], seed);
            let tables = [keys.then(|| table(2)), queries.then(|| table(3))];
            let inputs = [Some(sample(&[7, 12], 1))].into_iter().chain(tables).flatten();
            assert_gradients(&inputs.collect::<Vec<_>>(), |x| {
                let relative = Relative::Disentangled(Disentangled {
                    key_rd: keys.then(|| x[1].clone()),
                    query_rd: queries.then(|| x[x.len() - 1].clone()),
                    terms: 3,
                    rows: rows.clone(),
                });
                let attending = Attending { relative: Some(&relative), ..Attending::plain(2) };
                attention(&x[0], &batch, attending, dropout)
            });
        }
    }

    /// The row of a pair is that of s − t for both terms: written out for one head.
    #[test]
    fn disentangled_scores_read_one_row_for_a_pair() {
        let (qkv, keys, queries) = (sample(&[3, 6], 4), sample(&[5, 2], 5), sample(&[5, 2], 6));
        let relative = Relative::Disentangled(Disentangled {
            key_rd: Some(keys.clone()),
            query_rd: Some(queries.clone()),
            terms: 3,
            rows: Arc::new(RelativeRows::new(3, |distance| (2 + distance) as u32)),
        });
        let attending = Attending { relative: Some(&relative), ..Attending::plain(1) };
        let found = attention_weights(&qkv, attending).unwrap().get(0).unwrap();
        let found = found.to_vec2::<f64>().unwrap();
        let rows = |x: &Tensor| x.to_vec2::<f64>().unwrap();
        let (x, keys, queries) = (rows(&qkv), rows(&keys), rows(&queries));
        let dot = |a: &[f64], b: &[f64]| a[0] * b[0] + a[1] * b[1];
        for s in 0..3 {
            let score = |t: usize| {
                let (q, k, r) = (&x[s][..2], &x[t][2..4], 2 + s - t);
                (dot(q, k) + dot(q, &keys[r]) + dot(k, &queries[r])) / 6f64.sqrt()
            };
            let total: f64 = (0..3).map(|t| score(t).exp()).sum();
            for (t, found) in found[s].iter().enumerate() {
                assert!((found - score(t).exp() / total).abs() < 1e-12);
            }
        }
    }

    /// Against the sums written out for one head.
    #[test]
    fn weights_are_the_softmax_of_scaled_products() {
        let qkv = sample(&[4, 6], 4);
        let x = qkv.to_vec2::<f64>().unwrap();
        for (window, reach) in [(None, 4), (Some(4), 4), (Some(2), 2), (Some(1), 1), (Some(0), 0)] {
            let found =
                attention(&qkv, &batch(&[4]), Attending { window, ..Attending::plain(1) }, None)
                    .unwrap();
            let found = found.to_vec2::<f64>().unwrap();
            for s in 0..4usize {
                let read = || (0..4).filter(|&t| s.abs_diff(t) <= reach);
                let score = |t: usize| (x[s][0] * x[t][2] + x[s][1] * x[t][3]) / 2f64.sqrt();
                let total: f64 = read().map(|t| score(t).exp()).sum();
                for k in 0..2 {
                    let mixed: f64 = read().map(|t| score(t).exp() / total * x[t][4 + k]).sum();
                    assert!((found[s][k] - mixed).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn sequences_do_not_see_each_other() {
        let qkv = sample(&[5, 12], 2);
        let both = attention(&qkv, &batch(&[2, 3]), Attending::plain(2), None).unwrap();
        let alone =
            attention(&qkv.narrow(0, 2, 3).unwrap(), &batch(&[3]), Attending::plain(2), None)
                .unwrap();
        let both = both.narrow(0, 2, 3).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(both, alone.to_vec2::<f64>().unwrap());
    }
}
