//! Affine maps, over packed tokens and over a few rows.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::compute::kernels::lines::times;

/// `x_pd · w_fdᵀ + bias_f`, or without a bias: `[p, f]`.
///
/// A line of the result does not depend on the other lines, to the last bit. `gemm` takes another
/// kernel when the whole product is small, so few lines are computed among lines of zeros.
pub fn linear(x_pd: &Tensor, weight_fd: &Tensor, bias_f: Option<&Tensor>) -> Result<Tensor> {
    let (lines, _) = x_pd.dims2()?;
    let floor = if x_pd.device().is_cpu() { fewest_lines(weight_fd.dim(0)?) } else { 0 };
    let product_pf = if lines >= floor {
        x_pd.matmul(&weight_fd.t()?)?
    } else {
        let padded = x_pd.pad_with_zeros(0, 0, floor - lines)?;
        padded.matmul(&weight_fd.t()?)?.narrow(0, 0, lines)?
    };
    match bias_f {
        Some(bias_f) => product_pf.broadcast_add(bias_f),
        None => Ok(product_pf),
    }
}

/// From how many lines on `gemm` 0.19 computes a product of `width` columns with one and the same
/// kernel: it multiplies vectors when there is one line, takes dot products for up to 16 × 16
/// results, and blocks the inner dimension otherwise when both sides are at most 64.
fn fewest_lines(width: usize) -> usize {
    let past_small_blocks = if width <= 64 { 65 } else { 2 };
    past_small_blocks.max(256 / width + 1)
}

/// `x_bd · w_cdᵀ + bias_c`: `[b, c]`, row by row in a fixed order of additions.
///
/// For the pooled feature and the last layer, where rows and columns are few: a result is the same
/// bits alone and in any batch. On other devices than the CPU it is a product.
pub fn row_linear(x_bd: &Tensor, weight_cd: &Tensor, bias_c: &Tensor) -> Result<Tensor> {
    if x_bd.device().is_cpu() {
        x_bd.contiguous()?.apply_op3(weight_cd, bias_c, RowLinear)
    } else {
        x_bd.matmul(&weight_cd.t()?)?.broadcast_add(bias_c)
    }
}

struct RowLinear;

impl CustomOp3 for RowLinear {
    fn name(&self) -> &'static str {
        "row_linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let (outputs, weight_width) = weight_layout.shape().dims2()?;
        if width != weight_width || bias_layout.shape().dims1()? != outputs {
            bail!("row_linear: shapes do not fit");
        }
        let storage = match (x, weight, bias) {
            (CpuStorage::F32(x), CpuStorage::F32(w), CpuStorage::F32(b)) => {
                let (x, w) = (dense(x, x_layout)?, dense(w, weight_layout)?);
                CpuStorage::F32(by_lines(x, w, dense(b, bias_layout)?, width))
            }
            (CpuStorage::F64(x), CpuStorage::F64(w), CpuStorage::F64(b)) => CpuStorage::F64(plain(
                dense(x, x_layout)?,
                dense(w, weight_layout)?,
                dense(b, bias_layout)?,
                width,
            )),
            _ => bail!("row_linear: f32 or f64, and the same for all three"),
        };
        Ok((storage, (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x_bd: &Tensor,
        weight_cd: &Tensor,
        _bias_c: &Tensor,
        _result: &Tensor,
        gradient_bc: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let x = gradient_bc.matmul(weight_cd)?;
        let weight = gradient_bc.t()?.contiguous()?.matmul(x_bd)?;
        Ok((Some(x), Some(weight), Some(gradient_bc.sum(0)?)))
    }
}

fn dense<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("row_linear: arguments must be contiguous"),
    }
}

fn by_lines(x_bd: &[f32], weight_cd: &[f32], bias_c: &[f32], width: usize) -> Vec<f32> {
    let mut result_bc = vec![0.0; x_bd.len() / width.max(1) * bias_c.len()];
    let rows = x_bd.chunks_exact(width).zip(result_bc.chunks_exact_mut(bias_c.len()));
    for (x_d, result_c) in rows {
        times(weight_cd, x_d, result_c);
        result_c.iter_mut().zip(bias_c).for_each(|(result, bias)| *result += bias);
    }
    result_bc
}

/// The plain form, in f64 for tests of gradients.
fn plain(x_bd: &[f64], weight_cd: &[f64], bias_c: &[f64], width: usize) -> Vec<f64> {
    let mut result_bc = Vec::with_capacity(x_bd.len() / width.max(1) * bias_c.len());
    for x_d in x_bd.chunks_exact(width) {
        for (weight_d, &bias) in weight_cd.chunks_exact(width).zip(bias_c) {
            let products = x_d.iter().zip(weight_d).map(|(&x, &weight)| x * weight);
            result_bc.push(products.fold(bias, |total, product| total + product));
        }
    }
    result_bc
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let inputs = [sample(&[3, 5], 1), sample(&[4, 5], 2), sample(&[4], 3)];
        assert_gradients(&inputs, |x| linear(&x[0], &x[1], Some(&x[2])));
        assert_gradients(&inputs[..2], |x| linear(&x[0], &x[1], None));
        assert_gradients(&inputs, |x| row_linear(&x[0], &x[1], &x[2]));
    }

    #[test]
    fn the_row_by_row_form_equals_the_product() {
        let (x, w, b) = (sample(&[5, 37], 1), sample(&[3, 37], 2), sample(&[3], 3));
        let by_row = row_linear(&x, &w, &b).unwrap();
        let product = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
        let difference = (by_row - product).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f64>().unwrap() < 1e-13);
    }

    /// Widths on both sides of each of `gemm`'s switches, inner sizes that it blocks.
    #[test]
    fn a_line_is_the_same_bits_alone_and_among_others() {
        for (width, inner) in [(3, 32), (32, 64), (64, 1500), (65, 700), (384, 1536), (1152, 384)] {
            let x = sample(&[150, inner], 1).to_dtype(DType::F32).unwrap();
            let w = sample(&[width, inner], 2).to_dtype(DType::F32).unwrap();
            let b = sample(&[width], 3).to_dtype(DType::F32).unwrap();
            let all = linear(&x, &w, Some(&b)).unwrap().to_vec2::<f32>().unwrap();
            for (start, count) in [(0, 1), (7, 2), (20, 3), (31, 17), (50, 66)] {
                let part = linear(&x.narrow(0, start, count).unwrap(), &w, Some(&b)).unwrap();
                let part = part.to_vec2::<f32>().unwrap();
                assert_eq!(part, all[start..start + count], "{width} × {inner}, {count} lines");
            }
        }
    }
}
