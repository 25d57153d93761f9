//! Memory for bodies that are being read and answers that are not read yet: one sum over all
//! connections, asked before anything is taken.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// What a usual request needs. Larger ones leave a quarter of the budget free for such.
const USUAL: usize = 64 * 1024;

/// Bytes that may be in flight.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    taken: AtomicUsize,
    /// Something was given back.
    freed: Notify,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0), freed: Notify::new() })
    }

    fn free(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
        self.freed.notify_waiters();
    }

    /// Bytes that are in flight.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes a share, or says that there is no room now.
    pub fn share(self: &Arc<Self>, bytes: usize) -> Result<Share, Problem> {
        let mut share = Share { budget: Arc::clone(self), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }
}

impl Share {
    pub fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let Budget { most, taken, .. } = &*self.budget;
        let usual = self.bytes.saturating_add(more) <= USUAL;
        let most = if usual { *most } else { most - most / 4 };
        let fits = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= most);
        let grown = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        grown.map_err(|_| Problem::Overloaded(1))?;
        self.bytes += more;
        Ok(())
    }

    /// Takes more as soon as there is room: whoever sends it waits meanwhile.
    pub async fn grow_until(&mut self, more: usize, deadline: Instant) -> Result<(), Problem> {
        loop {
            let budget = Arc::clone(&self.budget);
            let mut freed = pin!(budget.freed.notified());
            freed.as_mut().enable();
            match self.grow(more) {
                Ok(()) => return Ok(()),
                Err(problem) => timeout_at(deadline, freed).await.map_err(|_| problem)?,
            }
        }
    }

    /// Bytes that it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes or gives back what is missing to so many.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.budget.free(self.bytes - bytes);
        self.bytes = bytes;
        Ok(())
    }

    /// Bytes that keep the share until the last of them is gone, wherever they wait.
    pub fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sum_has_a_limit_and_usual_requests_find_room_that_large_ones_leave() {
        let budget = Budget::new(1 << 20);
        let mut large = budget.share(500_000).unwrap();
        assert_eq!(budget.share(300_000).unwrap_err(), Problem::Overloaded(1));
        large.grow(280_000).unwrap();
        let small: Vec<Share> = (0..4).map(|_| budget.share(50_000).unwrap()).collect();
        assert!(large.grow(10_000).is_err());
        assert_eq!(budget.taken(), 980_000);
        drop(small);
        large.resize(10).unwrap();
        assert_eq!(budget.taken(), 10);
        assert!(budget.share(usize::MAX).is_err());
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_when_it_is_there_and_is_told_when_it_is_not() {
        let budget = Budget::new(1 << 20);
        let large = budget.share(700_000).unwrap();
        let mut other = budget.share(0).unwrap();
        let soon = Instant::now() + Duration::from_millis(30);
        assert_eq!(other.grow_until(200_000, soon).await, Err(Problem::Overloaded(1)));
        let late = Instant::now() + Duration::from_secs(60);
        let (waited, ()) = tokio::join!(other.grow_until(200_000, late), async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(large);
        });
        assert_eq!((waited, budget.taken()), (Ok(()), 200_000));
    }

    #[test]
    fn bytes_keep_their_share_until_the_last_piece_is_gone() {
        let budget = Budget::new(1 << 20);
        let mut bytes = budget.share(100).unwrap().hold(vec![1; 100]);
        let piece = bytes.split_to(10);
        drop(bytes);
        assert_eq!(budget.taken(), 100);
        drop(piece);
        assert_eq!(budget.taken(), 0);
    }
}
