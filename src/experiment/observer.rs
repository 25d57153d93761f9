//! What a recipe reports while it works, and the log that it keeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::RunFolder;
use crate::data::Remark;
use crate::train::{Control, Event, EventWriter};

/// Something to show to a person.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A line of its own.
    Note(String),
    /// Something that deserves attention.
    Warning(String),
    /// A countable piece of work; `done == total` ends it.
    Work {
        what: &'static str,
        done: usize,
        total: usize,
    },
    Train(&'a Event<'a>),
}

impl From<&Remark> for Progress<'_> {
    fn from(remark: &Remark) -> Self {
        match remark {
            Remark::Note(text) => Self::Note(text.clone()),
            Remark::Warning(text) => Self::Warning(text.clone()),
        }
    }
}

/// Keeps the log of a training run.
pub struct Log<'a> {
    run: &'a mut RunFolder,
    events: Option<&'a mut EventWriter>,
    stop: &'a AtomicBool,
    started: Instant,
}

impl<'a> Log<'a> {
    /// A log into a run folder, and into event files where there are any; `stop` is raised by a signal.
    pub fn new(
        run: &'a mut RunFolder,
        events: Option<&'a mut EventWriter>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { run, events, stop, started: Instant::now() }
    }

    /// What went wrong with the event files, once.
    pub fn events_failure(&mut self) -> Option<io::Error> {
        self.events.as_mut().and_then(|events| events.take_failure())
    }

    pub fn run(&self) -> &RunFolder {
        self.run
    }

    /// Takes an event in.
    pub fn hear(&mut self, event: &Event<'_>) -> io::Result<Control> {
        if let Some(events) = &mut self.events {
            events.hear(event);
        }
        match event {
            Event::Step {
                step, epoch, logged: Some(logged), learning_rate, gradient_norm, ..
            } => {
                self.run.metric(&json!({
                    "step": step, "epoch": epoch, "loss": logged.loss,
                    "learning_rate": learning_rate, "gradient_norm": gradient_norm,
                }))?;
                self.run.timing(&json!({
                    "step": step, "seconds": self.started.elapsed().as_secs_f64(),
                    "tokens_per_second": logged.tokens_per_second,
                }))?;
            }
            Event::Evaluated { step, epoch, scores, averaged, best } => {
                self.run.metric(&json!({
                    "step": step, "epoch": epoch, "validation": scores,
                    "averaged": averaged, "best": best.is_some(),
                }))?;
            }
            Event::Warning(message) => self.run.metric(&json!({ "warning": message }))?,
            Event::Started { .. } | Event::Step { .. } | Event::Evaluating { .. } => {}
            Event::Inspected(_) | Event::Save(_) => {}
        }
        let stopped = self.stop.load(Ordering::Relaxed);
        Ok(if stopped { Control::Stop } else { Control::Continue })
    }
}
