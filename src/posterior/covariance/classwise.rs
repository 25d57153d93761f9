//! Each class by itself, a diagonal and a few directions: C_kk = Σ_i φ̃_i² v_ki + Σ_r (E_kr φ̃)², C_kl = 0.

use candle_core::Tensor;

use super::{Form, read_directions, read_variances, sizes, unscale_columns, with_bias};
use crate::compute::kernels::lines::times;
use crate::posterior::logits::LogitCovariance;
use crate::store::{TensorFile, Tensors};

/// Weights of one class that vary each by itself, and together along directions of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Classwise {
    /// v, `[c, D]`. What varies with the text and not with the weights counts with the bias.
    pub variance_ki: Vec<f32>,
    /// E, the directions of one class after another: `[c r, D]`; empty for none.
    pub direction_kri: Vec<f32>,
    /// `c`.
    pub classes: usize,
}

const VARIANCES: &str = "classwise.variances";
const DIRECTIONS: &str = "classwise.directions";

impl Classwise {
    /// `r`.
    pub fn rank(&self) -> usize {
        self.direction_kri.len() / self.variance_ki.len()
    }
}

impl Form for Classwise {
    fn directions(&self) -> usize {
        if self.classes == 2 { 0 } else { self.classes }
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let x = with_bias(feature_d);
        let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
        let mut own_k = vec![0.0; self.classes];
        times(&self.variance_ki, &squares, &mut own_k);
        let rank = self.rank();
        if rank > 0 {
            let mut along_kr = vec![0.0; self.classes * rank];
            times(&self.direction_kri, &x, &mut along_kr);
            for (own, along_r) in own_k.iter_mut().zip(along_kr.chunks_exact(rank)) {
                *own += along_r.iter().map(|e| e * e).sum::<f32>();
            }
        }
        match *own_k {
            [first, second] => LogitCovariance::Difference(f64::from(first) + f64::from(second)),
            _ => LogitCovariance::Diagonal(own_k.into_iter().map(f64::from).collect()),
        }
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.variance_ki, &scale_d.iter().map(|s| s * s).collect::<Vec<_>>());
        unscale_columns(&mut self.direction_kri, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        let width = self.variance_ki.len() / self.classes;
        tensors.put_f32(VARIANCES, &[self.classes, width], &self.variance_ki);
        if self.rank() > 0 {
            let lines = self.rank() * self.classes;
            tensors.put_f32(DIRECTIONS, &[lines, width], &self.direction_kri);
        }
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        if !file.has(VARIANCES) {
            return Ok(None);
        }
        let sizes = sizes(weight_cd)?;
        let variance_ki = read_variances(file, VARIANCES, sizes)?;
        let direction_kri = match file.has(DIRECTIONS) {
            true => read_directions(file, DIRECTIONS, sizes)?,
            false => Vec::new(),
        };
        Ok(Some(Self { variance_ki, direction_kri, classes: sizes.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    /// φ̃ᵀ S_k φ̃ with S_k written out, for two classes and for more.
    #[test]
    fn it_is_the_quadratic_form_of_each_class() {
        let (d, rank) = (4, 2);
        let width = d + 1;
        let mut stream = Noise::new(8).stream(Purpose::Bootstrap, 0, 0);
        let mut normal = || stream.normal();
        for classes in [2usize, 3] {
            let covariance = Classwise {
                variance_ki: (0..classes * width).map(|_| normal().powi(2) as f32).collect(),
                direction_kri: (0..classes * rank * width).map(|_| normal() as f32).collect(),
                classes,
            };
            let feature_d: Vec<f32> = (0..d).map(|_| normal() as f32).collect();
            let x: Vec<f64> = with_bias(&feature_d).iter().map(|&x| f64::from(x)).collect();
            let of_class = |k: usize| -> f64 {
                let own = &covariance.variance_ki[k * width..][..width];
                let mut sum: f64 = own.iter().zip(&x).map(|(&v, x)| x * x * f64::from(v)).sum();
                for r in 0..rank {
                    let line = &covariance.direction_kri[(k * rank + r) * width..][..width];
                    let along: f64 = line.iter().zip(&x).map(|(&e, x)| f64::from(e) * x).sum();
                    sum += along * along;
                }
                sum
            };
            let exact: Vec<f64> = (0..classes).map(of_class).collect();
            let found = match covariance.at(&feature_d) {
                LogitCovariance::Difference(variance) => vec![variance],
                LogitCovariance::Diagonal(variance_c) => variance_c,
                other => panic!("{other:?}"),
            };
            let exact = if classes == 2 { vec![exact.iter().sum()] } else { exact };
            assert!(
                found.iter().zip(&exact).all(|(a, b): (&f64, &f64)| (a / b - 1.0).abs() < 1e-5)
            );
        }
    }
}
