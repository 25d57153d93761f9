//! A model beside a linear classifier on words, as a block of at most 80 columns.

use std::fmt::Write;

use crate::evaluate::{BaselineReport, Evaluation};
use crate::metrics::{Interval, Summary};
use crate::numbers::grouped;

/// Columns of a line of text.
const COLUMNS: usize = 76;

/// Accuracy, NLL and ECE of both, and the warning where the model is not better.
pub fn table(baseline: &BaselineReport, model: &Summary) -> String {
    let mut text = String::from(
        "\n  compared with a linear baseline on words and characters\n                          \
         model  baseline  difference   95 % interval\n",
    );
    let mut line = |name: &str, model: f64, value: f64, difference: &Interval| {
        let Interval { value: by, low, high } = difference;
        let _ = writeln!(
            text,
            "    {name:<16}{model:>11.4}{value:>10.4}{by:>+12.4}   {low:+.4} – {high:+.4}"
        );
    };
    let difference = &baseline.difference;
    line("accuracy", model.accuracy.value, baseline.accuracy.value, &difference.accuracy);
    if let Some(by) = &difference.nll {
        line("NLL", model.nll.value, baseline.nll.value, by);
    }
    line("ECE (15 bins)", model.ece.value, baseline.ece.value, &difference.ece);
    text.push_str(&indented(&fitted(baseline)));
    if let Some(warning) = baseline.warning() {
        text.push_str(&indented(&format!("warning: {warning}")));
    }
    text
}

/// Several models, each beside the same baseline.
pub fn several(all: &[Evaluation], letter: impl Fn(usize) -> char) -> String {
    let known: Vec<(char, &BaselineReport)> = all
        .iter()
        .enumerate()
        .filter_map(|(place, one)| Some((letter(place), one.baseline.as_ref()?)))
        .collect();
    let Some((first, baseline)) = known.first() else { return String::new() };
    let BaselineReport { accuracy, nll, ece, .. } = baseline;
    let mut text = format!(
        "\n  linear baseline, on the training rows of {first}: accuracy {:.4}, NLL {:.4},\n  ECE \
         {:.4}. Difference of each model from it:\n                accuracy                     \
         NLL\n",
        accuracy.value, nll.value, ece.value
    );
    let shown = |interval: Option<Interval>| match interval {
        Some(Interval { value, low, high }) => format!("{value:+.4} ({low:+.4} – {high:+.4})"),
        None => "–".to_owned(),
    };
    for (letter, one) in &known {
        let mark = if one.better { "" } else { "no better" };
        let difference = &one.difference;
        let (accuracy, nll) = (shown(Some(difference.accuracy)), shown(difference.nll));
        let line = format!("    {letter:<8}{accuracy:<29}{nll:<29}{mark}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let warned = known.iter().filter_map(|(letter, one)| Some((letter, one.warning()?)));
    for (letter, warning) in warned {
        text.push_str(&indented(&format!("warning: {letter}: {warning}")));
    }
    text
}

/// What it was fitted on.
fn fitted(baseline: &BaselineReport) -> String {
    let BaselineReport { rows, of_rows, features, cost, temperature, .. } = baseline;
    let of = if rows == of_rows { String::new() } else { format!("{} of ", grouped(*rows as u64)) };
    format!(
        "fitted on {of}the {} training rows: {} features, C {cost}, temperature \
         {temperature:.3}",
        grouped(*of_rows as u64),
        grouped(*features as u64)
    )
}

/// A sentence in lines of its own, four columns in.
fn indented(sentence: &str) -> String {
    let mut text = String::new();
    let mut column = COLUMNS;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        if column + 1 + length > COLUMNS {
            text.push_str(if text.is_empty() { "    " } else { "\n    " });
            column = length;
        } else {
            text.push(' ');
            column += 1 + length;
        }
        text.push_str(word);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_between_words() {
        assert_eq!(indented("a word"), "    a word\n");
        let long = "seven letters a word ".repeat(20);
        let text = indented(long.trim_end());
        assert!(text.lines().all(|line| line.chars().count() <= 80 && line.starts_with("    ")));
        assert_eq!(text.split_whitespace().count(), 80);
    }
}
