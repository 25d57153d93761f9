//! The last layer that a method fits to the training rows, against the trained one.
//!
//! An encoder that knows its training rows by heart gives them features that new texts do not have, and a last layer
//! that is fitted to these features alone is then worse than the one that was trained with the encoder and stopped in
//! time. Held-out rows tell.

use super::super::features::Features;
use super::super::posterior::Making;
use super::super::{ExperimentError, Progress};
use crate::calibrate::fit_weighted;
use crate::method::FitRecord;
use crate::method::laplace::Head;
use crate::model::{EncoderConfig, Parameters, last_layer};
use crate::posterior::{Posterior, softmax};

/// How many standard errors of the mean difference the refitted layer may be worse by.
const ERRORS: f64 = 2.0;

/// The posterior, or the one around the trained last layer where the refitted one is worse on `fresh` rows, which
/// neither was fitted to. A method with a layer of its own keeps it, and the user is told.
pub(super) fn checked(
    fitted: (Posterior, FitRecord),
    making: &Making<'_>,
    (encoder, trained, train): (&EncoderConfig, &Parameters, &Features),
    fresh: &Features,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<(Posterior, FitRecord), ExperimentError> {
    let (weight_cd, bias_c) = (trained.get("classifier.weight"), trained.get("classifier.bias"));
    let before_nc = last_layer(&fresh.feature_nd, weight_cd, bias_c)?;
    let refitted = fitted.0.logits(fresh.read())?;
    let after_nc: Vec<f64> = refitted.iter().flat_map(|one| one.mean().into_owned()).collect();
    let weights = making.class_weights;
    let Some(worse) = worse([&before_nc, &after_nc], &fresh.labels, weights) else {
        return Ok(fitted);
    };
    let method = making.config.name().name();
    let [before, after] = worse.map(|nll| format!("{nll:.3}"));
    let found = format!(
        "the last layer that `{method}` fits to the training rows is worse on the validation rows than the trained one \
         (calibrated NLL {after} and {before}): the encoder knows its training rows by heart"
    );
    let own = making.config.approach().needs().own_layer;
    if own || !making.config.feature_layers.is_empty() {
        show(Progress::Warning(format!(
            "{found}; train for fewer steps or on more rows, or choose another `posterior.method`, such as map"
        )));
        return Ok(fitted);
    }
    show(Progress::Warning(format!("{found}, so the trained one is kept; more rows may help")));
    let making = Making { head: Head::Keep, ..*making };
    let (posterior, record) = making.run(encoder, trained, train)?;
    Ok((posterior, FitRecord { head_kept: true, ..record }))
}

/// The mean NLL of both, each at its best temperature, where the second is worse for certain. A row of each class counts
/// as much as in the training, `[c]`; empty where all count alike.
fn worse(logits: [&[f64]; 2], labels: &[u32], weight_c: &[f64]) -> Option<[f64; 2]> {
    let weight = |label: u32| weight_c.get(label as usize).copied().unwrap_or(1.0);
    let total: f64 = labels.iter().map(|&label| weight(label)).sum();
    let losses = |logit_nc: &[f64]| -> Option<Vec<f64>> {
        let temperature = fit_weighted(logit_nc, labels, weight_c)?.temperature;
        let lines = logit_nc.chunks_exact(logit_nc.len() / labels.len());
        let loss = |(logit_c, &label): (&[f64], &u32)| {
            let p = softmax(logit_c, temperature)[label as usize].max(f64::MIN_POSITIVE);
            -weight(label) * labels.len() as f64 / total * p.ln()
        };
        Some(lines.zip(labels).map(loss).collect())
    };
    let [before, after] = logits.map(losses);
    let (before, after) = (before?, after?);
    let n = labels.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let more: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let excess = mean(&more);
    let variance = more.iter().map(|one| (one - excess).powi(2)).sum::<f64>() / (n - 1.0);
    (excess > ERRORS * (variance / n).sqrt()).then(|| [mean(&before), mean(&after)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of two classes by what they are for the label.
    fn logits(for_label: impl Fn(usize) -> f64, labels: &[u32]) -> Vec<f64> {
        let line = |(row, &label): (usize, &u32)| {
            let own = for_label(row);
            if label == 0 { [own, 0.0] } else { [0.0, own] }
        };
        labels.iter().enumerate().flat_map(line).collect()
    }

    #[test]
    fn only_a_layer_that_is_worse_for_certain_is_refused_and_scale_does_not_count() {
        let labels: Vec<u32> = (0..200).map(|row| row % 2).collect();
        let good = |row: usize| if row % 10 == 9 { -1.0 } else { 2.0 + (row % 3) as f64 };
        let bad = |row: usize| if row % 4 == 3 { -1.0 } else { 2.0 + (row % 3) as f64 };
        let (good_nc, bad_nc) = (logits(good, &labels), logits(bad, &labels));
        let [before, after] = worse([&good_nc, &bad_nc], &labels, &[]).unwrap();
        assert!(after > before + 0.1, "{before} {after}");
        assert_eq!(worse([&bad_nc, &good_nc], &labels, &[]), None);
        let surer: Vec<f64> = good_nc.iter().map(|logit| 9.0 * logit).collect();
        assert_eq!(worse([&good_nc, &surer], &labels, &[]), None, "a temperature follows");
        // One row more is wrong.
        let nearly = logits(|row| if row == 0 { -1.0 } else { good(row) }, &labels);
        assert_eq!(worse([&good_nc, &nearly], &labels, &[]), None);
        assert_eq!(worse([&[], &[]], &[], &[]), None);
    }
}
