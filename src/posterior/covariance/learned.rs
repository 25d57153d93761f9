//! Variances that a network has learned to say of each text: C = diag(v), v_k = exp(a_kᵀ φ̃) + 10⁻⁴.
//!
//! The other forms follow from a distribution over the weights of the last layer; this one is an output of the
//! network, as the mean is.

use candle_core::Tensor;

use super::{Form, sizes, unscale_columns, with_bias};
use crate::compute::kernels::lines::times;
use crate::posterior::logits::LogitCovariance;
use crate::store::{TensorFile, Tensors};

/// A linear layer for the logarithm of each variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// a, `[c, D]`.
    pub log_variance_ki: Vec<f32>,
    /// `c`.
    pub classes: usize,
}

/// The least variance of a logit: a deviation of 0.01, which no probability shows.
pub const LEAST_VARIANCE: f64 = 1e-4;

/// Beyond this a probability is even over all classes, and f32 near its end.
const MOST_LOG_VARIANCE: f64 = 30.0;

const WEIGHTS: &str = "learned.log_variances";

impl Form for Learned {
    fn directions(&self) -> usize {
        if self.classes == 2 { 0 } else { self.classes }
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let mut log_variance_k = vec![0.0; self.classes];
        times(&self.log_variance_ki, &with_bias(feature_d), &mut log_variance_k);
        let variance = |log: &f32| f64::from(*log).min(MOST_LOG_VARIANCE).exp() + LEAST_VARIANCE;
        let variance_k: Vec<f64> = log_variance_k.iter().map(variance).collect();
        match *variance_k {
            [first, second] => LogitCovariance::Difference(first + second),
            _ => LogitCovariance::Diagonal(variance_k),
        }
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.log_variance_ki, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        let width = self.log_variance_ki.len() / self.classes;
        tensors.put_f32(WEIGHTS, &[self.classes, width], &self.log_variance_ki);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        if !file.has(WEIGHTS) {
            return Ok(None);
        }
        let (classes, width) = sizes(weight_cd)?;
        let log_variance_ki = file.matrix(WEIGHTS, Some(classes), width)?;
        Ok(Some(Self { log_variance_ki, classes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variance_is_the_exponential_of_a_line_and_stays_finite() {
        let mut learned =
            Learned { log_variance_ki: vec![0.5, 1.0, -1.0, 0.0, 900.0, 0.0], classes: 3 };
        let LogitCovariance::Diagonal(variance_k) = learned.at(&[2.0]) else { panic!() };
        for (found, log) in variance_k.iter().zip([2.0f64, -2.0, 30.0]) {
            assert!((found / log.exp() - 1.0).abs() < 1e-3, "{found} {log}");
        }
        learned.unscale(&[0.5, 1.0]);
        assert_eq!(learned.log_variance_ki[..2], [0.25, 1.0]);
        let two = Learned { log_variance_ki: vec![0.0, 1.0, 0.0, 2.0], classes: 2 };
        let LogitCovariance::Difference(variance) = two.at(&[7.0]) else { panic!() };
        assert!((variance - 1f64.exp() - 2f64.exp() - 2.0 * LEAST_VARIANCE).abs() < 1e-9);
    }
}
