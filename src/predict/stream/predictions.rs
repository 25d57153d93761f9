//! The predictions for the texts of an input, a batch at a time.

use std::collections::HashSet;
use std::error::Error;
use std::iter::successors;

use super::error::StreamError;
use super::input::Input;
use super::order::{Order, SortBy};
use super::row::TextRow;
use crate::data::split::text_key;
use crate::data::{Remark, longest_text};
use crate::predict::select::{Candidate, Selection, Strategy};
use crate::predict::{PredictError, Prediction, Predictor, Text};

/// Rows that are predicted together: enough to sort them by length, few enough to hold.
const BATCH: usize = 1024;
/// Bytes of their texts, as far as they are read.
const BATCH_BYTES: usize = 4 << 20;

/// What is wanted of the predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those that are not given as they are read are all in one batch.
    pub order: Order,
    /// Whether a row that cannot be classified is an error. Else its fault stands in the place of its prediction.
    pub fails: bool,
}

/// What happens while texts are predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What a person should know of how the input is read.
    Remark(Remark),
    /// A row that could not be classified: where it is, and why.
    Fault(String),
    /// So many rows are done; not said after every batch.
    Rows(usize),
    /// So many texts are chosen, of all that are to be.
    Chosen(usize, usize),
}

/// A text and what is predicted for it, or why nothing is.
pub type Predicted = (TextRow, Result<Prediction, String>);

/// What became of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub rows: usize,
    /// Rows that could not be classified.
    pub faults: usize,
    /// The first of them: where it is, and why.
    pub first_fault: String,
    /// Texts of which only the beginning and the end were read, since they have more bytes than a model of this
    /// length can use.
    pub long: usize,
    /// Texts that have more tokens than the model reads.
    pub truncated: usize,
    /// Texts that were not chosen from, since they repeat another one or have a label.
    pub known: usize,
    /// Texts that were chosen.
    pub chosen: usize,
}

/// Predictions that are made as they are asked for.
pub struct Predictions<'a> {
    pub(super) predictor: &'a Predictor,
    pub(super) input: Input<'a>,
    options: Options,
    longest: usize,
    summary: Summary,
    labelled: Labelled,
}

/// Texts that have labels.
#[derive(Default)]
struct Labelled {
    keys: HashSet<u64>,
    features: Vec<Vec<f32>>,
}

/// What a row became, with its feature φ where that is wanted.
type Answered = (TextRow, Result<(Prediction, Vec<f32>), String>);

impl<'a> Predictions<'a> {
    /// # Errors
    /// The model cannot know what the rows are to be sorted or chosen by.
    pub fn new(
        predictor: &'a Predictor,
        input: Input<'a>,
        options: Options,
    ) -> Result<Self, StreamError> {
        options.order.check(predictor)?;
        let longest = longest_text(predictor.artifact().manifest.preprocessing.max_length);
        let (summary, labelled) = (Summary::default(), Labelled::default());
        Ok(Self { predictor, input, options, longest, summary, labelled })
    }

    /// With these texts counted as labelled: none of them is chosen, and others that are like them less often. A row
    /// whose cell is empty in the column of labels has none; without that column all rows have one.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn beside(
        mut self,
        labelled: Input<'a>,
        label_column: &str,
        show: &mut dyn FnMut(Event),
    ) -> Result<Self, StreamError> {
        let mut all = Self::new(self.predictor, labelled, self.options)?;
        let place = all.input.rest.iter().position(|(name, _)| name == label_column);
        if place.is_none() {
            show(Event::Remark(Remark::Warning(format!(
                "the table of labelled texts has no column `{label_column}`, so all of its texts count as labelled; name \
                 the column of labels with --label-column"
            ))));
        }
        let has_label = |row: &TextRow| {
            let cell = place.map(|place| row.rest[place].written());
            cell.is_none_or(|cell| !cell.trim().is_empty())
        };
        let covers = match self.options.order {
            Order::Chosen(selection) => selection.strategy == Strategy::Coverage,
            Order::AsRead | Order::Sorted(_) => false,
        };
        loop {
            // Only coverage looks at what they are like.
            let rows = all.read(show)?;
            if rows.is_empty() {
                return Ok(self);
            }
            for row in &rows {
                if let Some(fault) = &row.fault {
                    show(Event::Fault(all.located(row, fault)));
                }
            }
            let rows: Vec<TextRow> = rows.into_iter().filter(has_label).collect();
            self.labelled.keys.extend(rows.iter().map(key_of));
            if covers {
                let answered = predict(self.predictor, rows, true).into_iter();
                let features = answered.filter_map(|(_, answer)| Some(answer.ok()?.1));
                self.labelled.features.extend(features);
            }
        }
    }

    /// What the next rows are, in the wanted order; `None` after the last one.
    ///
    /// # Errors
    /// The input cannot be read, or has a row that cannot be classified, where that is an error.
    pub fn next_batch(
        &mut self,
        show: &mut dyn FnMut(Event),
    ) -> Result<Option<Vec<Predicted>>, StreamError> {
        let rows = match self.options.order {
            Order::AsRead => return Ok(self.batch(show)?.map(without_features)),
            Order::Sorted(by) => self.sorted(by, show)?,
            Order::Chosen(selection) => self.chosen(&selection, show)?,
        };
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    fn sorted(
        &mut self,
        by: SortBy,
        show: &mut dyn FnMut(Event),
    ) -> Result<Vec<Predicted>, StreamError> {
        let mut sorted = Vec::new();
        while let Some(batch) = self.batch(show)? {
            for row in without_features(batch) {
                sorted.push((key(&row, by)?, row));
            }
        }
        // Stable: equal ones stay in their order.
        sorted.sort_by(|([a, c], _): &([f64; 2], Predicted), ([b, d], _)| {
            a.total_cmp(b).then(c.total_cmp(d))
        });
        Ok(sorted.into_iter().map(|(_, row)| row).collect())
    }

    fn chosen(
        &mut self,
        selection: &Selection,
        show: &mut dyn FnMut(Event),
    ) -> Result<Vec<Predicted>, StreamError> {
        let mut pool: Vec<Option<(TextRow, Prediction, Vec<f32>)>> = Vec::new();
        while let Some(batch) = self.batch(show)? {
            for (row, answer) in batch {
                let Ok((prediction, feature_d)) = answer else { continue };
                match self.labelled.keys.insert(key_of(&row)) {
                    true => pool.push(Some((row, prediction, feature_d))),
                    false => self.summary.known += 1,
                }
            }
        }
        let candidates = pool.iter().flatten().map(|(_, prediction, feature_d)| Candidate {
            probability_c: &prediction.predictive.probability_c,
            epistemic: prediction.predictive.epistemic.unwrap_or_default(),
            feature_d,
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        let count = selection.count.min(candidates.len());
        let chosen = selection.choose(&candidates, &self.labelled.features, &mut |done| {
            show(Event::Chosen(done, count));
        });
        self.summary.chosen += chosen.len();
        let taken = chosen.into_iter().filter_map(|place| pool[place].take());
        Ok(taken.map(|(row, prediction, _)| (row, Ok(prediction))).collect())
    }

    /// What became of the rows.
    ///
    /// # Errors
    /// There were some, and not one could be classified.
    pub fn finish(&self) -> Result<&Summary, StreamError> {
        let Summary { rows, faults, first_fault, .. } = &self.summary;
        if *faults > 0 && faults == rows {
            return Err(StreamError::NoRow { rows: *rows, first: first_fault.clone() });
        }
        Ok(&self.summary)
    }

    /// A fault with its place; a table's own message says where.
    pub fn located(&self, row: &TextRow, fault: &str) -> String {
        match fault.starts_with('`') {
            true => fault.to_owned(),
            false => format!("{} {}: {fault}", self.input.place, row.line),
        }
    }

    fn batch(&mut self, show: &mut dyn FnMut(Event)) -> Result<Option<Vec<Answered>>, StreamError> {
        let rows = self.read(show)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let before = self.summary.rows;
        self.summary.rows += rows.len();
        let features = matches!(self.options.order, Order::Chosen(_));
        let answered = predict(self.predictor, rows, features);
        for (row, answer) in &answered {
            self.count(row, answer, show)?;
        }
        if before / (16 * BATCH) < self.summary.rows / (16 * BATCH) {
            show(Event::Rows(self.summary.rows));
        }
        Ok(Some(answered))
    }

    fn read(&mut self, show: &mut dyn FnMut(Event)) -> Result<Vec<TextRow>, StreamError> {
        // With labels that a user named, a text has the tokens of as many pairs.
        let pairs = self.predictor.artifact().tokenizer.most_tokens(1);
        let (most, most_bytes) = (BATCH.div_ceil(pairs), BATCH_BYTES.div_ceil(pairs));
        let (mut rows, mut bytes) = (Vec::with_capacity(most), 0);
        while rows.len() < most && bytes < most_bytes {
            let next = self.input.next(&mut |remark| show(Event::Remark(remark)))?;
            let Some(row) = next else { break };
            bytes += row.text.len().min(self.longest);
            rows.push(row);
        }
        Ok(rows)
    }

    fn count(
        &mut self,
        row: &TextRow,
        answer: &Result<(Prediction, Vec<f32>), String>,
        show: &mut dyn FnMut(Event),
    ) -> Result<(), StreamError> {
        match answer {
            Ok((prediction, _)) => {
                self.summary.long += usize::from(row.text.len() > self.longest);
                self.summary.truncated += usize::from(prediction.truncated);
            }
            Err(fault) => {
                let said = self.located(row, fault);
                if self.options.fails {
                    return Err(StreamError::Row(said));
                }
                if self.summary.faults == 0 {
                    self.summary.first_fault.clone_from(&said);
                }
                self.summary.faults += 1;
                show(Event::Fault(said));
            }
        }
        Ok(())
    }
}

/// Predicts what can be predicted. Where the texts together cannot be, each is tried by itself.
fn predict(predictor: &Predictor, rows: Vec<TextRow>, features: bool) -> Vec<Answered> {
    let good = rows.iter().filter(|row| row.fault.is_none());
    let good: Vec<Text<'_>> = good.map(TextRow::question).collect();
    let answers = match answers(predictor, &good, features) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(_) => good.iter().map(|text| alone(predictor, *text, features)).collect::<Vec<_>>(),
    };
    let mut answers = answers.into_iter();
    let answer = |mut row: TextRow| {
        let answer = match row.fault.take() {
            Some(fault) => Err(fault),
            None => answers.next().expect("one answer for each text"),
        };
        (row, answer)
    };
    rows.into_iter().map(answer).collect()
}

fn answers(
    predictor: &Predictor,
    texts: &[Text<'_>],
    features: bool,
) -> Result<Vec<(Prediction, Vec<f32>)>, PredictError> {
    let (predictions, rows) = predictor.predict_with_features(texts, &mut |_| {})?;
    let width = if features { rows.feature_nd.len() / texts.len().max(1) } else { 0 };
    let of_row = |place: usize| rows.feature_nd[place * width..][..width].to_vec();
    let both = |(place, prediction)| (prediction, of_row(place));
    Ok(predictions.into_iter().enumerate().map(both).collect())
}

fn alone(
    predictor: &Predictor,
    text: Text<'_>,
    features: bool,
) -> Result<(Prediction, Vec<f32>), String> {
    let answers = answers(predictor, &[text], features).map_err(|error: PredictError| {
        let causes = successors(Some(&error as &dyn Error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        // It counts the texts of one call, and there is one.
        causes.join(": ").replace("text 1 ", "the text ")
    })?;
    answers.into_iter().next().ok_or_else(|| "there is no prediction".to_owned())
}

fn without_features(answered: Vec<Answered>) -> Vec<Predicted> {
    let plain = |(row, answer): Answered| (row, answer.map(|(prediction, _)| prediction));
    answered.into_iter().map(plain).collect()
}

/// What makes a text the same as another.
fn key_of(row: &TextRow) -> u64 {
    text_key(&row.text, row.pair.as_deref())
}

/// What a row is sorted by; what could not be answered comes last.
fn key((row, prediction): &Predicted, by: SortBy) -> Result<[f64; 2], StreamError> {
    match prediction {
        Ok(prediction) => by.key(prediction).ok_or(StreamError::NoKey { line: row.line }),
        Err(_) => Ok([f64::INFINITY; 2]),
    }
}
