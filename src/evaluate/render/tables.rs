//! What a model's report says, table by table.

use super::super::{
    BaselineReport, BenchmarkReport, ClassReport, ConfusionReport, Report, Selective, Uncertainty,
    least_covered, score_title, without_absent, worst_first,
};
use super::{Block, between, chart, four, table};
use crate::metrics::{AboveFloor, HEADLINE, Interval, Metric};
use crate::numbers::grouped;

/// Every class, and what is taken for what.
pub(super) fn classes(report: &Report, blocks: &mut Vec<Block>) {
    let known = |value: Option<f64>| value.map_or("–".to_owned(), four);
    let covered = report.by_class.iter().any(|one| one.coverage.is_some());
    let columns = if covered { 6 } else { 5 };
    let row = |one: &ClassReport| {
        let figures = [one.precision, one.recall, one.f1, one.coverage].map(known);
        let mut row = vec![one.label.clone(), one.rows.to_string()];
        row.extend(figures);
        row.truncate(columns);
        row
    };
    let rows = worst_first(&report.by_class).into_iter().map(row).collect();
    let header = ["lowest F1 first", "rows", "precision", "recall", "F1", "set coverage"];
    blocks.push(Block::Heading("Classes".to_owned()));
    blocks.push(table(&header[..columns], rows));
    if report.confusions.is_empty() {
        return;
    }
    let row = |one: &ConfusionReport| {
        let share = format!("{:.1} %", 100.0 * one.share);
        vec![one.label.clone(), one.predicted.clone(), one.rows.to_string(), share]
    };
    blocks.push(Block::Heading("Confusions".to_owned()));
    let header = ["label", "predicted as", "rows", "share of class"];
    blocks.push(table(&header, report.confusions.iter().map(row).collect()));
}

pub(super) fn headline(report: &Report) -> Block {
    let summary = &report.summary;
    let row = |metric: &Metric| {
        let interval = metric.read(summary)?;
        let note = match metric.key {
            "accuracy" => {
                report.truth.map(|truth| format!("best possible {:.4}", truth.best_accuracy))
            }
            "f1" => without_absent(&report.by_class),
            "ece" => {
                let ece = &summary.ece;
                Some(format!("noise floor {:.4} ± {:.4}", ece.floor, ece.floor_sd))
            }
            _ => None,
        };
        let note = note.unwrap_or_default();
        Some(vec![metric.name(), four(interval.value), between(&interval), note])
    };
    table(&["metric", "value", "95 % interval", ""], HEADLINE.iter().filter_map(row).collect())
}

pub(super) fn benchmark(one: &BenchmarkReport) -> Block {
    let name = |key: &str| format!("{} of `{}`: {}", one.suite.title(), one.task, score_title(key));
    let rows = one
        .scores
        .iter()
        .map(|(key, interval)| vec![name(key), four(interval.value), between(interval)]);
    let mean = vec![name("mean"), four(one.score), String::new()];
    let mean = (one.scores.len() > 1).then_some(mean);
    table(&["score", "value", "95 % interval"], rows.chain(mean).collect())
}

pub(super) fn beside(baseline: &BaselineReport, report: &Report, blocks: &mut Vec<Block>) {
    let summary = &report.summary;
    blocks.push(Block::Text(format!(
        "Compared with a linear baseline on words and characters, fitted on {} training rows ({} \
         features, C {}, temperature {:.4}):",
        baseline.part_of_rows(),
        grouped(baseline.features),
        baseline.cost,
        baseline.temperature
    )));
    let row = |name: &str, model: f64, value: f64, difference: &Interval| {
        let Interval { value: by, low, high } = difference;
        let interval = format!("{low:+.4} – {high:+.4}");
        vec![name.to_owned(), four(model), four(value), format!("{by:+.4}"), interval]
    };
    let difference = &baseline.difference;
    let mut rows = vec![row(
        "accuracy",
        summary.accuracy.value,
        baseline.accuracy.value,
        &difference.accuracy,
    )];
    if let Some(by) = &difference.nll {
        rows.push(row("NLL, nats", summary.nll.value, baseline.nll.value, by));
    }
    rows.push(row("ECE, 15 bins", summary.ece.value, baseline.ece.value, &difference.ece));
    blocks.push(table(&["metric", "model", "baseline", "difference", "95 % interval"], rows));
    if let Some(warning) = baseline.warning() {
        blocks.push(Block::Text(format!("Warning: {warning}.")));
    }
}

pub(super) fn calibration(report: &Report) -> Block {
    let errors = &report.calibration;
    let row = |name: &str, error: &AboveFloor, note: String| {
        let floor = format!("{:.4} ± {:.4}", error.floor, error.floor_sd);
        vec![name.to_owned(), four(error.value), floor, note]
    };
    let count = format!("rows in that bin: {}", errors.mce_bin.count);
    let mut rows = vec![
        row("equal-mass ECE", &errors.adaptive_ece, String::new()),
        row("class-wise ECE", &errors.class_wise_ece, String::new()),
        row("smooth ECE, reflected kernel", &errors.smooth_ece, String::new()),
        row("maximum calibration error (MCE)", &errors.mce, count),
    ];
    if let Some(positive) = errors.positive_ece {
        let name = "ECE of the second class".to_owned();
        rows.push(vec![name, four(positive), String::new(), String::new()]);
    }
    table(&["error", "value", "noise floor", ""], rows)
}

pub(super) fn selective(report: &Report) -> Block {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let header: Vec<String> = ["", "confidence", "epistemic"]
        .into_iter()
        .take(1 + report.selective.len())
        .map(str::to_owned)
        .collect();
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&Selective) -> String| {
        let values = report.selective.values().map(value);
        rows.push([name.to_owned()].into_iter().chain(values).collect());
    };
    row("accuracy on the most confident 70 %", &|one| four(one.accuracy_at_70));
    row("accuracy on the most confident 80 %", &|one| four(one.accuracy_at_80));
    row("accuracy on the most confident 90 %", &|one| four(one.accuracy_at_90));
    row("accuracy on the most confident 95 %", &|one| four(one.accuracy_at_95));
    row("accepted at an error rate of at most 1 %", &|one| percent(one.coverage_at_risk_1));
    row("accepted at an error rate of at most 2 %", &|one| percent(one.coverage_at_risk_2));
    row("accepted at an error rate of at most 5 %", &|one| percent(one.coverage_at_risk_5));
    row("AURC", &|one| four(one.aurc));
    row("E-AURC", &|one| four(one.e_aurc));
    row("AUGRC", &|one| four(one.augrc));
    Block::Table { header, rows }
}

pub(super) fn uncertainty(report: &Report) -> Block {
    let part = |part: Option<f64>| part.map_or("–".to_owned(), four);
    // Two columns of dashes would say that there is something to know.
    let columns = if report.knows_epistemic() { 5 } else { 3 };
    let answers = report
        .uncertainty
        .iter()
        .map(|(name, one)| (format!("{} predictions", name.replace("right", "correct")), one));
    let ood = report.ood.iter().filter_map(|(name, one)| {
        one.uncertainty.as_ref().map(|uncertainty| (name.clone(), uncertainty))
    });
    let row = |(name, one): (String, &Uncertainty)| {
        let total = four(one.total);
        let mut row =
            vec![name, one.rows.to_string(), total, part(one.aleatoric), part(one.epistemic)];
        row.truncate(columns);
        row
    };
    let header = ["mean, nats", "rows", "total", "aleatoric", "epistemic"];
    table(&header[..columns], answers.chain(ood).map(row).collect())
}

pub(super) fn sets(report: &Report, blocks: &mut Vec<Block>) {
    let Some(sets) = &report.sets else { return };
    blocks.push(Block::Heading("Prediction sets".to_owned()));
    let lowest = least_covered(&report.by_class)
        .map_or("–".to_owned(), |(label, coverage)| format!("{} ({label})", four(coverage)));
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let band = report.set_band.map_or(String::new(), |band| match band.words(four) {
        Ok(words) => format!("{words} (for the smallest class threshold: {} rows)", band.rows),
        Err(why) => format!("none: {why}"),
    });
    blocks.push(table(
        &["", "value"],
        vec![
            row("target coverage", four(1.0 - sets.alpha)),
            row("99 % coverage band", band),
            row(
                "observed coverage (Wilson interval)",
                format!("{:.4} ({})", sets.coverage.value, between(&sets.coverage)),
            ),
            row("lowest coverage by class", lowest),
            row("lowest coverage by set size", four(sets.worst_size_coverage)),
            row("size-stratified violation (SSCV)", four(sets.sscv)),
            row("average set size", four(sets.mean_size)),
            row("share of empty sets", four(sets.empty)),
            row("share of single-label sets", four(sets.singleton)),
            row("share of sets with all labels", four(sets.full)),
        ],
    ));
}

pub(super) fn outside(report: &Report, blocks: &mut Vec<Block>) {
    for (name, ood) in &report.ood {
        blocks.push(Block::Heading(format!("Out-of-distribution texts: {name}")));
        let row = |(score, one): (&&str, &crate::metrics::Detection)| {
            let auroc = format!("{:.4} ({})", one.auroc.value, between(&one.auroc));
            let values = [one.aupr, one.aupr_in, one.fpr95, one.rejected_at_95];
            let values = values.map(|interval| four(interval.value));
            [(*score).to_owned(), auroc].into_iter().chain(values).collect()
        };
        let header = ["score", "AUROC", "AUPR", "AUPR in", "FPR95", "rejected at 95 %"];
        blocks.push(table(&header, ood.by_score.iter().map(row).collect()));
        blocks.push(Block::Figure {
            svg: chart::histogram(&ood.histogram),
            caption: format!(
                "The score `{}` of the labelled texts and of {} texts from {name}, as fractions of \
                 each group.",
                ood.score, ood.rows
            ),
        });
    }
}
