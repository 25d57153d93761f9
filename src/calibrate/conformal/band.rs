//! What a finite number of calibration rows promises.

use statrs::distribution::{Beta, ContinuousCDF};

/// The rank k = ⌈(n + 1)(1 − α)⌉ of the score that bounds a set; k > n means that no score of the
/// n does.
pub fn rank(n: usize, alpha: f64) -> usize {
    n + 1 - misses(n, alpha)
}

/// l = ⌊(n + 1) α⌋, forgiving the rounding of an α such as 1 − 0.9.
fn misses(n: usize, alpha: f64) -> usize {
    ((n + 1) as f64 * alpha * (1.0 + 1e-9)).floor() as usize
}

/// The central interval that holds the true coverage in a share `level` of the draws of n
/// calibration rows: quantiles of Beta(n + 1 − l, l) with l = ⌊(n + 1) α⌋, for scores without ties
/// (Vovk, "Conditional validity of inductive conformal predictors", 2012). With l = 0 every set is
/// full; without rows nothing is known.
pub fn coverage_band(n: usize, alpha: f64, level: f64) -> Option<(f64, f64)> {
    if n == 0 {
        return None;
    }
    let misses = misses(n, alpha);
    if misses == 0 {
        return Some((1.0, 1.0));
    }
    let beta = Beta::new((n + 1 - misses) as f64, misses as f64).expect("both are at least 1");
    let tail = 0.5 * (1.0 - level);
    Some((beta.inverse_cdf(tail), beta.inverse_cdf(1.0 - tail)))
}
