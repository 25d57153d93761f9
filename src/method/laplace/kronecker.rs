//! H ≈ B ⊗ A for many classes: B = Σ c_n Λ_n over the logits, A = Σ c_n φ̃ φ̃ᵀ / Σ c_n over the features.

use super::evidence::Round;
use crate::posterior::algebra::{Eigen, contrasts};

/// Both factors by their eigenvectors. B is taken inside the logits that sum to zero, which drops
/// the direction that softmax does not see.
#[derive(Clone, Debug)]
pub struct Kronecker {
    /// Of A: `[D, D]`.
    pub features: Eigen,
    /// Of B: columns `[k, k - 1]`, orthogonal to (1, …, 1).
    pub logits: Eigen,
}

impl Kronecker {
    /// From p(class | row), `[n, k]`, what each row counts, and A.
    pub fn new(probability_nk: &[f64], weight_n: &[f64], features: Eigen) -> Self {
        let rows = weight_n.len();
        let classes = probability_nk.len() / rows;
        // Column by column of the transposed, which is row by row of [n, k].
        let p_kn = nalgebra::DMatrixView::from_slice(probability_nk, classes, rows);
        let mut weighted_kn = p_kn.into_owned();
        for (mut column, weight) in weighted_kn.column_iter_mut().zip(weight_n) {
            column *= *weight;
        }
        let mut b = -(&weighted_kn * p_kn.transpose());
        for (class, sum) in weighted_kn.column_sum().iter().enumerate() {
            b[(class, class)] += sum;
        }
        let contrasts = contrasts(classes);
        let inner = Eigen::of(contrasts.transpose() * b * &contrasts);
        let logits = Eigen { vectors: contrasts * inner.vectors, values: inner.values };
        Self { features, logits }
    }

    /// √(gᵀ (B ⊗ A + prior · I)⁻¹ g) for a centred `[k, D]`: how far a gradient leads, in standard
    /// deviations.
    pub fn length(&self, g_kd: &[f64], prior: f64) -> f64 {
        let (q_a, q_b) = (&self.features.vectors, &self.logits.vectors);
        let g_dk = nalgebra::DMatrixView::from_slice(g_kd, q_a.nrows(), q_b.nrows());
        // Not `tr_mul`, which takes dot by dot: twenty times as long.
        let inner = q_a.transpose() * (g_dk * q_b);
        let mut squared = 0.0;
        for (j, b) in self.logits.values.iter().enumerate() {
            for (i, a) in self.features.values.iter().enumerate() {
                squared += inner[(i, j)].powi(2) / (a * b + prior);
            }
        }
        squared.sqrt()
    }

    /// What the evidence says; `objective` is Σ c_n −ln p + (prior / 2) ‖W‖².
    pub fn round(&self, objective: f64, squared_norm: f64, prior: f64) -> Round {
        let (mut effective_parameters, mut log_ratio) = (0.0, 0.0);
        for b in &self.logits.values {
            for a in &self.features.values {
                effective_parameters += a * b / (a * b + prior);
                log_ratio += (a * b / prior).ln_1p();
            }
        }
        Round { effective_parameters, squared_norm, evidence: -objective - 0.5 * log_ratio }
    }

    /// The precision as one matrix over the contrasts' weights: for tests.
    #[cfg(test)]
    pub fn dense(&self, prior: f64) -> crate::posterior::algebra::Matrix {
        use crate::posterior::algebra::Matrix;

        let whole = |eigen: &Eigen| {
            let values = nalgebra::DVector::from_column_slice(&eigen.values);
            &eigen.vectors * Matrix::from_diagonal(&values) * eigen.vectors.transpose()
        };
        let b_kk = whole(&self.logits);
        let u = contrasts(b_kk.nrows());
        let product = (u.tr_mul(&b_kk) * u).kronecker(&whole(&self.features));
        let size = product.nrows();
        product + Matrix::identity(size, size) * prior
    }
}
