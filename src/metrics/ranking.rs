//! Does a score separate two groups: out-of-distribution texts, errors, the positive class.

use super::MetricsError;

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
/// one half (Mann and Whitney's U by mid-ranks). Higher scores mean "positive"; infinite scores are
/// allowed.
///
/// # Errors
/// Either slice is empty, or a score is NaN.
pub fn auroc(negatives: &[f64], positives: &[f64]) -> Result<f64, MetricsError> {
    for (side, scores) in [("negative", negatives), ("positive", positives)] {
        if scores.is_empty() {
            let what = if side == "negative" { "negatives" } else { "positives" };
            return Err(MetricsError::Empty { what });
        }
        if let Some(index) = scores.iter().position(|score| score.is_nan()) {
            return Err(MetricsError::Score { side, index });
        }
    }
    let negative = negatives.iter().map(|&score| (score, 0u64));
    let mut ranked: Vec<_> = negative.chain(positives.iter().map(|&score| (score, 1))).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));

    // Twice U, in whole numbers: for each group of ties, positives × (2 · negatives below + tied).
    let (mut below, mut twice) = (0u64, 0u128);
    // `==` and not `total_cmp`: −0 and 0 lie side by side in the order and are a tie.
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let positive: u64 = group.iter().map(|(_, is_positive)| is_positive).sum();
        let negative = group.len() as u64 - positive;
        twice += u128::from(positive) * u128::from(2 * below + negative);
        below += negative;
    }
    Ok(twice as f64 / (2.0 * negatives.len() as f64 * positives.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::uniform;

    #[test]
    fn separation_ties_and_reversal() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Ok(1.0));
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), Ok(0.0));
        assert_eq!(auroc(&[1.0, 1.0, 1.0], &[1.0, 1.0]), Ok(0.5));
        // Six pairs: 2 over 1, 2 = 2, 2 under 3; 3 over 1, 3 over 2, 3 = 3.
        assert_eq!(auroc(&[1.0, 2.0, 3.0], &[2.0, 3.0]), Ok(4.0 / 6.0));
        assert_eq!(auroc(&[-0.0], &[0.0]), Ok(0.5));
        assert_eq!(auroc(&[f64::NEG_INFINITY, 0.0], &[f64::INFINITY]), Ok(1.0));
    }

    #[test]
    fn it_is_the_share_of_pairs_in_the_right_order() {
        let mut uniform = uniform(11);
        let mut scores =
            |n: usize| -> Vec<f64> { (0..n).map(|_| (uniform() * 20.0).floor()).collect() };
        let (negatives, positives) = (scores(37), scores(23));
        let mut pairs = 0.0;
        for negative in &negatives {
            for positive in &positives {
                pairs += match positive.total_cmp(negative) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        assert_eq!(auroc(&negatives, &positives), Ok(pairs / (37.0 * 23.0)));
    }

    #[test]
    fn an_empty_side_and_a_nan_are_refused() {
        assert_eq!(auroc(&[], &[1.0]), Err(MetricsError::Empty { what: "negatives" }));
        assert_eq!(auroc(&[1.0], &[]), Err(MetricsError::Empty { what: "positives" }));
        let refused = auroc(&[1.0], &[0.0, f64::NAN]).unwrap_err();
        assert_eq!(refused.to_string(), "positive 1: the score is not a number");
    }
}
