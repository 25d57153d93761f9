//! Differences of two models on the same rows, with 95 % intervals over resamples that both share.

use super::ranking::Order;
use super::resample::{bootstrap, resample};
use super::{Interval, MetricsError, interval};

/// The mean of `other_n` minus that of `one_n`.
pub fn mean_difference(
    one_n: &[f64],
    other_n: &[f64],
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Interval {
    assert_eq!(one_n.len(), other_n.len(), "a paired comparison is about the same rows");
    let rows = one_n.len();
    let difference = |times_n: &[u32]| {
        let rest = one_n.iter().zip(other_n).zip(times_n);
        let sum: f64 = rest.map(|((one, other), &times)| f64::from(times) * (other - one)).sum();
        sum / rows.max(1) as f64
    };
    interval(difference(&vec![1; rows]), bootstrap(rows, resamples, uniform, difference))
}

/// The scores of negatives and of positives, in which higher means positive.
pub type Sides<'a> = [&'a [f64]; 2];

/// The AUROC of `other` minus that of `one`. Both sides are resampled, each by itself.
///
/// # Errors
/// A side is empty, or a score is NaN.
pub fn auroc_difference(
    one: Sides<'_>,
    other: Sides<'_>,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Result<Interval, MetricsError> {
    for (what, side) in [("negatives", one[0]), ("positives", one[1])] {
        if side.is_empty() {
            return Err(MetricsError::Empty { what });
        }
    }
    let [inside, outside] = one.map(<[f64]>::len);
    assert_eq!(
        other.map(<[f64]>::len),
        [inside, outside],
        "a paired comparison is about the same rows"
    );
    let order = |[negatives, positives]: Sides<'_>| Order::of_sides(negatives, positives);
    let (one, other) = (order(one)?, order(other)?);
    let difference = |times_n: &[u32]| {
        let auroc = |order: &Order| order.ranking(&mut |row| times_n[row]).auroc();
        auroc(&other) - auroc(&one)
    };
    let mut times_n = vec![1; inside + outside];
    let value = difference(&times_n);
    let resampled = (0..resamples).map(|_| {
        let (negatives, positives) = times_n.split_at_mut(inside);
        resample(negatives, uniform);
        resample(positives, uniform);
        difference(&times_n)
    });
    Ok(interval(value, resampled.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::auroc;
    use crate::metrics::tests::uniform;

    #[test]
    fn a_difference_of_equal_models_is_zero_and_a_shift_is_certain() {
        let mut draw = uniform(5);
        let one: Vec<f64> = (0..200).map(|_| draw()).collect();
        let other: Vec<f64> = one.iter().map(|value| value + 0.25).collect();
        let same = mean_difference(&one, &one, 100, &mut uniform(1));
        assert_eq!((same.value, same.low, same.high), (0.0, 0.0, 0.0));
        let shifted = mean_difference(&one, &other, 100, &mut uniform(1));
        for value in [shifted.value, shifted.low, shifted.high] {
            assert!((value - 0.25).abs() < 1e-12, "each row is shifted as much: {shifted:?}");
        }
        // The interval of independent differences is the normal one.
        let noise: Vec<f64> = one.iter().map(|value| value + draw()).collect();
        let found = mean_difference(&one, &noise, 2000, &mut uniform(2));
        let error = (1.0f64 / 12.0 / 200.0).sqrt();
        assert!(((found.high - found.low) / (2.0 * 1.96 * error) - 1.0).abs() < 0.15, "{found:?}");
    }

    #[test]
    fn the_auroc_of_two_scores_differs_by_what_each_has() {
        let mut draw = uniform(6);
        let mut side = |shift: f64| -> Vec<f64> { (0..80).map(|_| draw() + shift).collect() };
        let (inside, outside, better) = (side(0.0), side(0.2), side(0.5));
        let same = [&inside[..], &outside[..]];
        let other = [&inside[..], &better[..]];
        let none = auroc_difference(same, same, 50, &mut uniform(1)).unwrap();
        assert_eq!((none.value, none.low, none.high), (0.0, 0.0, 0.0));
        let found = auroc_difference(same, other, 500, &mut uniform(1)).unwrap();
        let plain = auroc(&inside, &better).unwrap() - auroc(&inside, &outside).unwrap();
        assert!((found.value - plain).abs() < 1e-12);
        assert!(0.0 < found.low && found.low < plain && plain < found.high, "{found:?}");
        assert!(auroc_difference([&[], &outside], [&[], &outside], 5, &mut uniform(1)).is_err());
    }
}
