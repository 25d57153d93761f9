//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

mod plain;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::plain::{INTERVAL, Plain};
use super::flags::with_flags;
use super::output::{harmless, note};
use crate::experiment::Progress;
use crate::numbers::grouped;
use crate::train::{Event, Validation};

/// Draws what a recipe reports.
pub struct Display {
    quiet: bool,
    terminal: bool,
    bar: Option<ProgressBar>,
    what: &'static str,
    training: Training,
    /// Networks that are trained after this one.
    networks_left: usize,
    last_line: Instant,
    plain: Plain,
}

#[derive(Default)]
struct Training {
    steps: u64,
    /// Steps of an earlier process.
    before: u64,
    loss: f64,
    tokens: usize,
    /// Time spent in steps since the last step count was reset, without evaluations.
    seconds: f64,
    since: Option<Instant>,
}

impl Display {
    /// A display that shows nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            bar: None,
            what: "",
            training: Training::default(),
            networks_left: 0,
            last_line: Instant::now(),
            plain: Plain::default(),
        }
    }

    pub fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Note(text) if !self.quiet => self.line(text),
            Progress::Note(_) => {}
            Progress::Warning(text) => self.line(&format!("warning: {text}")),
            Progress::Work { what, done, total } => self.work(what, *done, *total),
            Progress::Network { number, total } => {
                self.networks_left = total - number - 1;
                if !self.quiet {
                    self.line(&format!("network {} of {total}", number + 1));
                }
            }
            Progress::Train(event) => self.train(event),
        }
    }

    fn work(&mut self, what: &'static str, done: usize, total: usize) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            if let Some(text) = self.plain.line(what, done, total, Instant::now()) {
                self.line(&text);
            }
            return;
        }
        if self.bar.is_none() || self.what != what {
            self.finish();
            let style = "{msg:<12} {bar:24} {human_pos}/{human_len}  {eta} left";
            self.bar = Some(bar(total as u64, style));
            self.what = what;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(what);
            bar.set_position(done as u64);
        }
        if done >= total {
            self.finish();
        }
    }

    fn train(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { plan, step, trainable } => {
                self.training =
                    Training { steps: plan.steps, before: *step, ..Training::default() };
                self.training.since = Some(Instant::now());
                if !self.quiet {
                    let from = match step {
                        0 => String::new(),
                        step => format!(", from step {}", grouped(*step)),
                    };
                    self.line(&format!(
                        "training {} parameters for {} steps{from}",
                        grouped(*trainable as u64),
                        grouped(plan.steps)
                    ));
                }
            }
            Event::Step { step, loss, tokens, .. } => self.step(*step, *loss, *tokens),
            Event::Evaluating { done, rows } => {
                if let Some(since) = self.training.since.take() {
                    self.training.seconds += since.elapsed().as_secs_f64();
                }
                self.work("evaluating", *done, *rows);
            }
            Event::Evaluated { step, epoch, scores, averaged, best } => {
                self.training.since = Some(Instant::now());
                if !self.quiet {
                    let Validation { calibrated_nll, scores } = scores;
                    let which = if *averaged { "  averaged" } else { "" };
                    let mark = if best.is_some() { "  best" } else { "" };
                    self.line(&format!(
                        "step {step:>6}  epoch {epoch:>5.2}  calibrated NLL {calibrated_nll:.4}  accuracy \
                         {:.4}{which}{mark}",
                        scores.accuracy
                    ));
                }
            }
            Event::Save(_) | Event::Inspected(_) => {}
            Event::Warning(text) => self.line(&format!("warning: {text}")),
        }
    }

    fn step(&mut self, step: u64, loss: f64, tokens: usize) {
        let training = &mut self.training;
        let own = step.saturating_sub(training.before).max(1);
        training.loss = if own == 1 { loss } else { 0.9 * training.loss + 0.1 * loss };
        training.tokens += tokens;
        let running = training.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let seconds = training.seconds + running;
        let rate = grouped((training.tokens as f64 / seconds) as u64);
        // Those after this one have as many steps.
        let left =
            training.steps - step.min(training.steps) + self.networks_left as u64 * training.steps;
        let left = seconds / own as f64 * left as f64;
        let left = humantime::format_duration(Duration::from_secs(left as u64));
        let text = format!("loss {:.4}  {rate} tokens/s  {left} left", training.loss);
        if self.quiet {
            return;
        }
        if !self.terminal {
            if self.last_line.elapsed() >= INTERVAL || own == 1 {
                self.last_line = Instant::now();
                let steps = self.training.steps;
                self.line(&format!("step {step:>6}/{steps}  {text}"));
            }
            return;
        }
        if self.bar.is_none() || self.what != "training" {
            self.finish();
            self.bar = Some(bar(self.training.steps, "{prefix:<12} {bar:16} {pos}/{len}  {msg}"));
            self.what = "training";
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix("training");
            bar.set_message(text);
            bar.set_position(step);
        }
        if step == self.training.steps {
            self.finish();
        }
    }

    /// A line of its own, above the bar if there is one.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(harmless(&with_flags(text))),
            // Progress that nobody reads is no reason to stop.
            None => drop(note(text)),
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar of so many parts.
pub fn bar(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is one of ours");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8))
        .with_style(style)
}
