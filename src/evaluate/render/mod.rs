//! The report as files: JSON for programs, Markdown for reviews, HTML for people. None of them
//! holds a text of the data set.

mod chart;
mod html;
mod markdown;
mod shift;
mod tables;

use std::path::Path;

use serde_json::Value;

use self::tables::{
    benchmark, beside, calibration, classes, headline, outside, selective, sets, uncertainty,
};
use super::{Comparison, Evaluation, WithoutSeen};
use crate::data::NONE_IS_NEW;
use crate::metrics::{HEADLINE, Interval, Metric};
use crate::store::{StoreError, write_atomically};

/// The files of a report.
pub const REPORT_FILES: [&str; 3] = ["report.json", "report.md", "report.html"];

/// What the pages are called.
pub const REPORT_TITLE: &str = "Evaluation";

/// Whether a file of one of these names is of a report that `eval` or `train` wrote.
pub fn is_report(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let ours = |value: Value| {
        // Of one model, of several, of a run, and of a suite.
        let any: [&[&str]; 4] = [
            &["accuracy", "nll"],
            &["models", "differences"],
            &["steps", "test"],
            &["suite", "tasks"],
        ];
        any.iter().any(|keys| keys.iter().all(|key| value.get(key).is_some()))
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str(&text).is_ok_and(ours),
        Some("md") => text.starts_with(&format!("# {REPORT_TITLE}\n")),
        _ => text.contains(&format!("<title>{REPORT_TITLE}</title>")),
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

/// Writes a page of any blocks as Markdown and as HTML.
///
/// # Errors
/// A file cannot be written.
pub fn render(
    title: &str,
    blocks: &[Block],
    markdown: &Path,
    html: &Path,
) -> Result<(), StoreError> {
    write_atomically(markdown, markdown::render(title, blocks).as_bytes())?;
    write_atomically(html, html::render(title, blocks).as_bytes())
}

/// A part of a page.
pub enum Block {
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
        let [_, markdown, html] = REPORT_FILES.map(|name| folder.join(name));
        render(REPORT_TITLE, &blocks, &markdown, &html)
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

/// A table.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Block {
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
