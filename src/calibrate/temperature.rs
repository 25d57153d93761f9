//! Temperature scaling: one number that divides all logits.
//!
//! Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (ICML 2017), section
//! 4.2. With β = 1/T the mean negative log likelihood is convex in β, with derivative
//! E[μ] − μ_label and second derivative Var[μ] under softmax(βμ). The minimum is found by Newton's
//! method in ln β (so that T stays positive), kept inside a bracket that bisection shrinks.
//!
//! Departures: ln T has a weak normal prior ([`PRIOR_SD`]), and where the rows do not identify T it stays
//! at or above 1 ([`Doubt`]): a model is not made surer than it was by rows that cannot tell.

use serde::{Deserialize, Serialize};

/// The inverse temperatures that are looked at: T from 0.01 to 100.
pub(super) const LOWEST: f64 = -4.605_170_185_988_091;
pub(super) const HIGHEST: f64 = 4.605_170_185_988_091;

/// Changes of ln β below this end the search.
const PRECISION: f64 = 1e-10;

/// Standard deviation of ln T before any row is seen: T between 1/e and e is plausible. Its precision, 1,
/// is worth what a few rows say: one row says β² Var[μ], a third or so where logits are moderate. A few
/// rows that happen to be right then do not drive T away, and a few hundred move as they did.
pub(super) const PRIOR_SD: f64 = 1.0;

/// Why the rows do not say which temperature below 1 would be right: it stays at or above 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Every row is answered right, and the likelihood grows without end as T falls.
    AllRight,
    /// All rows have one label.
    OneClass,
    /// The best T lies outside of 0.01 to 100.
    AtBound,
}

impl Doubt {
    /// What is known before anything is fitted.
    pub(super) fn of(logit_nc: &[f64], labels: &[u32]) -> Option<Self> {
        let classes = logit_nc.len() / labels.len().max(1);
        let right = |(logit_c, &label): (&[f64], &u32)| {
            logit_c.iter().all(|logit| *logit <= logit_c[label as usize])
        };
        if logit_nc.chunks_exact(classes.max(1)).zip(labels).all(right) {
            Some(Self::AllRight)
        } else if labels.iter().all(|label| *label == labels[0]) {
            Some(Self::OneClass)
        } else {
            None
        }
    }
}

/// A fitted temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// What logits are divided by.
    pub temperature: f64,
    /// Mean negative log likelihood at T = 1, in nats.
    pub nll_before: f64,
    /// The same at `temperature`.
    pub nll_after: f64,
    /// Newton and bisection steps taken.
    pub steps: usize,
    /// Why the temperature was not free.
    pub doubt: Option<Doubt>,
}

/// The most probable temperature for logits `[n, c]` and labels: least Σ −ln p(label) + ½ (ln T / σ)².
/// `None` for no rows.
pub fn fit_temperature(logit_nc: &[f64], labels: &[u32]) -> Option<Fit> {
    fit_weighted(logit_nc, labels, &[])
}

/// The same where a row of each class counts as much as this, `[c]`; empty where all count alike. Means are weighted.
pub fn fit_weighted(logit_nc: &[f64], labels: &[u32], weight_c: &[f64]) -> Option<Fit> {
    if labels.is_empty() {
        return None;
    }
    let weights = labels.iter().map(|&label| weight_of(label, weight_c));
    let pull = (PRIOR_SD * PRIOR_SD * weights.sum::<f64>()).recip();
    let at = |log_beta: f64| moments(logit_nc, labels, weight_c, log_beta.exp());
    // Of the objective over n, by ln β.
    let slope = |log_beta: f64| log_beta.exp() * at(log_beta).slope + pull * log_beta;
    let nll_before = at(0.0).nll;
    let finish = |log_beta: f64, steps, doubt| {
        let nll_after = at(log_beta).nll;
        Some(Fit { temperature: (-log_beta).exp(), nll_before, nll_after, steps, doubt })
    };
    let doubt = Doubt::of(logit_nc, labels);
    let (mut low, mut high) = (LOWEST, if doubt.is_some() { 0.0 } else { HIGHEST });
    if slope(low) >= 0.0 {
        return finish(low, 0, Some(Doubt::AtBound));
    }
    if slope(high) <= 0.0 {
        return finish(0.0, 0, doubt.or(Some(Doubt::AtBound)));
    }
    let mut log_beta = 0.0;
    for steps in 1..=200 {
        let here = at(log_beta);
        let beta = log_beta.exp();
        let slope = beta * here.slope + pull * log_beta;
        if slope > 0.0 {
            high = log_beta;
        } else {
            low = log_beta;
        }
        let curvature = beta * here.slope + beta * beta * here.variance + pull;
        let newton = log_beta - slope / curvature;
        let inside = curvature > 0.0 && newton > low && newton < high;
        let next = if inside { newton } else { 0.5 * (low + high) };
        if (next - log_beta).abs() < PRECISION {
            return finish(next, steps, doubt);
        }
        log_beta = next;
    }
    finish(log_beta, 200, doubt)
}

/// The mean negative log likelihood of logits `[n, c]` and labels at [`fit_weighted`]'s temperature, in nats; NaN
/// for no rows.
pub fn calibrated_nll(logit_nc: &[f64], labels: &[u32], weight_c: &[f64]) -> f64 {
    fit_weighted(logit_nc, labels, weight_c).map_or(f64::NAN, |fit| fit.nll_after)
}

struct Moments {
    nll: f64,
    /// Derivative of the mean negative log likelihood by β.
    slope: f64,
    variance: f64,
}

fn weight_of(label: u32, weight_c: &[f64]) -> f64 {
    weight_c.get(label as usize).copied().unwrap_or(1.0)
}

fn moments(logit_nc: &[f64], labels: &[u32], weight_c: &[f64], beta: f64) -> Moments {
    let classes = logit_nc.len() / labels.len();
    let (mut nll, mut slope, mut variance, mut n) = (0.0, 0.0, 0.0, 0.0);
    for (logit_c, &label) in logit_nc.chunks_exact(classes).zip(labels) {
        let peak = logit_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for logit in logit_c {
            // Relative to the peak, so that squares of large logits do not cancel.
            let shifted = logit - peak;
            let weight = (beta * shifted).exp();
            sum += weight;
            first += weight * shifted;
            second += weight * shifted * shifted;
        }
        let own = logit_c[label as usize] - peak;
        let mean = first / sum;
        let weight = weight_of(label, weight_c);
        nll += weight * (sum.ln() - beta * own);
        slope += weight * (mean - own);
        variance += weight * (second / sum - mean * mean);
        n += weight;
    }
    Moments { nll: nll / n, slope: slope / n, variance: variance / n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    /// Logits with spread 2, and labels drawn from softmax(logits / T).
    fn drawn(n: usize, classes: usize, temperature: f64) -> (Vec<f64>, Vec<u32>) {
        let mut stream = Noise::new(11).stream(Purpose::Bootstrap, 0, 0);
        let (mut logit_nc, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let logit_c: Vec<f64> = (0..classes).map(|_| 2.0 * stream.normal()).collect();
            let weight = |logit: &f64| (logit / temperature).exp();
            let mut left = stream.uniform() * logit_c.iter().map(weight).sum::<f64>();
            let label = logit_c.iter().position(|logit| {
                left -= weight(logit);
                left < 0.0
            });
            labels.push(label.unwrap_or(classes - 1) as u32);
            logit_nc.extend(logit_c);
        }
        (logit_nc, labels)
    }

    /// Three standard errors from the Fisher information Σ Var[μ] of β.
    #[test]
    fn the_temperature_that_made_the_labels_is_found() {
        for (classes, temperature) in [(2, 2.3), (2, 0.6), (5, 2.3), (150, 1.4)] {
            let n = 4000;
            let (logit_nc, labels) = drawn(n, classes, temperature);
            let fit = fit_temperature(&logit_nc, &labels).unwrap();
            let beta = 1.0 / fit.temperature;
            let here = moments(&logit_nc, &labels, &[], beta);
            let pull = fit.temperature.ln() / (PRIOR_SD * PRIOR_SD * n as f64);
            let slope = beta * here.slope - pull;
            assert!(slope.abs() < 1e-9, "the gradient vanishes: {slope}");
            assert_eq!(fit.doubt, None);
            let error = (here.variance * n as f64).sqrt().recip();
            assert!((beta - 1.0 / temperature).abs() < 3.0 * error, "{fit:?}");
            assert!(fit.nll_after <= fit.nll_before && fit.steps < 15, "{fit:?}");
        }
    }

    /// Logits that are surer say the same of the classes.
    #[test]
    fn the_calibrated_nll_is_that_of_logits_of_any_scale() {
        let (logit_nc, labels) = drawn(4000, 5, 1.0);
        let of = |factor: f64| {
            let scaled: Vec<f64> = logit_nc.iter().map(|logit| factor * logit).collect();
            (calibrated_nll(&scaled, &labels, &[]), moments(&scaled, &labels, &[], 1.0).nll)
        };
        let (calibrated, plain) = of(1.0);
        assert!((calibrated - plain).abs() < 1e-3, "{calibrated} {plain}");
        for factor in [0.25, 4.0] {
            let (found, plain) = of(factor);
            // ln T has a weak prior.
            assert!((found - calibrated).abs() < 1e-5 && plain > found + 0.1, "{found} {plain}");
        }
        assert!(calibrated_nll(&[], &[], &[]).is_nan());
    }

    /// A class that counts twice is one whose rows stand there twice.
    #[test]
    fn a_weight_is_worth_as_many_rows() {
        let (logit_nc, labels) = drawn(300, 3, 1.7);
        let twice = labels.iter().zip(logit_nc.chunks_exact(3)).filter(|(label, _)| **label == 1);
        let (more, lines): (Vec<u32>, Vec<&[f64]>) = twice.unzip();
        let (all, both) =
            ([&labels[..], &more].concat(), [&logit_nc[..], &lines.concat()].concat());
        let expected = fit_temperature(&both, &all).unwrap();
        let found = fit_weighted(&logit_nc, &labels, &[1.0, 2.0, 1.0]).unwrap();
        assert!((found.nll_before - expected.nll_before).abs() < 1e-12, "{found:?}");
        assert!((found.temperature - expected.temperature).abs() < 1e-9, "{found:?} {expected:?}");
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let (logit_nc, labels) = drawn(50, 4, 1.0);
        let at = |beta| moments(&logit_nc, &labels, &[], beta);
        let (here, step) = (at(0.7), 1e-5);
        let slope = (at(0.7 + step).nll - at(0.7 - step).nll) / (2.0 * step);
        let variance = (at(0.7 + step).slope - at(0.7 - step).slope) / (2.0 * step);
        assert!((here.slope - slope).abs() < 1e-8);
        assert!((here.variance - variance).abs() < 1e-7);
    }

    #[test]
    fn rows_that_cannot_tell_never_make_a_model_surer() {
        let right = fit_temperature(&[1.0, 0.0, 3.0, 0.0, 0.0, 2.0], &[0, 0, 1]).unwrap();
        assert_eq!((right.doubt, right.temperature), (Some(Doubt::AllRight), 1.0));
        // Right with so little confidence that even a higher temperature is no question.
        let shy = fit_temperature(&[0.1, 0.0].repeat(50), &[0; 50]).unwrap();
        assert_eq!((shy.doubt, shy.temperature), (Some(Doubt::AllRight), 1.0));
        let logit_nc = [[2.0, 0.0].repeat(30), vec![0.0, 0.1]].concat();
        let one_class = fit_temperature(&logit_nc, &[0; 31]).unwrap();
        assert_eq!((one_class.doubt, one_class.temperature), (Some(Doubt::OneClass), 1.0));
        let wrong =
            fit_temperature(&[1.0, 0.0, 0.0, 3.0].repeat(500), &[1, 0].repeat(500)).unwrap();
        assert_eq!(wrong.doubt, Some(Doubt::AtBound));
        assert!((wrong.temperature - 100.0).abs() < 1e-9);
        assert_eq!(fit_temperature(&[], &[]), None);
    }

    /// One row that is wrong by a hair among few: the prior keeps T from falling to its bound.
    #[test]
    fn a_few_rows_move_the_temperature_a_little_and_many_move_it_as_they_should() {
        let rows = |times: usize| {
            let logit_nc = [[4.0, 0.0].repeat(23), vec![0.0, 0.1]].concat().repeat(times);
            let labels = [[0; 23].as_slice(), &[0]].concat().repeat(times);
            // Both classes occur, so that it is no question of one class.
            let logit_nc = [logit_nc, [0.0, 4.0].repeat(times)].concat();
            let labels = [labels, vec![1; times]].concat();
            fit_temperature(&logit_nc, &labels).unwrap()
        };
        let (few, many) = (rows(1), rows(200));
        assert_eq!((few.doubt, many.doubt), (None, None));
        assert!(few.temperature > 0.3, "{few:?}");
        assert!(many.temperature < few.temperature, "{many:?}");
    }
}
