//! What was fitted after training, in sentences.

use super::decisions::decision_sentence;
use super::words::{filled, percent};
use crate::calibrate::{CalibrationSummary, ScaleRule, SetPromise};
use crate::evaluate::Answer;
use crate::method::{FitRecord, Method};
use crate::numbers::grouped;

/// Sentences one below the other, as a terminal shows them.
pub fn paragraphs(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| filled("", "  ", sentence)).collect()
}

/// What prediction sets and decisions promise.
///
/// `rows` are the answers to the test rows, where there are any.
pub fn calibration_words(summary: &CalibrationSummary, rows: &[Answer]) -> Vec<String> {
    let mut words = Vec::new();
    for set in summary.sets.iter().filter(|set| set.always == 0) {
        let band = set.low.zip(set.high).map_or(String::new(), |(low, high)| {
            format!(" (99 % band{}: {low:.3} to {high:.3})", fewest(set))
        });
        words.push(format!(
            "Prediction sets contain the correct label for {} % of the texts{}, based on {} \
             calibration rows{band}.",
            percent(set.coverage),
            whose(set.by_class, set.pooled),
            grouped(set.rows as u64)
        ));
    }
    words.extend(decision_sentence(summary, rows));
    words
}

/// For which rows the promise of the sets holds.
pub fn whose(by_class: bool, pooled: usize) -> &'static str {
    match (by_class, pooled) {
        (false, _) => "",
        (true, 0) => " of each class",
        (true, _) => " of each class or group of small classes",
    }
}

/// Whose rows decide how far the promise may be off, where they are not all.
fn fewest(set: &SetPromise) -> String {
    if !set.by_class {
        return String::new();
    }
    let rows = grouped(set.fewest as u64);
    let of = if set.pooled > 0 { "class or group" } else { "class" };
    format!(" from the {rows} rows of the smallest {of}")
}

/// Posterior, temperature and scale.
///
/// `crossed` says whether the rows train as well, and each is judged by a fit without it.
pub fn posterior_words(posterior: &FitRecord, crossed: bool) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(evidence) = &posterior.evidence {
        words.push(format!(
            "Posterior of the last layer: prior precision {:.3}, chosen {}; the data determine \
             {:.0} of its weights.",
            evidence.prior_precision,
            if posterior.prior_by_held_out_rows {
                "on held-out rows"
            } else {
                "by maximising the marginal likelihood (evidence)"
            },
            evidence.effective_parameters
        ));
    }
    let Some(temperature) = posterior.temperature else { return words };
    words.push(format!(
        "Temperature {temperature:.3}, fitted on {} rows {}.",
        grouped(posterior.temperature_rows as u64),
        match crossed {
            true => "each scored by a last layer that had not seen it",
            false => "that were not used for training",
        }
    ));
    if let (Some(scale), Some(gain), Some(error)) =
        (posterior.scale, posterior.scale_gain, posterior.scale_gain_error)
    {
        let change = format!("it changes the NLL of these rows by {:+.4} ± {error:.4}", -gain);
        words.push(match scale {
            0.0 => format!(
                "The variance of the logits is not used: {change}. Predictions therefore do not \
                 say how much of their uncertainty is epistemic."
            ),
            1.0 if posterior.method == Method::Ensemble => format!(
                "The networks' probabilities are averaged; compared with averaged logits, {change}."
            ),
            scale => {
                let how = match posterior.scale_rule {
                    ScaleRule::Gain | ScaleRule::Fixed(_) => "",
                    ScaleRule::Largest if posterior.scale_at_bound => "",
                    ScaleRule::Largest => ", the largest scale that held-out rows bear",
                };
                format!("The variance of the logits is scaled by {scale:.3}{how}: {change}.")
            }
        });
    }
    words
}
