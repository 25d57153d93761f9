//! Temperature scaling: one number that divides all logits.
//!
//! Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (ICML 2017), section
//! 4.2. With β = 1/T the mean negative log likelihood is convex in β, with derivative
//! E[μ] − μ_label and second derivative Var[μ] under softmax(βμ). The minimum is found by Newton's
//! method in ln β (so that T stays positive), kept inside a bracket that bisection shrinks.

/// The inverse temperatures that are looked at: T from 0.01 to 100.
pub(super) const LOWEST: f64 = -4.605_170_185_988_091;
pub(super) const HIGHEST: f64 = 4.605_170_185_988_091;

/// Changes of ln β below this end the search.
const PRECISION: f64 = 1e-10;

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
    /// Whether the best T lies outside 0.01 to 100: the rows say too little, for instance because
    /// every one of them is answered right.
    pub at_bound: bool,
}

/// The temperature with the least mean negative log likelihood on logits `[n, c]` and labels.
/// `None` for no rows.
pub fn fit_temperature(logit_nc: &[f64], labels: &[u32]) -> Option<Fit> {
    if labels.is_empty() {
        return None;
    }
    let classes = logit_nc.len() / labels.len();
    let at = |log_beta: f64| moments(logit_nc, labels, classes, log_beta.exp());
    let (mut low, mut high) = (LOWEST, HIGHEST);
    let nll_before = at(0.0).nll;
    let finish = |log_beta: f64, steps, at_bound| {
        let nll_after = at(log_beta).nll;
        Some(Fit { temperature: (-log_beta).exp(), nll_before, nll_after, steps, at_bound })
    };
    // The derivative by ln β is β times the slope: it has the slope's sign.
    if at(low).slope >= 0.0 {
        return finish(low, 0, true);
    }
    if at(high).slope <= 0.0 {
        return finish(high, 0, true);
    }
    let mut log_beta = 0.0;
    for steps in 1..=200 {
        let here = at(log_beta);
        if here.slope > 0.0 {
            high = log_beta;
        } else {
            low = log_beta;
        }
        let beta = log_beta.exp();
        let curvature = beta * here.slope + beta * beta * here.variance;
        let newton = log_beta - beta * here.slope / curvature;
        let inside = curvature > 0.0 && newton > low && newton < high;
        let next = if inside { newton } else { 0.5 * (low + high) };
        if (next - log_beta).abs() < PRECISION {
            return finish(next, steps, false);
        }
        log_beta = next;
    }
    finish(log_beta, 200, false)
}

struct Moments {
    nll: f64,
    /// Derivative of the mean negative log likelihood by β.
    slope: f64,
    /// Its second derivative.
    variance: f64,
}

fn moments(logit_nc: &[f64], labels: &[u32], classes: usize, beta: f64) -> Moments {
    let (mut nll, mut slope, mut variance) = (0.0, 0.0, 0.0);
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
        nll += sum.ln() - beta * own;
        slope += mean - own;
        variance += second / sum - mean * mean;
    }
    let n = labels.len() as f64;
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
            let here = moments(&logit_nc, &labels, classes, beta);
            assert!(here.slope.abs() < 1e-9, "the gradient vanishes: {}", here.slope);
            let error = (here.variance * n as f64).sqrt().recip();
            assert!((beta - 1.0 / temperature).abs() < 3.0 * error, "{fit:?}");
            assert!(fit.nll_after <= fit.nll_before && fit.steps < 15, "{fit:?}");
        }
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let (logit_nc, labels) = drawn(50, 4, 1.0);
        let at = |beta| moments(&logit_nc, &labels, 4, beta);
        let (here, step) = (at(0.7), 1e-5);
        let slope = (at(0.7 + step).nll - at(0.7 - step).nll) / (2.0 * step);
        let variance = (at(0.7 + step).slope - at(0.7 - step).slope) / (2.0 * step);
        assert!((here.slope - slope).abs() < 1e-8);
        assert!((here.variance - variance).abs() < 1e-7);
    }

    #[test]
    fn rows_that_are_all_right_or_all_wrong_end_at_a_bound() {
        let right = fit_temperature(&[1.0, 0.0, 3.0, 0.0], &[0, 0]).unwrap();
        assert!(right.at_bound && (right.temperature - 0.01).abs() < 1e-9);
        let wrong = fit_temperature(&[1.0, 0.0, 3.0, 0.0], &[1, 1]).unwrap();
        assert!(wrong.at_bound && (wrong.temperature - 100.0).abs() < 1e-9);
        assert_eq!(fit_temperature(&[], &[]), None);
    }
}
