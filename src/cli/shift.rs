//! Which promises of a model were kept on the rows, and how it fares on damaged copies of them: tables of at most 80
//! columns.

use std::fmt::Write;

use super::words::filled;
use crate::evaluate::Evaluation;
use crate::evaluate::shift::{Kept, Shifted};
use crate::metrics::Interval;
use crate::numbers::grouped;

/// Damages side by side in a block of the table.
const COLUMNS: usize = 5;

/// What is accepted and flagged, whether the promise of the sets holds, and the table of the damages.
pub fn tables(one: &Evaluation) -> String {
    let promises = one.kept.as_ref().map_or(String::new(), promises);
    promises + &table(&one.shift, one.answers.seed)
}

/// The tables of several models, one after another.
pub fn several(all: &[Evaluation]) -> String {
    let mut text = String::new();
    for one in all {
        let found = table(&one.shift, one.answers.seed);
        let warning = one.kept.as_ref().and_then(warning).unwrap_or_default();
        if !found.is_empty() || !warning.is_empty() {
            let _ = write!(text, "\n  {}\n{warning}{found}", one.answers.model);
        }
    }
    text
}

fn promises(kept: &Kept) -> String {
    let mut text = String::new();
    if let Some(one) = &kept.decisions {
        let wrong = match one.error {
            Some(error) => {
                format!("{} accepted, {} of those wrong", percent(one.accepted), percent(error))
            }
            None => "none is accepted".to_owned(),
        };
        let proved = one.target_risk.map_or(String::new(), |risk| {
            format!("; held-out rows proved at most {} % wrong", 100.0 * risk)
        });
        text += &filled("\n  decisions: ", "    ", &format!("{wrong}{proved}"));
    }
    if let Some(flagged) = kept.flagged {
        let words = format!("{} of these rows flagged as out of distribution", percent(flagged));
        text += &filled("\n  novelty: ", "    ", &words);
    }
    text + &warning(kept).unwrap_or_default()
}

fn warning(kept: &Kept) -> Option<String> {
    let words = kept.exchangeability.as_ref()?.warning()?;
    Some(filled("\n  warning: ", "    ", &words))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Each damage beside the undamaged rows; nothing where none was asked for.
fn table(all: &[Shifted], seed: u64) -> String {
    let Some((undamaged, damaged)) = all.split_first() else { return String::new() };
    let letter = |place: usize| char::from(b'A' + (place % 26) as u8);
    let mut text = format!(
        "\n  shift: {} rows and damaged copies of them (seed {seed})\n    A  {}\n",
        grouped(undamaged.rows),
        undamaged.label
    );
    for (place, one) in (1..).zip(damaged) {
        let first = format!("    {}  {}", letter(place), one.label);
        let words = format!("{}; {} texts changed", one.what, grouped(one.changed));
        let first = format!("{first:<25}  ");
        text += &filled(&first, &" ".repeat(27), &words);
    }
    for block in (0..damaged.len()).step_by(COLUMNS) {
        let some: Vec<(char, &Shifted)> = (0..all.len())
            .filter(|&place| place == 0 || (block + 1..=block + COLUMNS).contains(&place))
            .map(|place| (letter(place), &all[place]))
            .collect();
        text += &figures(&some);
    }
    for (place, one) in (1..).zip(damaged) {
        let found = one.kept.exchangeability.as_ref().and_then(|found| found.warning());
        if let Some(words) = found {
            text += &filled("    warning: ", "      ", &format!("{}: {words}", letter(place)));
        }
    }
    text
}

fn figures(some: &[(char, &Shifted)]) -> String {
    let mut text = format!("\n    {:<28}", "");
    some.iter().for_each(|(letter, _)| text += &format!("{letter:>8}"));
    text.push('\n');
    let mut line = |name: &str, value: &dyn Fn(&Shifted) -> Option<String>| {
        let values: Vec<Option<String>> = some.iter().map(|(_, one)| value(one)).collect();
        if values.iter().any(Option::is_some) {
            let _ = write!(text, "    {name:<28}");
            for value in values {
                let _ = write!(text, "{:>8}", value.unwrap_or_else(|| "–".to_owned()));
            }
            text.push('\n');
        }
    };
    let four = |value: f64| Some(format!("{value:.4}"));
    let signed = |end: fn(&Interval) -> f64| {
        move |one: &Shifted| one.nll_difference.map(|found| format!("{:+.4}", end(&found)))
    };
    line("accuracy", &|one| four(one.accuracy.value));
    line("NLL", &|one| four(one.nll.value));
    line("  more than undamaged", &signed(|found| found.value));
    line("    95 % interval: from", &signed(|found| found.low));
    line("    to", &signed(|found| found.high));
    line("ECE (15 bins)", &|one| four(one.ece.value));
    line("  noise floor", &|one| four(one.ece.floor));
    line("coverage of the sets", &|one| one.coverage.map(|found| percent(found.value)));
    line("  labels in a set", &|one| one.mean_set_size.map(|size| format!("{size:.2}")));
    line("accuracy, surest 80 %", &|one| four(one.accuracy_at_80));
    line("accuracy, surest 90 %", &|one| four(one.accuracy_at_90));
    line("accepted", &|one| one.kept.decisions.map(|found| percent(found.accepted)));
    line("  of those wrong", &|one| one.kept.decisions?.error.map(percent));
    line("flagged as novel", &|one| one.kept.flagged.map(percent));
    for doubt in ["confidence", "epistemic"] {
        let name = format!("error AUROC, {doubt}");
        line(&name, &|one| one.error_auroc.get(doubt).copied().flatten().and_then(four));
    }
    text
}
