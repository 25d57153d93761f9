//! Linear algebra in f64 for the methods: features with the bias folded in, symmetric matrices.
//!
//! Sums over rows are Candle products, none of which splits its inner dimension over threads, and
//! sequential matrix functions do the rest: the bits do not depend on the number of threads.

use candle_core::{DType, Device, Result, Tensor, bail};
use nalgebra::DMatrix;

/// A small dense matrix, column by column.
pub type Matrix = DMatrix<f64>;

/// Rows whose weighted copies exist at a time.
const BLOCK: usize = 2048;

/// Up to this size a Cholesky factor is computed element by element.
const SMALL: usize = 64;

/// Features of all rows, each with a one behind it for the bias: `[n, D]`, D = d + 1.
#[derive(Debug)]
pub struct Design {
    values: Tensor,
    rows: usize,
    width: usize,
}

impl Design {
    /// From features `[n, d]`.
    #[cfg(test)]
    pub fn new(feature_nd: &[f32], d: usize) -> Result<Self> {
        Self::scaled(feature_nd, &vec![1.0; d + 1])
    }

    /// From features `[n, d]`, each times its scale; the last of the scales `[D]` stands for the one.
    pub fn scaled(feature_nd: &[f32], scale: &[f64]) -> Result<Self> {
        let width = scale.len();
        let (d, bias) = (width - 1, scale[width - 1]);
        let rows = feature_nd.len() / d;
        let mut values = Vec::with_capacity(rows * width);
        for feature_d in feature_nd.chunks_exact(d) {
            values.extend(feature_d.iter().zip(scale).map(|(&x, scale)| f64::from(x) * scale));
            values.push(bias);
        }
        let values = Tensor::from_vec(values, (rows, width), &Device::Cpu)?;
        Ok(Self { values, rows, width })
    }

    /// With the square of every value.
    pub fn squared(&self) -> Result<Self> {
        Ok(Self { values: self.values.sqr()?, ..*self })
    }

    /// Rows, `n`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, `D`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Φ in f32, `[n, D]`.
    pub fn single(&self) -> Result<Tensor> {
        self.values.to_dtype(DType::F32)
    }

    /// Φ Wᵀ for a weight `[k, D]`: `[n, k]`.
    pub fn logits(&self, weight_kd: &[f64]) -> Result<Vec<f64>> {
        let outputs = weight_kd.len() / self.width;
        let weight = Tensor::from_slice(weight_kd, (outputs, self.width), &Device::Cpu)?;
        self.values.matmul(&weight.t()?)?.flatten_all()?.to_vec1()
    }

    /// Rᵀ Φ for values `[n, k]`: `[k, D]`.
    pub fn collect(&self, value_nk: Vec<f64>) -> Result<Vec<f64>> {
        let outputs = value_nk.len() / self.rows;
        let values = Tensor::from_vec(value_nk, (self.rows, outputs), &Device::Cpu)?;
        values.t()?.matmul(&self.values)?.flatten_all()?.to_vec1()
    }

    /// Φᵀ diag(w) Φ: `[D, D]`.
    pub fn gram(&self, weight_n: &[f64]) -> Result<Matrix> {
        let mut sum = Matrix::zeros(self.width, self.width);
        for (block, weight) in weight_n.chunks(BLOCK).enumerate() {
            let rows = self.values.narrow(0, block * BLOCK, weight.len())?;
            let weight = Tensor::from_slice(weight, (weight.len(), 1), &Device::Cpu)?;
            let part = rows.t()?.matmul(&rows.broadcast_mul(&weight)?)?;
            sum += Matrix::from_vec(self.width, self.width, part.flatten_all()?.to_vec1()?);
        }
        Ok(symmetric(sum))
    }
}

/// Rounding may differ across the diagonal; the lower half is taken for both.
fn symmetric(mut a: Matrix) -> Matrix {
    a.fill_upper_triangle_with_lower_triangle();
    a
}

/// R = L⁻¹ with L Lᵀ = A: A⁻¹ = Rᵀ R, so xᵀ A⁻¹ x = ‖R x‖².
#[derive(Clone, Debug)]
pub struct InverseRoot {
    /// Lower triangular, `[n, n]`.
    pub root: Matrix,
    pub log_determinant: f64,
}

impl InverseRoot {
    /// Of a symmetric matrix; an error if it is not positive definite.
    ///
    /// By halves, so that nearly all of the work is products: with A₂₁ below A₁₁ and S the Schur
    /// complement, R₁₁ = A₁₁^(-1/2), L₂₁ = A₂₁ R₁₁ᵀ, R₂₂ = S^(-1/2), R₂₁ = −R₂₂ L₂₁ R₁₁.
    pub fn of(a: &Matrix) -> Result<Self> {
        let size = a.nrows();
        if size <= SMALL {
            let Some(factor) = a.clone().cholesky() else {
                bail!(
                    "the precision is not positive definite: the features are not finite, or too large to be squared"
                )
            };
            let lower = factor.unpack();
            let log_determinant = 2.0 * lower.diagonal().iter().map(|x| x.ln()).sum::<f64>();
            let mut root = Matrix::identity(size, size);
            lower.solve_lower_triangular_unchecked_mut(&mut root);
            return Ok(Self { root, log_determinant });
        }
        let half = size / 2;
        let rest = size - half;
        let first = Self::of(&a.view((0, 0), (half, half)).into_owned())?;
        let lower_21 = a.view((half, 0), (rest, half)) * first.root.transpose();
        let schur = a.view((half, half), (rest, rest)) - &lower_21 * lower_21.transpose();
        let second = Self::of(&symmetric(schur))?;
        let mut root = Matrix::zeros(size, size);
        root.view_mut((half, 0), (rest, half)).copy_from(&(-&second.root * lower_21 * &first.root));
        root.view_mut((0, 0), (half, half)).copy_from(&first.root);
        root.view_mut((half, half), (rest, rest)).copy_from(&second.root);
        Ok(Self { root, log_determinant: first.log_determinant + second.log_determinant })
    }

    /// The trace of A⁻¹.
    pub fn trace_of_inverse(&self) -> f64 {
        self.root.norm_squared()
    }
}

/// Eigenvalues and eigenvectors (columns) of a symmetric positive semi-definite matrix. Values that
/// rounding made negative are zero.
#[derive(Clone, Debug)]
pub struct Eigen {
    pub vectors: Matrix,
    /// One for each column, not sorted.
    pub values: Vec<f64>,
}

impl Eigen {
    /// Of a symmetric matrix.
    pub fn of(a: Matrix) -> Self {
        let eigen = a.symmetric_eigen();
        let values = eigen.eigenvalues.iter().map(|&value| value.max(0.0)).collect();
        Self { vectors: eigen.eigenvectors, values }
    }
}

/// Helmert's contrasts: an orthonormal basis `[k, k - 1]` of the logits that sum to zero. Softmax
/// sees nothing else, and the curvature of its head has rank zero outside.
pub fn contrasts(classes: usize) -> Matrix {
    Matrix::from_fn(classes, classes - 1, |class, j| {
        let scale = (((j + 1) * (j + 2)) as f64).sqrt();
        match class.cmp(&(j + 1)) {
            std::cmp::Ordering::Less => 1.0 / scale,
            std::cmp::Ordering::Equal => -((j + 1) as f64) / scale,
            std::cmp::Ordering::Greater => 0.0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    fn positive(size: usize) -> Matrix {
        let mut stream = Noise::new(5).stream(Purpose::Init, 0, 0);
        let b = Matrix::from_fn(size, size, |_, _| stream.normal());
        &b * b.transpose() + Matrix::identity(size, size)
    }

    #[test]
    fn the_inverse_root_is_triangular_and_inverts() {
        for size in [1, 3, 64, 65, 150, 301] {
            let a = positive(size);
            let found = InverseRoot::of(&a).unwrap();
            let identity = &found.root * &a * found.root.transpose();
            assert!((identity - Matrix::identity(size, size)).amax() < 1e-9, "{size}");
            assert_eq!(found.root.upper_triangle(), Matrix::from_diagonal(&found.root.diagonal()));
            let eigen = Eigen::of(a);
            let log_determinant: f64 = eigen.values.iter().map(|value| value.ln()).sum();
            assert!((found.log_determinant - log_determinant).abs() < 1e-8 * size as f64);
            let trace: f64 = eigen.values.iter().map(|value| value.recip()).sum();
            assert!((found.trace_of_inverse() - trace).abs() < 1e-8 * trace);
        }
        assert!(InverseRoot::of(&-positive(3)).is_err());
    }

    #[test]
    fn contrasts_are_orthonormal_and_sum_to_zero() {
        for classes in [2, 3, 7] {
            let u = contrasts(classes);
            let identity = u.transpose() * &u;
            assert!((identity - Matrix::identity(classes - 1, classes - 1)).amax() < 1e-14);
            assert!(u.row_sum().amax() < 1e-14);
        }
    }

    #[test]
    fn sums_over_rows_are_those_of_the_definition() {
        let (n, d) = (5000, 3);
        let mut stream = Noise::new(6).stream(Purpose::Init, 0, 0);
        let feature_nd: Vec<f32> = (0..n * d).map(|_| stream.normal() as f32).collect();
        let weight_n: Vec<f64> = (0..n).map(|_| stream.uniform()).collect();
        let design = Design::new(&feature_nd, d).unwrap();
        let row = |n: usize, i: usize| feature_nd.get(n * d + i).copied().filter(|_| i < d);
        let at = |n: usize, i: usize| row(n, i).map_or(1.0, f64::from);
        let gram = design.gram(&weight_n).unwrap();
        for (i, j) in [(0, 0), (1, 2), (2, 3), (3, 3), (3, 0)] {
            let exact: f64 = (0..n).map(|n| weight_n[n] * at(n, i) * at(n, j)).sum();
            assert!((gram[(i, j)] - exact).abs() < 1e-9, "{i} {j}");
        }
        let logits = design.logits(&[1.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, -1.0]).unwrap();
        assert_eq!(logits[2 * 7..2 * 8], [at(7, 0) + 2.0, at(7, 1) - 1.0]);
        let sums = design.collect(weight_n.clone()).unwrap();
        let exact: f64 = (0..n).map(|n| weight_n[n] * at(n, 1)).sum();
        assert!((sums[1] - exact).abs() < 1e-9);
        assert!((sums[3] - weight_n.iter().sum::<f64>()).abs() < 1e-9);
    }
}
