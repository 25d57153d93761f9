//! What was fitted after training, in words.

use super::progress::grouped;
use crate::calibrate::CalibrationSummary;
use crate::experiment::PosteriorReport;

/// A share in percent, to two places.
fn percent(share: f64) -> f64 {
    (1e4 * share).round() / 100.0
}

/// What prediction sets and decisions promise.
pub fn calibration_text(summary: &CalibrationSummary) -> String {
    let mut text = String::new();
    for set in summary.sets.iter().filter(|set| set.always == 0) {
        let whose = match (set.by_class, set.pooled) {
            (false, _) => "",
            (true, 0) => " of every class",
            (true, _) => " of every class or group of small classes",
        };
        text.push_str(&format!(
            "Sets hold the label in {} % of cases{whose}\n  \
             (99 % band with {} rows: {:.3} to {:.3}).\n",
            percent(set.coverage),
            set.fewest,
            set.low,
            set.high
        ));
    }
    if let Some(confidence) = summary.min_confidence {
        let promise = if summary.target_risk > 0.0 {
            let risk = percent(summary.target_risk);
            format!(":\n  at most {risk} % of them are wrong (95 % sure)")
        } else {
            String::new()
        };
        text.push_str(&format!(
            "Answers are accepted from confidence {confidence:.4} on{promise}.\n"
        ));
    }
    text
}

/// What was fitted after training, in at most three lines.
pub fn posterior_text(posterior: &PosteriorReport) -> String {
    let rows = |rows: usize| grouped(rows as u64);
    let mut text = String::new();
    if let Some(evidence) = &posterior.evidence {
        text += &format!(
            "Posterior of the last layer from {} rows: prior precision {:.3}, {:.0} weights\n\
             determined by the data.\n",
            rows(posterior.rows),
            evidence.prior_precision,
            evidence.effective_parameters
        );
    }
    let Some(temperature) = posterior.temperature else { return text };
    let scale = match (posterior.scale, posterior.scale_gain, posterior.scale_gain_error) {
        (Some(0.0), Some(gain), Some(error)) => format!(
            " The variance of\nthe logits is left out: it changes the NLL there by {:+.4} ± {error:.4}.",
            -gain
        ),
        (Some(scale), Some(gain), Some(error)) => format!(
            " The variance of\nthe logits is scaled by {scale:.3}: NLL there {:+.4} ± {error:.4}.",
            -gain
        ),
        _ => String::new(),
    };
    text + &format!(
        "Temperature {temperature:.3}, fitted on {} rows that were not trained on.{scale}\n",
        rows(posterior.temperature_rows)
    )
}
