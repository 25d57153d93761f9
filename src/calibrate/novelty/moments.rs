//! Means of classes, and a covariance that can be inverted, from few rows.

use candle_core::{Device, Tensor};
use nalgebra::{DMatrix, DVector};

use crate::posterior::algebra::InverseRoot;

/// Rows whose products are added at once.
pub const BLOCK: usize = 1024;

/// The means of the rows of each class, and of all.
#[derive(Clone, Debug)]
pub struct ClassMeans {
    /// Rows by class.
    pub counts: Vec<usize>,
    /// `[d]` by class; zeros for a class without rows.
    pub class_mean: Vec<DVector<f64>>,
    /// `[d]`.
    pub mean: DVector<f64>,
}

impl ClassMeans {
    /// Of features `[n, d]` with labels `[n]`; there is at least one row.
    pub fn of(feature_nd: &[f32], labels: &[u32], width: usize) -> Self {
        let classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
        let mut counts = vec![0usize; classes];
        let mut class_mean = vec![DVector::<f64>::zeros(width); classes];
        for (line, &label) in feature_nd.chunks_exact(width).zip(labels) {
            counts[label as usize] += 1;
            let mean = &mut class_mean[label as usize];
            mean.iter_mut().zip(line).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mut mean = DVector::zeros(width);
        for (class, &count) in class_mean.iter_mut().zip(&counts) {
            mean += &*class;
            *class /= count.max(1) as f64;
        }
        mean /= labels.len() as f64;
        Self { counts, class_mean, mean }
    }
}

/// Xᵀ X for X `[n, width]`.
pub fn products(x_nd: Vec<f64>, width: usize) -> candle_core::Result<DMatrix<f64>> {
    let rows = x_nd.len() / width;
    let x_nd = Tensor::from_vec(x_nd, (rows, width), &Device::Cpu)?;
    let product = x_nd.t()?.matmul(&x_nd)?.flatten_all()?.to_vec1()?;
    let mut product = DMatrix::from_vec(width, width, product);
    // Rounding may differ across the diagonal; the lower half is taken for both.
    product.fill_upper_triangle_with_lower_triangle();
    Ok(product)
}

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
