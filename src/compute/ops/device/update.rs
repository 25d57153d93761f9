//! What an optimizer does to tensors in their place.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, InplaceOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, floats_mut};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;

/// Values whose squares are added up before they are added to the others.
const BLOCK: usize = 1 << 14;

/// The sum of squares, f64, of each of the parts, of these lengths, that the values of `x`, f32, stand in.
pub fn square_sums(x: &Tensor, parts: Vec<usize>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&SquareSums(parts))
}

struct SquareSums(Vec<usize>);

impl CustomOp1 for SquareSums {
    fn name(&self) -> &'static str {
        "square_sums"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = floats((x, layout))?;
        let square =
            |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let (mut sums, mut start) = (Vec::new(), 0);
        for &length in &self.0 {
            let part = &values[start..start + length];
            sums.push(part.par_chunks(BLOCK).map(square).collect::<Vec<_>>().iter().sum());
            start += length;
        }
        let shape = sums.len().into();
        Ok((CpuStorage::F64(sums), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((kernels::square_sums((x, layout), &self.0)?, self.0.len().into()))
    }
}

/// What one step of AdamW needs to know besides the values.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// Learning rate over the bias correction of the first moment.
    pub rate: f32,
    /// Root of the bias correction of the second moment.
    pub root: f32,
    /// 1 - learning rate × decay.
    pub shrink: f32,
    /// What the gradient is multiplied with: 1, or less where its norm is clipped.
    pub scale: f32,
}

impl AdamW {
    /// One step of a weight with the moments `[2, n]` and the gradient `[n]`, by the rules of the CPU engine's optimizer
    /// and to its bits.
    pub fn step(self, weight: &Tensor, moments_2n: &Tensor, gradient: &Tensor) -> Result<()> {
        moments_2n.inplace_op2(&gradient.contiguous()?, &Moments(self))?;
        weight.inplace_op2(moments_2n, &Weights(self))
    }
}

struct Moments(AdamW);

impl InplaceOp2 for Moments {
    fn name(&self) -> &'static str {
        "adamw_moments"
    }

    fn cpu_fwd(
        &self,
        moments: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let k = self.0;
        let gradient = floats((gradient, gradient_layout))?;
        let (first, second) = floats_mut(moments, layout)?.split_at_mut(gradient.len());
        for ((m, v), &g) in first.iter_mut().zip(second).zip(gradient.iter()) {
            let g = g * k.scale;
            *m = k.beta1 * *m + (1.0 - k.beta1) * g;
            *v = k.beta2 * *v + (1.0 - k.beta2) * g * g;
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        moments: &mut CudaStorage,
        layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        kernels::adamw_moments((moments, layout), (gradient, gradient_layout), self.0)
    }
}

struct Weights(AdamW);

impl InplaceOp2 for Weights {
    fn name(&self) -> &'static str {
        "adamw_weights"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        layout: &Layout,
        moments: &CpuStorage,
        moments_layout: &Layout,
    ) -> Result<()> {
        let k = self.0;
        let weight = floats_mut(weight, layout)?;
        let moments = floats((moments, moments_layout))?;
        let (first, second) = moments.split_at(weight.len());
        for ((x, m), v) in weight.iter_mut().zip(first).zip(second) {
            *x = *x * k.shrink - k.rate * m / (v.sqrt() / k.root + k.epsilon);
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        weight: &mut CudaStorage,
        layout: &Layout,
        moments: &CudaStorage,
        moments_layout: &Layout,
    ) -> Result<()> {
        kernels::adamw_weights((weight, layout), (moments, moments_layout), self.0)
    }
}

/// `average` takes a weight in, with this decay.
pub fn take_in(average: &Tensor, weight: &Tensor, decay: f32) -> Result<()> {
    average.inplace_op2(weight, &Average(decay))
}

struct Average(f32);

impl InplaceOp2 for Average {
    fn name(&self) -> &'static str {
        "average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<()> {
        let weight = floats((weight, weight_layout))?;
        for (value, current) in floats_mut(average, layout)?.iter_mut().zip(weight.iter()) {
            *value = self.0 * *value + (1.0 - self.0) * current;
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        average: &mut CudaStorage,
        layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<()> {
        kernels::average((average, layout), (weight, weight_layout), self.0)
    }
}
