//! A covariance that can be inverted, from few rows.

use nalgebra::DMatrix;

use crate::posterior::algebra::InverseRoot;

/// An empirical covariance `[d, d]` and what its shrinkage depends on.
#[derive(Clone, Debug)]
pub struct Covariance {
    /// Σ x xᵀ / n of centred rows x.
    pub empirical: DMatrix<f64>,
    /// Σ ‖x‖⁴ / n.
    pub fourth_moment: f64,
    pub rows: usize,
}

impl Covariance {
    /// The weight of the multiple of the identity in the estimate of Ledoit and Wolf ("A
    /// well-conditioned estimator for large-dimensional covariance matrices", JMVA 2004), as in
    /// scikit-learn: the share of the distance to the identity that is sampling noise.
    pub fn shrinkage(&self) -> f64 {
        let d = self.empirical.nrows() as f64;
        let mean = self.empirical.trace() / d;
        let squares = self.empirical.norm_squared();
        let noise = (self.fourth_moment - squares) / (d * self.rows as f64);
        let distance = (squares - d * mean * mean) / d;
        if distance <= 0.0 { 1.0 } else { (noise / distance).clamp(0.0, 1.0) }
    }

    pub fn shrunk(&self) -> DMatrix<f64> {
        let shrinkage = self.shrinkage();
        let d = self.empirical.nrows();
        let mean = self.empirical.trace() / d as f64;
        let mut shrunk = &self.empirical * (1.0 - shrinkage);
        for i in 0..d {
            shrunk[(i, i)] += shrinkage * mean;
        }
        shrunk
    }

    /// A lower triangular W with W S Wᵀ = 1 for the shrunk S; `None` where the rows do not vary.
    pub fn whitener(&self) -> Option<DMatrix<f64>> {
        InverseRoot::of(&self.shrunk()).ok().map(|inverse| inverse.root)
    }
}
