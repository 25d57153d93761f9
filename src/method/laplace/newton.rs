//! The Newton step of a softmax head, in f32: it only has to point downhill. Gradient, loss and logits,
//! which decide where the weights come to rest, are in f64.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::kronecker::Kronecker;
use crate::posterior::algebra::{Design, Eigen};

const CONJUGATE_STEPS: usize = 200;

/// What all steps on the same rows share.
pub struct Space {
    /// Φ, `[n, D]`.
    design_nd: Tensor,
    /// What each row counts, `[n]`.
    weight_n: Vec<f32>,
    /// Eigenvectors of A, line by line: `[D, D]`.
    feature_rows: Tensor,
}

/// H = Σ c_n Λ_n ⊗ φ̃φ̃ᵀ + prior · I at a mode, and what is near its inverse.
pub struct Curvature<'a> {
    space: &'a Space,
    /// p(class | row), `[n, k]`.
    probability_nk: Vec<f32>,
    prior: f32,
    /// Eigenvectors of B line by line, `[k - 1, k]`.
    logit_rows: Tensor,
    /// 1 / (λ_A λ_B + prior), `[k - 1, D]`.
    inverse: Tensor,
}

impl Space {
    pub fn new(design: &Design, weight_n: &[f64], second_moment: &Eigen) -> Result<Self> {
        let width = design.width();
        let feature_rows = lines(second_moment, width, width)?;
        let weight_n = weight_n.iter().map(|&weight| weight as f32).collect();
        Ok(Self { design_nd: design.single()?, weight_n, feature_rows })
    }

    pub fn curvature(
        &self,
        probability_nk: &[f64],
        factors: &Kronecker,
        prior: f64,
    ) -> Result<Curvature<'_>> {
        let (a, b) = (&factors.features.values, &factors.logits.values);
        let of_logit = |&b: &f64| a.iter().map(move |a| (a * b + prior).recip() as f32);
        let inverse: Vec<f32> = b.iter().flat_map(of_logit).collect();
        Ok(Curvature {
            space: self,
            probability_nk: probability_nk.par_iter().map(|&p| p as f32).collect(),
            prior: prior as f32,
            logit_rows: lines(&factors.logits, b.len(), b.len() + 1)?,
            inverse: Tensor::from_vec(inverse, (b.len(), a.len()), &Device::Cpu)?,
        })
    }
}

/// Eigenvectors line by line.
fn lines(eigen: &Eigen, count: usize, width: usize) -> Result<Tensor> {
    Tensor::from_slice(eigen.vectors.as_slice(), (count, width), &Device::Cpu)?.to_dtype(DType::F32)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

impl Curvature<'_> {
    fn matrix(&self, v_kd: &[f32]) -> Result<Tensor> {
        let width = self.inverse.dim(1)?;
        Tensor::from_slice(v_kd, (v_kd.len() / width, width), &Device::Cpu)
    }

    /// H v for a centred `[k, D]`.
    pub fn product(&self, v_kd: &[f32]) -> Result<Vec<f32>> {
        let design_nd = &self.space.design_nd;
        let v = self.matrix(v_kd)?;
        let moved = design_nd.matmul(&v.t()?)?;
        let (rows, classes) = moved.dims2()?;
        let mut weighted_nk = values(&moved)?;
        let lines = weighted_nk.par_chunks_mut(classes).zip(&self.space.weight_n);
        lines.zip(self.probability_nk.par_chunks(classes)).for_each(|((line, weight), p_k)| {
            let mean: f32 = line.iter().zip(p_k).map(|(value, p)| value * p).sum();
            line.iter_mut().zip(p_k).for_each(|(value, p)| *value = weight * (p * (*value - mean)));
        });
        let weighted = Tensor::from_vec(weighted_nk, (rows, classes), &Device::Cpu)?;
        let mut product_kd = values(&weighted.t()?.matmul(design_nd)?)?;
        product_kd.iter_mut().zip(v_kd).for_each(|(product, v)| *product += self.prior * v);
        Ok(product_kd)
    }

    /// (B ⊗ A + prior · I)⁻¹ g for a centred `[k, D]`.
    pub fn precondition(&self, g_kd: &[f32]) -> Result<Vec<f32>> {
        let (q_a, q_b) = (&self.space.feature_rows, &self.logit_rows);
        let inner = q_b.matmul(&self.matrix(g_kd)?)?.matmul(&q_a.t()?)?;
        values(&q_b.t()?.matmul(&(inner * &self.inverse)?)?.matmul(q_a)?)
    }

    /// v with H v = −gradient by preconditioned conjugate gradients, until the residual is `forcing`
    /// times as long as the gradient, both as the preconditioner measures them.
    pub fn step(&self, gradient_kd: &[f64], forcing: f64) -> Result<Vec<f64>> {
        let mut residual_kd: Vec<f32> = gradient_kd.iter().map(|&value| -value as f32).collect();
        let mut v_kd = vec![0.0; residual_kd.len()];
        let mut direction_kd = self.precondition(&residual_kd)?;
        let mut size = dot(&residual_kd, &direction_kd);
        let enough = forcing * forcing * size;
        for _ in 0..CONJUGATE_STEPS {
            let curved_kd = self.product(&direction_kd)?;
            let length = size / dot(&direction_kd, &curved_kd);
            if !length.is_finite() || length <= 0.0 {
                break; // All that is left is rounding.
            }
            add(&mut v_kd, length as f32, &direction_kd);
            add(&mut residual_kd, -length as f32, &curved_kd);
            let scaled_kd = self.precondition(&residual_kd)?;
            let next = dot(&residual_kd, &scaled_kd);
            if next <= enough {
                break;
            }
            let keep = (next / size) as f32;
            for (direction, scaled) in direction_kd.iter_mut().zip(&scaled_kd) {
                *direction = scaled + keep * *direction;
            }
            size = next;
        }
        Ok(v_kd.into_iter().map(f64::from).collect())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn add(sum: &mut [f32], factor: f32, values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}
