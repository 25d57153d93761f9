//! The end of `bayes train`: one screen of 24 lines and 80 columns, with what a person acts on first. All
//! tables are in the report, which lies in the run folder.

use std::path::Path;

use anyhow::Result;

use super::decisions::decisions;
use super::fitted::{calibration_words, posterior_words, whose};
use super::words::{cut, filled, percent, quoted};
use crate::data::{NONE_IS_NEW, sentence};
use crate::evaluate::{About, BaselineReport, Page};
use crate::experiment::{HeldOutScores, TrainReport};
use crate::method::PosteriorConfig;
use crate::metrics::Interval;
use crate::model::Pooling;
use crate::numbers::grouped;
use crate::publish::shown;
use crate::store::write_atomically;
use crate::train::Recipe;

/// Where the paragraphs of the summary begin, and their other lines.
const INDENT: usize = 13;

/// A line of the small table.
struct Line {
    name: &'static str,
    accuracy: Option<Cell>,
    nll: Option<Cell>,
}

/// A figure, with its interval where it has one.
struct Cell {
    value: String,
    interval: String,
}

impl Line {
    /// Accuracy and NLL with their intervals.
    fn new(name: &'static str, accuracy: &Interval, nll: &Interval) -> Self {
        let share = |share: f64| format!("{:.1}", 100.0 * share);
        let between = |low: String, high: String| format!("({low} – {high})");
        Self {
            name,
            accuracy: Some(Cell {
                value: format!("{} %", share(accuracy.value)),
                interval: between(share(accuracy.low), share(accuracy.high)),
            }),
            nll: Some(Cell {
                value: format!("{:.3}", nll.value),
                interval: between(format!("{:.3}", nll.low), format!("{:.3}", nll.high)),
            }),
        }
    }

    fn draw(&self) -> String {
        let cell = |cell: &Option<Cell>| match cell {
            Some(Cell { value, interval }) => format!("{value:>8}  {interval:<17}"),
            None => format!("{:27}", ""),
        };
        let line = format!("  {:<22}{} {}", self.name, cell(&self.accuracy), cell(&self.nll));
        format!("{}\n", line.trim_end())
    }
}

/// What a finished training says.
pub fn finished_text(finished: &TrainReport) -> String {
    let mut text = format!("\n{}\n{}", heading(finished), table(finished));
    let paragraphs = [
        ("Warning", finished.baseline.as_ref().and_then(BaselineReport::warning)),
        ("Kept", kept(finished).map(|(name, scores)| format!("{name}: {scores}"))),
        ("Calibration", Some(calibration(finished))),
        ("Sets", sets(finished)),
        ("Decisions", decisions(&finished.calibration, &finished.evaluation.answers.rows)),
        ("Novelty", novelty(finished)),
        ("Repeats", repeats(finished)),
    ];
    text.push('\n');
    for (name, words) in paragraphs {
        if let Some(words) = words {
            text += &filled(&format!("{name:<INDENT$}"), &" ".repeat(INDENT), &words);
        }
    }
    text += &format!(
        "\nModel   {}\nReport  {}\n{}",
        finished.model.display(),
        finished.run.join("report.html").display(),
        next_text(&finished.model, finished.pooling, finished.pairs, finished.generated)
    );
    text
}

/// What was trained, on what, and how long it took.
fn heading(finished: &TrainReport) -> String {
    let generated = if finished.generated { " (generated texts)" } else { "" };
    let rows = |part: &str| grouped(finished.parts.get(part).map_or(0, |part| part.rows) as u64);
    let encoder = match &finished.init {
        Some(init) => format!("from `{}`, ", cut(init, 50)),
        None => "an encoder from scratch, ".to_owned(),
    };
    let trained = match (finished.streamed, finished.recipe.kept) {
        (None, _) => format!("trained on {} rows", rows("train")),
        (Some(all), Recipe::Full) => {
            let most = grouped(finished.streamed_not_held_out.unwrap_or(all));
            let (all, some) = (grouped(all), rows("train"));
            format!(
                "trained on at most {most} rows of a stream of {all}, with a posterior from {some} \
                 of them"
            )
        }
        (Some(all), Recipe::Head | Recipe::Auto) => {
            format!("trained on {} rows, a sample of {}", rows("train"), grouped(all))
        }
    };
    let at = finished.tested_at.map_or(String::new(), |own| format!(" in {own}"));
    let data = format!(
        "{}{generated}: {} classes, {trained}, tested on {}{at}",
        cut(&shown(&finished.dataset), 30),
        finished.evaluation.answers.labels.len(),
        grouped(finished.test.summary.rows as u64),
    );
    let how = match finished.recipe.kept {
        Recipe::Full if !finished.members.is_empty() => format!(
            "{} networks, {} steps in {}",
            finished.members.len(),
            grouped(finished.steps),
            duration(finished.seconds),
        ),
        Recipe::Full => format!(
            "{} steps in {}; best at step {}",
            grouped(finished.steps),
            duration(finished.seconds),
            grouped(finished.best_step)
        ),
        Recipe::Head | Recipe::Auto => {
            format!("only the last layer was fitted; total time {}", duration(finished.seconds))
        }
    };
    let made = format!("{encoder}{} parameters; {how}", grouped(finished.parameters as u64));
    filled("", "  ", &data) + &filled("", "  ", &made)
}

/// What can be kept.
const TUNED: &str = "the fine-tuned model";
const ALONE: &str = "last layer only";

/// What was kept, and by how much it is better on rows that it has not seen.
fn kept(finished: &TrainReport) -> Option<(&'static str, String)> {
    let recipe = &finished.recipe;
    let words = |scores: &HeldOutScores| {
        format!("accuracy {:.1} %, NLL {:.3}", 100.0 * scores.accuracy, scores.nll)
    };
    match (&recipe.head_compared, &recipe.full) {
        (Some(head), Some(full)) => {
            let rows = grouped(full.rows as u64);
            let (tuned, alone) = (TUNED, ALONE);
            let ((name, own), (other, its)) = match recipe.kept {
                Recipe::Full => ((tuned, full), (alone, head)),
                Recipe::Head | Recipe::Auto => ((alone, head), (tuned, full)),
            };
            Some((name, format!("{} on {rows} held-out rows; {other}: {}", words(own), words(its))))
        }
        _ => {
            let head = recipe.head.as_ref()?;
            let rows = grouped(head.rows as u64);
            let why = if recipe.left_out.is_some() {
                "; fine-tuning would take too long (`train.max_time`)"
            } else {
                ""
            };
            Some((ALONE, format!("{} on {rows} held-out rows{why}", words(head))))
        }
    }
}

/// `42 s`, `3 min 20 s`, `1 h 5 min`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn table(finished: &TrainReport) -> String {
    let summary = &finished.test.summary;
    let mut lines = vec![Line::new("this model", &summary.accuracy, &summary.nll)];
    if let Some(baseline) = &finished.baseline {
        lines.push(Line::new("linear baseline", &baseline.accuracy, &baseline.nll));
    }
    if let Some(truth) = finished.test.truth {
        let value = format!("{:.1} %", 100.0 * truth.best_accuracy);
        let accuracy = Some(Cell { value, interval: String::new() });
        lines.push(Line { name: "best possible", accuracy, nll: None });
    }
    let header = format!("  {:<22}{:>8}  {:<17} {:>8}\n", "95 % intervals", "accuracy", "", "NLL");
    header + &lines.iter().map(Line::draw).collect::<String>()
}

/// How far confidence is from accuracy, and how far chance alone would put it.
fn calibration(finished: &TrainReport) -> String {
    let ece = &finished.test.summary.ece;
    let points = |share: f64| format!("{:.1}", 100.0 * share);
    let chance = format!("{} ± {}", points(ece.floor), points(ece.floor_sd));
    let verdict = if ece.value <= ece.floor + 2.0 * ece.floor_sd {
        format!("chance alone gives {chance} on this many rows, so this may be chance")
    } else {
        format!("chance alone gives {chance} on this many rows")
    };
    format!("confidence is off by {} points on average (ECE); {verdict}", points(ece.value))
}

/// What the sets promise, and how they kept it.
fn sets(finished: &TrainReport) -> Option<String> {
    let set = finished.calibration.sets.first()?;
    let found = finished.test.sets.as_ref().map_or(String::new(), |found| {
        // Chance puts the share below that in one of 200 calibrations, and that of the test rows in one of 40.
        let broken = set.low.is_some_and(|low| found.coverage.high < low);
        format!(
            "; on the test rows {:.1} %, with {:.2} labels each{}",
            100.0 * found.coverage.value,
            found.mean_size,
            if broken { ": that is no chance, the promise does not hold on them" } else { "" }
        )
    });
    let whose = whose(set.by_class, set.pooled);
    let always = match set.always {
        0 => String::new(),
        always => format!("; classes in every set because of too few rows: {always}"),
    };
    Some(format!(
        "contain the correct label for {} % of texts{whose}{found}{always}",
        percent(set.coverage)
    ))
}

/// How well texts of no class are told from the others, where the data has such texts.
fn novelty(finished: &TrainReport) -> Option<String> {
    let ood = finished.test.ood.values().next()?;
    Some(format!(
        "distinguishes {} out-of-distribution texts from the others with AUROC {:.3}",
        grouped(ood.rows as u64),
        ood.detection.auroc.value
    ))
}

/// Test texts that were also trained on.
fn repeats(finished: &TrainReport) -> Option<String> {
    let fresh = finished.test.without_seen?;
    let seen = grouped(fresh.seen as u64);
    Some(match fresh.accuracy {
        Some(accuracy) => format!(
            "{seen} test texts were also used to train or calibrate; without them, accuracy is {:.1} %",
            100.0 * accuracy
        ),
        None => {
            format!("all {seen} test texts were also used to train or calibrate. {NONE_IS_NEW}")
        }
    })
}

/// Commands for the model that was made, and what loads its folder in Python.
pub fn next_text(model: &Path, pooling: Pooling, pairs: bool, generated: bool) -> String {
    let class = match pooling {
        Pooling::Auto => "transformers.AutoModelForSequenceClassification",
        Pooling::Mean | Pooling::Normalised | Pooling::Cls => {
            "sentence_transformers.SentenceTransformer"
        }
    };
    next_commands(model, pairs, generated) + &format!("        load it in Python with {class}\n")
}

/// Commands for the model that was made.
pub fn next_commands(model: &Path, pairs: bool, generated: bool) -> String {
    let model = quoted(model);
    let first = match (pairs, generated) {
        // The command line takes single texts; a file has a column for each text of a pair.
        (true, _) => "--input YOUR_PAIRS.csv".to_owned(),
        (false, true) => "\"What an ending!\"".to_owned(),
        (false, false) => "\"Your own text here\"".to_owned(),
    };
    format!(
        "Next    bayes predict --model {model} {first}\n        bayes serve --model \
         {model}\n        bayes eval --model {model}\n"
    )
}

/// Writes the report on the test rows and on what was fitted: JSON, Markdown and HTML.
pub fn write_report(finished: &TrainReport, folder: &Path) -> Result<()> {
    let mut evaluation = finished.evaluation.clone();
    // A report may be passed on: no paths of this machine.
    evaluation.answers.model = finished.name.clone();
    evaluation.answers.dataset = shown(&finished.dataset);
    let about = [
        About { heading: "Training".to_owned(), sentences: training_words(finished) },
        About {
            heading: "Post-training calibration".to_owned(),
            sentences: [
                posterior_words(&finished.posterior, finished.calibration.crossed.is_some()),
                calibration_words(&finished.calibration, &finished.evaluation.answers.rows),
            ]
            .concat(),
        },
        About {
            heading: "Warnings".to_owned(),
            sentences: finished.calibration.notes.iter().map(|note| sentence(note)).collect(),
        },
    ];
    let page = Page { evaluations: &[evaluation], differences: &[], about: &about };
    page.write_pages(folder)?;
    let json = serde_json::to_vec_pretty(finished)?;
    Ok(write_atomically(&folder.join("report.json"), &json)?)
}

fn training_words(finished: &TrainReport) -> Vec<String> {
    let scores = finished.validation;
    let encoder = finished
        .init
        .as_ref()
        .map_or("An encoder from scratch".to_owned(), |init| format!("From `{}`", shown(init)));
    let mut sentences =
        vec![format!("{encoder}, {} parameters.", grouped(finished.parameters as u64))];
    sentences.extend(kept(finished).map(|(name, scores)| match name {
        ALONE => format!("The model with only the last layer fitted was kept: {scores}."),
        tuned => sentence(&format!("{tuned} was kept: {scores}")),
    }));
    let others = finished.recipe.left_out.iter().chain(&finished.calibration.crossed);
    sentences.extend(others.map(|text| sentence(text)));
    sentences.extend(finished.notes.iter().cloned());
    sentences.extend(finished.tested_at.map(|own| {
        format!(
            "All figures were measured in {own}. On a CPU with the instructions the model answers at a precision that \
             has a certificate instead; `bayes eval` measures that."
        )
    }));
    if !finished.members.is_empty() {
        sentences.push(format!(
            "{} networks, {} steps in {}; each keeps the weights that were best on the validation \
             rows.",
            finished.members.len(),
            grouped(finished.steps),
            duration(finished.seconds)
        ));
    }
    sentences.extend((1..).zip(&finished.members).map(|(number, one)| {
        format!(
            "Network {number}: seed {}, learning rate {:e}, best at step {}, with accuracy {:.4} \
             and calibrated NLL {:.4} on the \
             validation rows.",
            one.seed,
            one.learning_rate,
            grouped(one.best_step),
            one.validation.scores.accuracy,
            one.validation.calibrated_nll
        )
    }));
    sentences.extend(scores.map(|scores| {
        let needs = PosteriorConfig::from(finished.posterior.method).approach().needs();
        let best = match needs.trajectory {
            true => "The weights that the method made of those on its way have".to_owned(),
            false => format!("The weights of step {} were best:", grouped(finished.best_step)),
        };
        let then = match finished.posterior.head_kept {
            true => ", which is kept: the one that the method fits was worse on these rows",
            false if needs.own_layer => "; the method then fits a layer of its own",
            false if needs.training_features => "; it is then refitted",
            false => "",
        };
        format!(
            "{} steps in {}. {best} accuracy {:.4} and calibrated NLL {:.4} on the validation rows, with the last \
             layer as trained{then}.",
            grouped(finished.steps),
            duration(finished.seconds),
            scores.scores.accuracy,
            scores.calibrated_nll,
        )
    }));
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_commands_are_those_of_the_model() {
        let text = next_text(Path::new("my models/a"), Pooling::Auto, false, false);
        let first = text.lines().next().unwrap();
        assert_eq!(first, "Next    bayes predict --model 'my models/a' \"Your own text here\"");
        assert!(
            text.ends_with(
                "load it in Python with transformers.AutoModelForSequenceClassification\n"
            )
        );
        let pairs = next_text(Path::new("m"), Pooling::Mean, true, false);
        assert!(
            pairs.contains("--input YOUR_PAIRS.csv") && !pairs.contains("Your own text"),
            "{pairs}"
        );
        assert!(
            pairs.ends_with("load it in Python with sentence_transformers.SentenceTransformer\n")
        );
    }

    #[test]
    fn times_are_read_at_a_glance() {
        for (seconds, shown) in [(9.6, "10 s"), (61.0, "1 min 1 s"), (3_725.0, "1 h 2 min")] {
            assert_eq!(duration(seconds), shown);
        }
    }

    #[test]
    fn a_line_of_the_table_is_as_wide_as_a_terminal_and_no_wider() {
        let interval = |value: f64| Interval { value, low: value / 2.0, high: 10.0 * value };
        let line = Line::new("a linear baseline", &interval(0.9), &interval(9.0)).draw();
        assert!(line.chars().count() <= 80, "{line}");
    }
}
