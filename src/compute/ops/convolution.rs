//! A convolution over the tokens of each sequence.

use candle_core::{Result, Tensor};

use super::linear;
use crate::compute::Packed;

/// `x_pd` is `[p, d]`; `weight_oi` is `[d, i]`, for each result the features of its group, beside one another
/// those of the tokens of a window around it; `bias_o` is `[d]`. Beyond the ends of a sequence are zeros.
pub fn convolve(
    x_pd: &Tensor,
    weight_oi: &Tensor,
    bias_o: &Tensor,
    batch: &Packed,
    groups: usize,
) -> Result<Tensor> {
    let (_, width) = x_pd.dims2()?;
    let (outputs, inputs) = (width / groups, width / groups);
    let window = weight_oi.dim(1)? / inputs;
    let edge = window / 2;
    let zeros = Tensor::zeros((edge.max(1), width), x_pd.dtype(), x_pd.device())?;
    let mut results = Vec::with_capacity(batch.len());
    for (start, end) in batch.sequences() {
        let length = end - start;
        let own = x_pd.narrow(0, start, length)?;
        // A window of one token has no edge.
        let padded = match edge {
            0 => own,
            _ => Tensor::cat(&[&zeros, &own, &zeros], 0)?,
        };
        let mut parts = Vec::with_capacity(groups);
        for group in 0..groups {
            let own = padded.narrow(1, group * inputs, inputs)?;
            let places = (0..window).map(|place| own.narrow(0, place, length));
            let patches_siw = Tensor::stack(&places.collect::<Result<Vec<_>>>()?, 2)?;
            let patches_si = patches_siw.reshape((length, inputs * window))?;
            let weight_oi = weight_oi.narrow(0, group * outputs, outputs)?;
            parts.push(linear(&patches_si, &weight_oi, None)?);
        }
        results.push(Tensor::cat(&parts, 1)?);
    }
    Tensor::cat(&results, 0)?.broadcast_add(bias_o)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;
    use crate::compute::Sequence;

    fn batch(lengths: &[usize]) -> Packed {
        Packed::new(
            lengths.iter().map(|&length| Sequence { ids: vec![0; length], ..Sequence::default() }),
        )
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (groups, window) in [(1, 3), (2, 3), (4, 1), (1, 5)] {
            let inputs =
                [sample(&[6, 4], 1), sample(&[4, 4 / groups * window], 2), sample(&[4], 3)];
            assert_gradients(&inputs, |x| {
                convolve(&x[0], &x[1], &x[2], &batch(&[1, 3, 2]), groups)
            });
        }
    }

    /// Against the sum written out, for two groups and a window of three.
    #[test]
    fn a_result_is_made_of_its_group_and_of_its_neighbours() {
        let (x, w, b) = (sample(&[5, 4], 1), sample(&[4, 6], 2), sample(&[4], 3));
        let found = convolve(&x, &w, &b, &batch(&[3, 2]), 2).unwrap().to_vec2::<f64>().unwrap();
        let (x, w) = (x.to_vec2::<f64>().unwrap(), w.to_vec2::<f64>().unwrap());
        let b = b.to_vec1::<f64>().unwrap();
        for (token, own) in [(0, 0..3), (1, 0..3), (2, 0..3), (3, 3..5), (4, 3..5)] {
            for out in 0..4 {
                let mut sum = b[out];
                for input in 0..2 {
                    for place in 0..3 {
                        let other = token as i64 + place as i64 - 1;
                        if own.contains(&(other as usize)) {
                            sum +=
                                w[out][input * 3 + place] * x[other as usize][out / 2 * 2 + input];
                        }
                    }
                }
                assert!((found[token][out] - sum).abs() < 1e-12, "{token} {out}");
            }
        }
    }
}
