//! What `bayes bench` prints.

use crate::bench::{self, Document, Reference, figure};
use crate::cli::words::filled;
use crate::numbers::{counted, grouped};

/// The figures in at most 80 columns.
pub(super) fn table(document: &Document<'_>) -> String {
    let mut text = format!(
        "\n{}: {} of {}, {}, {}\n\n{:>52}   min – max\n",
        document.model,
        counted(document.rows, "text"),
        document.dataset,
        counted(document.machine.threads, "thread"),
        counted(document.settings.rounds, "round"),
        "median",
    );
    for (key, _) in document.results.samples() {
        let name = bench::with_unit(key);
        text += &match document.results.interval(key) {
            Some(found) => format!(
                "  {name:<40}{:>10}   {} – {}\n",
                figure(found.value),
                figure(found.low),
                figure(found.high)
            ),
            None => format!("  {name:<40}{:>10}\n", "unknown"),
        };
    }
    for (key, count) in document.results.counts() {
        text += &format!("  {key:<40}{:>10}\n", grouped(count));
    }
    if let Some(reference) = document.reference {
        text += &distances(reference);
    }
    if !document.comparisons.is_empty() {
        text += "\n  new over old, with 95 % intervals over the rounds\n\n";
    }
    for one in &document.comparisons {
        let ratio = |value| if value < 10.0 { format!("{value:.3}") } else { figure(value) };
        let (found, words) = (one.ratio, one.verdict.words());
        let (value, low, high) = (ratio(found.value), ratio(found.low), ratio(found.high));
        text += &format!("  {:<38}{value:>6}  {low}–{high}  {words}\n", one.key);
    }
    text
}

/// How far methods are from the exact posterior.
fn distances(reference: &Reference) -> String {
    let mut text = format!(
        "\n{}\n  {:<14}{:>12}{:>12}{:>12}{:>12}{:>9}\n  {:<14}{:>48.4}{:>9.1}\n",
        filled("  ", "  ", &format!("distance from the exact posterior: {}", reference.sentence())),
        "",
        "mean |dp|",
        "total var.",
        "KL (nats)",
        "epistemic",
        "fit (s)",
        "exact",
        reference.epistemic,
        reference.seconds
    );
    for one in &reference.distances {
        let epistemic = one.epistemic.map_or("-".to_owned(), |value| format!("{value:.4}"));
        text += &format!(
            "  {:<14}{:>12.5}{:>12.5}{:>12.5}{epistemic:>12}{:>9.1}\n",
            one.name, one.difference, one.total_variation, one.kl, one.seconds
        );
    }
    text
}
