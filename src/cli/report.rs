//! The report on a split, as tables of at most 80 columns.

use std::fmt::Write;

use super::beside;
use super::words::cut;
use crate::data::NONE_IS_NEW;
use crate::evaluate::{
    BenchmarkReport, Comparison, Evaluation, Hygiene, Report, Uncertainty, WithoutSeen,
    least_covered, score_title, without_absent, worst_first,
};
use crate::metrics::{AboveFloor, HEADLINE, Interval, Scores};
use crate::numbers::{counted, grouped};

/// Up to so many classes are all shown.
const FEW_CLASSES: usize = 12;
/// Of more, so many.
const WORST_CLASSES: usize = 8;
/// Confusions that are shown.
const WORST_CONFUSIONS: usize = 5;

/// Models side by side in a block of the table.
const MODELS: usize = 5;

/// What the figures are about.
pub fn heading(one: &Evaluation) -> String {
    of_rows(one, &one.at_precision())
}

/// Which rows the figures are of, at a precision.
fn of_rows(one: &Evaluation, precision: &str) -> String {
    let Evaluation { answers, report, .. } = one;
    let generated = if report.truth.is_some() { " (generated texts)" } else { "" };
    format!(
        "{}{generated}, {}{precision}: {} rows, with 95 % intervals (seed {})",
        answers.dataset,
        answers.split,
        grouped(report.summary.rows as u64),
        answers.seed
    )
}

/// Draws the metrics with their intervals. `uncalibrated` gives NLL and ECE without the temperature.
pub fn table(report: &Report, uncalibrated: Option<&Scores>) -> String {
    let mut text = headline(report, uncalibrated);
    text += &benchmark(report);
    text += &classes(report);
    text += &calibration(report);
    text += &selective(report);
    text += &uncertainty(report);
    text += &sets(report);
    text += &outside(report);
    text += &notes(report);
    text
}

fn headline(report: &Report, uncalibrated: Option<&Scores>) -> String {
    let summary = &report.summary;
    let before = |value: fn(&Scores) -> f64| {
        uncalibrated.map(|scores| format!("without temperature {:.4}", value(scores)))
    };
    let mut text = String::new();
    for metric in HEADLINE.iter().filter(|metric| metric.brief) {
        let _ = write!(text, "  {:<18}", metric.title);
        let Some(Interval { value, low, high }) = metric.read(summary) else {
            let _ = writeln!(text, "{:>8}", "–");
            continue;
        };
        let _ = write!(text, "{value:>8.4}   {low:.4} – {high:.4}");
        let note = match metric.key {
            "accuracy" => {
                report.truth.map(|truth| format!("best possible {:.4}", truth.best_accuracy))
            }
            "f1" => without_absent(&report.by_class),
            "nll" => before(|scores| scores.nll),
            "ece" => {
                let ece = &summary.ece;
                let plain = before(|scores| scores.ece);
                let below = plain.map(|plain| format!("\n{:>46}   {plain}", ""));
                let floor = format!("noise floor {:.4} ± {:.4}", ece.floor, ece.floor_sd);
                Some(floor + &below.unwrap_or_default())
            }
            _ => None,
        };
        let _ = writeln!(text, "{}", note.map_or(String::new(), |note| format!("   {note}")));
    }
    text
}

/// What the suite counts that the data set is a task of.
fn benchmark(report: &Report) -> String {
    let Some(BenchmarkReport { suite, task, scores, score }) = &report.benchmark else {
        return String::new();
    };
    let mut text = format!("\n  what {} counts of `{task}`\n", suite.title());
    for (key, Interval { value, low, high }) in scores {
        let name = score_title(key);
        let _ = writeln!(text, "    {name:<22}{value:>8.4}   {low:.4} – {high:.4}");
    }
    if scores.len() > 1 {
        let _ = writeln!(text, "    {:<22}{score:>8.4}", "mean");
    }
    text
}

/// All classes where they are few; else those that fare worst, and where the others are.
fn classes(report: &Report) -> String {
    let all = worst_first(&report.by_class);
    let few = all.len() <= FEW_CLASSES;
    let shown = if few { all.len() } else { WORST_CLASSES };
    let title = if few { "classes, lowest F1 first" } else { "classes with the lowest F1" };
    let mut text =
        format!("\n  {title:<36}{:>8}{:>11}{:>9}{:>9}\n", "rows", "precision", "recall", "F1");
    let known = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    for one in &all[..shown] {
        let _ = writeln!(
            text,
            "    {:<34}{:>8}{:>11}{:>9}{:>9}",
            cut(&one.label, 33),
            grouped(one.rows),
            known(one.precision),
            known(one.recall),
            known(one.f1)
        );
    }
    let confusions = &report.confusions[..report.confusions.len().min(WORST_CONFUSIONS)];
    if all.len() > 2 && !confusions.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<56}{:>7}{:>15}",
            "most often confused", "rows", "share of class"
        );
    }
    for one in confusions.iter().filter(|_| all.len() > 2) {
        let pair = format!("{} → {}", cut(&one.label, 25), cut(&one.predicted, 25));
        let share = format!("{:.1} %", 100.0 * one.share);
        let _ = writeln!(text, "    {pair:<54}{:>7}{share:>15}", grouped(one.rows));
    }
    if !few || report.confusions.len() > confusions.len() {
        let _ = writeln!(
            text,
            "    to see all {} classes and {} confusions, use `bayes eval --report FOLDER`\n    or \
             --json",
            all.len(),
            report.confusions.len()
        );
    }
    text
}

fn calibration(report: &Report) -> String {
    let errors = &report.calibration;
    let mut text = "\n  other calibration errors, each with its noise floor\n".to_owned();
    let mut line = |name: &str, error: &AboveFloor, note: String| {
        let AboveFloor { value, floor, floor_sd } = error;
        let _ = writeln!(text, "    {name:<16}{value:>8.4}   {floor:.4} ± {floor_sd:.4}{note}");
    };
    line("equal mass", &errors.adaptive_ece, String::new());
    line("class-wise", &errors.class_wise_ece, String::new());
    line("smooth", &errors.smooth_ece, String::new());
    let count = grouped(errors.mce_bin.count);
    line("largest gap", &errors.mce, format!("   rows in that bin: {count}"));
    text
}

fn selective(report: &Report) -> String {
    let mut text =
        "\n  accepting only the most confident      70 %     80 %     90 %     95 %\n".to_owned();
    for (doubt, one) in &report.selective {
        let _ = writeln!(
            text,
            "    accuracy, by {doubt:<20}{:>8.4} {:>8.4} {:>8.4} {:>8.4}",
            one.accuracy_at_70, one.accuracy_at_80, one.accuracy_at_90, one.accuracy_at_95
        );
    }
    text += "    accepted at an error rate of at most  1 %      2 %      5 %\n";
    for (doubt, one) in &report.selective {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let _ = writeln!(
            text,
            "      by {doubt:<28}{:>8} {:>8} {:>8}",
            percent(one.coverage_at_risk_1),
            percent(one.coverage_at_risk_2),
            percent(one.coverage_at_risk_5)
        );
    }
    text
}

fn uncertainty(report: &Report) -> String {
    let known = report.knows_epistemic();
    let parts = if known { "  aleatoric  epistemic" } else { "" };
    let mut text = format!("\n  uncertainty in nats         rows     total{parts}\n");
    let mut line = |name: &str, one: &Uncertainty| {
        let part = |part: Option<f64>| part.map_or("–".to_owned(), |part| format!("{part:.4}"));
        let name: String = name.chars().take(20).collect();
        let parts = match known {
            true => format!("   {:>8}   {:>8}", part(one.aleatoric), part(one.epistemic)),
            false => String::new(),
        };
        let _ = writeln!(
            text,
            "    {name:<20}{:>8}  {:>8.4}{parts}",
            grouped(one.rows as u64),
            one.total,
        );
    };
    for (name, one) in &report.uncertainty {
        line(&format!("{} predictions", name.replace("right", "correct")), one);
    }
    for (name, ood) in &report.ood {
        if let Some(one) = &ood.uncertainty {
            line(name, one);
        }
    }
    text
}

fn sets(report: &Report) -> String {
    let Some(sets) = &report.sets else { return String::new() };
    let Interval { value, low, high } = sets.coverage;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let lowest = least_covered(&report.by_class).map_or(String::new(), |(label, coverage)| {
        format!("{} by class (`{}`)", percent(coverage), cut(label, 40))
    });
    let band = report.set_band.map_or(String::new(), |band| match band.words(percent) {
        Ok(words) => format!(
            ";\n    with {}, the true coverage may be anywhere\n    from {words}",
            counted(band.rows, "calibration row")
        ),
        Err(why) => format!(";\n    {why}"),
    });
    format!(
        "\n  prediction sets: {} contain the correct label ({} – {}),\n    target {}{band}\n    \
         {:.2} labels on average, {} empty, {} with one label; lowest coverage\n    {} by set \
         size, {lowest}\n",
        percent(value),
        percent(low),
        percent(high),
        percent(1.0 - sets.alpha),
        sets.mean_size,
        percent(sets.empty),
        percent(sets.singleton),
        percent(sets.worst_size_coverage),
    )
}

fn outside(report: &Report) -> String {
    if report.ood.is_empty() {
        return String::new();
    }
    let mut text =
        "\n  out-of-distribution detection     AUROC                      AUPR   FPR95\n"
            .to_owned();
    for (name, ood) in &report.ood {
        let cut = match ood.truncated {
            0 => String::new(),
            cut => format!(", {} of them truncated", grouped(cut as u64)),
        };
        let _ = writeln!(text, "    {name}, {} texts{cut}", grouped(ood.rows as u64));
        for (score, one) in &ood.by_score {
            let Interval { value, low, high } = one.auroc;
            let _ = writeln!(
                text,
                "      by {score:<22}{value:>8.4}   {low:.4} – {high:.4}  {:>8.4}{:>8.4}",
                one.aupr.value, one.fpr95.value
            );
        }
    }
    text
}

fn notes(report: &Report) -> String {
    let mut text = String::new();
    if let Some(truth) = report.truth {
        let _ = writeln!(
            text,
            "\n  The labels were drawn with known probabilities. Averaged over such draws,\n  these \
             predictions are correct in {:.2} % of cases, the best possible ones in\n  {:.2} %; the \
             confidence is off by {:.3} on average.",
            100.0 * truth.expected_accuracy,
            100.0 * truth.best_accuracy,
            truth.mean_error
        );
    }
    match report.without_seen {
        None => {}
        Some(WithoutSeen { seen, accuracy: Some(accuracy), nll: Some(nll) }) => {
            let _ = writeln!(
                text,
                "\n  {seen} of these texts were also used to train or calibrate. Without them: accuracy\n  \
                 {accuracy:.4}, NLL {nll:.4}."
            );
        }
        Some(_) => {
            let _ = writeln!(
                text,
                "\n  All of these texts were also used to train or calibrate.\n  {NONE_IS_NEW}."
            );
        }
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
            "\n  {} texts were longer than the model's limit and were truncated.",
            grouped(report.truncated as u64)
        );
    }
    text
}

/// Which rows the figures are about, and which the model was made with.
pub fn hygiene(hygiene: &Hygiene) -> String {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let mut text = "\n  splits                      rows   content\n".to_owned();
    let parts = hygiene.parts.iter().map(|(name, part)| (name.as_str(), part));
    for (name, part) in parts.chain([("these rows", &hygiene.evaluated)]) {
        let (rows, hash) = (grouped(part.rows as u64), short(&part.sha256));
        let _ = writeln!(text, "    {name:<20}{rows:>8}   {hash}");
    }
    let seen = match hygiene.seen {
        Some(seen) => format!("{} were seen in training or calibration", grouped(seen as u64)),
        None => "it is unknown which were seen before".to_owned(),
    };
    let repeated = grouped(hygiene.repeated as u64);
    let _ =
        writeln!(text, "    {repeated} of these rows repeat the text of another row;\n    {seen}");
    text
}

/// Several models in one table, and how each differs from the first on the same rows.
pub fn comparison(all: &[Evaluation], differences: &[Comparison]) -> String {
    let letter = |place: usize| char::from(b'A' + (place % 26) as u8);
    let mut text = String::new();
    if let Some(one) = all.first() {
        let _ = writeln!(text, "\n{}\n", of_rows(one, ""));
    }
    for (place, one) in all.iter().enumerate() {
        let _ = writeln!(text, "  {}  {}{}", letter(place), one.answers.model, one.at_precision());
        if let Some(fresh) = one.report.without_seen {
            let seen = grouped(fresh.seen as u64);
            let _ = match fresh.accuracy {
                Some(accuracy) => writeln!(
                    text,
                    "     has seen {seen} of the rows; accuracy without them: {accuracy:.4}"
                ),
                None => writeln!(text, "     has seen all {seen} rows. {NONE_IS_NEW}"),
            };
        }
    }
    for (place, one) in all.iter().enumerate().filter(|(_, one)| one.report.truncated > 0) {
        let _ = writeln!(
            text,
            "     {}: {} texts were longer than its limit and were truncated",
            letter(place),
            grouped(one.report.truncated as u64)
        );
    }
    for (block, models) in all.chunks(MODELS).enumerate() {
        let _ = write!(text, "\n  {:<28}", "");
        for place in 0..models.len() {
            let _ = write!(text, "{:>9}", letter(block * MODELS + place));
        }
        text.push('\n');
        for metric in HEADLINE {
            let _ = write!(text, "  {:<28}", metric.key);
            for one in models {
                let value = metric.read(&one.report.summary);
                let shown = value.map_or("–".to_owned(), |found| format!("{:.4}", found.value));
                let _ = write!(text, "{shown:>9}");
            }
            text.push('\n');
        }
    }
    text.push_str(&beside::several(all, letter));
    for one in differences {
        let place = all.iter().position(|other| other.answers.model == one.model);
        let _ = writeln!(
            text,
            "\n  {} − A, with 95 % intervals over the same resamples",
            letter(place.unwrap_or_default())
        );
        for metric in HEADLINE {
            let Some(difference) = one.difference[metric.key] else { continue };
            let Interval { value, low, high } = difference;
            let numbers = format!("{:<28}{value:>+9.4}   {low:+.4} – {high:+.4}", metric.key);
            let _ = writeln!(
                text,
                "  {}",
                format!("{numbers}   {}", metric.verdict(&difference)).trim_end()
            );
        }
    }
    text
}
