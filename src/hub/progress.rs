//! What a transfer reports while it runs.

use std::sync::OnceLock;

/// How far a transfer is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    Started {
        what: &'a str,
        /// Files that are not here yet.
        files: usize,
        bytes: u64,
    },
    /// Large files begin to go there.
    Sending { what: &'a str, bytes: u64 },
    /// Some of it is over.
    Bytes {
        /// Bytes that are here.
        done: u64,
        total: u64,
    },
    /// Another process is at it.
    Waiting { file: &'a str },
    /// The line broke, and is tried again.
    Again { reason: &'a str },
    /// It is over, well or not.
    Ended,
}

static OBSERVER: OnceLock<fn(&Progress<'_>)> = OnceLock::new();

/// Names who hears of transfers in this process: the command line, which alone prints. Data and
/// encoders are fetched wherever they turn out to be missing, so nobody hands the observer down.
pub fn observe(observer: fn(&Progress<'_>)) {
    // The first one stays.
    let _ = OBSERVER.set(observer);
}

pub(super) fn tell(progress: &Progress<'_>) {
    if let Some(observer) = OBSERVER.get() {
        observer(progress);
    }
}
