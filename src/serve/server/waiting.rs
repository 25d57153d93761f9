//! Those who were accepted and have no place yet: they have said nothing, or all places are taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How many may wait.
const MOST: usize = 1024;
/// Nobody is sent away sooner.
const LEAST: Duration = Duration::from_secs(1);

/// By age.
#[derive(Default)]
pub struct WaitingRoom(VecDeque<(Instant, JoinHandle<()>)>);

impl WaitingRoom {
    pub fn enter(&mut self, task: JoinHandle<()>) {
        self.0.push_back((Instant::now(), task));
    }

    /// Waits until there is room: the oldest is sent away for it, if it has had its time.
    pub async fn room_for_one(&mut self) {
        while self.0.front().is_some_and(|(_, task)| task.is_finished()) {
            self.0.pop_front();
        }
        if self.0.len() < MOST {
            return;
        }
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() >= MOST
            && let Some((since, _)) = self.0.front()
        {
            sleep_until(*since + LEAST).await;
            self.send_one_away();
        }
    }

    /// The one that has waited longest has to go.
    pub fn send_one_away(&mut self) {
        if let Some((_, task)) = self.0.pop_front() {
            task.abort();
        }
    }
}

/// Those who have said something and wait for a place. While there are any, a connection ends with its
/// answer: whoever asks now and then would keep its place from them for ever.
#[derive(Clone)]
pub struct Crowd(Arc<watch::Sender<usize>>);

/// One of them.
pub struct Waits<'a>(&'a Crowd);

impl Crowd {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// One more waits, until this is dropped.
    pub fn enter(&self) -> Waits<'_> {
        self.0.send_modify(|count| *count += 1);
        Waits(self)
    }

    pub fn waits(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Ends when somebody waits.
    pub async fn comes(&self) {
        // It does not fail while there is a sender, and this is one.
        let _ = self.0.subscribe().wait_for(|count| *count > 0).await;
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_after_its_time_and_nobody_before() {
        let mut room = WaitingRoom::default();
        let began = Instant::now();
        for _ in 0..MOST {
            room.room_for_one().await;
            room.enter(tokio::spawn(std::future::pending()));
        }
        assert!(began.elapsed() < LEAST, "there was room");
        room.room_for_one().await;
        assert!(began.elapsed() >= LEAST);
        assert_eq!(room.0.len(), MOST - 1);
    }

    #[tokio::test]
    async fn who_has_gone_in_takes_no_room() {
        let mut room = WaitingRoom::default();
        room.enter(tokio::spawn(std::future::pending()));
        for _ in 0..3 * MOST {
            let done = tokio::spawn(async {});
            while !done.is_finished() {
                tokio::task::yield_now().await;
            }
            room.room_for_one().await;
            room.enter(done);
        }
        assert!(room.0.len() <= MOST);
        assert!(room.0.iter().any(|(_, task)| !task.is_finished()), "the first still waits");
    }
}
