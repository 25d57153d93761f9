//! The predictions for the texts of an input, a batch at a time.

use std::error::Error;
use std::iter::successors;

use super::error::StreamError;
use super::input::Input;
use super::order::SortBy;
use super::row::TextRow;
use crate::data::{Remark, longest_text};
use crate::predict::{PredictError, Prediction, Predictor, Text};

/// Rows that are predicted together: enough to sort them by length, few enough to hold.
const BATCH: usize = 1024;
/// Bytes of their texts, as far as they are read.
const BATCH_BYTES: usize = 4 << 20;

/// What is wanted of the predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Their order. Then all are in one batch, and held in memory.
    pub sort_by: Option<SortBy>,
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
}

/// Predictions that are made as they are asked for.
pub struct Predictions<'a> {
    pub(super) predictor: &'a Predictor,
    pub(super) input: Input<'a>,
    options: Options,
    longest: usize,
    summary: Summary,
}

impl<'a> Predictions<'a> {
    /// # Errors
    /// The model cannot know what the rows are to be sorted by.
    pub fn new(
        predictor: &'a Predictor,
        input: Input<'a>,
        options: Options,
    ) -> Result<Self, StreamError> {
        options.sort_by.map_or(Ok(()), |by| by.check(predictor))?;
        let longest = longest_text(predictor.artifact().manifest.preprocessing.max_length);
        Ok(Self { predictor, input, options, longest, summary: Summary::default() })
    }

    /// What the next rows are, in the order of the input or as they are to be sorted; `None` after the last one.
    ///
    /// # Errors
    /// The input cannot be read, or has a row that cannot be classified, where that is an error.
    pub fn next_batch(
        &mut self,
        show: &mut dyn FnMut(Event),
    ) -> Result<Option<Vec<Predicted>>, StreamError> {
        let Some(by) = self.options.sort_by else { return self.batch(show) };
        let mut sorted = Vec::new();
        while let Some(batch) = self.batch(show)? {
            for row in batch {
                sorted.push((key(&row, by)?, row));
            }
        }
        // Stable: equal ones stay in their order.
        sorted.sort_by(|([a, c], _): &([f64; 2], Predicted), ([b, d], _)| {
            a.total_cmp(b).then(c.total_cmp(d))
        });
        let rows: Vec<Predicted> = sorted.into_iter().map(|(_, row)| row).collect();
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
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

    fn batch(
        &mut self,
        show: &mut dyn FnMut(Event),
    ) -> Result<Option<Vec<Predicted>>, StreamError> {
        let rows = self.read(show)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let before = self.summary.rows;
        self.summary.rows += rows.len();
        let predicted = predict(self.predictor, rows);
        for (row, prediction) in &predicted {
            self.count(row, prediction, show)?;
        }
        if before / (16 * BATCH) < self.summary.rows / (16 * BATCH) {
            show(Event::Rows(self.summary.rows));
        }
        Ok(Some(predicted))
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
        prediction: &Result<Prediction, String>,
        show: &mut dyn FnMut(Event),
    ) -> Result<(), StreamError> {
        match prediction {
            Ok(prediction) => {
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
fn predict(predictor: &Predictor, rows: Vec<TextRow>) -> Vec<Predicted> {
    let good = rows.iter().filter(|row| row.fault.is_none());
    let good: Vec<Text<'_>> = good.map(TextRow::question).collect();
    let predictions: Vec<Result<Prediction, String>> = match predictor.predict(&good, &mut |_| {}) {
        Ok(predictions) => predictions.into_iter().map(Ok).collect(),
        Err(_) => good.iter().map(|text| alone(predictor, *text)).collect(),
    };
    let mut predictions = predictions.into_iter();
    let answer = |mut row: TextRow| {
        let prediction = match row.fault.take() {
            Some(fault) => Err(fault),
            None => predictions.next().expect("one prediction for each text"),
        };
        (row, prediction)
    };
    rows.into_iter().map(answer).collect()
}

fn alone(predictor: &Predictor, text: Text<'_>) -> Result<Prediction, String> {
    let predicted = predictor.predict(&[text], &mut |_| {}).map_err(|error: PredictError| {
        let causes = successors(Some(&error as &dyn Error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        // It counts the texts of one call, and there is one.
        causes.join(": ").replace("text 1 ", "the text ")
    })?;
    predicted.into_iter().next().ok_or_else(|| "there is no prediction".to_owned())
}

/// What a row is sorted by; what could not be answered comes last.
fn key((row, prediction): &Predicted, by: SortBy) -> Result<[f64; 2], StreamError> {
    match prediction {
        Ok(prediction) => by.key(prediction).ok_or(StreamError::NoKey { line: row.line }),
        Err(_) => Ok([f64::INFINITY; 2]),
    }
}
