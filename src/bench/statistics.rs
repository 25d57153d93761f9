//! Medians, quantiles, spread and ratios of a few numbers.

use crate::metrics::{Interval, interval};

/// Resamples behind the interval of a ratio.
const RESAMPLES: usize = 2000;

/// The value below which a share of the others lies, linear between neighbours. None of nothing.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[place as usize], sorted[place.ceil() as usize]);
    Some(low + place.fract() * (high - low))
}

/// The value in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation with n − 1 in the denominator; 0 of a single value.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}

/// Standard deviation over mean.
pub fn coefficient_of_variation(values: &[f64]) -> f64 {
    deviation(values) / mean(values)
}

/// The median with the smallest and the largest value. Between those of five independent rounds
/// the true median lies in 15 of 16 cases.
pub fn range(values: &[f64]) -> Option<Interval> {
    let (low, high) = (quantile(values, 0.0)?, quantile(values, 1.0)?);
    Some(Interval { value: median(values)?, low, high })
}

/// The ratio of two medians, with the interval that resampling the rounds of both gives it. None
/// where there are no rounds or the second median is 0.
pub fn ratio(new: &[f64], old: &[f64], uniform: &mut dyn FnMut() -> f64) -> Option<Interval> {
    let of = |new: &[f64], old: &[f64]| Some(median(new)? / median(old)?).filter(|x| x.is_finite());
    let value = of(new, old)?;
    let mut draw = |from: &[f64]| -> Vec<f64> {
        let any = |_| from[((uniform() * from.len() as f64) as usize).min(from.len() - 1)];
        (0..from.len()).map(any).collect()
    };
    let resampled = (0..RESAMPLES).filter_map(|_| {
        let new = draw(new);
        of(&new, &draw(old))
    });
    Some(interval(value, resampled.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(quantile(&values, 0.95), Some(4.8));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(range(&values).unwrap(), Interval { value: 3.0, low: 1.0, high: 5.0 });
    }

    #[test]
    fn the_spread_is_relative_to_the_mean() {
        assert_eq!(deviation(&[1.0, 3.0]), 2f64.sqrt());
        assert_eq!(deviation(&[5.0]), 0.0);
        let values = [9.0, 10.0, 11.0];
        assert!((coefficient_of_variation(&values) - 0.1).abs() < 1e-15);
    }

    #[test]
    fn a_ratio_is_resampled_over_the_rounds_of_both() {
        let mut stream = Noise::new(1).stream(Purpose::Bootstrap, 0, 0);
        let uniform = &mut || stream.uniform();
        let old = [10.0, 10.1, 9.9, 10.05, 9.95];
        let half = old.map(|value| value / 2.0);
        let found = ratio(&half, &old, uniform).unwrap();
        assert!((found.value - 0.5).abs() < 1e-12);
        assert!(found.low > 0.48 && found.low < 0.5 && found.high > 0.5 && found.high < 0.52);
        let same = ratio(&old, &old, uniform).unwrap();
        assert!(same.low < 1.0 && same.high > 1.0, "{same:?}");
        assert_eq!(ratio(&old, &[0.0], uniform), None);
        assert_eq!(ratio(&[], &old, uniform), None);
    }
}
