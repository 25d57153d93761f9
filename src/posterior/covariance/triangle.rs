//! Covariances whose inverse has a triangular root: of the difference of two classes, and of all contrasts.

use candle_core::Tensor;

use super::{Form, sizes, unscale_columns, with_bias};
use crate::compute::kernels::simd::{sum, vectorised};
use crate::posterior::algebra::{Matrix, contrasts};
use crate::posterior::logits::LogitCovariance;
use crate::store::{TensorFile, Tensors};

/// A lower triangular matrix, row by row with its zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// `[size, size]`.
    pub values: Vec<f32>,
    pub size: usize,
}

impl Root {
    pub fn new(matrix: &Matrix) -> Self {
        let values = matrix.transpose().iter().map(|&value| value as f32).collect();
        Self { values, size: matrix.nrows() }
    }

    pub(super) fn put(&self, name: &str, tensors: &mut Tensors) {
        tensors.put_f32(name, &[self.size, self.size], &self.values);
    }

    pub(super) fn read(
        file: &TensorFile<'_>,
        name: &str,
        size: usize,
    ) -> Result<Option<Self>, String> {
        if !file.has(name) {
            return Ok(None);
        }
        Ok(Some(Self { values: file.matrix(name, Some(size), size)?, size }))
    }
}

/// Two classes: R, `[D, D]`, with RᵀR the covariance of the difference of the two weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference(pub Root);

const DIFFERENCE: &str = "difference.root";

impl Form for Difference {
    fn directions(&self) -> usize {
        0
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let mut moved = vec![0.0; self.0.size];
        triangle_times(&self.0.values, &with_bias(feature_d), &mut moved);
        LogitCovariance::Difference(squares(&moved))
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.0.values, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        self.0.put(DIFFERENCE, tensors);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        let (_, width) = sizes(weight_cd)?;
        Ok(Root::read(file, DIFFERENCE, width)?.map(Self))
    }
}

/// More classes: R, `[(c − 1) D, (c − 1) D]`, with RᵀR the covariance of the contrasts' weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Full {
    pub root: Root,
    /// `c`.
    pub classes: usize,
}

const FULL: &str = "full.root";

impl Form for Full {
    fn directions(&self) -> usize {
        self.classes - 1
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        LogitCovariance::Root(full(&self.root, &with_bias(feature_d)))
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.root.values, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        self.root.put(FULL, tensors);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        let (classes, width) = sizes(weight_cd)?;
        let root = Root::read(file, FULL, (classes - 1) * width)?;
        Ok(root.map(|root| Self { root, classes }))
    }
}

/// U chol(C) for the covariance C `[c − 1, c − 1]` of the contrasts: C_ab = φ̃ᵀ (RᵀR)_ab φ̃.
fn full(root: &Root, x: &[f32]) -> Vec<f64> {
    let inner = root.size / x.len();
    // Column a of Y is R times φ̃ at the place of contrast a, so that C = YᵀY.
    let mut y = vec![0.0; root.size * inner];
    blocks_times(&root.values, x, &mut y);
    let y = Matrix::from_row_iterator(root.size, inner, y.into_iter().map(f64::from));
    // Only a variance that is zero to rounding has no factor.
    let factor = (y.tr_mul(&y)).cholesky().map_or_else(|| Matrix::zeros(inner, inner), |c| c.l());
    (contrasts(inner + 1) * factor).transpose().as_slice().to_vec()
}

pub(super) fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

vectorised! {
    /// Each line of a lower triangular matrix, as long as `x`, times `x`.
    pub(super) fn triangle_times<'a>(rows: &'a [f32], x: &'a [f32], result: &'a mut [f32]) {
        for (index, (row, result)) in rows.chunks_exact(x.len()).zip(result).enumerate() {
            let (row, x) = (&row[..index + 1], &x[..index + 1]);
            *result = sum(x.len(), |i| row[i] * x[i]);
        }
    }
}

vectorised! {
    /// Each line of a lower triangular matrix, cut into pieces as long as `x`, times `x`: `[n, pieces]`.
    fn blocks_times<'a>(rows: &'a [f32], x: &'a [f32], result: &'a mut [f32]) {
        let size = rows.len().isqrt();
        let pieces = size / x.len();
        let lines = rows.chunks_exact(size).zip(result.chunks_exact_mut(pieces));
        for (index, (row, result)) in lines.enumerate() {
            let blocks = row[..index + 1].chunks(x.len()).zip(result);
            for (block, result) in blocks {
                *result = sum(block.len(), |i| block[i] * x[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::kernels::lines::times;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn a_triangle_times_a_vector_is_the_whole_matrix_times_it() {
        for size in [1, 15, 16, 40] {
            let mut stream = Noise::new(2).stream(Purpose::Init, 0, 0);
            let mut rows = vec![0.0f32; size * size];
            for i in 0..size {
                rows[i * size..=i * size + i].fill_with(|| stream.normal() as f32);
            }
            let x: Vec<f32> = (0..size).map(|_| stream.normal() as f32).collect();
            let (mut a, mut b) = (vec![0.0; size], vec![0.0; size]);
            times(&rows, &x, &mut a);
            triangle_times(&rows, &x, &mut b);
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
            // In pieces, which must add up to the whole.
            if size == 40 {
                let mut pieces = vec![0.0; size * 5];
                let ones = vec![1.0; 8];
                blocks_times(&rows, &ones, &mut pieces);
                let whole: Vec<f32> = rows.chunks_exact(size).map(|row| row.iter().sum()).collect();
                let sums = pieces.chunks_exact(5).map(|piece| piece.iter().sum::<f32>());
                assert!(sums.zip(whole).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }
}
