//! Taking jobs from the stream, doing them under a lease, and saying how they ended.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use redis::Value as Answer;
use tokio::time::sleep;

use super::scripts::{BEAT, BEGIN, END, RELEASE, run};
use super::{Held, Shared};
use crate::serve::jobs::embedded::{FREE_ATTEMPTS, LONGEST_HOLD, MOST_ATTEMPTS};
use crate::serve::jobs::record::Status;
use crate::serve::jobs::{Begun, Running};
use crate::serve::problem::Problem;
use crate::serve::shared::{Lane, LinkError};

const GROUP: &str = "workers";
/// How long a process may be silent before its jobs are another's.
const LEASE: Duration = Duration::from_secs(10);
/// How often it says that it works on them.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often leases are looked for that are over.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// How long a process waits for the next job before it looks for leases again, in milliseconds.
const BLOCK: u64 = 1000;
/// How long it waits for a server that is gone.
const PAUSE: Duration = Duration::from_millis(500);

/// Entries of the stream: their names, and what is in them.
type Entries = Vec<(String, HashMap<String, String>)>;

impl Shared {
    /// Waits for the next job and begins it.
    pub async fn next(&self) -> Begun {
        loop {
            match self.fetch().await {
                Ok(Some(begun)) => return begun,
                Ok(None) => {}
                Err(LinkError::NoGroup) => {
                    if self.mend().await.is_err() {
                        sleep(PAUSE).await;
                    }
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn fetch(&self) -> Result<Option<Begun>, LinkError> {
        let mut looking = self.looking.lock().await;
        while looking.ended.is_none_or(|ended| ended.elapsed() >= CLAIM_EVERY) {
            let mut ask = redis::cmd("XAUTOCLAIM");
            ask.arg(&self.stream).arg(GROUP).arg(&self.me).arg(LEASE.as_millis() as u64);
            ask.arg(&looking.cursor).arg("COUNT").arg(1);
            let (cursor, entries, _): (String, Entries, Answer) =
                self.link.ask(Lane::Steady, &ask).await?;
            if cursor == "0-0" {
                looking.ended = Some(Instant::now());
            }
            looking.cursor = cursor;
            for entry in entries {
                if let Some(begun) = self.begin(entry).await? {
                    return Ok(Some(begun));
                }
            }
        }
        let mut ask = redis::cmd("XREADGROUP");
        ask.arg("GROUP").arg(GROUP).arg(&self.me).arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK);
        ask.arg("STREAMS").arg(&self.stream).arg(">");
        let new: Option<Vec<(String, Entries)>> = self.link.ask(Lane::Waiting, &ask).await?;
        match new.into_iter().flatten().flat_map(|(_, entries)| entries).next() {
            Some(entry) => self.begin(entry).await,
            None => Ok(None),
        }
    }

    async fn begin(
        &self,
        (entry, fields): (String, HashMap<String, String>),
    ) -> Result<Option<Begun>, LinkError> {
        let Some(id) = fields.get("id") else { return Ok(None) };
        let mut ask = run(BEGIN, &self.stream);
        ask.arg(id).arg(&entry).arg(&self.me).arg(FREE_ATTEMPTS);
        ask.arg(LONGEST_HOLD.as_millis() as u64);
        let answer: Vec<Vec<u8>> = self.link.ask(Lane::Steady, &ask).await?;
        let [what, attempts, created, expires, now, body] = &answer[..] else { return Ok(None) };
        if what != b"begun" {
            return Ok(None);
        }
        let number = |bytes: &[u8]| -> u64 {
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let (attempts, now) = (number(attempts) as u32, number(now));
        let left = Duration::from_millis(number(expires).saturating_sub(now));
        let running = Running::default();
        let held = Held { entry, running: running.clone(), until: Instant::now() + left };
        self.lock().insert(id.clone(), held);
        let refused = match serde_json::from_slice(body) {
            Ok(_) if attempts > MOST_ATTEMPTS => Problem::GivenUp(attempts - 1),
            Ok(body) => {
                let waited = now.saturating_sub(number(created));
                self.metrics.job_wait.observe(waited as f64 / 1e3);
                return Ok(Some(Begun { id: id.clone(), body, running, left }));
            }
            Err(_) => Problem::Internal,
        };
        self.ended(id, Err(refused)).await;
        Ok(None)
    }

    /// A job has ended. If it was cancelled, or is another's by now, the outcome is dropped.
    pub async fn ended(&self, id: &str, outcome: Result<Vec<u8>, Problem>) {
        let Some(held) = self.lock().get(id).cloned() else { return };
        let end = match outcome {
            Ok(result) => Some((Status::Completed, "result", result)),
            // It is cancelled there already, or somebody else does it.
            Err(Problem::Cancelled) => None,
            Err(problem) => {
                let body = serde_json::to_vec(&problem.body(id)).expect("a problem is plain data");
                Some((Status::Failed, "error", body))
            }
        };
        if let Some((status, field, bytes)) = end {
            let mut ask = run(END, &self.stream);
            ask.arg(id).arg(&held.entry).arg(&self.me).arg(status.name()).arg(field).arg(bytes);
            loop {
                match self.link.ask::<String>(Lane::Steady, &ask).await {
                    Ok(what) if what == "ended" => {
                        self.metrics.job_finished(status.name());
                        break;
                    }
                    Ok(_) => break,
                    Err(_) if Instant::now() >= held.until => break,
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
        self.lock().remove(id);
    }

    /// What this process has begun waits again.
    pub async fn release(&self) {
        let mut ask = run(RELEASE, &self.stream);
        ask.arg(&self.me);
        // If this fails their leases are over soon.
        let _ = self.link.ask::<u64>(Lane::Steady, &ask).await;
    }

    /// Says for ever what this process works on, and counts.
    pub(super) async fn beat(self: Arc<Self>) {
        loop {
            sleep(BEAT_EVERY).await;
            let all: Vec<(String, Held)> =
                self.lock().iter().map(|(id, held)| (id.clone(), held.clone())).collect();
            // All at once: one after another they might take longer than a lease.
            let mut ask = redis::pipe();
            for (id, Held { entry, running, .. }) in &all {
                let mut beat = run(BEAT, &self.stream);
                beat.arg(id).arg(entry).arg(&self.me).arg(running.done.load(Ordering::Acquire));
                ask.add_command(beat);
            }
            if !all.is_empty()
                && let Ok(told) = self.link.ask_all::<Vec<String>>(Lane::Steady, &ask).await
            {
                let off = all.iter().zip(told).filter(|(_, what)| what == "off");
                off.for_each(|((_, held), _)| held.running.cancelled.notify_one());
            }
            let mut ask = redis::pipe();
            for status in Status::ALL {
                ask.cmd("ZCARD").arg(self.link.key(&format!("jobs:{}", status.name())));
            }
            let counts: Result<Vec<usize>, _> = self.link.ask_all(Lane::Steady, &ask).await;
            if let Ok(counts) = counts {
                let named = Status::ALL.into_iter().map(Status::name).zip(counts).collect();
                *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = named;
            }
        }
    }
}
