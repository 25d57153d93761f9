//! Rotary positions.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, like, words};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;

/// As [`ops::rotate`](crate::compute::ops::rotate), with the cosines and sines of each place side by side, `[r, k]`,
/// and the places in the last column of `places_p3`.
pub fn rotate(
    qkv_pe: &Tensor,
    cos_sin_rk: &Tensor,
    places_p3: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    qkv_pe.contiguous()?.apply_op3(cos_sin_rk, places_p3, Rotate { heads, back: false })
}

struct Rotate {
    heads: usize,
    /// Whether gradients of what was turned are turned back.
    back: bool,
}

impl CustomOp3 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        cos_sin: &CpuStorage,
        cos_sin_layout: &Layout,
        places: &CpuStorage,
        places_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, stacked) = qkv_layout.shape().dims2()?;
        let width = stacked / 3 / self.heads;
        let places = words((places, places_layout))?;
        let table = floats((cos_sin, cos_sin_layout))?;
        let mut values = floats((qkv, qkv_layout))?.into_owned();
        let sign = if self.back { -1.0 } else { 1.0 };
        let lines = values.par_chunks_exact_mut(stacked).zip(places.par_chunks_exact(3));
        lines.for_each(|(line, place)| {
            let (cos, sin) = table[place[2] as usize * width..][..width].split_at(width / 2);
            for head in line[..stacked / 3 * 2].chunks_exact_mut(width) {
                let (first, second) = head.split_at_mut(width / 2);
                for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    let sin = sign * sin;
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        });
        Ok((like(qkv, values), qkv_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        qkv: &CudaStorage,
        qkv_layout: &Layout,
        cos_sin: &CudaStorage,
        cos_sin_layout: &Layout,
        places: &CudaStorage,
        places_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (cos_sin, places) = ((cos_sin, cos_sin_layout), (places, places_layout));
        let Self { heads, back } = *self;
        let turned = kernels::rotate((qkv, qkv_layout), cos_sin, places, heads, back)?;
        Ok((turned, qkv_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        cos_sin_rk: &Tensor,
        places_p3: &Tensor,
        _: &Tensor,
        gradient_pe: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let back = Self { heads: self.heads, back: !self.back };
        let of_qkv = gradient_pe.contiguous()?.apply_op3_no_bwd(cos_sin_rk, places_p3, &back)?;
        Ok((Some(of_qkv), None, None))
    }
}
