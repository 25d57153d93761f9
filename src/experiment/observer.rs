//! What a recipe reports while it works, and the log that it keeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

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
    /// Of several networks that are trained one after another, the next; the first is number 0.
    Network {
        number: usize,
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
    /// The network that is trained, where there are several.
    member: Option<usize>,
    started: Instant,
}

impl<'a> Log<'a> {
    /// A log into a run folder, and into event files where there are any; `stop` is raised by a signal.
    pub fn new(
        run: &'a mut RunFolder,
        events: Option<&'a mut EventWriter>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { run, events, stop, member: None, started: Instant::now() }
    }

    /// The same, with the number of a network in every line.
    pub fn of_member(self, member: Option<usize>) -> Self {
        Self { member, ..self }
    }

    /// A line with the number of the network, where there is one.
    fn line(&self, mut line: Value) -> Value {
        if let (Some(member), Some(line)) = (self.member, line.as_object_mut()) {
            line.insert("member".to_owned(), member.into());
        }
        line
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
                let line = self.line(json!({
                    "step": step, "epoch": epoch, "loss": logged.loss,
                    "learning_rate": learning_rate, "gradient_norm": gradient_norm,
                }));
                self.run.metric(&line)?;
                let line = self.line(json!({
                    "step": step, "seconds": self.started.elapsed().as_secs_f64(),
                    "tokens_per_second": logged.tokens_per_second,
                }));
                self.run.timing(&line)?;
            }
            Event::Evaluated { step, epoch, scores, averaged, best } => {
                let line = self.line(json!({
                    "step": step, "epoch": epoch, "validation": scores,
                    "averaged": averaged, "best": best.is_some(),
                }));
                self.run.metric(&line)?;
            }
            Event::Warning(message) => {
                let line = self.line(json!({ "warning": message }));
                self.run.metric(&line)?;
            }
            Event::Started { .. } | Event::Step { .. } | Event::Evaluating { .. } => {}
            Event::Inspected(_) | Event::Save(_) => {}
        }
        let stopped = self.stop.load(Ordering::Relaxed);
        Ok(if stopped { Control::Stop } else { Control::Continue })
    }
}
