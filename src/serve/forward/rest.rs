//! A server that fails is left alone for a while, so that a dead one costs no time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row until it is left alone.
const FAILURES: u32 = 5;
/// For so long; then one text tries, and the others wait for what becomes of it.
pub const PAUSE: Duration = Duration::from_secs(10);
/// The log has a single failure no more often.
const QUIET: Duration = Duration::from_secs(60);

/// How often it has failed, and until when it rests.
#[derive(Default)]
pub struct Rest(Mutex<State>);

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    until: Option<Instant>,
    /// When the log last had one.
    told: Option<Instant>,
}

impl Rest {
    /// Whether it is left alone now.
    pub fn rests(&self, now: Instant) -> bool {
        self.state().until.is_some_and(|until| now < until)
    }

    /// Whether it may be asked now. Who is the first after a pause tries for all: until that has
    /// succeeded, and for another pause at most, nobody else does.
    pub fn enter(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.until {
            Some(until) if now < until => return false,
            Some(_) => state.until = Some(now + PAUSE),
            None => {}
        }
        true
    }

    /// It failed; whether it is left alone from now on.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        state.until.replace(now + PAUSE).is_none()
    }

    /// Whether a failure is to be in the log: one in a while says what is wrong, and more say no more.
    pub fn tells(&self, now: Instant) -> bool {
        let told = &mut self.state().told;
        let tells = told.is_none_or(|then| now.saturating_duration_since(then) >= QUIET);
        if tells {
            *told = Some(now);
        }
        tells
    }

    /// It answered; whether it had been left alone.
    pub fn answered(&self) -> bool {
        let mut state = self.state();
        state.failures = 0;
        state.until.take().is_some()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_failures_in_a_row_it_rests_and_then_one_tries() {
        let (rest, now) = (Rest::default(), Instant::now());
        for _ in 1..FAILURES {
            assert!(rest.enter(now) && !rest.failed(now));
        }
        assert!(!rest.answered(), "it had not been left alone");
        for _ in 1..FAILURES {
            assert!(!rest.failed(now), "the failures before the answer do not count");
        }
        assert!(!rest.rests(now) && rest.failed(now), "one too many");
        assert!(rest.rests(now) && !rest.enter(now));
        assert!(!rest.failed(now), "said once");

        let later = now + PAUSE;
        assert!(!rest.rests(later));
        assert!(rest.enter(later), "one tries");
        assert!(!rest.enter(later) && rest.rests(later), "and nobody else");
        assert!(!rest.failed(later));
        assert!(!rest.enter(later + PAUSE / 2), "it failed again");
        // One whose client has gone away never says what became of it.
        assert!(rest.enter(later + PAUSE) && rest.enter(later + 2 * PAUSE));
        assert!(rest.answered(), "it is back");
        assert!(rest.enter(later) && rest.enter(later));

        let told = [now, now, later, now + QUIET].map(|now| rest.tells(now));
        assert_eq!(told, [true, false, false, true]);
    }
}
