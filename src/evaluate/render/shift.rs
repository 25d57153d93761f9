//! The promises that were kept, and the damages beside the undamaged rows.

use super::{Block, between, four, table as plain};
use crate::evaluate::shift::{Kept, Shifted};
use crate::metrics::Interval;
use crate::numbers::grouped;

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What is accepted and flagged, and a warning where the sets do not keep their promise.
pub(super) fn promises(kept: &Kept, blocks: &mut Vec<Block>) {
    let mut said = Vec::new();
    if let Some(one) = &kept.decisions {
        let error =
            one.error.map_or(String::new(), |error| format!(", {} of them wrong", percent(error)));
        let proved = one.target_risk.map_or(String::new(), |risk| {
            format!(" (held-out rows proved at most {} %)", 100.0 * risk)
        });
        said.push(format!(
            "{} of the predictions are accepted{error}{proved}",
            percent(one.accepted)
        ));
    }
    if let Some(flagged) = kept.flagged {
        said.push(format!("{} of the rows are flagged as out of distribution", percent(flagged)));
    }
    if !said.is_empty() {
        blocks.push(Block::Text(format!("{}.", said.join("; "))));
    }
    if let Some(warning) = kept.exchangeability.as_ref().and_then(|found| found.warning()) {
        blocks.push(Block::Text(format!("Warning: {warning}.")));
    }
}

/// A column for each damage; nothing where none was asked for.
pub(super) fn table(all: &[Shifted], seed: u64, blocks: &mut Vec<Block>) {
    let Some((undamaged, damaged)) = all.split_first() else { return };
    blocks.push(Block::Heading("Shift".to_owned()));
    blocks.push(Block::Text(format!(
        "Damaged copies of the {} rows, seed {seed}; each damage is applied to the rows as they are.",
        grouped(undamaged.rows)
    )));
    let row = |one: &Shifted| vec![one.label.clone(), one.what.clone(), grouped(one.changed)];
    blocks.push(plain(
        &["damage", "what it does", "texts changed"],
        damaged.iter().map(row).collect(),
    ));

    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut line = |name: &str, value: &dyn Fn(&Shifted) -> Option<String>| {
        let values: Vec<Option<String>> = all.iter().map(value).collect();
        if values.iter().any(Option::is_some) {
            let shown = values.into_iter().map(|value| value.unwrap_or_else(|| "–".to_owned()));
            rows.push([name.to_owned()].into_iter().chain(shown).collect());
        }
    };
    let with = |found: &Interval| Some(format!("{:.4} ({})", found.value, between(found)));
    line("accuracy", &|one| with(&one.accuracy));
    line("NLL, nats", &|one| with(&one.nll));
    line("NLL, more than undamaged", &|one| {
        let Interval { value, low, high } = one.nll_difference?;
        Some(format!("{value:+.4} ({low:+.4} – {high:+.4})"))
    });
    line("ECE, 15 bins", &|one| {
        Some(format!("{:.4} (noise floor {:.4})", one.ece.value, one.ece.floor))
    });
    line("set coverage", &|one| with(&one.coverage?));
    line("average set size", &|one| one.mean_set_size.map(|size| format!("{size:.2}")));
    line("accuracy on the most confident 80 %", &|one| Some(four(one.accuracy_at_80)));
    line("accuracy on the most confident 90 %", &|one| Some(four(one.accuracy_at_90)));
    line("accepted", &|one| one.kept.decisions.map(|found| percent(found.accepted)));
    line("error rate of what is accepted", &|one| one.kept.decisions?.error.map(percent));
    line("flagged as out of distribution", &|one| one.kept.flagged.map(percent));
    for doubt in ["confidence", "epistemic"] {
        let name = format!("AUROC of errors by {doubt}");
        line(&name, &|one| one.error_auroc.get(doubt).copied().flatten().map(four));
    }
    let header =
        ["95 % intervals in brackets"].into_iter().chain(all.iter().map(|one| &*one.label));
    blocks.push(plain(&header.collect::<Vec<_>>(), rows));
    for one in damaged {
        if let Some(warning) = one.kept.exchangeability.as_ref().and_then(|found| found.warning()) {
            blocks.push(Block::Text(format!("Warning, `{}`: {warning}.", one.label)));
        }
    }
}
