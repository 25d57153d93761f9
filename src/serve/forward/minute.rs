//! How many texts may leave in any one minute. The limit of a client's requests allows as many at once and then goes
//! on filling up, so twice as many in a minute; what is told an operator of what leaves has to hold.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// When texts left in the last minute.
pub struct Minute {
    most: usize,
    left: Mutex<VecDeque<Instant>>,
}

impl Minute {
    pub fn new(most: usize) -> Self {
        Self { most, left: Mutex::default() }
    }

    /// When texts left, without those that do not count any more.
    fn left(&self, now: Instant) -> MutexGuard<'_, VecDeque<Instant>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while left.front().is_some_and(|&then| now.saturating_duration_since(then) >= MINUTE) {
            left.pop_front();
        }
        left
    }

    /// Whether one more might leave.
    pub fn has_room(&self, now: Instant) -> bool {
        self.left(now).len() < self.most
    }

    /// Counts a text, unless it would be one too many.
    pub fn take(&self, now: Instant) -> bool {
        let mut left = self.left(now);
        let fits = left.len() < self.most;
        if fits {
            left.push_back(now);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_texts_than_it_may() {
        let (minute, began) = (Minute::new(3), Instant::now());
        let at = |seconds| minute.take(began + Duration::from_secs(seconds));
        let taken = [0, 30, 59, 59, 60, 60, 89, 90, 118, 119, 120].map(at);
        assert_eq!(taken, [true, true, true, false, true, false, false, true, false, true, true]);
    }
}
