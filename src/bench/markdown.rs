//! The report for people.

use std::fmt::Write;

use serde_json::Value;

use super::{Document, Reference, Suite};
use crate::compute::Precision;
use crate::metrics::HEADLINE;
use crate::numbers::counted;

/// A figure with about four digits.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// A key with the unit of its values, where the name does not end with it.
pub fn with_unit(key: &str) -> String {
    let unit = match key.rsplit('.').next().unwrap_or(key) {
        name if name.ends_with("_latency") => ", ms",
        "throughput" => ", texts/s",
        _ => "",
    };
    format!("{key}{unit}")
}

/// How a report begins.
pub const TITLE: &str = "# Benchmark of ";

impl Document<'_> {
    /// The report. A suite that was not run has no section.
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "{TITLE}{}\n\n{} from `{}`{}, {} tokens in total, at most {} per text. Medians \
             over {}, with the smallest and largest values.\n",
            self.model,
            counted(self.rows, "text"),
            self.dataset,
            if self.generated { " (generated)" } else { "" },
            self.tokens,
            self.max_length,
            counted(self.settings.rounds, "round")
        );
        for warning in &self.warnings {
            let _ = writeln!(text, "\n> {warning}");
        }
        text += &self.architecture();
        if let Some(calibration) = &self.calibration {
            text += &accuracy(calibration);
        }
        let has = |suite| self.suites.contains(&suite);
        if has(Suite::Latency) {
            text += &self.section("Latency (ms)", "latency.");
        }
        if has(Suite::Posterior) {
            if !has(Suite::Latency) {
                text += "\n## Latency (ms)\n";
            }
            let _ = write!(
                text,
                "\n### Posterior and link, compared with the mean logits\n{}",
                self.table("posterior.")
            );
        }
        text += &self.reference.map_or_else(String::new, Reference::to_markdown);
        if has(Suite::Throughput) {
            text += &self.section("Throughput (samples/sec)", "throughput.");
        } else if has(Suite::Train) {
            text += "\n## Throughput (samples/sec)\n";
        }
        if has(Suite::Train) {
            let batch = self.settings.train_batch_size;
            let of = if self.precision == Precision::Bf16 { ", `train.bf16`" } else { "" };
            let table = self.table("train.");
            let _ = write!(text, "\n### Training (batches of {batch}{of})\n{table}");
        }
        if has(Suite::Memory) {
            text += &self.section("Memory", "memory.");
        }
        if has(Suite::LongRange) {
            text += &self.section("Long Range Performance", "long_range.");
        }
        text += &self.machine_section();
        if !self.comparisons.is_empty() {
            text += "\n## Baseline\n\nNew over old, with the 95 % interval of resampling the \
                     rounds; changes of the machine between the two runs are not included.\n\n| \
                     figure | ratio | interval | |\n|---|---:|---:|---|\n";
            for one in &self.comparisons {
                let (ratio, words) = (one.ratio, one.verdict.words());
                let _ = writeln!(
                    text,
                    "| `{}` | {:.3} | {:.3} – {:.3} | {words} |",
                    one.key, ratio.value, ratio.low, ratio.high
                );
            }
        }
        text
    }

    fn architecture(&self) -> String {
        let sizes = self.sizes();
        let mut text = format!(
            "\n## Model Architecture\n\n| | |\n|---|---:|\n| architecture | {} |\n| layers | {} |\n\
             | width | {} |\n| heads | {} |\n| feed-forward width | {} |\n| vocabulary | {} |\n\
             | positions | {} |\n| classes | {} |\n| method | {} |\n\
             | precision | {} |\n",
            sizes.architecture,
            sizes.num_hidden_layers,
            sizes.hidden_size,
            sizes.num_attention_heads,
            sizes.intermediate_size,
            sizes.vocab_size,
            sizes.max_position_embeddings,
            sizes.num_labels,
            self.method.as_str().unwrap_or("unknown"),
            self.precision,
        );
        let sizes = self.results.counts().filter(|(key, _)| key.starts_with("model_size."));
        for (key, count) in sizes {
            let _ = writeln!(text, "| {} | {count} |", &key["model_size.".len()..]);
        }
        if let Some(megabytes) = self.results.interval("model_size.model_size_mb") {
            let _ = writeln!(text, "| model_size_mb | {} |", figure(megabytes.value));
        }
        text
    }

    fn section(&self, heading: &str, prefix: &str) -> String {
        format!("\n## {heading}\n{}", self.table(prefix))
    }

    /// The figures whose keys begin so.
    fn table(&self, prefix: &str) -> String {
        let chosen = |key: &str| key.starts_with(prefix);
        let mut lines = String::new();
        for (key, samples) in self.results.samples().filter(|(key, _)| chosen(key)) {
            let name = key.split_once('.').map_or(key, |(_, name)| name);
            let _ = match self.results.interval(key) {
                Some(interval) if samples.len() > 1 => writeln!(
                    lines,
                    "| {name} | {} | {} – {} |",
                    figure(interval.value),
                    figure(interval.low),
                    figure(interval.high)
                ),
                Some(interval) => writeln!(lines, "| {name} | {} | |", figure(interval.value)),
                None => writeln!(lines, "| {name} | unknown | |"),
            };
        }
        for (key, count) in self.results.counts().filter(|(key, _)| chosen(key)) {
            let name = key.split_once('.').map_or(key, |(_, name)| name);
            let _ = writeln!(lines, "| {name} | {count} | |");
        }
        if lines.is_empty() {
            return "\nNothing was measured; the run printed the reason.\n".to_owned();
        }
        format!("\n| | median | min – max |\n|---|---:|---:|\n{lines}")
    }

    fn machine_section(&self) -> String {
        let machine = self.machine;
        format!(
            "\n## Machine\n\n| | |\n|---|---|\n| CPU | {} |\n| cores | {} |\n| threads | {} |\n\
             | CPU features | {} |\n| memory | {} |\n| system | {} |\n| bayes | {} |\n| date | {} |\n",
            machine.cpu.as_deref().unwrap_or("unknown"),
            machine.cores,
            machine.threads,
            machine.cpu_features.join(" "),
            machine.memory_gb.map_or("unknown".to_owned(), |size| format!("{size:.1} GiB")),
            machine.os,
            machine.bayes,
            self.date,
        )
    }
}

fn accuracy(calibration: &Value) -> String {
    let mut text = format!(
        "\n## Accuracy Metrics\n\n{} rows, with 95 % intervals.\n\n| | value | interval |\n\
         |---|---:|---:|\n",
        calibration["rows"]
    );
    for metric in HEADLINE {
        let (name, metric) = (metric.name(), &calibration[metric.key]);
        if metric.is_null() {
            continue;
        }
        let shown = |field: &str| {
            metric[field].as_f64().map_or("infinite".to_owned(), |value| format!("{value:.4}"))
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} – {} |",
            shown("value"),
            shown("low"),
            shown("high")
        );
    }
    if let Some(floor) = calibration["ece"]["floor"].as_f64() {
        let _ = writeln!(text, "| ECE of perfect calibration (15 bins) | {floor:.4} | |");
    }
    text
}
