//! Equally likely logits of a text, and what each would say: how far the posterior spreads.

use statrs::distribution::{ContinuousCDF, Normal};

use super::super::Posterior;
use super::super::logits::{LogitCovariance, LogitDistribution};
use super::{sample_offsets, softmax};
use crate::task::Task;

/// Points behind the interval of more than two classes.
const MANY: usize = super::POINTS;

impl LogitDistribution {
    /// Passes that were drawn; `None` for a closed form.
    pub fn passes(&self) -> Option<usize> {
        match self {
            Self::Point(_) | Self::Gaussian { .. } => None,
            Self::Samples { logit_mc, classes } => Some(logit_mc.len() / classes),
        }
    }
}

impl Posterior {
    /// Probabilities `[m, c]` under at most `most` equally likely points; `None` for a point estimate,
    /// and where the variance is left out: equal points would look like certainty.
    ///
    /// Two classes: the quantiles (i + ½)/m of the difference of their logits. More: the stored
    /// draws of the link, then the same mirrored. Samples: as they are.
    pub fn points(&self, logits: &LogitDistribution, most: usize) -> Option<Vec<f64>> {
        let Self { scaling, link, .. } = self;
        let Task::SingleLabel = link.task;
        if !scaling.uses_variance() {
            return None;
        }
        let mean_c = scaling.divided(&logits.mean());
        let classes = mean_c.len();
        let moved = |offset_mc: &[f64], sign: f64| -> Vec<f64> {
            let point = |offset_c: &[f64]| {
                let both = mean_c.iter().zip(offset_c);
                softmax(&both.map(|(mean, o)| mean + sign * o).collect::<Vec<_>>(), 1.0)
            };
            offset_mc.chunks_exact(classes).flat_map(point).collect()
        };
        let mut points = match logits {
            LogitDistribution::Point(_) => return None,
            LogitDistribution::Gaussian {
                covariance: difference @ LogitCovariance::Difference(_),
                ..
            } => {
                let root_c = difference.root(scaling, classes);
                let quantile = |i: usize| normal((i as f64 + 0.5) / most as f64);
                let offsets = (0..most).flat_map(|i| root_c.iter().map(move |f| f * quantile(i)));
                moved(&offsets.collect::<Vec<_>>(), 1.0)
            }
            LogitDistribution::Gaussian { covariance, .. } => {
                let offset_mc = covariance.offsets(link.draws.values(), scaling, classes);
                let mut both = moved(&offset_mc, 1.0);
                both.extend(moved(&offset_mc, -1.0));
                both
            }
            LogitDistribution::Samples { logit_mc, .. } => {
                moved(&sample_offsets(logit_mc, &logits.mean(), scaling), 1.0)
            }
        };
        points.truncate(most * classes);
        Some(points)
    }

    /// The central interval that holds `share` of the posterior of a class's probability.
    pub fn interval(
        &self,
        logits: &LogitDistribution,
        class: usize,
        share: f64,
    ) -> Option<[f64; 2]> {
        let Task::SingleLabel = self.link.task;
        if !self.scaling.uses_variance() {
            return None;
        }
        let tails = [0.5 - share / 2.0, 0.5 + share / 2.0];
        if let LogitDistribution::Gaussian {
            covariance: LogitCovariance::Difference(variance),
            ..
        } = logits
        {
            let deviation = self.scaling.factor() * variance.sqrt() * self.scaling.stretch(0);
            let mean_c = self.scaling.divided(&logits.mean());
            let at = |tail| mean_c[class] - mean_c[1 - class] + deviation.abs() * normal(tail);
            return Some(tails.map(|tail| 1.0 / (1.0 + (-at(tail)).exp())));
        }
        let points = self.points(logits, MANY)?;
        let classes = logits.mean().len();
        let mut found: Vec<f64> = points.iter().skip(class).step_by(classes).copied().collect();
        found.sort_by(f64::total_cmp);
        let last = (found.len() - 1) as f64;
        Some(tails.map(|tail| {
            let place = tail * last;
            let (below, part) = (place.floor() as usize, place.fract());
            let above = (below + 1).min(found.len() - 1);
            found[below] + part * (found[above] - found[below])
        }))
    }
}

/// The standard normal's quantile.
fn normal(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::super::{Covariance, LinkChoice, Scaling, Spread};
    use super::*;

    fn posterior() -> Posterior {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let spread = Spread::LastLayer(Covariance::Zero);
        Posterior::new(Task::SingleLabel, zeros(&[2, 1]), zeros(&[2]), spread, LinkChoice::Qmc)
    }

    fn two_classes(variance: f64) -> LogitDistribution {
        let covariance = LogitCovariance::Difference(variance);
        LogitDistribution::Gaussian { mean_c: vec![0.5, 2.0], covariance }
    }

    #[test]
    fn the_interval_of_two_classes_is_that_of_the_gaussian() {
        let scaling = Scaling { temperature: 2.0, scale: 0.25, vector: None };
        let posterior = Posterior { scaling, ..posterior() };
        // u = 1.5/2 ± 1.6449 · √(0.25 · 4)/2.
        let found = posterior.interval(&two_classes(4.0), 1, 0.9).unwrap();
        let expected = [-0.072_427, 1.572_427].map(|u: f64| 1.0 / (1.0 + (-u).exp()));
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        let other = posterior.interval(&two_classes(4.0), 0, 0.9).unwrap();
        assert!((other[0] + found[1] - 1.0).abs() < 1e-12);
        assert_eq!(posterior.interval(&LogitDistribution::Point(vec![0.0, 1.0]), 1, 0.9), None);
    }

    #[test]
    fn points_are_distributions_whose_mean_is_the_prediction() {
        let posterior = posterior();
        let points = posterior.points(&two_classes(1.0), 64).unwrap();
        assert_eq!(points.len(), 128);
        assert!(points.chunks_exact(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-12));
        let mean = points.iter().skip(1).step_by(2).sum::<f64>() / 64.0;
        let exact = posterior.predictive(&two_classes(1.0)).probability_c[1];
        assert!((mean - exact).abs() < 1e-3, "{mean} {exact}");
    }

    #[test]
    fn samples_are_given_as_they_are_and_their_interval_is_interpolated() {
        let posterior = posterior();
        let logit_mc: Vec<f64> = (0..11).flat_map(|i| [0.0, f64::from(i) - 5.0, -9.0]).collect();
        let samples = LogitDistribution::Samples { logit_mc: logit_mc.clone(), classes: 3 };
        assert_eq!(samples.passes(), Some(11));
        let points = posterior.points(&samples, 64).unwrap();
        for (point, logit_c) in points.chunks_exact(3).zip(logit_mc.chunks_exact(3)) {
            let exact = softmax(logit_c, 1.0);
            assert!(point.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        let [low, high] = posterior.interval(&samples, 1, 0.9).unwrap();
        let p = |logit| softmax(&[0.0, logit, -9.0], 1.0)[1];
        assert!((low - (p(-5.0) + p(-4.0)) / 2.0).abs() < 1e-12, "{low}");
        assert!((high - (p(4.0) + p(5.0)) / 2.0).abs() < 1e-12, "{high}");
    }
}
