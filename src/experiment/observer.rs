//! What a recipe reports while it works, and the log that it keeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::RunFolder;
use crate::train::{Control, Event};

/// Something to show to a person.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A line of its own.
    Note(String),
    /// Something that deserves attention.
    Warning(String),
    /// A countable piece of work; `done == total` ends it.
    Work {
        /// What is done.
        what: &'static str,
        /// Rows done.
        done: usize,
        /// All rows.
        total: usize,
    },
    /// The training loop.
    Train(&'a Event<'a>),
}

/// Keeps the log of a training run.
pub struct Log<'a> {
    run: &'a mut RunFolder,
    stop: &'a AtomicBool,
    started: Instant,
    tokens: usize,
    seconds_before: f64,
}

impl<'a> Log<'a> {
    /// A log into a run folder; `stop` is raised by a signal.
    pub fn new(run: &'a mut RunFolder, stop: &'a AtomicBool) -> Self {
        Self { run, stop, started: Instant::now(), tokens: 0, seconds_before: 0.0 }
    }

    /// The run folder.
    pub fn run(&self) -> &RunFolder {
        self.run
    }

    /// Takes an event in.
    pub fn hear(&mut self, event: &Event<'_>) -> io::Result<Control> {
        match event {
            Event::Step { step, epoch, logged, learning_rate, gradient_norm, tokens, .. } => {
                self.tokens += tokens;
                if let Some(mean) = logged {
                    self.run.metric(&json!({
                        "step": step, "epoch": epoch, "loss": mean,
                        "learning_rate": learning_rate, "gradient_norm": gradient_norm,
                    }))?;
                    let seconds = self.started.elapsed().as_secs_f64();
                    let rate = self.tokens as f64 / (seconds - self.seconds_before);
                    self.run.timing(&json!({
                        "step": step, "seconds": seconds, "tokens_per_second": rate,
                    }))?;
                    (self.tokens, self.seconds_before) = (0, seconds);
                }
            }
            Event::Evaluated { step, epoch, scores, averaged, best } => {
                self.run.metric(&json!({
                    "step": step, "epoch": epoch, "validation": scores,
                    "averaged": averaged, "best": best.is_some(),
                }))?;
                // Evaluation is no training time.
                self.seconds_before = self.started.elapsed().as_secs_f64();
            }
            Event::Warning(message) => self.run.metric(&json!({ "warning": message }))?,
            Event::Started { .. } | Event::Evaluating { .. } | Event::Save(_) => {}
        }
        let stopped = self.stop.load(Ordering::Relaxed);
        Ok(if stopped { Control::Stop } else { Control::Continue })
    }
}
