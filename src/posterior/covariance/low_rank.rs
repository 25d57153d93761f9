//! A diagonal and a few directions: C_kl = δ_kl Σ_i φ̃_i² v_ki + Σ_r (E_r φ̃)_k (E_r φ̃)_l.

use candle_core::Tensor;

use super::{Form, read_directions, read_variances, sizes, unscale_columns, with_bias};
use crate::compute::kernels::lines::times;
use crate::posterior::logits::LogitCovariance;
use crate::store::{TensorFile, Tensors};

/// Weights that vary each by itself, and together along some directions.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// v, `[c, D]`.
    pub variance_ki: Vec<f32>,
    /// E, one direction after another: `[r c, D]`.
    pub direction_rki: Vec<f32>,
    /// `c`.
    pub classes: usize,
}

const VARIANCES: &str = "low_rank.variances";
const DIRECTIONS: &str = "low_rank.directions";

impl LowRank {
    /// `r`.
    fn rank(&self) -> usize {
        self.direction_rki.len() / self.variance_ki.len()
    }
}

impl Form for LowRank {
    fn directions(&self) -> usize {
        if self.classes == 2 { 0 } else { self.classes + self.rank() }
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let x = with_bias(feature_d);
        let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
        let mut own_k = vec![0.0; self.classes];
        times(&self.variance_ki, &squares, &mut own_k);
        let mut shared_rk = vec![0.0; self.rank() * self.classes];
        times(&self.direction_rki, &x, &mut shared_rk);
        let along = shared_rk.chunks_exact(self.classes);
        if let [first, second] = *own_k {
            let difference = |e_k: &[f32]| f64::from(e_k[1] - e_k[0]).powi(2);
            let shared: f64 = along.map(difference).sum();
            return LogitCovariance::Difference(f64::from(first) + f64::from(second) + shared);
        }
        let width = self.directions();
        let mut root_kj = vec![0.0; self.classes * width];
        for (k, line) in root_kj.chunks_exact_mut(width).enumerate() {
            line[k] = f64::from(own_k[k]).sqrt();
            let shared = along.clone().map(|e_k| f64::from(e_k[k]));
            line[self.classes..].iter_mut().zip(shared).for_each(|(place, e)| *place = e);
        }
        LogitCovariance::Root(root_kj)
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.variance_ki, &scale_d.iter().map(|s| s * s).collect::<Vec<_>>());
        unscale_columns(&mut self.direction_rki, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        let width = self.variance_ki.len() / self.classes;
        tensors.put_f32(VARIANCES, &[self.classes, width], &self.variance_ki);
        tensors.put_f32(DIRECTIONS, &[self.rank() * self.classes, width], &self.direction_rki);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        if !file.has(VARIANCES) {
            return Ok(None);
        }
        let sizes = sizes(weight_cd)?;
        let variance_ki = read_variances(file, VARIANCES, sizes)?;
        let direction_rki = read_directions(file, DIRECTIONS, sizes)?;
        Ok(Some(Self { variance_ki, direction_rki, classes: sizes.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    /// The covariance of the logits of 100,000 weights drawn from it, within five standard errors.
    #[test]
    fn the_closed_form_is_what_many_weights_give() {
        let (d, rank, draws) = (4, 3, 100_000);
        let mut stream = Noise::new(5).stream(Purpose::Bootstrap, 0, 0);
        let mut normal = || stream.normal();
        for classes in [2usize, 3] {
            let entries = classes * (d + 1);
            let covariance = LowRank {
                variance_ki: (0..entries).map(|_| normal().powi(2) as f32).collect(),
                direction_rki: (0..rank * entries).map(|_| normal() as f32).collect(),
                classes,
            };
            let feature_d: Vec<f32> = (0..d).map(|_| normal() as f32).collect();
            let x = with_bias(&feature_d);
            let closed = |a: usize, b: usize| match covariance.at(&feature_d) {
                LogitCovariance::Root(root_kj) => {
                    let width = covariance.directions();
                    let line = |k: usize| &root_kj[k * width..(k + 1) * width];
                    line(a).iter().zip(line(b)).map(|(a, b)| a * b).sum::<f64>()
                }
                LogitCovariance::Difference(variance) => variance,
                other => panic!("{other:?}"),
            };
            let mut products = vec![Vec::new(); 2];
            for _ in 0..draws {
                let z: Vec<f64> = (0..rank).map(|_| normal()).collect();
                let weight: Vec<f64> = (0..entries)
                    .map(|i| {
                        let own = f64::from(covariance.variance_ki[i]).sqrt() * normal();
                        let along = |(r, z): (usize, &f64)| {
                            z * f64::from(covariance.direction_rki[r * entries + i])
                        };
                        own + z.iter().enumerate().map(along).sum::<f64>()
                    })
                    .collect();
                let logit = |k: usize| -> f64 {
                    let line = &weight[k * (d + 1)..(k + 1) * (d + 1)];
                    line.iter().zip(&x).map(|(w, &x)| w * f64::from(x)).sum()
                };
                if classes == 2 {
                    products[0].push((logit(1) - logit(0)).powi(2));
                } else {
                    products[0].push(logit(1) * logit(1));
                    products[1].push(logit(0) * logit(2));
                }
            }
            let pairs = if classes == 2 { vec![(0, 1)] } else { vec![(1, 1), (0, 2)] };
            for ((a, b), products) in pairs.into_iter().zip(&products) {
                let n = draws as f64;
                let mean = products.iter().sum::<f64>() / n;
                let spread = products.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let error = (spread / n).sqrt();
                let closed = closed(a, b);
                assert!((mean - closed).abs() < 5.0 * error, "{classes}: {mean} {closed} {error}");
            }
        }
    }
}
