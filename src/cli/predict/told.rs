//! What a person is told of rows that could not be classified, or not whole.

use anyhow::Result;

use super::Options;
use crate::cli::output::note;
use crate::cli::progress::Display;
use crate::data::{Remark, longest_text};
use crate::experiment::Progress;
use crate::numbers::grouped;
use crate::predict::Predictor;
use crate::predict::stream::{Event, Summary};

/// Faults that are shown one by one.
const SHOWN_FAULTS: usize = 5;

pub(super) struct Told {
    /// Where the texts are from.
    source: String,
    /// Whether they come without a table.
    plain: bool,
    /// Whether faults are shown as they come: those of standard input stand among the predictions.
    shows: bool,
    shown: usize,
    /// Bytes and tokens that are read of a text.
    longest: usize,
    tokens: usize,
}

impl Told {
    pub(super) fn new(options: &Options, predictor: &Predictor) -> Self {
        let tokens = predictor.artifact().manifest.preprocessing.max_length;
        let source = match &options.input {
            Some(path) => format!("`{}`", path.display()),
            None => "standard input".to_owned(),
        };
        let shows = options.input.is_some() || !options.texts.is_empty();
        let (plain, longest) = (options.is_plain(), longest_text(tokens));
        Self { source, plain, shows, shown: 0, longest, tokens }
    }

    /// What is said on stderr alone is no reason to stop where nobody reads it.
    pub(super) fn hear(&mut self, event: &Event, display: &mut Display) {
        match event {
            Event::Remark(Remark::Note(text)) => drop(note(text)),
            Event::Remark(Remark::Warning(text)) => drop(note(&format!("warning: {text}"))),
            Event::Fault(said) if self.shows && self.shown < SHOWN_FAULTS => {
                self.shown += 1;
                drop(note(&format!("warning: {said}")));
            }
            Event::Fault(_) => {}
            Event::Rows(rows) => display.show(&Progress::Note(format!("{rows} rows"))),
        }
    }

    pub(super) fn end(&self, summary: &Summary) -> Result<()> {
        let Summary { rows, faults, long, truncated, .. } = *summary;
        if truncated > 0 {
            note(&format!(
                "{} of {} texts were truncated to {} tokens",
                grouped(truncated as u64),
                grouped((rows - faults) as u64),
                self.tokens
            ))?;
        }
        if long > 0 {
            note(&format!(
                "warning: {long} texts have more than {} bytes; only their beginning and end were \
                 read",
                grouped(self.longest as u64)
            ))?;
        }
        if rows == 0 {
            note(&format!("warning: {} contains no text to classify", self.source))?;
        }
        if faults > 0 {
            let column = if self.plain { "" } else { "; the `error` column gives the reason" };
            note(&format!("warning: {faults} of {rows} rows could not be classified{column}"))?;
        }
        Ok(())
    }
}
