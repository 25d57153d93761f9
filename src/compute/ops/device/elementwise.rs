//! Dropout, activations and biases.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, like, words};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;
use crate::compute::kernels::activation;
use crate::compute::kernels::noise::{Factors, fill_line};
use crate::compute::ops::Activation;

/// `x`, `[m, w]`, times the factors of its lines, whose (low half of the row, high half, token) are `places_m3`.
pub fn dropout(x: &Tensor, places_m3: &Tensor, factors: Factors) -> Result<Tensor> {
    x.contiguous()?.apply_op2(places_m3, Dropping(factors))
}

struct Dropping(Factors);

impl CustomOp2 for Dropping {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        places: &CpuStorage,
        places_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = x_layout.shape().dims2()?;
        let places = words((places, places_layout))?;
        let mut values = floats((x, x_layout))?.into_owned();
        let lines = values.par_chunks_mut(width).zip(places.par_chunks_exact(3));
        lines.for_each(|(line, place)| {
            let mut mask = vec![0.0; width];
            let row = u64::from(place[0]) | u64::from(place[1]) << 32;
            fill_line(&mut mask, self.0, row, place[2]);
            line.iter_mut().zip(mask).for_each(|(value, factor)| *value *= factor);
        });
        Ok((like(x, values), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        places: &CudaStorage,
        places_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let dropped = kernels::dropout((x, x_layout), (places, places_layout), self.0)?;
        Ok((dropped, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        places_m3: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let same = gradient.contiguous()?.apply_op2_no_bwd(places_m3, self)?;
        Ok((Some(same), None))
    }
}

/// The activation of each value.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activating(activation))
}

struct Activating(Activation);

impl CustomOp1 for Activating {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut values = floats((x, layout))?.into_owned();
        activation::forward(self.0)(&mut values);
        Ok((like(x, values), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((kernels::activate((x, layout), self.0)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_x = x.apply_op2_no_bwd(&gradient.contiguous()?, &ActivatingBack(self.0))?;
        Ok(Some(of_x))
    }
}

struct ActivatingBack(Activation);

impl CustomOp2 for ActivatingBack {
    fn name(&self) -> &'static str {
        "activate_backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut values = floats((x, x_layout))?.into_owned();
        let mut of_x = floats((gradient, gradient_layout))?.into_owned();
        activation::backward(self.0, &mut values, &mut of_x);
        Ok((like(gradient, of_x), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gradient = (gradient, gradient_layout);
        let of_x = kernels::activate_backward((x, x_layout), gradient, self.0)?;
        Ok((of_x, x_layout.shape().clone()))
    }
}

/// `x_mn` with `bias_n`, f32, added to each line.
pub fn add_bias(x_mn: &Tensor, bias_n: &Tensor) -> Result<Tensor> {
    x_mn.contiguous()?.apply_op2(bias_n, Bias)
}

struct Bias;

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = floats((bias, bias_layout))?;
        let mut values = floats((x, x_layout))?.into_owned();
        for line in values.chunks_exact_mut(bias.len()) {
            line.iter_mut().zip(bias.iter()).for_each(|(value, bias)| *value += bias);
        }
        Ok((like(x, values), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let sum = kernels::add_bias((x, x_layout), (bias, bias_layout))?;
        Ok((sum, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient_mn: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_bias = gradient_mn.contiguous()?.apply_op1_no_bwd(&ColumnSums)?;
        Ok((Some(gradient_mn.clone()), Some(of_bias)))
    }
}

/// The sums over the lines of `[m, n]`: `[n]`, f32.
struct ColumnSums;

/// Lines whose sum is added to the others as one.
const LINES: usize = 64;

impl CustomOp1 for ColumnSums {
    fn name(&self) -> &'static str {
        "column_sums"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let sums = column_sums(&floats((x, layout))?, width);
        Ok((CpuStorage::F32(sums), width.into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        Ok((kernels::column_sums((x, layout))?, width.into()))
    }
}

/// The sums over lines as long as `width`.
pub(super) fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for lines in values.chunks(LINES * width) {
        let mut block = vec![0.0; width];
        for line in lines.chunks_exact(width) {
            block.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
        }
        sums.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
    }
    sums
}
