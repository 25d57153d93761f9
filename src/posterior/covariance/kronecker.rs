//! Q_B diag_j(Σ_i (Q_Aᵀφ̃)_i² g_ji) Q_Bᵀ: Ritter, Botev and Barber, "A scalable Laplace approximation for
//! neural networks" (ICLR 2018).

use std::sync::Arc;

use candle_core::Tensor;

use super::{Form, sizes, unscale_columns, with_bias};
use crate::compute::kernels::lines::times;
use crate::posterior::logits::{Basis, LogitCovariance};
use crate::store::{TensorFile, Tensors};

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

const FEATURES: &str = "kronecker.features";
const VARIANCES: &str = "kronecker.variances";
const LOGITS: &str = "kronecker.logits";

impl Form for Kronecker {
    fn directions(&self) -> usize {
        self.basis.width()
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let x = with_bias(feature_d);
        let mut z_i = vec![0.0; x.len()];
        times(&self.feature_rows, &x, &mut z_i);
        z_i.iter_mut().for_each(|z| *z *= *z);
        let mut variance_j = vec![0.0; self.variance_ji.len() / x.len()];
        times(&self.variance_ji, &z_i, &mut variance_j);
        LogitCovariance::Shared {
            basis: Arc::clone(&self.basis),
            variance_j: variance_j.into_iter().map(f64::from).collect(),
        }
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.feature_rows, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        let inner = self.basis.width();
        let width = self.variance_ji.len() / inner;
        tensors.put_f32(FEATURES, &[width, width], &self.feature_rows);
        tensors.put_f32(VARIANCES, &[inner, width], &self.variance_ji);
        tensors.put_f32(LOGITS, &[self.basis.classes(), inner], self.basis.values());
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        if !file.has(FEATURES) {
            return Ok(None);
        }
        let (classes, width) = sizes(weight_cd)?;
        let basis_cj = file.matrix(LOGITS, Some(classes), classes - 1)?;
        Ok(Some(Self {
            feature_rows: file.matrix(FEATURES, Some(width), width)?,
            variance_ji: file.matrix(VARIANCES, Some(classes - 1), width)?,
            basis: Arc::new(Basis::new(basis_cj, classes - 1)),
        }))
    }
}
