//! How dense the training features are around a feature, by a Gaussian for each class.
//!
//! Mukhoti, Kirsch, van Amersfoort, Torr and Gal, "Deep deterministic uncertainty: a new simple
//! baseline" (CVPR 2023), algorithm 1:
//!
//! | there | here |
//! |---|---|
//! | π_y | the share of the class among the training rows, in `constant_k` |
//! | μ_y | `mean_kd` |
//! | Σ_y⁻¹ = W_kᵀ W_k | `root_kt`: the lower triangle of W_k |
//! | score | −ln Σ_y π_y N(z; μ_y, Σ_y) |
//!
//! The paper takes the empirical covariance of each class, with a multiple of the identity where that
//! is singular. Few rows need more than that: ours is the posterior mean under an inverse Wishart prior
//! that is worth d rows of the covariance within all classes, (n_k S_k + d S) / (n_k + d). The paper's
//! spectral normalisation is a matter of training, and is left out.
//!
//! A score costs K d² / 2 multiplications, and the file K d² / 2 numbers.

use std::f64::consts::TAU;

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::moments::{BLOCK, ClassMeans, Covariance, products};
use super::vectors::{sum, triangle, whiten};
use crate::posterior::algebra::InverseRoot;

/// A Gaussian for each class that has rows, in one feature space of width d.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    /// μ_k, `[k, d]`.
    pub mean_kd: Vec<f32>,
    /// The lower triangles of W_k, row after row, `[k, d (d + 1) / 2]`.
    pub root_kt: Vec<f32>,
    /// ln π_k + ln det W_k − d/2 ln 2π, `[k]`.
    pub constant_k: Vec<f64>,
}

impl Density {
    /// Fits on features `[n, d]` with labels `[n]`. `None` where they do not vary or there are no rows.
    pub fn fit(feature_nd: &[f32], labels: &[u32], width: usize) -> Option<Self> {
        let n = labels.len();
        if n == 0 {
            return None;
        }
        let ClassMeans { counts, class_mean, .. } = ClassMeans::of(feature_nd, labels, width);
        let mut residual_knd: Vec<Vec<f64>> = vec![Vec::new(); counts.len()];
        let mut fourth = 0.0;
        for (line, &label) in feature_nd.chunks_exact(width).zip(labels) {
            let mean = &class_mean[label as usize];
            let own = line.iter().zip(mean).map(|(&x, m)| f64::from(x) - m);
            let residuals = &mut residual_knd[label as usize];
            residuals.extend(own);
            let last = &residuals[residuals.len() - width..];
            fourth += last.iter().map(|x| x * x).sum::<f64>().powi(2);
        }
        let scatter = |residual_nd: Vec<f64>| -> candle_core::Result<DMatrix<f64>> {
            let mut sum = DMatrix::zeros(width, width);
            for block in residual_nd.chunks(BLOCK * width) {
                sum += products(block.to_vec(), width)?;
            }
            Ok(sum)
        };
        let scatter_k =
            residual_knd.into_iter().map(scatter).collect::<Result<Vec<_>, _>>().ok()?;
        let mut within = DMatrix::zeros(width, width);
        scatter_k.iter().for_each(|scatter| within += scatter);
        within /= n as f64;
        let fourth_moment = fourth / n as f64;
        let pooled = Covariance { empirical: within, fourth_moment, rows: n }.shrunk();

        let prior = width as f64;
        let known = counts.into_iter().zip(class_mean).zip(scatter_k);
        let known: Vec<_> = known.filter(|((count, _), _)| *count > 0).collect();
        let fitted = known.into_par_iter().map(|((count, mean), scatter)| {
            let rows = count as f64;
            let covariance = (scatter + &pooled * prior) / (rows + prior);
            let InverseRoot { root, log_determinant } = InverseRoot::of(&covariance).ok()?;
            let constant = (rows / n as f64).ln() - 0.5 * (log_determinant + prior * TAU.ln());
            let mean_d: Vec<f32> = mean.iter().map(|&x| x as f32).collect();
            Some((mean_d, triangle(&root), constant))
        });
        let fitted = fitted.collect::<Option<Vec<_>>>()?;
        let mut density = Self { mean_kd: Vec::new(), root_kt: Vec::new(), constant_k: Vec::new() };
        for (mean_d, root_t, constant) in fitted {
            density.mean_kd.extend(mean_d);
            density.root_kt.extend(root_t);
            density.constant_k.push(constant);
        }
        Some(density)
    }

    /// −ln of the density at a feature `[d]`, in nats.
    pub fn score(&self, feature_d: &[f32]) -> f64 {
        let width = feature_d.len();
        let classes = self.mean_kd.chunks_exact(width);
        let roots = self.root_kt.chunks_exact(width * (width + 1) / 2);
        let log_k = classes.zip(roots).zip(&self.constant_k).map(|((mean_d, root_t), constant)| {
            let offset_d: Vec<f32> = feature_d.iter().zip(mean_d).map(|(x, m)| x - m).collect();
            let white_d = whiten(root_t, &offset_d);
            constant - 0.5 * f64::from(sum(&white_d, &white_d, |a, b| a * b))
        });
        let log_k: Vec<f64> = log_k.collect();
        let peak = log_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -(peak + log_k.iter().map(|log| (log - peak).exp()).sum::<f64>().ln())
    }
}
