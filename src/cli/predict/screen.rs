//! Predictions as lines for a person.

use std::io::Write;

use anyhow::Result;

use crate::cli::output::{note, print};
use crate::data::clean;
use crate::posterior::OwnDoubt;
use crate::predict::stream::{Predicted, Predictions, TextRow};
use crate::predict::{Prediction, Predictor, decision};

/// Lines on stdout; faults are on stderr.
pub(super) struct Screen<'a> {
    labels: &'a [String],
    /// Characters of the longest label.
    width: usize,
    own_doubt: OwnDoubt,
}

impl<'a> Screen<'a> {
    pub(super) fn new(predictor: &'a Predictor) -> Self {
        let labels = predictor.labels();
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        Self { labels, width, own_doubt: predictor.artifact().posterior.own_doubt() }
    }

    pub(super) fn write(&self, (row, prediction): &Predicted, of: &Predictions<'_>) -> Result<()> {
        match prediction {
            Ok(prediction) => print(&line(row, prediction, self.width, self.labels)),
            Err(fault) => note(&of.located(row, fault)),
        }
    }

    pub(super) fn flush(&self) -> Result<()> {
        Ok(std::io::stdout().flush()?)
    }

    /// Says why a posterior is not seen in the lines.
    pub(super) fn finish(&self) -> Result<()> {
        match (self.own_doubt, self.own_doubt.reason()) {
            (OwnDoubt::LeftOut, Some(reason)) => {
                note(&format!("no epistemic uncertainty: {reason}"))
            }
            _ => Ok(()),
        }
    }
}

fn line(row: &TextRow, prediction: &Prediction, width: usize, labels: &[String]) -> String {
    let text: String = clean(&row.text).split_whitespace().collect::<Vec<_>>().join(" ");
    let epistemic = match prediction.predictive.epistemic {
        Some(epistemic) => format!(" ({epistemic:.3} epistemic)"),
        None => String::new(),
    };
    let room = 80usize.saturating_sub(width + 35 + epistemic.len()).max(20);
    let shown = if text.chars().count() > room {
        text.chars().take(room - 1).chain(['…']).collect()
    } else {
        text
    };
    let decision = match decision(&prediction.judgement) {
        Some(decision) => format!("{decision:<7}  "),
        None => String::new(),
    };
    format!(
        "{:<width$}  {:>6.2} %  {:.3} nats{epistemic}  {decision}{shown}\n",
        labels[prediction.label],
        100.0 * prediction.confidence,
        prediction.predictive.total,
    )
}
