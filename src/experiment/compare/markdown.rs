//! The table for people: one for each question.

use std::fmt::Write;

use super::{CompareReport, Estimate, Row};
use crate::numbers::grouped;

/// A column: its heading, the key of its figure, and how that is shown.
type Column = (&'static str, &'static str, fn(f64) -> String);

const ROWS: [Column; 12] = [
    ("accuracy", "accuracy", four),
    ("NLL", "nll", four),
    ("accuracy, texts not seen", "without_seen.accuracy", four),
    ("NLL, texts not seen", "without_seen.nll", four),
    ("ECE", "ece", four),
    ("ECE floor", "ece_floor", four),
    ("set coverage", "coverage", four),
    ("labels in a set", "mean_set_size", two),
    ("error AUROC, confidence", "error_auroc.confidence", four),
    ("error AUROC, epistemic", "error_auroc.epistemic", four),
    ("accepted", "accepted", four),
    ("wrong of those", "accepted_error", four),
];

const COST: [Column; 4] = [
    ("training, s", "train_seconds", one),
    ("fitting, s", "fit_seconds", two),
    ("ms a text", "ms_a_text", two),
    ("MB", "bytes", megabytes),
];

fn one(value: f64) -> String {
    format!("{value:.1}")
}

fn two(value: f64) -> String {
    format!("{value:.2}")
}

fn four(value: f64) -> String {
    format!("{value:.4}")
}

fn megabytes(value: f64) -> String {
    format!("{:.2}", value / 1e6)
}

/// The whole comparison.
pub fn markdown(report: &CompareReport) -> String {
    let CompareReport { name, dataset, seeds, rows, table, date, machine, .. } = report;
    let list = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(", ");
    let mut text = format!("# Methods compared: {name}\n\n");
    let _ = writeln!(
        text,
        "`{dataset}`, test rows: {}; seeds: {}. Means over the seeds ± the half width of their 95 % interval \
         (Student's t; none for one seed). Made by `bayes compare` {} on {date}, {}, {} threads, {}.",
        list(&mut rows.iter().map(grouped)),
        list(&mut seeds.iter().map(u64::to_string)),
        machine.bayes,
        machine.cpu.as_deref().unwrap_or("unknown CPU"),
        machine.threads,
        machine.os
    );
    section(&mut text, report, "Test rows", "", &ROWS);
    let differences: Vec<&Row> =
        table.rows.iter().filter(|row| !row.differences.is_empty()).collect();
    if !differences.is_empty() {
        let _ = writeln!(
            text,
            "\n## Difference to `{}` (with a temperature), seed by seed",
            table.reference
        );
        draw(&mut text, &differences, "", &ROWS, |row, key| row.differences.get(key), true);
    }
    for source in &report.ood {
        let heading = format!("Out-of-distribution texts: {source}");
        for (score, words) in
            [("novelty", "novelty score"), ("mutual_information", "epistemic uncertainty")]
        {
            let columns: [Column; 3] =
                [("AUROC", "auroc", four), ("AUPR", "aupr", four), ("FPR95", "fpr95", four)];
            let prefix = format!("ood.{source}.{score}.");
            section(&mut text, report, &format!("{heading}, by {words}"), &prefix, &columns);
        }
    }
    for damage in &report.shift {
        let mut columns = vec![("NLL, more than undamaged", "nll_more", four as fn(f64) -> String)];
        columns.splice(0..0, ROWS[..2].iter().copied());
        columns.extend(&ROWS[2..]);
        columns.push(("flagged as novel", "flagged", four));
        let prefix = format!("shift.{damage}.");
        section(&mut text, report, &format!("Shift: `{damage}`"), &prefix, &columns);
        let _ = writeln!(text, "\nDifference to `{}`:", table.reference);
        draw(&mut text, &differences, &prefix, &ROWS, |row, key| row.differences.get(key), true);
    }
    for name in &report.other_data {
        let prefix = format!("data.{name}.");
        section(&mut text, report, &format!("Other data: `{name}`"), &prefix, &ROWS);
        let _ = writeln!(text, "\nDifference to `{}`:", table.reference);
        draw(&mut text, &differences, &prefix, &ROWS, |row, key| row.differences.get(key), true);
    }
    section(&mut text, report, "Cost", "", &COST);
    let settings = table.rows.iter().filter(|row| !row.settings.is_empty());
    for row in settings {
        let _ = writeln!(
            text,
            "\n`{}`: `{}` with `{}`",
            row.label,
            row.method,
            row.settings.join("`, `")
        );
    }
    for row in &table.rows {
        if let Some(teacher) = &row.teacher {
            let _ = writeln!(text, "\n`{}` learned from `{teacher}`", row.label);
        }
    }
    text
}

/// Nothing where no method has one of the figures.
fn section(
    text: &mut String,
    report: &CompareReport,
    title: &str,
    prefix: &str,
    columns: &[Column],
) {
    let rows: Vec<&Row> = report.table.rows.iter().collect();
    let known = |(_, key, _): &Column| {
        rows.iter().any(|row| row.figures.contains_key(&format!("{prefix}{key}")))
    };
    if columns.iter().any(known) {
        let _ = writeln!(text, "\n## {title}");
        draw(text, &rows, prefix, columns, |row, key| row.figures.get(key), false);
    }
}

/// The columns that a method has a figure for.
fn draw(
    text: &mut String,
    rows: &[&Row],
    prefix: &str,
    columns: &[Column],
    read: impl for<'r> Fn(&'r Row, &str) -> Option<&'r Estimate>,
    signed: bool,
) {
    let key = |key: &str| format!("{prefix}{key}");
    let known = |column: &&Column| rows.iter().any(|row| read(row, &key(column.1)).is_some());
    let columns: Vec<&Column> = columns.iter().filter(known).collect();
    let heads: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let _ = writeln!(text, "\n| method | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(columns.len()));
    for row in rows {
        let cell = |column: &&Column| {
            read(row, &key(column.1))
                .map_or("–".to_owned(), |found| shown(found, column.2, signed))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let _ = writeln!(text, "| {} | {} |", row.label, cells.join(" | "));
    }
}

fn shown(found: &Estimate, number: fn(f64) -> String, signed: bool) -> String {
    let sign = if signed && found.mean >= 0.0 { "+" } else { "" };
    let half = found.high.map_or(String::new(), |high| format!(" ± {}", number(high - found.mean)));
    format!("{sign}{}{half}", number(found.mean))
}
