//! The Mahalanobis distance of a feature from the nearest class, absolute and relative.
//!
//! Lee, Lee, Lee and Shin, "A simple unified framework for detecting out-of-distribution samples and
//! adversarial attacks" (NeurIPS 2018), section 2.1, and Ren et al., "A simple fix to Mahalanobis
//! distance for improving near-OOD detection" (arXiv 2106.09022), section 3:
//!
//! | there | here |
//! |---|---|
//! | M_k = (x − m_k)ᵀ S⁻¹ (x − m_k) | `within`: W with W S Wᵀ = 1, and W (m_k − m) |
//! | M_0 = (x − m)ᵀ S_0⁻¹ (x − m) | `background` |
//! | score | min_k M_k, or min_k M_k − M_0 |
//!
//! S is the covariance within classes, S_0 that of all rows; each is shrunk as Ledoit and Wolf do.
//!
//! A score costs d² + K d multiplications (d² / 2 + K d for the absolute form).

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::moments::{BLOCK, ClassMeans, Covariance, products};
use super::vectors::{sum, triangle, whiten};

/// The distance in one feature space of width d.
#[derive(Clone, Debug, PartialEq)]
pub struct Mahalanobis {
    /// The mean of all rows, `[d]`.
    pub mean_d: Vec<f32>,
    /// The lower triangle of W, row after row, `[d (d + 1) / 2]`: packed, it takes half the time to
    /// read.
    pub within: Vec<f32>,
    /// W (m_k − m) of the classes that have rows, `[k, d]`.
    pub class_kd: Vec<f32>,
    /// The same as W for all rows, for the relative form.
    pub background: Option<Vec<f32>>,
}

impl Mahalanobis {
    /// Fits class means and covariances on features `[n, d]` with labels `[n]`. `None` where they do
    /// not vary or there are no rows.
    pub fn fit(feature_nd: &[f32], labels: &[u32], width: usize, relative: bool) -> Option<Self> {
        let n = labels.len();
        if n == 0 {
            return None;
        }
        let ClassMeans { counts, class_mean, mean } = ClassMeans::of(feature_nd, labels, width);
        let line = |row: usize| &feature_nd[row * width..(row + 1) * width];
        let centred = |row: usize, centre: &DVector<f64>| -> Vec<f64> {
            line(row).iter().zip(centre).map(|(&x, m)| f64::from(x) - m).collect()
        };
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
        let (mut within, mut fourth, mut fourth_of_all) = (DMatrix::zeros(width, width), 0.0, 0.0);
        for start in (0..n).step_by(BLOCK) {
            let rows = start..n.min(start + BLOCK);
            let own = rows.clone().into_par_iter();
            let own: Vec<Vec<f64>> =
                own.map(|row| centred(row, &class_mean[labels[row] as usize])).collect();
            fourth += own.iter().map(|x| norm(x).powi(2)).sum::<f64>();
            within += products(own.concat(), width).ok()?;
            let all = rows.into_par_iter().map(|row| norm(&centred(row, &mean)).powi(2));
            fourth_of_all += all.collect::<Vec<f64>>().iter().sum::<f64>();
        }
        let scale = 1.0 / n as f64;
        within *= scale;
        // The covariance of all rows is that within classes and that of the means.
        let mut total = within.clone();
        for (class, &count) in class_mean.iter().zip(&counts) {
            let offset = class - &mean;
            total.ger(count as f64 * scale, &offset, &offset, 1.0);
        }
        let covariance =
            |empirical, fourth_moment| Covariance { empirical, fourth_moment, rows: n };
        let whitener = covariance(within, fourth * scale).whitener()?;
        let background = if relative {
            Some(covariance(total, fourth_of_all * scale).whitener()?)
        } else {
            None
        };
        let class_kd = class_mean.iter().zip(&counts).filter(|&(_, &count)| count > 0);
        let class_kd = class_kd.flat_map(|(class, _)| {
            let offset = &whitener * (class - &mean);
            offset.iter().map(|&x| x as f32).collect::<Vec<f32>>()
        });
        Some(Self {
            class_kd: class_kd.collect(),
            mean_d: mean.iter().map(|&x| x as f32).collect(),
            within: triangle(&whitener),
            background: background.as_ref().map(triangle),
        })
    }

    /// min_k M_k, less M_0 in the relative form.
    pub fn score(&self, feature_d: &[f32]) -> f64 {
        let offset_d: Vec<f32> = feature_d.iter().zip(&self.mean_d).map(|(x, m)| x - m).collect();
        let white_d = whiten(&self.within, &offset_d);
        let nearest = (self.class_kd.chunks_exact(white_d.len()))
            .map(|class_d| sum(class_d, &white_d, |a, b| (a - b) * (a - b)))
            .fold(f32::INFINITY, f32::min);
        let background = self.background.as_ref().map_or(0.0, |background| {
            let white_d = whiten(background, &offset_d);
            sum(&white_d, &white_d, |a, b| a * b)
        });
        f64::from(nearest) - f64::from(background)
    }
}
