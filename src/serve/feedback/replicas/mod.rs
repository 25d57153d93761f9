//! Labels in Redis or Valkey, for all replicas that share it: one prediction has one label, and the figures of each
//! replica are over the labels of all.
//!
//! | key, after the prefix | what |
//! |---|---|
//! | `:feedback` | a stream with an entry for each label, which every replica reads |
//! | `:feedback:known` | which prediction has which label, for as long as one may come |
//!
//! Redis is asked before the disk, so that a label that another replica was first to take is refused before anything
//! is kept of it; and 202 comes after the disk, whatever Redis says, so that what was acknowledged is on a disk. Where
//! Redis gives no answer in time the label is accepted without it and given to it later: [`exchange`]. If another
//! replica had accepted another one by then, the first by time stands, in all folders and figures.
//!
//! So a label that is in Redis alone was never acknowledged: its server died in between, or had no room. It counts all
//! the same, since somebody said so; whoever sends it again is told that it was known, once it is on a disk too.

mod asked;
mod exchange;
mod export;
mod scripts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub use self::exchange::exchange;
pub use self::export::{SharedError, labels};
use super::FeedbackSettings;
use super::record::Label;
use crate::serve::shared::{Condition, Link, ours};

/// The key of the stream, after the prefix.
const STREAM: &str = "feedback";
/// Bytes of a label with its id and a short text: so many times less labels are in the stream than a folder has bytes.
const BYTES_OF_LABEL: u64 = 1024;
/// Bytes of labels that wait in memory; above it, they are read from the disk again.
const MOST_WAITING: usize = 4 << 20;

/// Labels of all replicas.
pub struct Replicas {
    link: Arc<Link>,
    stream: String,
    /// Labels that the stream holds. It is to hold what a folder does, for export, and at least what figures are over.
    most: u64,
    /// How long a label that was accepted is given back, in milliseconds.
    life: u64,
    /// When this process began.
    began: Instant,
    waiting: Mutex<Waiting>,
    /// Told when one waits.
    waits: Notify,
    /// Redis did not take what waits, though it was there.
    refused: AtomicBool,
}

/// What this server has accepted and Redis may not have.
#[derive(Default)]
struct Waiting {
    labels: Vec<Label>,
    bytes: usize,
    /// All of its folder are to be compared.
    all: bool,
}

impl Replicas {
    pub fn new(link: Arc<Link>, settings: &FeedbackSettings) -> Self {
        let most = (settings.bytes / BYTES_OF_LABEL).max(settings.window as u64);
        Self {
            stream: link.key(STREAM),
            link,
            most,
            life: settings.life.as_millis() as u64,
            began: Instant::now(),
            waiting: Mutex::new(Waiting { all: true, ..Waiting::default() }),
            waits: Notify::new(),
            refused: AtomicBool::new(false),
        }
    }

    /// The time that all replicas share, in milliseconds.
    pub fn now(&self) -> u64 {
        self.link.now().unwrap_or_else(ours)
    }

    /// When this process began, by that time.
    fn since(&self) -> u64 {
        self.now().saturating_sub(self.began.elapsed().as_millis() as u64)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis is given a label, which is on disk, as soon as it takes it.
    fn give_later(&self, label: &Label) {
        let mut waiting = self.waiting();
        waiting.add(label.clone());
        drop(waiting);
        self.waits.notify_one();
    }

    /// Redis is to be compared with the whole folder.
    fn compare_later(&self) {
        self.waiting().all = true;
        self.waits.notify_one();
    }

    /// `ok`, or what is wrong.
    pub fn state(&self) -> &'static str {
        match self.link.condition() {
            Condition::Down => "Redis is gone: labels are on the disk of this server alone",
            _ if self.refused.load(Ordering::Acquire) => {
                "Redis does not take labels: they are on the disk of this server alone"
            }
            _ => "ok",
        }
    }
}

impl Waiting {
    fn add(&mut self, label: Label) {
        let text = label.text.as_ref().map_or(0, String::len);
        self.bytes += label.id.len() + text + label.pair.as_ref().map_or(0, String::len);
        self.labels.push(label);
        if self.all || self.bytes > MOST_WAITING {
            *self = Self { all: true, ..Self::default() };
        }
    }

    /// What could not be given waits again.
    fn again(&mut self, before: Self) {
        self.all |= before.all;
        before.labels.into_iter().for_each(|label| self.add(label));
    }
}
