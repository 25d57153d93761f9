//! The report on a split, as a table of at most 80 columns.

use std::fmt::Write;

use super::progress::grouped;
use crate::evaluate::Report;
use crate::metrics::Interval;
use crate::train::Scores;

/// Draws the metrics with their intervals. `uncalibrated` gives NLL and ECE without the temperature.
pub fn table(report: &Report, uncalibrated: Option<&Scores>) -> String {
    let summary = &report.summary;
    let mut text = String::new();
    let mut line = |name: &str, interval: &Interval, note: String| {
        let Interval { value, low, high } = interval;
        let note = if note.is_empty() { note } else { format!("   {note}") };
        let _ = writeln!(text, "  {name:<18}{value:>8.4}   {low:.4} – {high:.4}{note}");
    };
    let best = report
        .truth
        .map_or(String::new(), |truth| format!("best possible {:.4}", truth.best_accuracy));
    let before = |value: f64| format!("without temperature {value:.4}");
    let nll = uncalibrated.map_or(String::new(), |scores| before(scores.nll));
    line("accuracy", &summary.accuracy, best);
    line("macro F1", &summary.f1, String::new());
    line("MCC", &summary.mcc, String::new());
    line("NLL", &summary.nll, nll);
    line("Brier", &summary.brier, String::new());
    let ece = &summary.ece;
    let interval = Interval { value: ece.value, low: ece.low, high: ece.high };
    line("ECE (15 bins)", &interval, format!("noise floor {:.4} ± {:.4}", ece.floor, ece.floor_sd));
    if let Some(scores) = uncalibrated {
        let _ = writeln!(text, "{:>46}   {}", "", before(scores.ece));
    }
    let mut line = |name: &str, interval: &Interval| {
        let Interval { value, low, high } = interval;
        let _ = writeln!(text, "  {name:<18}{value:>8.4}   {low:.4} – {high:.4}");
    };
    line("mean confidence", &summary.mean_confidence);
    line("mean uncertainty", &summary.mean_uncertainty);
    if let Some(truth) = report.truth {
        let _ = writeln!(
            text,
            "\n  The labels were drawn with known probabilities. Averaged over such draws these\n  \
             answers are right in {:.2} % of cases, the best possible ones in {:.2} %; the\n  \
             confidence is off by {:.3} on average.",
            100.0 * truth.expected_accuracy,
            100.0 * truth.best_accuracy,
            truth.mean_error
        );
    }
    if let Some(fresh) = report.without_seen {
        let _ = writeln!(
            text,
            "\n  {} of these texts also occur in the training data. Without them: accuracy {:.4},\n  \
             NLL {:.4}.",
            fresh.seen, fresh.accuracy, fresh.nll
        );
    }
    if let Some(ood) = report.ood {
        let _ = writeln!(
            text,
            "\n  {} out-of-scope texts are told from the others with AUROC {:.4} (1 − confidence).",
            grouped(ood.rows as u64),
            ood.auroc
        );
    }
    if report.improbable > 0 {
        let _ = writeln!(
            text,
            "\n  {} labels were given a probability below 1e-12.",
            grouped(report.improbable as u64)
        );
    }
    if report.truncated > 0 {
        let _ = writeln!(
            text,
            "\n  {} texts were longer than the model reads and were cut.",
            grouped(report.truncated as u64)
        );
    }
    text
}
