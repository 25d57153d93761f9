//! Layer norm of a sum, with a backward pass in two sums over a line.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::elementwise::column_sums;
use super::storage::{Operand, floats};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;

/// As [`ops::add_layer_norm`](crate::compute::ops::add_layer_norm): `x_pd` may be bf16, and all else is f32.
pub fn add_layer_norm(
    x_pd: &Tensor,
    residual_pd: Option<&Tensor>,
    gamma_beta_2d: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let op = Norm { epsilon: epsilon as f32 };
    let x_pd = x_pd.contiguous()?;
    match residual_pd {
        Some(residual_pd) => x_pd.apply_op3(&residual_pd.contiguous()?, gamma_beta_2d, op),
        None => x_pd.apply_op2(gamma_beta_2d, op),
    }
}

#[derive(Clone, Copy)]
struct Norm {
    epsilon: f32,
}

/// A line without its mean, over its deviation, in the place of it; and one over the deviation.
fn normalise(line: &mut [f32], epsilon: f32) -> f32 {
    let width = line.len() as f32;
    let mean = line.iter().sum::<f32>() / width;
    line.iter_mut().for_each(|value| *value -= mean);
    let variance = line.iter().map(|value| value * value).sum::<f32>() / width;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    line.iter_mut().for_each(|value| *value *= inverse);
    inverse
}

impl Norm {
    fn normed(
        self,
        x: Operand<'_, CpuStorage>,
        residual: Option<Operand<'_, CpuStorage>>,
        gamma_beta: Operand<'_, CpuStorage>,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = x.1.shape().dims2()?;
        let mut values = floats(x)?.into_owned();
        if let Some(residual) = residual {
            let residual = floats(residual)?;
            values.iter_mut().zip(residual.iter()).for_each(|(value, other)| *value += other);
        }
        let gamma_beta = floats(gamma_beta)?;
        let (gamma, beta) = gamma_beta.split_at(width);
        values.par_chunks_exact_mut(width).for_each(|line| {
            normalise(line, self.epsilon);
            line.iter_mut().zip(gamma).for_each(|(value, gamma)| *value *= gamma);
            line.iter_mut().zip(beta).for_each(|(value, beta)| *value += beta);
        });
        Ok((CpuStorage::F32(values), x.1.shape().clone()))
    }

    /// Gradients of the sum and of γ and β.
    fn backward(
        self,
        sum_pd: &Tensor,
        gamma_beta_2d: &Tensor,
        gradient_pd: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (sum_pd, gradient_pd) = (sum_pd.contiguous()?, gradient_pd.contiguous()?);
        let lines = gamma_beta_2d.dim(0)?;
        let of_sum = sum_pd.apply_op3_no_bwd(gamma_beta_2d, &gradient_pd, &NormBack(self))?;
        let of_both =
            sum_pd.apply_op2_no_bwd(&gradient_pd, &NormParameters { norm: self, lines })?;
        Ok((of_sum, of_both))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma_beta: &CpuStorage,
        gamma_beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.normed((x, x_layout), None, (gamma_beta, gamma_beta_layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gamma_beta: &CudaStorage,
        gamma_beta_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gamma_beta = (gamma_beta, gamma_beta_layout);
        let normed = kernels::norm((x, x_layout), None, gamma_beta, self.epsilon)?;
        Ok((normed, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x_pd: &Tensor,
        gamma_beta_2d: &Tensor,
        _: &Tensor,
        gradient_pd: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_both) =
            self.backward(&x_pd.to_dtype(DType::F32)?, gamma_beta_2d, gradient_pd)?;
        Ok((Some(of_x.to_dtype(x_pd.dtype())?), Some(of_both)))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm_of_sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
        gamma_beta: &CpuStorage,
        gamma_beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = Some((residual, residual_layout));
        self.normed((x, x_layout), residual, (gamma_beta, gamma_beta_layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        residual: &CudaStorage,
        residual_layout: &Layout,
        gamma_beta: &CudaStorage,
        gamma_beta_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (residual, gamma_beta) =
            (Some((residual, residual_layout)), (gamma_beta, gamma_beta_layout));
        let normed = kernels::norm((x, x_layout), residual, gamma_beta, self.epsilon)?;
        Ok((normed, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x_pd: &Tensor,
        residual_pd: &Tensor,
        gamma_beta_2d: &Tensor,
        _: &Tensor,
        gradient_pd: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sum_pd = (x_pd.to_dtype(DType::F32)? + residual_pd)?;
        let (of_sum, of_both) = self.backward(&sum_pd, gamma_beta_2d, gradient_pd)?;
        Ok((Some(of_sum.to_dtype(x_pd.dtype())?), Some(of_sum), Some(of_both)))
    }
}

/// The gradient of the sum, from the sum, γ and β, and the gradient of the norm.
struct NormBack(Norm);

impl CustomOp3 for NormBack {
    fn name(&self) -> &'static str {
        "norm_backward"
    }

    fn cpu_fwd(
        &self,
        sum: &CpuStorage,
        sum_layout: &Layout,
        gamma_beta: &CpuStorage,
        gamma_beta_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = sum_layout.shape().dims2()?;
        let gamma_beta = floats((gamma_beta, gamma_beta_layout))?;
        let gamma = &gamma_beta[..width];
        let mut values = floats((sum, sum_layout))?.into_owned();
        let gradient = floats((gradient, gradient_layout))?;
        let lines = values.par_chunks_exact_mut(width).zip(gradient.par_chunks_exact(width));
        lines.for_each(|(line, gradient)| {
            let inverse = normalise(line, self.0.epsilon);
            let scaled: Vec<f32> = gradient.iter().zip(gamma).map(|(g, gamma)| g * gamma).collect();
            let mean = scaled.iter().sum::<f32>() / width as f32;
            let along = scaled.iter().zip(line.iter()).map(|(g, n)| g * n).sum::<f32>();
            let along = along / width as f32;
            for (value, g) in line.iter_mut().zip(scaled) {
                *value = inverse * (g - mean - *value * along);
            }
        });
        Ok((CpuStorage::F32(values), sum_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        sum: &CudaStorage,
        sum_layout: &Layout,
        gamma_beta: &CudaStorage,
        gamma_beta_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (gamma_beta, gradient) = ((gamma_beta, gamma_beta_layout), (gradient, gradient_layout));
        let sum = (sum, sum_layout);
        let of_sum = kernels::norm_backward(sum, None, gamma_beta, gradient, self.0.epsilon)?;
        Ok((of_sum, sum_layout.shape().clone()))
    }
}

/// The gradients of γ and of β, where there are two lines, from the sum and the gradient of the norm.
struct NormParameters {
    norm: Norm,
    lines: usize,
}

impl CustomOp2 for NormParameters {
    fn name(&self) -> &'static str {
        "norm_parameters"
    }

    fn cpu_fwd(
        &self,
        sum: &CpuStorage,
        sum_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = sum_layout.shape().dims2()?;
        let mut values = floats((sum, sum_layout))?.into_owned();
        let gradient = floats((gradient, gradient_layout))?;
        values.par_chunks_exact_mut(width).for_each(|line| {
            normalise(line, self.norm.epsilon);
        });
        values.iter_mut().zip(gradient.iter()).for_each(|(value, g)| *value *= g);
        let mut both = column_sums(&values, width);
        if self.lines > 1 {
            both.extend(column_sums(&gradient, width));
        }
        Ok((CpuStorage::F32(both), (self.lines, width).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        sum: &CudaStorage,
        sum_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (_, width) = sum_layout.shape().dims2()?;
        let (sum, gradient) = ((sum, sum_layout), (gradient, gradient_layout));
        let both = kernels::norm_parameters(sum, None, gradient, self.lines, self.norm.epsilon)?;
        Ok((both, (self.lines, width).into()))
    }
}
