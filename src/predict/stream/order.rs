//! The order of predictions: what a person should look at first.

use super::error::StreamError;
use crate::artifact::Artifact;
use crate::predict::select::Selection;
use crate::predict::{Prediction, Predictor};

/// Which predictions are given, and in what order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// All, as their texts are read.
    #[default]
    AsRead,
    /// All, sorted. They are held in memory.
    Sorted(SortBy),
    /// Those that are chosen, in the order of the choice. All are held in memory with their features.
    Chosen(Selection),
}

impl Order {
    /// Refuses an order that the model knows nothing of, before it is asked anything.
    ///
    /// # Errors
    /// It does not report what the rows are to be sorted or chosen by.
    pub fn check(self, predictor: &Predictor) -> Result<(), StreamError> {
        match self {
            Self::AsRead => Ok(()),
            Self::Sorted(by) => by.check(predictor),
            Self::Chosen(selection) => match selection.strategy.lacks(predictor) {
                Some(why) => Err(StreamError::CannotChoose { why }),
                None => Ok(()),
            },
        }
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Highest epistemic (model) uncertainty first; for a model that reports it.
    Epistemic,
    /// Highest uncertainty first.
    Uncertainty,
    /// Lowest confidence first.
    Confidence,
    /// Least like the training data first; for a model that is calibrated for it.
    OodP,
}

impl SortBy {
    fn check(self, predictor: &Predictor) -> Result<(), StreamError> {
        let Artifact { posterior, calibration, .. } = predictor.artifact();
        let hint = match (self, &calibration.novelty) {
            (Self::Epistemic, Some(_)) => {
                ", or `--sort-by ood-p` to get the texts least like the training data first"
            }
            _ => "",
        };
        let missing = match self {
            Self::Epistemic => {
                posterior.own_doubt().reason().map(|why| ("epistemic uncertainty", why))
            }
            Self::OodP if calibration.novelty.is_none() => {
                Some(("novelty p-values", "it was not calibrated for them"))
            }
            Self::OodP | Self::Uncertainty | Self::Confidence => None,
        };
        match missing {
            Some((what, why)) => Err(StreamError::NotReported { what, why, hint }),
            None => Ok(()),
        }
    }

    /// Smaller comes first, and of two that are equal the one whose second number is smaller; `None` where the
    /// model cannot know it.
    pub(super) fn key(self, prediction: &Prediction) -> Option<[f64; 2]> {
        match self {
            Self::Epistemic => prediction.predictive.epistemic.map(|epistemic| [-epistemic, 0.0]),
            Self::Uncertainty => Some([-prediction.predictive.total, 0.0]),
            Self::Confidence => Some([prediction.confidence, 0.0]),
            // All texts that are stranger than any held-out row have the same p-value.
            Self::OodP => prediction.judgement.ood.map(|ood| [ood.p_value, -ood.score]),
        }
    }
}
