//! What the rows of a validation part are scored by while a model is trained.

use serde::{Deserialize, Serialize};

use super::{BINS, MetricsError, Scored, accuracy, ece, macro_f1};

/// A few figures of logits, before any temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean negative log likelihood in nats.
    pub nll: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Macro-averaged F1.
    pub f1: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
}

impl Scores {
    /// Of logits `[n, c]` under a softmax.
    pub fn of_logits(logits_nc: &[f64], labels: &[u32]) -> Result<Self, MetricsError> {
        let classes = logits_nc.len() / labels.len().max(1);
        let mut probability_nc = logits_nc.to_vec();
        let mut nll = 0.0;
        for (line_c, &label) in probability_nc.chunks_exact_mut(classes.max(1)).zip(labels) {
            let peak = line_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = line_c.iter().map(|logit| (logit - peak).exp()).sum();
            let log_sum = peak + sum.ln();
            nll += log_sum - line_c.get(label as usize).copied().unwrap_or(f64::NAN);
            line_c.iter_mut().for_each(|logit| *logit = (*logit - log_sum).exp());
        }
        let scored = Scored::new(&probability_nc, classes, labels)?;
        Ok(Self {
            nll: nll / labels.len() as f64,
            accuracy: accuracy(&scored),
            f1: macro_f1(&scored),
            ece: ece(&scored, BINS),
        })
    }
}
