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
    text.push_str(&decision_text(summary));
    text
}

/// Which answers are accepted, and what that promises; nothing where it is not decided.
fn decision_text(summary: &CalibrationSummary) -> String {
    let share = summary.accepted.map_or(String::new(), |share| {
        format!(" ({:.0} % of {} rows)", 100.0 * share, grouped(summary.rows as u64))
    });
    let accepted = match (summary.min_confidence, summary.target_risk) {
        (Some(confidence), _) => {
            format!("Answers are accepted from confidence {confidence:.4} on{share}")
        }
        (None, Some(_)) => "All answers are accepted".to_owned(),
        (None, None) => return String::new(),
    };
    let Some(risk) = summary.target_risk else { return format!("{accepted}.\n") };
    let strictest = if summary.target_risks.len() > 1 {
        let asked: Vec<String> =
            summary.target_risks.iter().map(|&risk| percent(risk).to_string()).collect();
        format!(",\n  the strictest of {} % that was proved", asked.join(", "))
    } else {
        String::new()
    };
    format!(
        "{accepted}:\n  at most {} % of them are wrong (95 % sure){strictest}.\n",
        percent(risk)
    )
}

/// Posterior, temperature and scale.
pub fn posterior_text(posterior: &PosteriorReport) -> String {
    let mut text = String::new();
    if let Some(evidence) = &posterior.evidence {
        text += &format!(
            "Posterior of the last layer: prior precision {:.3}, chosen by the evidence;\n  \
             the data determine {:.0} of its weights.\n",
            evidence.prior_precision, evidence.effective_parameters
        );
    }
    let Some(temperature) = posterior.temperature else { return text };
    text += &format!(
        "Temperature {temperature:.3}, fitted on {} rows that were not trained on.\n",
        grouped(posterior.temperature_rows as u64)
    );
    if let (Some(scale), Some(gain), Some(error)) =
        (posterior.scale, posterior.scale_gain, posterior.scale_gain_error)
    {
        let change = format!("it changes the NLL\n  of these rows by {:+.4} ± {error:.4}", -gain);
        text += &match scale {
            0.0 => format!("The variance of the logits is left out: {change}.\n"),
            scale => format!("The variance of the logits is scaled by {scale:.3}: {change}.\n"),
        };
    }
    text
}
