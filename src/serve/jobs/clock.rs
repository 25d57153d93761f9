//! Time that only goes on: that of the system at the start, and what has passed since. Whoever sets the
//! system's clock meanwhile changes no life of a job.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock.
pub struct Clock {
    start: Duration,
    since: Instant,
}

impl Clock {
    /// Set by the system's.
    pub fn new() -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start, since: Instant::now() }
    }

    pub fn now(&self) -> u64 {
        (self.start + self.since.elapsed()).as_millis() as u64
    }
}
