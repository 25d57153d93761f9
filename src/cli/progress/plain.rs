//! Work that takes long, where there is no terminal: a line when it begins to look long, then one now and
//! then.

use std::time::{Duration, Instant};

use crate::numbers::grouped;

/// How often plain lines come; what is shorter than that has none.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The piece of work that runs.
#[derive(Default)]
pub struct Plain(Option<Work>);

struct Work {
    what: &'static str,
    began: Instant,
    /// What was done when it was first heard of.
    first: usize,
    done: usize,
    last_line: Instant,
}

impl Plain {
    /// The line to show now, if it is time for one.
    pub fn line(
        &mut self,
        what: &'static str,
        done: usize,
        total: usize,
        now: Instant,
    ) -> Option<String> {
        let same = self.0.as_ref().is_some_and(|work| work.what == what && work.done <= done);
        if !same {
            self.0 = Some(Work { what, began: now, first: done, done, last_line: now });
        }
        let work = self.0.as_mut()?;
        work.done = done;
        if done >= total {
            self.0 = None;
            return None;
        }
        if now.duration_since(work.last_line) < INTERVAL {
            return None;
        }
        work.last_line = now;
        let own = done.saturating_sub(work.first);
        let left = match own {
            0 => String::new(),
            own => {
                let seconds = now.duration_since(work.began).as_secs_f64();
                format!("  {} left", rough(seconds * (total - done) as f64 / own as f64))
            }
        };
        let (done, total) = (grouped(done as u64), grouped(total as u64));
        Some(format!("{what} {done}/{total} {}{left}", unit(what)))
    }
}

fn unit(what: &str) -> &'static str {
    if what == "measuring" { "rounds" } else { "rows" }
}

/// A time as one says it: `40 s`, `6 min`, `1 h 20 min`.
pub fn rough(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        _ if minutes < 60 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_is_heard_of_every_ten_seconds_and_short_work_never() {
        let mut plain = Plain::default();
        let began = Instant::now();
        let mut at = |what, done, second| {
            plain.line(what, done, 25_000, began + Duration::from_secs(second))
        };
        for second in 0..9 {
            assert_eq!(at("encoding", 3_000 * second as usize, second), None);
        }
        assert_eq!(at("encoding", 25_000, 9), None);
        // Another piece of work: its time counts from its own beginning.
        assert_eq!(at("testing", 0, 9), None);
        assert_eq!(at("testing", 1_600, 18), None);
        let line = at("testing", 3_200, 69);
        assert_eq!(line.as_deref(), Some("testing 3,200/25,000 rows  7 min left"));
        assert_eq!(at("testing", 3_300, 78), None);
        assert_eq!(
            at("testing", 24_000, 79).as_deref(),
            Some("testing 24,000/25,000 rows  3 s left")
        );
        assert_eq!(at("testing", 25_000, 200), None, "it has ended");
        // The same work again.
        assert_eq!(at("testing", 100, 200), None);
        assert_eq!(at("testing", 50, 215), None, "fewer rows than before: a new piece");
        assert!(at("testing", 50, 226).is_some_and(|line| line.ends_with("50/25,000 rows")));
    }

    #[test]
    fn times_are_rounded_as_one_says_them() {
        for (seconds, shown) in [
            (0.4, "0 s"),
            (89.0, "89 s"),
            (90.0, "2 min"),
            (358.0, "6 min"),
            (4_800.0, "1 h 20 min"),
        ] {
            assert_eq!(rough(seconds), shown);
        }
    }
}
