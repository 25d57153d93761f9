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
    /// Whether faults are shown as they come: those of standard input stand among the predictions, but not among chosen
    /// ones.
    shows: bool,
    shown: usize,
    /// Bytes and tokens that are read of a text.
    longest: usize,
    tokens: usize,
    /// How many texts were to be chosen.
    select: Option<usize>,
}

impl Told {
    pub(super) fn new(options: &Options, predictor: &Predictor) -> Self {
        let tokens = predictor.artifact().manifest.preprocessing.max_length;
        let source = match &options.input {
            Some(path) => format!("`{}`", path.display()),
            None => "standard input".to_owned(),
        };
        let select = options.select.selection().map(|selection| selection.count);
        let shows = options.input.is_some() || !options.texts.is_empty() || select.is_some();
        let (plain, longest) = (options.is_plain(), longest_text(tokens));
        Self { source, plain, shows, shown: 0, longest, tokens, select }
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
            Event::Chosen(done, total) => {
                display.show(&Progress::Work { what: "choosing", done: *done, total: *total });
            }
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
        if let Some(select) = self.select {
            self.tell_chosen(select, summary)?;
        }
        if rows == 0 {
            note(&format!("warning: {} contains no text to classify", self.source))?;
        }
        if faults > 0 {
            let told = match (self.select, self.plain) {
                (Some(_), _) => " or chosen",
                (None, true) => "",
                (None, false) => "; the `error` column gives the reason",
            };
            note(&format!("warning: {faults} of {rows} rows could not be classified{told}"))?;
        }
        Ok(())
    }

    fn tell_chosen(&self, select: usize, summary: &Summary) -> Result<()> {
        let Summary { rows, faults, known, chosen, .. } = *summary;
        let (from, known) = (grouped((rows - faults - known) as u64), grouped(known as u64));
        let left_out = match summary.known {
            0 => String::new(),
            _ => format!("; {known} that repeat another text or have a label were left out"),
        };
        if chosen < select && rows > 0 {
            return note(&format!(
                "warning: there are fewer texts ({from}) than --select {select}{left_out}"
            ));
        }
        note(&format!("chosen: {} of {from} texts{left_out}", grouped(chosen as u64)))
    }
}
