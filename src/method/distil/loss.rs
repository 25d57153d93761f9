//! The terms of the loss, for a student that says of each text a Gaussian over its logits, N(μ, diag v).

use candle_core::{D, Result, Tensor};

/// −ln of the density of each member's logits, as the mean over the members, per contrast of the classes: `[b]`.
///
/// Only differences of logits say anything, so the density is that of the K − 1 orthonormal contrasts Hᵀz: with
/// r = z − μ,
///
/// −2 ln p = Σ_k r_k²/v_k − (Σ_k r_k/v_k)² / Σ_k 1/v_k + Σ_k ln v_k + ln Σ_k 1/v_k − ln K + (K − 1) ln 2π,
///
/// by HᵀCH's determinant, det C · 1ᵀC⁻¹1 / K, and the projection of r along 1. It does not change when all logits
/// of a member, or all means, move together.
pub(super) fn contrast_loss(
    mean_bc: &Tensor,
    variance_bc: &Tensor,
    logit_bmc: &Tensor,
) -> Result<Tensor> {
    let (_, _, classes) = logit_bmc.dims3()?;
    let precision_b1c = variance_bc.recip()?.unsqueeze(1)?;
    let residual_bmc = logit_bmc.broadcast_sub(&mean_bc.unsqueeze(1)?)?;
    let weighted_bmc = residual_bmc.broadcast_mul(&precision_b1c)?;
    let square_bm = (&weighted_bmc * &residual_bmc)?.sum(D::Minus1)?;
    let total_b1 = precision_b1c.sum(D::Minus1)?;
    let along_bm = weighted_bmc.sum(D::Minus1)?.sqr()?.broadcast_div(&total_b1)?;
    let distance_b = (square_bm - along_bm)?.mean(1)?;
    let determinant_b = (variance_bc.log()?.sum(1)? + total_b1.squeeze(1)?.log()?)?;
    let contrasts = (classes - 1) as f64;
    let constant = contrasts * std::f64::consts::TAU.ln() - (classes as f64).ln();
    ((distance_b + determinant_b)? + constant)? * (0.5 / contrasts)
}

/// What keeps a logarithm finite.
const TINY: f64 = 1e-9;

/// ln of the mean of softmax(μ ± √v ∘ ε) over both signs of the draws ε, `[s, c]`, which all rows share: `[b, c]`.
pub(super) fn log_mean_probability(
    mean_bc: &Tensor,
    variance_bc: &Tensor,
    normal_sc: &Tensor,
) -> Result<Tensor> {
    let deviation_1bc = variance_bc.sqrt()?.unsqueeze(0)?;
    let offset_sbc = normal_sc.unsqueeze(1)?.broadcast_mul(&deviation_1bc)?;
    let both_sbc = Tensor::cat(&[&offset_sbc, &offset_sbc.neg()?], 0)?;
    let logit_sbc = both_sbc.broadcast_add(&mean_bc.unsqueeze(0)?)?;
    // The fused softmax has no backward pass.
    let peak_sb1 = logit_sbc.max_keepdim(D::Minus1)?.detach();
    let weight_sbc = logit_sbc.broadcast_sub(&peak_sb1)?.exp()?;
    let sum_sb1 = weight_sbc.sum_keepdim(D::Minus1)?;
    let probability_bc = weight_sbc.broadcast_div(&sum_sb1)?.mean(0)?;
    (probability_bc + TINY)?.log()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::compute::ops::gradient_check::{assert_gradients, sample};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let members = sample(&[2, 3, 4], 5);
        assert_gradients(&[sample(&[2, 4], 1), sample(&[2, 4], 2)], |x| {
            contrast_loss(&x[0], &x[1].exp()?, &members)
        });
        let draws = sample(&[3, 4], 6);
        assert_gradients(&[sample(&[2, 4], 3), sample(&[2, 4], 4)], |x| {
            log_mean_probability(&x[0], &x[1].exp()?, &draws)
        });
    }

    /// Two classes have one contrast, (z₁ − z₀)/√2, whose density is that of one Gaussian.
    #[test]
    fn two_classes_are_one_gaussian() {
        let tensor = |values: &[f64], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let (mean, variance) = (tensor(&[0.3, -0.4], &[1, 2]), tensor(&[0.5, 1.5], &[1, 2]));
        let found = contrast_loss(&mean, &variance, &tensor(&[1.0, 2.0], &[1, 1, 2])).unwrap();
        let found = found.to_vec1::<f64>().unwrap()[0];
        let (residual, spread) = ((1.0 + 0.7) / 2f64.sqrt(), (0.5 + 1.5) / 2.0);
        let exact = 0.5 * (residual * residual / spread + (std::f64::consts::TAU * spread).ln());
        assert!((found - exact).abs() < 1e-12, "{found} {exact}");
    }

    /// Variances that are all 1 leave the contrasts of the centred logits.
    #[test]
    fn a_common_shift_does_not_count() {
        let (mean, members) = (sample(&[1, 4], 1), sample(&[1, 1, 4], 2));
        let variance = sample(&[1, 4], 3).exp().unwrap();
        let of = |mean: &Tensor, variance: &Tensor, members: &Tensor| {
            contrast_loss(mean, variance, members).unwrap().to_vec1::<f64>().unwrap()[0]
        };
        let moved = of(&(&mean + 3.0).unwrap(), &variance, &(&members - 50.0).unwrap());
        assert!((of(&mean, &variance, &members) - moved).abs() < 1e-9);
        let residual: Vec<f64> = (members.squeeze(1).unwrap() - &mean)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let centre = residual.iter().sum::<f64>() / 4.0;
        let squares: f64 = residual.iter().map(|r| (r - centre).powi(2)).sum();
        let exact = 0.5 * (squares / 3.0 + std::f64::consts::TAU.ln());
        let found = of(&mean, &mean.ones_like().unwrap(), &members);
        assert!((found - exact).abs() < 1e-12, "{found} {exact}");
    }
}
