//! Transfers of the Hub on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar};

use super::output::{harmless, note};
use super::progress::bar;
use crate::hub::Progress;
use crate::numbers::counted;

/// How often plain lines come.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
const STYLE: &str =
    "{msg:<12} {bar:24} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";

static QUIET: AtomicBool = AtomicBool::new(false);
static DISPLAY: Mutex<Option<Display>> = Mutex::new(None);

/// What is shown of the transfer that runs.
struct Display {
    bar: Option<ProgressBar>,
    began: Instant,
    last_line: Instant,
    /// Bytes that were here when it began.
    first: Option<u64>,
}

/// Shows nothing from now on.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

pub fn show(progress: &Progress<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let mut display = DISPLAY.lock().unwrap_or_else(PoisonError::into_inner);
    match progress {
        Progress::Started { what, files, bytes } => {
            let files = counted(*files, "file");
            line(&mut display, &format!("downloading {what}: {files}, {}", HumanBytes(*bytes)));
            *display = Some(Display::new("fetching", *bytes));
        }
        Progress::Sending { what, bytes } => {
            line(&mut display, &format!("uploading to {what}: {}", HumanBytes(*bytes)));
            *display = Some(Display::new("sending", *bytes));
        }
        Progress::Bytes { done, total } => {
            if let Some(display) = display.as_mut() {
                display.bytes(*done, *total);
            }
        }
        Progress::Waiting { file } => {
            line(
                &mut display,
                &format!("waiting for another process that is downloading `{file}`"),
            );
        }
        Progress::Again { reason } => line(&mut display, &format!("{reason}; trying again")),
        Progress::Ended => {
            if let Some(bar) = display.take().and_then(|display| display.bar) {
                bar.finish_and_clear();
            }
        }
    }
}

impl Display {
    fn new(what: &'static str, bytes: u64) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = bar(bytes, STYLE);
            bar.set_message(what);
            bar
        });
        Self { bar, began: now, last_line: now, first: None }
    }

    fn bytes(&mut self, done: u64, total: u64) {
        let first = *self.first.get_or_insert(done);
        if let Some(bar) = &self.bar {
            if bar.position() == 0 && first > 0 {
                // What was here is no speed of this transfer.
                bar.set_position(first);
                bar.reset_eta();
            }
            bar.set_position(done);
            return;
        }
        if self.last_line.elapsed() < PLAIN_INTERVAL {
            return;
        }
        self.last_line = Instant::now();
        let rate = done.saturating_sub(first) as f64 / self.began.elapsed().as_secs_f64();
        let left = total.saturating_sub(done) as f64 / rate.max(1.0);
        let left = humantime::format_duration(Duration::from_secs(left as u64));
        let (done, total, rate) = (HumanBytes(done), HumanBytes(total), HumanBytes(rate as u64));
        plain(&format!("{done} of {total}  {rate}/s  {left} left"));
    }
}

/// A line of its own, above the bar if there is one.
fn line(display: &mut Option<Display>, text: &str) {
    match display.as_ref().and_then(|display| display.bar.as_ref()) {
        Some(bar) => bar.println(harmless(text)),
        None => plain(text),
    }
}

fn plain(text: &str) {
    // Progress that nobody reads is no reason to stop.
    drop(note(text));
}
