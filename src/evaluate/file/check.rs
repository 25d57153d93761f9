//! What the lines of a predictions file say of themselves and of each other. The texts are not in it, so this
//! is all that can be known.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::read::Cells;
use super::{FileError, LINK, PRECISION, ROWS, SET_METHOD, agree};
use crate::data::Remark;
use crate::evaluate::{Answer, Answers, Truth};

/// Columns that are the same on every line of a model.
const COMMON: [&str; 10] = [
    "dataset",
    "split",
    "seed",
    "temperature",
    "alpha",
    "bound_rows",
    ROWS,
    LINK,
    SET_METHOD,
    PRECISION,
];
/// Numbers that a model has for every text, or for none.
const OF_ALL: [&str; 3] = ["aleatoric", "epistemic", "novelty"];

/// What earlier lines say.
#[derive(Default)]
pub(super) struct Lines {
    /// By model: its first line, and what that has in common with the others.
    models: HashMap<String, (u64, Vec<Option<String>>)>,
    /// Of an answer the line, by model, source and row.
    answers: HashMap<(String, String, usize), u64>,
    /// Of a row its label and the first line with it, by data set, split and row.
    labels: HashMap<(String, String, usize), (u32, u64)>,
    /// By model: which of [`OF_ALL`] its first line has.
    filled: HashMap<String, (u64, [bool; OF_ALL.len()])>,
    /// By model: what its sets have in common.
    bounds: HashMap<String, agree::Bounds>,
}

impl Lines {
    /// A model's lines are about one evaluation.
    pub(super) fn common(&mut self, model: &str, cells: &Cells<'_>) -> Result<(), FileError> {
        let own = COMMON.map(|column| cells.optional_text(column)).to_vec();
        let known = self.models.entry(model.to_owned());
        let (first, common) = known.or_insert_with(|| (cells.line, own.clone()));
        let other = (0..COMMON.len()).find(|&place| own[place] != common[place]);
        let Some(place) = other else { return Ok(()) };
        let shown = |cell: &Option<String>| cell.clone().unwrap_or_default();
        Err(cells.contradiction(format!(
            "`{}` is `{}`, but in line {first}, of the same model, `{}`",
            COMMON[place],
            shown(&own[place]),
            shown(&common[place])
        )))
    }

    /// What was predicted is the most probable class, a row is answered once, and it has one label.
    pub(super) fn answer(
        &mut self,
        model: &Answers,
        answer: &Answer,
        cells: &Cells<'_>,
    ) -> Result<(), FileError> {
        let Answers { labels, dataset, split, .. } = model;
        let predicted = cells.text("predicted")?;
        let most = answer.confidence();
        let mut probable = labels.iter().zip(&answer.probability_c);
        if !probable.any(|(label, p)| *label == predicted && *p == most) {
            return Err(cells.contradiction(format!(
                "`{predicted}` was predicted, but the most probable class is `{}`",
                labels[answer.predicted]
            )));
        }
        let twice = |set: &Vec<u32>| set.iter().collect::<BTreeSet<_>>().len() < set.len();
        if answer.set.as_ref().is_some_and(twice) {
            return Err(cells.contradiction("`set` contains a class twice".to_owned()));
        }
        agree::check(model, answer, cells)?;
        self.filled(model, cells)?;
        self.bounds.entry(model.model.clone()).or_default().check(model, answer, cells)?;
        let source = match &answer.truth {
            Truth::OutOfScope { source } => format!("text of `{source}`"),
            Truth::Label { .. } => "row".to_owned(),
        };
        let row = answer.row;
        let line =
            *self.answers.entry((model.model.clone(), source.clone(), row)).or_insert(cells.line);
        if line != cells.line {
            let what = format!("the {source} {row} also occurs in line {line}");
            return Err(cells.contradiction(what));
        }
        let Truth::Label { label, .. } = answer.truth else { return Ok(()) };
        let known = self.labels.entry((dataset.clone(), split.clone(), row));
        let (other, line) = *known.or_insert((label, cells.line));
        if other != label {
            let name = |label: u32| &labels[label as usize];
            return Err(cells.contradiction(format!(
                "row {row} has the label `{}`, but in line {line} `{}`",
                name(label),
                name(other)
            )));
        }
        Ok(())
    }

    /// A figure is of all rows, or there is none.
    fn filled(&mut self, model: &Answers, cells: &Cells<'_>) -> Result<(), FileError> {
        let own = OF_ALL.map(|column| cells.optional_text(column).is_some());
        let (line, first) = *self.filled.entry(model.model.clone()).or_insert((cells.line, own));
        let Some(place) = (0..own.len()).find(|&place| own[place] != first[place]) else {
            return Ok(());
        };
        let is = |filled: bool| if filled { "is not" } else { "is" };
        Err(cells.contradiction(format!(
            "`{}` {} empty, but in line {line}, of the same model, it {}",
            OF_ALL[place],
            is(own[place]),
            is(first[place])
        )))
    }

    pub(super) fn remarks(&self, path: &Path, all: &[Answers]) -> Vec<Remark> {
        let path = path.display();
        let place = COMMON.iter().position(|&column| column == ROWS).expect("it is one of them");
        let mut remarks = Vec::new();
        for answers in all {
            let (found, model) = (answers.rows.len().to_string(), &answers.model);
            if let Some(written) = &self.models[model].1[place]
                && found != *written
            {
                remarks.push(Remark::Warning(format!(
                    "`{path}` contains {found} predictions of `{model}`, but {written} were \
                     written; the figures cover only those in the file"
                )));
            }
            if answers.link.is_none() {
                remarks.push(Remark::Warning(format!(
                    "`{path}` does not record how the probabilities of `{model}` come from its \
                     logits (`{LINK}`), as in files of earlier versions; whether they agree with \
                     each other and with the entropies is not checked"
                )));
            }
        }
        let rows = |answers: &Answers| -> (String, String, Vec<usize>) {
            let rows = answers.inside().rows.iter().map(|one| one.row).collect();
            (answers.dataset.clone(), answers.split.clone(), rows)
        };
        let Some((first, others)) = all.split_first() else { return remarks };
        let same = rows(first);
        for other in others.iter().filter(|other| rows(other) != same) {
            remarks.push(Remark::Warning(format!(
                "`{path}` has different rows of `{}` than of `{}`, or has them in a different \
                 order, so the models are not compared",
                other.model, first.model
            )));
        }
        remarks
    }
}
