//! The report as files: JSON for programs, Markdown for reviews, HTML for people. None of them
//! holds a text of the data set.

mod chart;
mod html;
mod markdown;
mod shift;

use std::path::Path;

use serde_json::Value;

use super::{
    BaselineReport, BenchmarkReport, Comparison, Evaluation, Report, WithoutSeen, least_covered,
    without_absent, worst_first,
};
use crate::data::NONE_IS_NEW;
use crate::metrics::{AboveFloor, HEADLINE, Interval, Metric};
use crate::numbers::grouped;
use crate::store::{StoreError, write_atomically};

/// The files of a report.
pub const REPORT_FILES: [&str; 3] = ["report.json", "report.md", "report.html"];

/// What the pages are called.
const TITLE: &str = "Evaluation";

/// Whether a file of one of these names is of a report that `eval` or `train` wrote.
pub fn is_report(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let ours = |value: Value| {
        // Of one model, of several, and of a run.
        let any: [&[&str]; 3] =
            [&["accuracy", "nll"], &["models", "differences"], &["steps", "test"]];
        any.iter().any(|keys| keys.iter().all(|key| value.get(key).is_some()))
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str(&text).is_ok_and(ours),
        Some("md") => text.starts_with(&format!("# {TITLE}\n")),
        _ => text.contains(&format!("<title>{TITLE}</title>")),
    }
}

/// All that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// One or more models.
    pub evaluations: &'a [Evaluation],
    /// How they differ from the first.
    pub differences: &'a [Comparison],
    /// What else is to be said, behind all figures.
    pub about: &'a [About],
}

/// Sentences under a heading.
#[derive(Clone, Debug)]
pub struct About {
    /// What they are about.
    pub heading: String,
    /// Each is a paragraph.
    pub sentences: Vec<String>,
}

/// A part of the page.
enum Block {
    Heading(String),
    Text(String),
    Table {
        header: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// Markdown leaves figures out.
    Figure {
        svg: String,
        caption: String,
    },
}

impl Page<'_> {
    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if it is
    /// not there. `json` is what `--json` prints.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, json: &Value) -> Result<(), StoreError> {
        let json = serde_json::to_string_pretty(json).expect("a value is JSON") + "\n";
        write_atomically(&folder.join("report.json"), json.as_bytes())?;
        self.write_pages(folder)
    }

    /// Writes the two that are for people.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_pages(&self, folder: &Path) -> Result<(), StoreError> {
        let blocks = self.blocks();
        write_atomically(&folder.join("report.md"), markdown::render(&blocks).as_bytes())?;
        write_atomically(&folder.join("report.html"), html::render(&blocks).as_bytes())
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for comparison in self.differences {
            blocks.push(Block::Heading(format!("{} − {}", comparison.model, comparison.baseline)));
            blocks.push(Block::Text(
                "Differences on the same rows, with 95 % intervals over resamples that both models \
                 share."
                    .to_owned(),
            ));
            let row = |metric: &Metric| {
                let found = comparison.difference[metric.key]?;
                let Interval { value, low, high } = found;
                let interval = format!("{low:+.4} – {high:+.4}");
                let verdict = metric.verdict(&found).to_owned();
                Some(vec![metric.key.to_owned(), format!("{value:+.4}"), interval, verdict])
            };
            let rows = HEADLINE.iter().filter_map(row).collect();
            blocks.push(table(&["metric", "difference", "95 % interval", ""], rows));
        }
        for one in self.evaluations {
            model(one, &mut blocks);
        }
        for About { heading, sentences } in
            self.about.iter().filter(|one| !one.sentences.is_empty())
        {
            blocks.push(Block::Heading(heading.clone()));
            blocks.extend(sentences.iter().cloned().map(Block::Text));
        }
        blocks
    }
}

fn table(header: &[&str], rows: Vec<Vec<String>>) -> Block {
    Block::Table { header: header.iter().map(|&name| name.to_owned()).collect(), rows }
}

fn four(value: f64) -> String {
    format!("{value:.4}")
}

fn between(interval: &Interval) -> String {
    format!("{:.4} – {:.4}", interval.low, interval.high)
}

fn model(one: &Evaluation, blocks: &mut Vec<Block>) {
    let Evaluation { answers, report, uncalibrated, hygiene, baseline, kept, shift, .. } = one;
    blocks.push(Block::Heading(answers.model.clone()));
    let generated = if report.truth.is_some() { " (generated texts)" } else { "" };
    blocks.push(Block::Text(format!(
        "{}{generated}, {}{}: {} rows, {} classes, temperature {:.4}. Intervals are 95 % bootstrap \
         intervals over the rows, seed {}.",
        answers.dataset,
        answers.split,
        one.at_precision(),
        report.summary.rows,
        answers.labels.len(),
        answers.temperature,
        answers.seed
    )));
    blocks.push(headline(report));
    blocks.extend(report.benchmark.iter().map(benchmark));
    if let Some(scores) = uncalibrated {
        blocks.push(Block::Text(format!(
            "Without temperature scaling: NLL {:.4}, ECE {:.4}.",
            scores.nll, scores.ece
        )));
    }
    if let Some(baseline) = baseline {
        beside(baseline, report, blocks);
    }
    classes(report, blocks);
    blocks.push(Block::Figure {
        svg: chart::reliability(&report.summary.bins),
        caption: "Reliability diagram: accuracy by confidence, with 95 % Wilson intervals. On the \
                  dashed line, confidence equals accuracy."
            .to_owned(),
    });
    blocks.push(Block::Heading("Calibration".to_owned()));
    blocks.push(calibration(report));
    blocks.push(Block::Heading("Selective prediction".to_owned()));
    blocks.push(selective(report));
    blocks.push(Block::Figure {
        svg: chart::risk_coverage(&report.selective),
        caption: "Risk–coverage curve: the error rate of the accepted predictions when the least \
                  confident ones are rejected."
            .to_owned(),
    });
    blocks.push(Block::Heading("Uncertainty".to_owned()));
    blocks.push(uncertainty(report));
    sets(report, blocks);
    if let Some(kept) = kept {
        shift::promises(kept, blocks);
    }
    shift::table(shift, answers.seed, blocks);
    outside(report, blocks);
    if let Some(hygiene) = hygiene {
        blocks.push(Block::Heading("Rows".to_owned()));
        let part = |name: &str, rows: usize, hash: &str| {
            vec![name.to_owned(), rows.to_string(), hash.chars().take(16).collect()]
        };
        let parts = hygiene.parts.iter();
        let mut rows: Vec<Vec<String>> =
            parts.map(|(name, one)| part(name, one.rows, &one.sha256)).collect();
        rows.push(part("these rows", hygiene.evaluated.rows, &hygiene.evaluated.sha256));
        blocks.push(table(&["part", "rows", "content SHA-256"], rows));
        let seen = match hygiene.seen {
            Some(seen) => format!("{seen} were also used for training or calibration."),
            None => "it is unknown which were also used for training or calibration.".to_owned(),
        };
        let fresh = match report.without_seen {
            None => String::new(),
            Some(WithoutSeen { accuracy: Some(accuracy), nll: Some(nll), .. }) => {
                format!(" Without those: accuracy {accuracy:.4}, NLL {nll:.4}.")
            }
            Some(_) => format!(" {NONE_IS_NEW}."),
        };
        blocks.push(Block::Text(format!(
            "{} of these rows repeat the text of another row; {seen}{fresh} {} were longer than \
             the model's limit and were truncated.",
            hygiene.repeated, report.truncated
        )));
    }
}

/// Every class, and what is taken for what.
fn classes(report: &Report, blocks: &mut Vec<Block>) {
    let known = |value: Option<f64>| value.map_or("–".to_owned(), four);
    let covered = report.by_class.iter().any(|one| one.coverage.is_some());
    let columns = if covered { 6 } else { 5 };
    let row = |one: &super::ClassReport| {
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
    let row = |one: &super::ConfusionReport| {
        let share = format!("{:.1} %", 100.0 * one.share);
        vec![one.label.clone(), one.predicted.clone(), one.rows.to_string(), share]
    };
    blocks.push(Block::Heading("Confusions".to_owned()));
    let header = ["label", "predicted as", "rows", "share of class"];
    blocks.push(table(&header, report.confusions.iter().map(row).collect()));
}

fn headline(report: &Report) -> Block {
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

fn benchmark(one: &BenchmarkReport) -> Block {
    let name =
        |key: &str| format!("{} of `{}`: {}", one.suite.title(), one.task, key.replace('_', " "));
    let rows = one
        .scores
        .iter()
        .map(|(key, interval)| vec![name(key), four(interval.value), between(interval)]);
    let mean = vec![name("mean"), four(one.score), String::new()];
    let mean = (one.scores.len() > 1).then_some(mean);
    table(&["score", "value", "95 % interval"], rows.chain(mean).collect())
}

fn beside(baseline: &BaselineReport, report: &Report, blocks: &mut Vec<Block>) {
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

fn calibration(report: &Report) -> Block {
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

fn selective(report: &Report) -> Block {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let header: Vec<String> = ["", "confidence", "epistemic"]
        .into_iter()
        .take(1 + report.selective.len())
        .map(str::to_owned)
        .collect();
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&super::Selective) -> String| {
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

fn uncertainty(report: &Report) -> Block {
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
    let row = |(name, one): (String, &super::Uncertainty)| {
        let total = four(one.total);
        let mut row =
            vec![name, one.rows.to_string(), total, part(one.aleatoric), part(one.epistemic)];
        row.truncate(columns);
        row
    };
    let header = ["mean, nats", "rows", "total", "aleatoric", "epistemic"];
    table(&header[..columns], answers.chain(ood).map(row).collect())
}

fn sets(report: &Report, blocks: &mut Vec<Block>) {
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

fn outside(report: &Report, blocks: &mut Vec<Block>) {
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
