//! The validation rows: what they say of the weights, and which weights are kept.

use serde::{Deserialize, Serialize};

use super::run::{Observer, Run};
use super::{Best, Control, Event, TrainError};
use crate::metrics::{MetricsError, Scores};
use crate::model::{Classifier, Networks, Parameters, Wanted, features, last_layer};
use crate::task::Task;

/// Validation rows that are scored at once, between two looks at the observer.
const EVALUATION_ROWS: usize = 256;

/// The mean negative log likelihood, in nats, of logits `[n, c]` and labels `[n]` at the temperature that suits them
/// best, where a row of each class counts as much as in the training, `[c]`.
pub type CalibratedNll = fn(&[f64], &[u32], &[f64]) -> f64;

/// What the validation rows say of weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Before any temperature.
    #[serde(flatten)]
    pub scores: Scores,
    /// What weights are chosen by. A temperature comes after the training in any case, and the plain NLL of weights
    /// that grow surer gets worse while their answers still get better: it stops too early (Berta, Holzmüller, Jordan
    /// and Bach, "Rethinking early stopping: refine, then calibrate", 2025).
    pub calibrated_nll: f64,
}

impl Run<'_> {
    /// Scores the weights, and the averaged ones where there are any; keeps the best. Stopped in
    /// between, it leaves no trace.
    pub(super) fn evaluate(&mut self, observe: &mut Observer<'_>) -> Result<Control, TrainError> {
        let mut candidates = vec![(false, self.parameters.detached_copy()?)];
        let averaged = self.updater.averaged(&self.parameters)?;
        candidates.extend(averaged.map(|averaged| (true, averaged)));
        let mut scored = Vec::new();
        for (averaged, parameters) in candidates {
            match self.scores(&parameters, observe)? {
                Some(scores) => scored.push((averaged, parameters, scores)),
                None => return Ok(Control::Stop),
            }
        }
        let (step, epoch) = (self.counters.step, self.epochs());
        let threshold = self.job.config.early_stopping_threshold;
        let (mut control, mut improved) = (Control::Continue, false);
        for (averaged, parameters, scores) in scored {
            let (nll, before) = (scores.calibrated_nll, self.counters.best);
            let before = before.map(|best| best.scores.calibrated_nll);
            let better = before.is_none_or(|before| nll < before);
            improved |= before.is_none_or(|before| nll < before - threshold);
            let best = better.then_some(&parameters);
            control = observe(Event::Evaluated { step, epoch, scores, averaged, best })?;
            if better {
                self.best = Some(parameters);
                self.counters.best = Some(Best { step, scores, averaged });
            }
        }
        self.counters.evaluated = step;
        self.counters.without_progress =
            if improved { 0 } else { self.counters.without_progress + 1 };
        Ok(control)
    }

    /// Scores of the validation rows; `None` if the observer stops it.
    pub(super) fn scores(
        &self,
        parameters: &Parameters,
        observe: &mut Observer<'_>,
    ) -> Result<Option<Validation>, TrainError> {
        let rows = self.job.validation;
        let network = Networks::from(Classifier::packed(self.job.encoder, parameters)?);
        let (weight_cd, bias_c) = network.first().last_layer();
        let lengths = rows.lengths();
        let classes = self.job.encoder.labels.len();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        // Rows of like length together; a row's logits do not depend on its batch.
        order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
        let mut logits_nc = vec![0.0; rows.len() * classes];
        for (index, part) in order.chunks(EVALUATION_ROWS).enumerate() {
            let lengths: Vec<u32> = part.iter().map(|&row| lengths[row]).collect();
            let sequence = |place: usize| rows.sequence(part[place]);
            let found = features(&network, &lengths, &sequence, &Wanted::default(), &mut |_| {})?;
            let own = last_layer(&found.feature_nd, weight_cd, bias_c)?;
            for (&row, logits_c) in part.iter().zip(own.chunks_exact(classes)) {
                logits_nc[row * classes..][..classes].copy_from_slice(logits_c);
            }
            let done = index * EVALUATION_ROWS + part.len();
            if observe(Event::Evaluating { done, rows: rows.len() })? == Control::Stop {
                return Ok(None);
            }
        }
        let scores = match self.job.encoder.task {
            Task::SingleLabel => {
                Scores::of_logits(&logits_nc, rows.labels()).map_err(|error| match error {
                    MetricsError::NotProbability { found, .. } if found.is_nan() => {
                        TrainError::NoProbabilities
                    }
                    error => error.into(),
                })?
            }
        };
        let weight_c: Vec<f64> = self.class_weights.iter().copied().map(f64::from).collect();
        let calibrated_nll = (self.job.calibrated_nll)(&logits_nc, rows.labels(), &weight_c);
        Ok(Some(Validation { scores, calibrated_nll }))
    }
}
