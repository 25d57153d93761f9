//! Asking the server how it is: whether it is there, fast and whole, and what its disk promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, pipe};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Condition, DOUBT, Info, Lane, Link, ours};

/// How often the server is asked how it is.
const PULSE: Duration = Duration::from_millis(500);
/// How often it is asked when it writes to its disk.
const APPENDFSYNC: Duration = Duration::from_secs(5);
impl Link {
    /// Asks the server how it is, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            self.look().await;
            sleep(PULSE).await;
        }
    }

    /// Asks the server how it is, once.
    pub async fn look(&self) {
        let began = Instant::now();
        let mut ask = pipe();
        ask.cmd("INFO").cmd("TIME").cmd("GET").arg(self.key("epoch"));
        type Answer = (String, (u64, u64), Option<String>);
        let answer: Result<Answer, _> = self.ask_all(Lane::Probe, &ask).await;
        let Ok((info, (seconds, micros), epoch)) = answer else { return };
        let took = began.elapsed();
        let info = Info::read(&info);
        if info.is_loading || !info.is_primary {
            return self.down(match info.is_loading {
                true => "it is reading its data",
                false => "it is a replica, which takes no writes",
            });
        }
        let (empty, epoch) = match epoch {
            Some(epoch) => (false, Some(epoch)),
            None => (true, self.begin().await),
        };
        if self.wants_appendfsync(&info) {
            let answer = self.appendfsync().await;
            self.lock().appendfsync = (answer, Some(Instant::now()));
        }
        let mut seen = self.lock();
        seen.durability = info.durability(seen.appendfsync.0.as_deref());
        seen.ahead = Some((seconds * 1000 + micros / 1000) as i64 - ours() as i64);
        let dropped = info.evicted > seen.info.evicted && info.run == seen.info.run;
        if dropped {
            seen.dropped = Some(Instant::now());
        }
        let other = match seen.info.run.is_empty() {
            // Seen for the first time.
            true => info.uptime < DOUBT,
            false => info.run != seen.info.run || (epoch.is_some() && epoch != seen.epoch),
        };
        // Where nothing can be written there is never a mark, and none that is lost.
        let unmarked = empty && (seen.epoch.is_some() || seen.info.run.is_empty());
        let lost = other || unmarked || (dropped && info.drops_any);
        if lost {
            seen.doubt = Some(Instant::now());
        }
        seen.info = info;
        seen.epoch = epoch;
        // After a late answer the next request does not try again at once.
        let slow = took > Lane::Quick.limit() || seen.late.is_some_and(|at| at.elapsed() < PULSE);
        let condition = if slow { Condition::Slow } else { Condition::Up };
        let before = std::mem::replace(&mut seen.condition, condition);
        seen.told.clear();
        drop(seen);
        if before == Condition::Down {
            tracing::info!(server = self.address.place, "Redis is there");
        }
        if lost {
            self.lost.send_modify(|times| *times += 1);
        }
    }

    /// Whether it is another server, or was not asked for some seconds.
    fn wants_appendfsync(&self, info: &Info) -> bool {
        let seen = self.lock();
        let (answer, asked) = &seen.appendfsync;
        let old = asked.is_none_or(|asked| asked.elapsed() > APPENDFSYNC);
        info.run != seen.info.run || (old && (answer.is_some() || asked.is_none()))
    }

    /// When the server writes to its disk; a user may be denied to know.
    async fn appendfsync(&self) -> Option<String> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("appendfsync");
        let answer = async { ask.query_async(&mut self.connection(Lane::Probe).await?).await };
        let answer: RedisResult<(String, String)> =
            timeout(Lane::Probe.limit(), answer).await.ok()?;
        answer.ok().map(|(_, value)| value)
    }

    /// Marks the data, so that it is noticed when it is lost; the mark of another replica stays.
    async fn begin(&self) -> Option<String> {
        let mut ask = pipe();
        let key = self.key("epoch");
        ask.cmd("SET").arg(&key).arg(Uuid::now_v7().simple().to_string()).arg("NX").ignore();
        ask.cmd("GET").arg(&key);
        let answer: Result<(Option<String>,), _> = self.ask_all(Lane::Probe, &ask).await;
        answer.ok()?.0
    }
}
