//! The other calibration errors beside what perfect calibration would have shown.

use serde::{Deserialize, Serialize};

use super::calibration_error::{EqualMass, top_label};
use super::smooth_ece::Smoother;
use super::{BINS, Floor, LargestGap, Scored, class_wise_ece, mce, positive_ece};

/// Resamples behind the floor of the smooth error, which takes longer than the others.
const SMOOTH_RESAMPLES: usize = 20;

/// A calibration error and its noise floor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AboveFloor {
    /// Value on all rows.
    pub value: f64,
    /// Mean of the same error when every label is drawn from its predicted probabilities.
    pub floor: f64,
    /// Standard deviation of it.
    pub floor_sd: f64,
}

/// Calibration errors that answer other questions than [`super::ece`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationErrors {
    /// See [`super::adaptive_ece`], 15 groups.
    pub adaptive_ece: AboveFloor,
    /// See [`super::class_wise_ece`], 15 bins.
    pub class_wise_ece: AboveFloor,
    /// See [`super::smooth_ece`]; its floor is over 20 draws at most.
    pub smooth_ece: AboveFloor,
    /// See [`super::mce`], 15 bins.
    pub mce: AboveFloor,
    /// The bin of that gap and its rows.
    pub mce_bin: LargestGap,
    /// See [`super::positive_ece`]: for two classes.
    pub positive_ece: Option<f64>,
}

/// All of them, with floors over `resamples` draws of all labels (0 is taken as 1).
pub fn calibration_errors(
    scored: &Scored,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> CalibrationErrors {
    let (confidence_n, hit_n) = top_label(scored);
    let groups = EqualMass::new(&confidence_n, BINS);
    let mut smoother = Smoother::new(&confidence_n);
    let mut drawn: [Vec<f64>; 4] = Default::default();
    for number in 0..resamples.max(1) {
        let labels = draw_labels(scored, uniform);
        let draw = Scored { labels: &labels, ..*scored };
        let (_, hit_n) = top_label(&draw);
        let [adaptive, class_wise, largest, smooth] = &mut drawn;
        adaptive.push(groups.error(&hit_n));
        class_wise.push(class_wise_ece(&draw, BINS));
        largest.push(mce(&draw, BINS).value);
        if number < SMOOTH_RESAMPLES {
            smooth.push(smoother.error(&hit_n));
        }
    }
    let beside = |value, drawn: &[f64]| {
        let Floor { mean, sd } = Floor::of(drawn);
        AboveFloor { value, floor: mean, floor_sd: sd }
    };
    let mce_bin = mce(scored, BINS);
    CalibrationErrors {
        adaptive_ece: beside(groups.error(&hit_n), &drawn[0]),
        class_wise_ece: beside(class_wise_ece(scored, BINS), &drawn[1]),
        smooth_ece: beside(smoother.error(&hit_n), &drawn[3]),
        mce: beside(mce_bin.value, &drawn[2]),
        mce_bin,
        positive_ece: positive_ece(scored, BINS),
    }
}

/// One label for each row, drawn from its predicted probabilities.
fn draw_labels(scored: &Scored, uniform: &mut dyn FnMut() -> f64) -> Vec<u32> {
    let draw = |(probability_c, _): (&[f64], usize)| {
        let mut left = uniform();
        let drawn = probability_c.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        // A row may sum to a little less than 1.
        drawn.unwrap_or(probability_c.len() - 1) as u32
    };
    scored.iter().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{calibrated, uniform};
    use crate::metrics::{adaptive_ece, smooth_ece};

    #[test]
    fn the_values_are_those_of_the_plain_functions() {
        let (probability_nc, labels) = calibrated(300, 3, 71);
        let scored = Scored::new(&probability_nc, 3, &labels).unwrap();
        let errors = calibration_errors(&scored, 2, &mut uniform(0));
        assert_eq!(errors.adaptive_ece.value, adaptive_ece(&scored, 15));
        assert_eq!(errors.class_wise_ece.value, class_wise_ece(&scored, 15));
        assert_eq!(errors.smooth_ece.value, smooth_ece(&scored));
        assert_eq!(errors.mce.value, errors.mce_bin.value);
        assert_eq!(errors.positive_ece, None);
    }

    #[test]
    fn calibrated_predictions_lie_at_their_floors_and_overconfident_ones_above() {
        for classes in [2, 4] {
            let (mut probability_nc, labels) = calibrated(3000, classes, 72);
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let errors = calibration_errors(&scored, 60, &mut uniform(1));
            let all = |errors: &CalibrationErrors| {
                [errors.adaptive_ece, errors.class_wise_ece, errors.smooth_ece, errors.mce]
            };
            for AboveFloor { value, floor, floor_sd } in all(&errors) {
                assert!((value - floor).abs() < 4.0 * floor_sd, "{errors:?}");
            }
            for row_c in probability_nc.chunks_exact_mut(classes) {
                row_c.iter_mut().for_each(|p| *p = p.powi(3));
                let total: f64 = row_c.iter().sum();
                row_c.iter_mut().for_each(|p| *p /= total);
            }
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let errors = calibration_errors(&scored, 60, &mut uniform(1));
            for AboveFloor { value, floor, floor_sd } in all(&errors) {
                assert!(value > floor + 4.0 * floor_sd, "{errors:?}");
            }
        }
    }
}
