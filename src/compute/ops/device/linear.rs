//! Products with weights.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};

use super::elementwise::add_bias;

/// `x_pd · w_fdᵀ + bias_f`, or without a bias: `[p, f]`, of both sides as this type, which the result has too. What
/// is summed is f32, and so are weights and their gradients.
pub fn linear(
    x_pd: &Tensor,
    weight_fd: &Tensor,
    bias_f: Option<&Tensor>,
    dtype: DType,
) -> Result<Tensor> {
    let (x_pd, weight_fd) = (x_pd.to_dtype(dtype)?, weight_fd.to_dtype(dtype)?);
    let product_pf = x_pd.contiguous()?.apply_op2(&weight_fd, Product)?;
    match bias_f {
        Some(bias_f) => add_bias(&product_pf, bias_f),
        None => Ok(product_pf),
    }
}

/// Candle's own gradient of `w.t()` is a transposed copy of the product that is its gradient.
struct Product;

impl Product {
    fn of<S: BackendStorage>(
        &self,
        (x, x_layout): (&S, &Layout),
        (weight, weight_layout): (&S, &Layout),
    ) -> Result<(S, Shape)> {
        let (lines, inner) = x_layout.shape().dims2()?;
        let (outputs, _) = weight_layout.shape().dims2()?;
        let size = (1, lines, outputs, inner);
        let product = x.matmul(weight, size, x_layout, &weight_layout.transpose(0, 1)?)?;
        Ok((product, (lines, outputs).into()))
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.of((x, x_layout), (weight, weight_layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.of((x, x_layout), (weight, weight_layout))
    }

    fn bwd(
        &self,
        x_pd: &Tensor,
        weight_fd: &Tensor,
        _: &Tensor,
        gradient_pf: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient_pf = gradient_pf.contiguous()?;
        let of_weight = gradient_pf.t()?.matmul(x_pd)?;
        let of_x = gradient_pf.matmul(weight_fd)?;
        Ok((Some(of_x), Some(of_weight)))
    }
}
