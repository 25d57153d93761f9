//! From the tokens of a sequence to one vector.

use candle_core::{Result, Tensor};

use crate::compute::Packed;

/// The first token of each sequence: `[b, d]`.
pub fn first_token(x_pd: &Tensor, batch: &Packed) -> Result<Tensor> {
    let starts: Vec<u32> = batch.sequences().map(|(start, _)| start as u32).collect();
    x_pd.index_select(&Tensor::new(starts, x_pd.device())?, 0)
}

/// The mean over the tokens of each sequence: `[b, d]`.
pub fn mean_token(x_pd: &Tensor, batch: &Packed) -> Result<Tensor> {
    let means: Vec<Tensor> = batch
        .sequences()
        .map(|(start, end)| x_pd.narrow(0, start, end - start)?.mean(0))
        .collect::<Result<_>>()?;
    Tensor::stack(&means, 0)
}

/// Each row scaled to the length √d, so that its values are about one: `[b, d]`.
pub fn normalise(x_bd: &Tensor) -> Result<Tensor> {
    let square_b1 = x_bd.sqr()?.mean_keepdim(1)?;
    // A row of zeros stays one.
    x_bd.broadcast_div(&(square_b1 + 1e-12)?.sqrt()?)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;
    use crate::compute::Sequence;

    #[test]
    fn values_and_gradients_are_right() {
        let batch = Packed::new([
            Sequence { ids: vec![1, 2], type_ids: vec![], row: 0 },
            Sequence { ids: vec![3, 4, 5], type_ids: vec![], row: 1 },
        ]);
        let x = sample(&[5, 3], 1);
        assert_gradients(std::slice::from_ref(&x), |x| first_token(&x[0], &batch));
        assert_gradients(std::slice::from_ref(&x), |x| mean_token(&x[0], &batch));
        assert_gradients(std::slice::from_ref(&x), |x| normalise(&x[0]));
        let lines = x.to_vec2::<f64>().unwrap();
        let unit = normalise(&x).unwrap().to_vec2::<f64>().unwrap();
        for line in &unit {
            assert!((line.iter().map(|x| x * x).sum::<f64>() - 3.0).abs() < 1e-9);
        }
        let first = first_token(&x, &batch).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(first, [lines[0].clone(), lines[2].clone()]);
        let mean = mean_token(&x, &batch).unwrap().to_vec2::<f64>().unwrap();
        assert!((mean[1][2] - (lines[2][2] + lines[3][2] + lines[4][2]) / 3.0).abs() < 1e-15);
    }
}
