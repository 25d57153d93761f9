//! What is wrong in a data set: labels, repeats, leaks between splits, characters, classes.
//!
//! Labels are judged by a classifier that has not seen their rows ([`Judged`]): see [`noise`](LabelNoise).

mod alike;
mod characters;
mod classes;
mod finding;
mod noise;
mod page;
mod probabilities;
mod suspects;

use std::collections::BTreeMap;

use serde::Serialize;

use alike::{Alike, Relation, Row, alike};
pub use characters::Oddity;
use characters::oddities;
pub use classes::{Confused, FEW, RareClass};
pub use finding::{Finding, Reason, is_findings, write};
pub use noise::LabelNoise;
pub use page::{PAGES, is_page, write_pages};
pub use probabilities::{is_probabilities, write_probabilities};
pub use suspects::Suspects;

use crate::data::split::folded;
use crate::data::{Dataset, Example, Place, some};
use crate::metrics::argmax;
use crate::numbers::counted;
use crate::numbers::grouped;

/// What a classifier says of rows that it has not seen.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Rows, by their places in [`Rows`], ascending.
    pub rows: Vec<usize>,
    /// `[n, c]`.
    pub logit_nc: Vec<f64>,
}

/// The labels, as far as the classifier can tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Labels {
    /// Rows that were judged.
    pub judged: usize,
    /// The share of them whose label the classifier gives too.
    pub agreement: f64,
    /// Labels that are probably wrong, in all.
    pub expected_wrong: f64,
    /// Rows in the list.
    pub suspects: usize,
    /// How many of these are expected to be right after all.
    pub expected_false_alarms: f64,
    /// Classes that it has not learned, whose labels it does not doubt.
    pub unlearned: Vec<String>,
}

impl Labels {
    /// What it comes to, for people.
    pub fn sentence(&self, judge: &str) -> String {
        let Self { judged, agreement, expected_wrong, suspects, .. } = self;
        if *judged == 0 {
            return "The labels were not judged: there are too few rows.".to_owned();
        }
        let unlearned = match self.unlearned.as_slice() {
            [] => String::new(),
            classes => format!(
                " Nothing is said of the labels {}: the classifier has not learned them.",
                some(classes.iter().map(String::as_str))
            ),
        };
        format!(
            "A classifier on {judge} gives {:.1} % of {} rows, which it had not seen, their label. About {} of the \
             labels are wrong; of the {} rows listed, at least about {} are right after all.{unlearned}",
            100.0 * agreement,
            grouped(*judged as u64),
            grouped(expected_wrong.round() as u64),
            grouped(*suspects as u64),
            grouped(self.expected_false_alarms.round() as u64),
        )
    }
}

/// Texts that an encoder does not read to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// Tokens that it reads.
    pub limit: usize,
    /// Rows with more.
    pub truncated: usize,
    /// Tokens of the longest text.
    pub longest: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// The data set.
    pub dataset: String,
    /// Rows of each split.
    pub rows: BTreeMap<String, usize>,
    pub classes: usize,
    /// Rows of no class, which are not looked at: out of scope, or of a label that no training row has.
    pub out_of_scope: usize,
    /// What judged the labels, as [`Labels::sentence`] has it.
    pub judge: String,
    pub labels: Labels,
    /// Findings by their reason.
    pub counts: BTreeMap<Reason, usize>,
    /// Rows with odd characters, by what is odd.
    pub characters: BTreeMap<Oddity, usize>,
    /// Not known where words were counted.
    pub lengths: Option<Lengths>,
    pub rare: Vec<RareClass>,
    pub confused: Vec<Confused>,
    /// Rows to look at: labels first, the most certain ones before the others; then by their places.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// What to say of rows that were not looked at.
    pub fn not_looked_at(&self) -> Option<String> {
        (self.out_of_scope > 0).then(|| {
            format!(
                "{} of no class (`data.ood_label`, or a label that no training row has) {} not looked at.",
                counted(self.out_of_scope, "row"),
                if self.out_of_scope == 1 { "was" } else { "were" }
            )
        })
    }
}

/// All rows of a data set, split by split: the training rows first, so that what other splits repeat is a leak.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    dataset: &'a Dataset,
    /// Split, and place in it.
    places: Vec<(&'a str, usize)>,
}

impl<'a> Rows<'a> {
    pub fn new(dataset: &'a Dataset) -> Self {
        let mut places = Vec::new();
        for split in Self::splits(dataset) {
            places.extend((0..dataset.rows(split).len()).map(|row| (split, row)));
        }
        Self { dataset, places }
    }

    /// The names of the splits, in the order of the rows.
    pub fn splits(dataset: &Dataset) -> Vec<&str> {
        let mut splits: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
        splits.sort_by_key(|&split| {
            let first = ["train", "validation"].iter().position(|&name| name == split);
            (first.unwrap_or(2), split)
        });
        splits
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn example(&self, row: usize) -> &'a Example {
        let (split, place) = self.places[row];
        &self.dataset.rows(split)[place]
    }

    pub fn examples(&self) -> impl ExactSizeIterator<Item = &'a Example> {
        (0..self.len()).map(|row| self.example(row))
    }

    pub fn labels(&self) -> Vec<u32> {
        self.examples().map(|example| example.label).collect()
    }

    pub fn place(&self, row: usize) -> Place {
        let (split, place) = self.places[row];
        self.dataset.place(split, place)
    }

    fn name(&self, label: u32) -> String {
        self.dataset.labels[label as usize].clone()
    }

    fn split(&self, row: usize) -> &'a str {
        self.places[row].0
    }

    /// A finding about a row, with nothing to compare it with.
    fn finding(&self, row: usize, reason: Reason) -> Finding {
        Finding {
            reason,
            place: self.place(row),
            given: self.name(self.example(row).label),
            suggested: None,
            probability: None,
            similarity: None,
            other: None,
            text: self.example(row).text.clone(),
            pair: self.example(row).pair.clone(),
        }
    }
}

/// Looks for everything.
pub fn audit(rows: &Rows<'_>, judge: &str, judged: &Judged, lengths: Option<Lengths>) -> Audit {
    let dataset = rows.dataset;
    let (labels, mut findings) = of_labels(rows, judged);
    findings.extend(of_repeats(rows));
    let mut characters: BTreeMap<Oddity, usize> = BTreeMap::new();
    for row in 0..rows.len() {
        let example = rows.example(row);
        let pair = example.pair.as_deref().unwrap_or_default();
        let mut odd = [oddities(&example.text), oddities(pair)].concat();
        odd.sort_unstable();
        odd.dedup();
        if !odd.is_empty() {
            findings.push(rows.finding(row, Reason::Characters));
        }
        odd.into_iter().for_each(|one| *characters.entry(one).or_default() += 1);
    }
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    findings.iter().for_each(|finding| *counts.entry(finding.reason).or_default() += 1);
    let of_judged: Vec<u32> = judged.rows.iter().map(|&row| rows.example(row).label).collect();
    let all = rows.labels();
    Audit {
        dataset: dataset.name.clone(),
        rows: dataset.splits.iter().map(|(split, rows)| (split.clone(), rows.len())).collect(),
        classes: dataset.labels.len(),
        out_of_scope: dataset.out_of_scope.values().map(Vec::len).sum(),
        judge: judge.to_owned(),
        labels,
        counts,
        characters,
        lengths,
        rare: classes::rare(&all, &dataset.labels),
        confused: classes::confused(&judged.logit_nc, &of_judged, &dataset.labels),
        findings,
    }
}

/// Labels that are probably wrong.
fn of_labels(rows: &Rows<'_>, judged: &Judged) -> (Labels, Vec<Finding>) {
    let classes = rows.dataset.labels.len();
    let labels: Vec<u32> = judged.rows.iter().map(|&row| rows.example(row).label).collect();
    let Some(noise) = LabelNoise::fit(&judged.logit_nc, &labels, classes) else {
        return (Labels::default(), Vec::new());
    };
    tracing::debug!("label noise: τ {}, {} rounds", noise.temperature, noise.rounds);
    let suspects = Suspects::new(&noise, &labels, classes);
    let agree = judged.logit_nc.chunks_exact(classes).zip(&labels);
    let agree = agree.filter(|(logit_c, label)| argmax(logit_c) == **label as usize).count();
    let finding = |&place: &usize| Finding {
        suggested: Some(rows.name(noise.instead_n[place])),
        probability: Some(noise.wrong_n[place]),
        ..rows.finding(judged.rows[place], Reason::Label)
    };
    let found = Labels {
        judged: labels.len(),
        agreement: agree as f64 / labels.len() as f64,
        expected_wrong: suspects.expected_wrong,
        suspects: suspects.rows.len(),
        expected_false_alarms: suspects.expected_false,
        unlearned: suspects.unlearned.iter().map(|&class| rows.name(class)).collect(),
    };
    (found, suspects.rows.iter().map(finding).collect())
}

/// Rows whose text stands in an earlier row, or nearly.
fn of_repeats(rows: &Rows<'_>) -> Vec<Finding> {
    let splits = Rows::splits(rows.dataset);
    let row = |row: usize| Row {
        key: rows.example(row).key(),
        split: splits.iter().position(|split| *split == rows.split(row)).unwrap_or_default(),
        label: rows.example(row).label,
    };
    let all: Vec<Row> = (0..rows.len()).map(row).collect();
    let texts = |row: usize| {
        let Example { text, pair, .. } = rows.example(row);
        [Some(text), pair.as_ref()].into_iter().flatten().map(|text| folded(text)).collect()
    };
    let alike = alike(&all, texts);
    let finding = |&Alike { row, earlier, relation, same, similarity }: &Alike| {
        let other_label = relation == Relation::OtherLabel;
        let reason = match (same, relation) {
            (true, Relation::OtherLabel) => Reason::Contradiction,
            (true, Relation::OtherSplit) => Reason::Leak,
            (true, Relation::SameSplit) => Reason::Repeat,
            (false, Relation::OtherLabel) => Reason::NearContradiction,
            (false, Relation::OtherSplit) => Reason::NearLeak,
            (false, Relation::SameSplit) => Reason::NearRepeat,
        };
        Finding {
            similarity: Some(similarity),
            suggested: other_label.then(|| rows.name(rows.example(earlier).label)),
            other: Some(rows.place(earlier)),
            ..rows.finding(row, reason)
        }
    };
    alike.iter().map(finding).collect()
}
