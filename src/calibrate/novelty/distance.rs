//! Mahalanobis distances of a trunk feature, absolute and relative.
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
//! Scores of several layers are added after each has been standardised by its mean and standard
//! deviation on rows that were not trained on: on training rows distances are too small.
//!
//! A score costs d² + K d multiplications a layer (d² / 2 + K d for the absolute form).

use candle_core::{Device, Tensor};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::shrinkage::Covariance;
use crate::calibrate::Fold;

/// Rows whose products are added at once.
const BLOCK: usize = 1024;

/// Distances in one or several feature spaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    /// One for each layer; a feature is their parts one after another.
    pub layers: Vec<Layer>,
}

/// The distance in one feature space of width d.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The mean of all rows, `[d]`.
    pub mean_d: Vec<f32>,
    /// The lower triangle of W, row after row, `[d (d + 1) / 2]`: packed, it takes half the time to
    /// read.
    pub within: Vec<f32>,
    /// W (m_k − m) of the classes that have rows, `[k, d]`.
    pub class_kd: Vec<f32>,
    /// The same as W for all rows, for the relative form.
    pub background: Option<Vec<f32>>,
    /// The mean score of rows that were not trained on.
    pub centre: f64,
    pub scale: f64,
}

/// Features `[n, Σ d]` with labels `[n]`.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceRows<'a> {
    /// Features by row: the parts of all layers one after another.
    pub feature_nd: &'a [f32],
    pub labels: &'a [u32],
}

impl Distance {
    /// Fits class means and covariances on training rows, and the standardisation on `fresh`
    /// features `[n, Σ d]` of others. `None` where a layer does not vary or there are no rows.
    pub fn fit(
        train: &ReferenceRows<'_>,
        fresh_nd: &[f32],
        widths: &[usize],
        relative: bool,
    ) -> Option<Self> {
        let whole: usize = widths.iter().sum();
        let mut start = 0;
        let layers = widths.iter().map(|&width| {
            let own = start..start + width;
            start += width;
            let part = |feature_nd: &[f32]| -> Vec<f32> {
                let lines = feature_nd.chunks_exact(whole);
                lines.flat_map(|line| line[own.clone()].iter().copied()).collect()
            };
            let feature_nd = part(train.feature_nd);
            let mut layer = Layer::fit(&feature_nd, train.labels, width, relative)?;
            let fresh = part(fresh_nd);
            let scores: Vec<f64> = fresh.chunks_exact(width).map(|x_d| layer.raw(x_d)).collect();
            layer.standardise(&scores)?;
            Some(layer)
        });
        Some(Self { layers: layers.collect::<Option<_>>()? })
    }

    /// Fits on all rows, and standardises by scores of rows that were each judged by the other folds;
    /// gives these scores too, in the order of the folds' judged rows. `None` where a layer does not
    /// vary or there are no rows.
    pub fn cross_fit(
        rows: &ReferenceRows<'_>,
        folds: &[Fold],
        widths: &[usize],
        relative: bool,
    ) -> Option<(Self, Vec<f64>)> {
        let whole: usize = widths.iter().sum();
        let mut sums = vec![0.0; folds.iter().map(|fold| fold.judged.len()).sum()];
        let mut layers = Vec::with_capacity(widths.len());
        let mut start = 0;
        for &width in widths {
            let line = |row: usize| &rows.feature_nd[row * whole + start..][..width];
            let part = |chosen: &[usize]| -> Vec<f32> {
                chosen.iter().flat_map(|&row| line(row)).copied().collect()
            };
            let fit = |chosen: &[usize]| {
                let labels: Vec<u32> = chosen.iter().map(|&row| rows.labels[row]).collect();
                Layer::fit(&part(chosen), &labels, width, relative)
            };
            let judge = |fold: &Fold| -> Option<Vec<f64>> {
                let layer = fit(&fold.train)?;
                Some(fold.judged.iter().map(|&row| layer.raw(line(row))).collect())
            };
            let all: Vec<usize> = (0..rows.labels.len()).collect();
            let (scores, layer) = rayon::join(
                || folds.par_iter().map(judge).collect::<Option<Vec<Vec<f64>>>>(),
                || fit(&all),
            );
            let (scores, mut layer) = (scores?.concat(), layer?);
            layer.standardise(&scores)?;
            for (sum, score) in sums.iter_mut().zip(scores) {
                *sum += (score - layer.centre) / layer.scale;
            }
            layers.push(layer);
            start += width;
        }
        Some((Self { layers }, sums))
    }

    /// Whether the distance to the data as a whole is taken off.
    pub fn is_relative(&self) -> bool {
        self.layers.iter().any(|layer| layer.background.is_some())
    }

    /// The score of a feature, `[Σ d]`: larger is stranger.
    pub fn score(&self, feature_d: &[f32]) -> f64 {
        let mut rest = feature_d;
        let scores = self.layers.iter().map(|layer| {
            let (own, others) = rest.split_at(layer.mean_d.len());
            rest = others;
            (layer.raw(own) - layer.centre) / layer.scale
        });
        scores.sum()
    }
}

/// Xᵀ X for X `[n, width]`.
fn products(x_nd: Vec<f64>, width: usize) -> candle_core::Result<DMatrix<f64>> {
    let rows = x_nd.len() / width;
    let x_nd = Tensor::from_vec(x_nd, (rows, width), &Device::Cpu)?;
    let product = x_nd.t()?.matmul(&x_nd)?.flatten_all()?.to_vec1()?;
    let mut product = DMatrix::from_vec(width, width, product);
    // Rounding may differ across the diagonal; the lower half is taken for both.
    product.fill_upper_triangle_with_lower_triangle();
    Ok(product)
}

impl Layer {
    fn fit(feature_nd: &[f32], labels: &[u32], width: usize, relative: bool) -> Option<Self> {
        let n = labels.len();
        if n == 0 {
            return None;
        }
        let classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
        let mut counts = vec![0usize; classes];
        let mut class_mean = vec![DVector::<f64>::zeros(width); classes];
        let line = |row: usize| &feature_nd[row * width..(row + 1) * width];
        for (row, &label) in labels.iter().enumerate() {
            counts[label as usize] += 1;
            let mean = &mut class_mean[label as usize];
            mean.iter_mut().zip(line(row)).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mut mean = DVector::zeros(width);
        for (class, &count) in class_mean.iter_mut().zip(&counts) {
            mean += &*class;
            *class /= count.max(1) as f64;
        }
        mean /= n as f64;

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
            centre: 0.0,
            scale: 1.0,
        })
    }

    /// By scores of rows that the layer was not fitted on.
    fn standardise(&mut self, scores: &[f64]) -> Option<()> {
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / n;
        (self.centre, self.scale) = (mean, variance.sqrt());
        (self.scale > 0.0).then_some(())
    }

    /// min_k M_k, less M_0 in the relative form.
    fn raw(&self, feature_d: &[f32]) -> f64 {
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

/// The lower triangle, row after row.
fn triangle(matrix: &DMatrix<f64>) -> Vec<f32> {
    let row = |i: usize| (0..=i).map(move |j| matrix[(i, j)] as f32);
    (0..matrix.nrows()).flat_map(row).collect()
}

/// The product of a packed lower triangular matrix and a vector.
fn whiten(triangle: &[f32], x_d: &[f32]) -> Vec<f32> {
    let mut rest = triangle;
    let row = |i: usize| {
        let (own, others) = rest.split_at(i + 1);
        rest = others;
        sum(own, &x_d[..=i], |a, b| a * b)
    };
    (0..x_d.len()).map(row).collect()
}

/// Σ f(a, b), in sixteen running sums that the compiler can hold in vector registers.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<16>();
    let (b_lanes, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..16 {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(a, b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/novelty.json")).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
    }

    fn narrow(value: &Value) -> Vec<f32> {
        numbers(value).into_iter().map(|x| x as f32).collect()
    }

    /// `tests/python/golden_novelty.py`: scikit-learn's `LedoitWolf` on residuals and on all rows,
    /// and distances with its precision matrices in f64. Ours are f32 at the end.
    #[test]
    fn distances_and_shrinkage_are_those_of_scikit_learn() {
        let golden = golden();
        let (feature_nd, fresh_nd) = (narrow(&golden["features"]), narrow(&golden["fresh"]));
        let labels: Vec<u32> = numbers(&golden["labels"]).into_iter().map(|y| y as u32).collect();
        let tolerance = golden["tolerance"].as_f64().unwrap();
        let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
        for (relative, key) in [(false, "absolute"), (true, "relative")] {
            let width = golden["width"].as_u64().unwrap() as usize;
            let distance = Distance::fit(&train, &fresh_nd, &[width], relative).unwrap();
            let layer = &distance.layers[0];
            let lines = fresh_nd.chunks_exact(width);
            for (feature_d, expected) in lines.clone().zip(numbers(&golden[key])) {
                let found = layer.raw(feature_d);
                assert!((found - expected).abs() < tolerance * (1.0 + expected.abs()), "{found}");
            }
            let scores: Vec<f64> = lines.map(|feature_d| distance.score(feature_d)).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            assert!(mean.abs() < 1e-9, "standardised");
        }
    }

    #[test]
    fn shrinkage_is_that_of_scikit_learn() {
        let golden = golden();
        let width = golden["width"].as_u64().unwrap() as usize;
        let rows = numbers(&golden["centred"]);
        let n = rows.len() / width;
        let x_dn = DMatrix::from_column_slice(width, n, &rows);
        let fourth = x_dn.column_iter().map(|x| x.norm_squared().powi(2)).sum::<f64>();
        let covariance = Covariance {
            empirical: &x_dn * x_dn.transpose() / n as f64,
            fourth_moment: fourth / n as f64,
            rows: n,
        };
        let expected = golden["shrinkage"].as_f64().unwrap();
        assert!((covariance.shrinkage() - expected).abs() < 1e-12, "{}", covariance.shrinkage());
        let whitener = covariance.whitener().unwrap();
        let identity = &whitener * covariance.shrunk() * whitener.transpose();
        assert!((identity - DMatrix::identity(width, width)).abs().max() < 1e-10);
    }

    /// Two layers: the score is the sum of both standardised scores.
    #[test]
    fn layers_add_up_and_rows_that_do_not_vary_are_refused() {
        let golden = golden();
        let feature_nd = narrow(&golden["features"]);
        let labels: Vec<u32> = numbers(&golden["labels"]).into_iter().map(|y| y as u32).collect();
        let width = golden["width"].as_u64().unwrap() as usize;
        let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
        let fresh_nd = narrow(&golden["fresh"]);
        let widths = [width / 2, width - width / 2];
        let both = Distance::fit(&train, &fresh_nd, &widths, true).unwrap();
        let line = &fresh_nd[..width];
        let alone = |layer: &Layer, part: &[f32]| (layer.raw(part) - layer.centre) / layer.scale;
        let expected =
            alone(&both.layers[0], &line[..widths[0]]) + alone(&both.layers[1], &line[widths[0]..]);
        assert!((both.score(line) - expected).abs() < 1e-12);
        let constant = vec![1.0; feature_nd.len()];
        let train = ReferenceRows { feature_nd: &constant, labels: &labels };
        assert_eq!(Distance::fit(&train, &fresh_nd, &[width], true), None);
    }
}
