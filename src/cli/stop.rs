//! Ctrl-C and SIGTERM, for commands that train.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::experiment::Progress;

/// Raised by a signal.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether the training loop runs, which looks at `STOP` after each step.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// From now on a signal ends the training loop in good order. Outside the loop there is nothing to save, and at the
/// second time nobody waits for it: the process ends, and every file and folder appears whole or not at all.
pub fn listen() -> Result<&'static AtomicBool, ctrlc::Error> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) || !LISTENING.load(Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(&STOP)
}

/// Takes in whether the loop runs.
pub fn hear(progress: &Progress<'_>) {
    LISTENING.store(matches!(progress, Progress::Train(_)), Ordering::Relaxed);
}
