//! Dropout at prediction time as a posterior.
//!
//! Gal and Ghahramani, "Dropout as a Bayesian approximation" (ICML 2016). With
//! [`Passes`](crate::posterior::Passes) it is theirs: several passes with the dropout of training, in all layers or in
//! the top ones alone, the layers below them computed once. Here stands the form that costs nothing: of
//! the noise in every layer we keep the last, dropout on the feature φ that enters the last linear layer W.
//! Inverted dropout with rate p multiplies each φ_i by an independent m_i / (1 − p), m_i ~ Bernoulli(1 − p),
//! so the logits have the mean Wφ + b and exactly the covariance
//!
//! C = p / (1 − p) Σ_i φ_i² W_i W_iᵀ
//!
//! over the columns W_i. The link takes it as the covariance of a Gaussian, which the sum of many such
//! terms nearly is.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::Form;
use crate::posterior::logits::{Basis, LogitCovariance};
use crate::store::{TensorFile, Tensors};

/// The weights whose features are dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
    /// W without its bias, `[c, d]`.
    pub(super) basis: Arc<Basis>,
}

impl Dropout {
    /// With a rate below 1 before a last layer of this weight, `[c, d]`.
    pub fn new(rate: f64, weight_cd: &Tensor) -> candle_core::Result<Self> {
        let values = weight_cd.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        Ok(Self { rate, basis: Arc::new(Basis::new(values, weight_cd.dim(1)?)) })
    }
}

const RATE: &str = "dropout.rate";

impl Form for Dropout {
    fn directions(&self) -> usize {
        if self.basis.classes() == 2 { 0 } else { self.basis.width() }
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let odds = self.rate / (1.0 - self.rate);
        let square = |&x: &f32| odds * f64::from(x) * f64::from(x);
        let variance_j: Vec<f64> = feature_d.iter().map(square).collect();
        if self.basis.classes() == 2 {
            let (first, second) = self.basis.values().split_at(variance_j.len());
            let difference = first.iter().zip(second).map(|(a, b)| f64::from(b - a));
            let terms = difference.zip(&variance_j).map(|(w, v)| w * w * v);
            return LogitCovariance::Difference(terms.sum());
        }
        LogitCovariance::Shared { basis: Arc::clone(&self.basis), variance_j }
    }

    /// It follows from the weight and the features, whatever their scale.
    fn unscale(&mut self, _: &[f64]) {}

    fn put(&self, tensors: &mut Tensors) {
        tensors.put_f64(RATE, &[self.rate]);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        if !file.has(RATE) {
            return Ok(None);
        }
        let rate = file.finite_f64(RATE, 1)?[0];
        if !(0.0..1.0).contains(&rate) {
            return Err(format!("`{RATE}` is not between 0 and 1"));
        }
        Self::new(rate, weight_cd).map(Some).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Backend, Noise, Packed, Purpose, Sequence};
    use crate::model::{Classifier, DropoutPasses, EncoderConfig, Parameters, Sizes};
    use crate::posterior::{LinkChoice, LogitDistribution, Passes, Posterior, Spread};
    use crate::task::Task;

    /// Where only the feature has dropout, passes through the network have the closed form's mean and
    /// covariance, within five standard errors.
    #[test]
    fn many_passes_agree_with_the_closed_form() {
        let sizes = Sizes {
            num_hidden_layers: 1,
            hidden_size: 16,
            num_attention_heads: 2,
            intermediate_size: 32,
        };
        let mut config = EncoderConfig::from_scratch(sizes, 30, 20).unwrap();
        config.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.0, 0.0);
        config.classifier_dropout = 0.3;
        let parameters = Parameters::fresh(&config, &Noise::new(6), &Backend::Cpu).unwrap();
        let mut stream = Noise::new(7).stream(Purpose::Init, 0, 0);
        let wide: Vec<f32> = (0..3 * 16).map(|_| stream.normal() as f32).collect();
        let weight_cd = Tensor::from_vec(wide, (3, 16), &Device::Cpu).unwrap();
        let bias_c = Tensor::from_vec(vec![0.5f32, -0.5, 0.0], 3, &Device::Cpu).unwrap();
        let parameters = parameters.with_last_layer(&weight_cd, &bias_c).unwrap();
        let classifier = Classifier::packed(&config, &parameters).unwrap();
        let batch = Packed::new([Sequence { ids: vec![3, 9, 4], ..Sequence::default() }]);

        let samples = 20_000;
        let sampling = DropoutPasses { samples, layers: 0, noise: Noise::new(1) };
        let drawn = classifier.sampled(&batch, &sampling).unwrap();
        let drawn = drawn.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let passes = Passes::Dropout { samples, layers: 0 };
        let (spread, link) = (Spread::Passes(passes), LinkChoice::default());
        let posterior =
            Posterior::new(Task::SingleLabel, weight_cd.clone(), bias_c.clone(), spread, link);
        let found = posterior.logits(&drawn).unwrap().swap_remove(0);
        let LogitDistribution::Samples { logit_mc, .. } = &found else { panic!("{found:?}") };

        let feature_d = classifier.features(&batch).unwrap().flatten_all().unwrap();
        let feature_d = feature_d.to_vec1::<f32>().unwrap();
        let dropout = Dropout::new(0.3, &weight_cd).unwrap();
        let LogitCovariance::Shared { basis, variance_j } = dropout.at(&feature_d) else {
            panic!("three classes share a basis")
        };
        let exact = |class: usize| {
            let row = &basis.values()[class * 16..][..16];
            let bias = [0.5, -0.5, 0.0][class];
            row.iter().zip(&feature_d).map(|(w, x)| f64::from(w * x)).sum::<f64>() + bias
        };
        for (a, b) in [(0, 0), (0, 1), (1, 2), (2, 2)] {
            let row = |class: usize| &basis.values()[class * 16..][..16];
            let terms = row(a).iter().zip(row(b)).zip(&variance_j);
            let closed: f64 = terms.map(|((u, v), var)| f64::from(u * v) * var).sum();
            let products = logit_mc.chunks_exact(3).map(|z| (z[a] - exact(a)) * (z[b] - exact(b)));
            let products: Vec<f64> = products.collect();
            let n = samples as f64;
            let mean = products.iter().sum::<f64>() / n;
            let spread = products.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            assert!((mean - closed).abs() < 5.0 * (spread / n).sqrt(), "{a} {b}: {mean} {closed}");
            let error = (found.mean()[a] - exact(a)).abs();
            let variance: f64 =
                row(a).iter().zip(&variance_j).map(|(w, v)| f64::from(w * w) * v).sum();
            assert!(error < 5.0 * (variance / n).sqrt(), "{a}: {error}");
        }
    }

    /// The sample covariance of W (mask φ / (1 − p)) over 100,000 masks, within five standard errors.
    #[test]
    fn dropout_in_closed_form_equals_many_masks() {
        let (d, rate, masks) = (6, 0.2, 100_000);
        let mut stream = Noise::new(1).stream(Purpose::Dropout, 0, 0);
        for classes in [2usize, 3] {
            let feature_d: Vec<f32> = (0..d).map(|_| stream.normal() as f32).collect();
            let weight: Vec<f32> = (0..classes * d).map(|_| stream.normal() as f32).collect();
            let weight_cd = Tensor::from_slice(&weight, (classes, d), &Device::Cpu).unwrap();
            let dropout = Dropout::new(rate, &weight_cd).unwrap();
            // Differences to class 0, which do not see a common shift.
            let difference = |feature: &[f64], class: usize| -> f64 {
                let w = |c: usize, i: usize| f64::from(weight[c * d + i]);
                (0..d).map(|i| (w(class, i) - w(0, i)) * feature[i]).sum()
            };
            let exact: Vec<f64> = feature_d.iter().map(|&x| f64::from(x)).collect();
            let mut moments = vec![(0.0, 0.0); classes];
            for _ in 0..masks {
                let kept = |x: &f64| if stream.uniform() < rate { 0.0 } else { x / (1.0 - rate) };
                let dropped: Vec<f64> = exact.iter().map(kept).collect();
                for (class, (second, fourth)) in moments.iter_mut().enumerate() {
                    let square = (difference(&dropped, class) - difference(&exact, class)).powi(2);
                    *second += square;
                    *fourth += square * square;
                }
            }
            for (class, (second, fourth)) in moments.iter().enumerate().skip(1) {
                let n = f64::from(masks);
                let (mean, fourth) = (second / n, fourth / n);
                let found = match dropout.at(&feature_d) {
                    LogitCovariance::Difference(variance) => variance,
                    LogitCovariance::Shared { basis, variance_j } => {
                        let deviation_j: Vec<f64> = variance_j.iter().map(|v| v.sqrt()).collect();
                        let root = basis.scaled(&deviation_j);
                        let (own, first) = (&root[class * d..(class + 1) * d], &root[..d]);
                        own.iter().zip(first).map(|(a, b)| (a - b).powi(2)).sum()
                    }
                    other => panic!("{other:?}"),
                };
                let error = ((fourth - mean * mean) / n).sqrt();
                assert!((found - mean).abs() < 5.0 * error, "{found} {mean} {error}");
            }
        }
    }
}
