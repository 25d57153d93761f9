//! The training loss.

use candle_core::{D, Result, Tensor};

/// Weighted mean of the cross entropy in nats: `[]`.
///
/// `labels_b` are classes; with smoothing ε the target is (1 - ε) on the label plus ε / C on every
/// class. `weights_b` multiplies each row's loss; the sum is divided by `divisor`, which is the
/// total weight of the whole (accumulated) batch.
pub fn cross_entropy(
    logits_bc: &Tensor,
    labels_b: &[u32],
    weights_b: &[f32],
    smoothing: f64,
    divisor: f64,
) -> Result<Tensor> {
    let (_, classes) = logits_bc.dims2()?;
    let peak_b1 = logits_bc.max_keepdim(D::Minus1)?.detach();
    let shifted_bc = logits_bc.broadcast_sub(&peak_b1)?;
    let log_sum_b1 = shifted_bc.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_probability_bc = shifted_bc.broadcast_sub(&log_sum_b1)?;
    let mut target_bc = vec![(smoothing / classes as f64) as f32; labels_b.len() * classes];
    for (target_c, (&label, &weight)) in
        target_bc.chunks_exact_mut(classes).zip(labels_b.iter().zip(weights_b))
    {
        target_c[label as usize] += (1.0 - smoothing) as f32;
        target_c.iter_mut().for_each(|target| *target *= weight);
    }
    let target_bc = Tensor::from_vec(target_bc, logits_bc.dims(), logits_bc.device())?
        .to_dtype(logits_bc.dtype())?;
    (log_probability_bc * target_bc)?.sum_all()? / -divisor
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for smoothing in [0.0, 0.1] {
            assert_gradients(&[sample(&[3, 4], 1)], |x| {
                cross_entropy(&x[0], &[2, 0, 3], &[1.0, 0.5, 2.0], smoothing, 3.5)
            });
        }
    }

    #[test]
    fn even_logits_cost_the_logarithm_of_the_number_of_classes() {
        let logits = Tensor::new(&[[500.0f64, 500.0, 500.0]], &candle_core::Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &[1], &[1.0], 0.0, 1.0).unwrap();
        assert!((loss.to_scalar::<f64>().unwrap() - 3f64.ln()).abs() < 1e-12);
    }
}
