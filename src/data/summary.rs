//! What can be said of the rows of a part without showing one.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::remark::some;
use super::split::overlap;
use super::{Dataset, Example, Part, Parts, Remark, TokenSet};
use crate::numbers::grouped;

/// Rows of a class from which on repetitions are counted.
const FEW: usize = 10;

/// Sizes and counts of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartSummary {
    /// Rows.
    pub rows: usize,
    /// Rows of each class, in the order of the labels.
    pub by_class: Vec<usize>,
    /// Rows whose text occurs in an earlier row of the part.
    pub repeated: usize,
    /// How long its texts are, where they were tokenised.
    pub tokens: Option<Lengths>,
}

/// Lengths in tokens before anything is cut, special tokens included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Half of the texts are no longer.
    pub median: usize,
    /// 95 % of the texts are no longer.
    pub p95: usize,
    /// The longest text.
    pub longest: usize,
    /// Texts that were cut.
    pub truncated: usize,
}

impl PartSummary {
    /// Looks at the rows of a part once.
    pub fn new(dataset: &Dataset, part: &Part, tokens: Option<&TokenSet>) -> Self {
        let mut by_class = vec![0; dataset.labels.len()];
        let mut texts = HashSet::new();
        let mut repeated = 0;
        for example in part.examples(dataset) {
            by_class[example.label as usize] += 1;
            let fresh = texts.insert(example.key());
            repeated += usize::from(!fresh);
        }
        Self {
            rows: part.rows.len(),
            by_class,
            repeated,
            tokens: tokens
                .and_then(|tokens| Lengths::new(tokens.full_lengths(), tokens.truncated())),
        }
    }
}

/// What figures are worth that are about texts which were all seen before.
pub const NONE_IS_NEW: &str = "These figures say nothing about new texts";

/// Classes whose rows all went to other parts than that of the training.
pub fn untrained(dataset: &Dataset, parts: &Parts, train_limit: usize) -> Option<Remark> {
    let counts = PartSummary::new(dataset, &parts.train, None).by_class;
    let lost = dataset.labels.iter().zip(counts).filter(|(_, rows)| *rows == 0);
    let lost: Vec<&str> = lost.map(|(label, _)| label.as_str()).collect();
    (!lost.is_empty()).then(|| {
        let remedy = match train_limit {
            0 => "add more rows, or merge it with another label with `data.label_map`",
            _ => "raise `data.train_limit`, or add more rows",
        };
        Remark::Warning(format!(
            "no row of {} is in the training split, so the model cannot learn it; {remedy}",
            some(lost)
        ))
    })
}

/// Rows of an official validation split whose text is a training text.
pub fn repeated_validation(dataset: &Dataset, parts: &Parts) -> Option<Remark> {
    let texts =
        |split: &str| -> Vec<u64> { dataset.rows(split).iter().map(Example::key).collect() };
    let rows = dataset.rows("validation").len();
    let seen = overlap(&texts("train"), &texts("validation")).len();
    if seen == 0 {
        return None;
    }
    let what = format!(
        "{seen} of the {rows} rows of the validation split repeat a text of the training split"
    );
    if parts.validation.split != "validation" {
        return Some(Remark::Warning(format!(
            "{what}, which leaves too few to select and calibrate with; the split is not used, and rows of the \
             training split are used instead"
        )));
    }
    let what = format!("{what}; they are not used to calibrate or to evaluate a last layer");
    // A few are in most data.
    Some(if 50 * seen < rows { Remark::Note(what) } else { Remark::Warning(what) })
}

/// [`repeated_evidence`] of the rows that calibrate a model.
pub fn repeated_calibration(dataset: &Dataset, parts: &Parts) -> Option<Remark> {
    let apart = !parts.temperature.rows.is_empty();
    // Without parts for it the training rows calibrate.
    let parts = if apart { vec![&parts.temperature, &parts.conformal] } else { vec![&parts.train] };
    repeated_evidence(parts.into_iter().flat_map(|part| part.examples(dataset)), &dataset.labels)
}

/// Rows that calibrate and are no evidence of their own, since they repeat the text of another: many of all, or
/// most of a class. `labels` are the names of their classes.
pub fn repeated_evidence<'a>(
    rows: impl Iterator<Item = &'a Example>,
    labels: &[String],
) -> Option<Remark> {
    let mut texts: BTreeMap<u32, (usize, HashSet<u64>)> = BTreeMap::new();
    for example in rows {
        let (rows, distinct) = texts.entry(example.label).or_default();
        *rows += 1;
        distinct.insert(example.key());
    }
    let rows: usize = texts.values().map(|(rows, _)| rows).sum();
    let distinct: usize = texts.values().map(|(_, distinct)| distinct.len()).sum();
    let of_class = || {
        let mut classes =
            texts.iter().filter(|(_, (rows, texts))| *rows >= FEW && 2 * texts.len() <= *rows);
        let (&label, (rows, texts)) = classes.next()?;
        Some((format!(" of class `{}`", labels.get(label as usize)?), *rows, texts.len()))
    };
    let many = 10 * distinct < 9 * rows;
    let (of, rows, distinct) =
        if many { Some((String::new(), rows, distinct)) } else { of_class() }?;
    Some(Remark::Warning(format!(
        "the {} rows{of} that calibrate have only {} different texts: the temperature, prediction sets, thresholds and \
         what is proved of them take each row for new evidence, and will promise more than they keep; remove the \
         repeated rows",
        grouped(rows as u64),
        grouped(distinct as u64)
    )))
}

impl Lengths {
    /// `None` for no texts.
    fn new(mut lengths: Vec<usize>, truncated: usize) -> Option<Self> {
        lengths.sort_unstable();
        let at = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100).max(1) - 1];
        let longest = *lengths.last()?;
        Some(Self { median: at(50), p95: at(95), longest, truncated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_sorted_texts() {
        let lengths = Lengths::new((1..=100).rev().collect(), 3).unwrap();
        assert_eq!(lengths, Lengths { median: 50, p95: 95, longest: 100, truncated: 3 });
        assert_eq!(Lengths::new(vec![7], 0).unwrap().median, 7);
        assert_eq!(Lengths::new(Vec::new(), 0), None);
    }
}
