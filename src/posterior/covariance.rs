//! The covariance of the last layer in the form that predicts: f32, one text at a time, so that a
//! text's logits are the same bits in any batch.

use std::sync::Arc;

use super::algebra::{Matrix, contrasts};
use super::dropout::Dropout;
use super::logits::{Basis, LogitCovariance};
use crate::compute::kernels::lines::times;
use crate::compute::kernels::simd::{sum, vectorised};

/// How far the weights of the last layer may be from their mean. A feature of width d has a one
/// behind it for the bias: φ̃, of width D = d + 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Covariance {
    /// Not at all: method `map`.
    Zero,
    /// Two classes: R, `[D, D]`, with RᵀR the covariance of the difference of the two weights.
    Difference(Root),
    /// More classes, all of it: R, `[(c − 1) D, (c − 1) D]`, with RᵀR the covariance of the
    /// contrasts' weights.
    Full {
        /// R.
        root: Root,
        /// `c`.
        classes: usize,
    },
    /// Q_B diag_j(Σ_i (Q_Aᵀφ̃)_i² g_ji) Q_Bᵀ.
    Kronecker(Kronecker),
    /// Of dropout on the feature.
    Dropout(Dropout),
}

/// A lower triangular matrix, row by row with its zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// `[size, size]`.
    pub values: Vec<f32>,
    /// Rows and columns.
    pub size: usize,
}

/// Eigenvectors of both factors, and the variances along their pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Kronecker {
    /// Q_Aᵀ, a row for each eigenvector: `[D, D]`.
    pub feature_rows: Vec<f32>,
    /// g, the posterior variance along each pair of eigenvectors: `[c − 1, D]`.
    pub variance_ji: Vec<f32>,
    /// Q_B, `[c, c − 1]`.
    pub basis: Arc<Basis>,
}

impl Kronecker {
    /// D.
    pub fn width(&self) -> usize {
        self.variance_ji.len() / self.basis.width()
    }
}

impl Root {
    /// From f64.
    pub fn new(matrix: &Matrix) -> Self {
        let values = matrix.transpose().iter().map(|&value| value as f32).collect();
        Self { values, size: matrix.nrows() }
    }
}

impl Covariance {
    /// The width of the draws that a link needs; two classes need none.
    pub fn directions(&self) -> usize {
        match self {
            Self::Zero | Self::Difference(_) => 0,
            Self::Full { classes, .. } => classes - 1,
            Self::Kronecker(kronecker) => kronecker.basis.width(),
            Self::Dropout(dropout) => dropout.directions(),
        }
    }

    /// The covariance for features as they are, where this one was fitted on φ̃ times `scale`, `[D]`.
    pub fn of_unscaled(mut self, scale: &[f64]) -> Self {
        let values = match &mut self {
            Self::Zero | Self::Dropout(_) => return self,
            // Columns are weights: of one output, or of one contrast after another.
            Self::Difference(root) | Self::Full { root, .. } => &mut root.values,
            Self::Kronecker(kronecker) => &mut kronecker.feature_rows,
        };
        for (value, scale) in values.iter_mut().zip(scale.iter().cycle()) {
            *value = (f64::from(*value) * scale) as f32;
        }
        self
    }

    /// The covariance of the logits at a feature `[d]`; `None` for none.
    pub fn at(&self, feature_d: &[f32]) -> Option<LogitCovariance> {
        let mut x: Vec<f32> = feature_d.to_vec();
        x.push(1.0);
        match self {
            Self::Zero => None,
            Self::Difference(root) => {
                let mut moved = vec![0.0; root.size];
                triangle_times(&root.values, &x, &mut moved);
                Some(LogitCovariance::Difference(squares(&moved)))
            }
            Self::Full { root, .. } => Some(LogitCovariance::Root(full(root, &x))),
            Self::Kronecker(kronecker) => {
                let mut z_i = vec![0.0; x.len()];
                times(&kronecker.feature_rows, &x, &mut z_i);
                z_i.iter_mut().for_each(|z| *z *= *z);
                let mut variance_j = vec![0.0; kronecker.variance_ji.len() / x.len()];
                times(&kronecker.variance_ji, &z_i, &mut variance_j);
                Some(LogitCovariance::Shared {
                    basis: Arc::clone(&kronecker.basis),
                    variance_j: variance_j.into_iter().map(f64::from).collect(),
                })
            }
            Self::Dropout(dropout) => Some(dropout.at(feature_d)),
        }
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

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

vectorised! {
    /// Each line of a lower triangular matrix, as long as `x`, times `x`.
    fn triangle_times<'a>(rows: &'a [f32], x: &'a [f32], result: &'a mut [f32]) {
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
