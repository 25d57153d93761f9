//! Layer normalisation of a sum.

use candle_core::{D, Result, Tensor};

/// Layer norm over the last axis of `x_pd + residual_pd`, with γ and β stacked as `[2, d]`, or with γ alone,
/// `[1, d]`.
/// Ba, Kiros and Hinton, "Layer normalization" (2016), equation 4, with the biased variance.
pub fn add_layer_norm(
    x_pd: &Tensor,
    residual_pd: Option<&Tensor>,
    gamma_beta_2d: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let sum_pd = match residual_pd {
        Some(residual_pd) => (x_pd + residual_pd)?,
        None => x_pd.clone(),
    };
    let centred_pd = sum_pd.broadcast_sub(&sum_pd.mean_keepdim(D::Minus1)?)?;
    let variance_p1 = centred_pd.sqr()?.mean_keepdim(D::Minus1)?;
    let normed_pd = centred_pd.broadcast_div(&(variance_p1 + epsilon)?.sqrt()?)?;
    let scaled_pd = normed_pd.broadcast_mul(&gamma_beta_2d.get(0)?)?;
    match gamma_beta_2d.dim(0)? {
        1 => Ok(scaled_pd),
        _ => scaled_pd.broadcast_add(&gamma_beta_2d.get(1)?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let inputs = [sample(&[3, 7], 1), sample(&[3, 7], 2), sample(&[2, 7], 3)];
        assert_gradients(&inputs, |x| add_layer_norm(&x[0], Some(&x[1]), &x[2], 1e-5));
        assert_gradients(&[inputs[0].clone(), inputs[2].clone()], |x| {
            add_layer_norm(&x[0], None, &x[1], 1e-12)
        });
        assert_gradients(&[inputs[0].clone(), sample(&[1, 7], 4)], |x| {
            add_layer_norm(&x[0], None, &x[1], 1e-5)
        });
    }

    #[test]
    fn lines_have_mean_beta_and_deviation_gamma() {
        let gamma_beta = Tensor::new(&[[2.0f64; 8], [3.0; 8]], &candle_core::Device::Cpu).unwrap();
        let y = add_layer_norm(&sample(&[4, 8], 5), None, &gamma_beta, 0.0).unwrap();
        for line in y.to_vec2::<f64>().unwrap() {
            let mean = line.iter().sum::<f64>() / 8.0;
            let variance = line.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 8.0;
            assert!((mean - 3.0).abs() < 1e-12 && (variance - 4.0).abs() < 1e-12);
        }
    }
}
