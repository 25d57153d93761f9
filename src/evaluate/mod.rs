//! Predictions against labels.

mod score;

use serde::Serialize;

pub use score::{EvaluateError, Rows, labels_of_model, score};

use crate::compute::{Noise, Purpose};
use crate::metrics::{
    self, FLOOR_RESAMPLES, MetricsError, RESAMPLES, Scored, Summary, auroc, best_accuracy,
};
use crate::predict::Prediction;

/// What is asked of the predictions besides the labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// p(label | text), `[n, c]`, where it is known.
    pub truth_nc: Option<&'a [f64]>,
    /// Places of rows whose text was also trained or calibrated on.
    pub seen: &'a [usize],
    /// Predictions for texts of no class.
    pub out_of_scope: &'a [Prediction],
}

/// The report on one split.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All metrics, under their fixed keys.
    #[serde(flatten)]
    pub summary: Summary,
    /// ECE of the second class's probability over [0, 1], for two classes.
    pub positive_ece: Option<f64>,
    /// Rows whose label was given a probability below 1e-12.
    pub improbable: usize,
    /// Rows that were truncated.
    pub truncated: usize,
    /// How the score looks without texts that were seen before.
    pub without_seen: Option<WithoutSeen>,
    /// Against the known truth.
    pub truth: Option<Truth>,
    /// Texts of no class.
    pub ood: Option<OutOfScope>,
}

/// The score without texts that were also trained or calibrated on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WithoutSeen {
    /// Rows left out.
    pub seen: usize,
    /// Accuracy on the others.
    pub accuracy: f64,
    /// NLL on the others.
    pub nll: f64,
}

/// How far from the truth, where it is known.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Truth {
    /// The accuracy of someone who knows p(label | text): no classifier does better on average.
    pub best_accuracy: f64,
    /// The accuracy that these answers have on average over the draws of the labels.
    pub expected_accuracy: f64,
    /// Mean |p − truth| of the predicted class's probability.
    pub mean_error: f64,
}

/// How well texts of no class are told from the others.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OutOfScope {
    /// Such texts.
    pub rows: usize,
    /// AUROC of 1 − confidence.
    pub auroc: f64,
}

/// Scores predictions. The resampling is seeded by `noise`.
pub fn evaluate(
    predictions: &[Prediction],
    labels: &[u32],
    context: &Context<'_>,
    noise: &Noise,
) -> Result<Report, MetricsError> {
    let classes = predictions.first().map_or(0, |one| one.predictive.probability_c.len());
    let probability_nc: Vec<f64> =
        predictions.iter().flat_map(|one| one.predictive.probability_c.iter().copied()).collect();
    let scored = Scored::new(&probability_nc, classes, labels)?;
    let mut stream = noise.stream(Purpose::Bootstrap, 0, 0);
    let uniform = &mut || stream.uniform();
    let summary = metrics::summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, uniform);
    let truth = match context.truth_nc {
        Some(truth_nc) => Some(Truth {
            best_accuracy: best_accuracy(truth_nc, classes)?,
            expected_accuracy: mean_truth(predictions, truth_nc, classes, |_, truth| truth),
            mean_error: mean_truth(predictions, truth_nc, classes, |confidence, truth| {
                (confidence - truth).abs()
            }),
        }),
        None => None,
    };
    let ood = match context.out_of_scope {
        [] => None,
        texts => {
            let doubt = |all: &[Prediction]| -> Vec<f64> {
                all.iter().map(|one| 1.0 - one.confidence).collect()
            };
            Some(OutOfScope {
                rows: texts.len(),
                auroc: auroc(&doubt(predictions), &doubt(texts))?,
            })
        }
    };
    Ok(Report {
        positive_ece: metrics::positive_ece(&scored, metrics::BINS),
        improbable: metrics::improbable(&scored),
        truncated: predictions.iter().filter(|one| one.truncated).count(),
        without_seen: without_seen(&probability_nc, classes, labels, context.seen)?,
        summary,
        truth,
        ood,
    })
}

/// The mean of a function of (confidence, true probability) of the predicted class.
fn mean_truth(
    predictions: &[Prediction],
    truth_nc: &[f64],
    classes: usize,
    f: impl Fn(f64, f64) -> f64,
) -> f64 {
    let lines = predictions.iter().zip(truth_nc.chunks_exact(classes));
    let sum: f64 = lines.map(|(one, truth_c)| f(one.confidence, truth_c[one.label])).sum();
    sum / predictions.len() as f64
}

fn without_seen(
    probability_nc: &[f64],
    classes: usize,
    labels: &[u32],
    seen: &[usize],
) -> Result<Option<WithoutSeen>, MetricsError> {
    if seen.is_empty() || seen.len() == labels.len() {
        return Ok(None);
    }
    let fresh: Vec<usize> =
        (0..labels.len()).filter(|row| seen.binary_search(row).is_err()).collect();
    let line = |&row: &usize| &probability_nc[row * classes..(row + 1) * classes];
    let probability_nc: Vec<f64> = fresh.iter().flat_map(line).copied().collect();
    let labels: Vec<u32> = fresh.iter().map(|&row| labels[row]).collect();
    let scored = Scored::new(&probability_nc, classes, &labels)?;
    let (accuracy, nll) = (metrics::accuracy(&scored), metrics::nll(&scored));
    Ok(Some(WithoutSeen { seen: seen.len(), accuracy, nll }))
}
