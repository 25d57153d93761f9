//! Reading the labels of all replicas, and giving them those of this one that Redis has not: because it was gone when
//! they came, restarted without its file, evicted them, or was replaced by a copy of itself that was behind.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Replicas;
use crate::serve::app::App;
use crate::serve::feedback::lines::{self, LogError};
use crate::serve::feedback::log::Taken;
use crate::serve::feedback::record::Label;
use crate::serve::shared::{Condition, Lane, LinkError};

/// How often it is asked for new labels.
const EVERY: Duration = Duration::from_millis(500);
/// The longest pause before a Redis that refuses labels is given them again.
const LONGEST: Duration = Duration::from_secs(15);
/// How often what no label can come for any more is forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Labels that are read or given at once, and bytes of those that are given.
const MANY: usize = 200;
const MANY_BYTES: usize = 1 << 20;
/// Before all entries of a stream.
const START: &str = "0-0";

/// How far the stream was read.
struct Place {
    entry: String,
    /// That of the data that was read.
    mark: Option<String>,
}

type Entries = Vec<(String, HashMap<String, Vec<u8>>)>;

/// Goes on for ever.
pub async fn exchange(app: Arc<App>) {
    let Some(replicas) = app.feedback.replicas() else { return };
    let mut lost = replicas.link.lost.subscribe();
    let mut place = Place { entry: START.to_owned(), mark: None };
    let (mut pause, mut next, mut swept) = (EVERY, Instant::now(), Instant::now());
    let mut again = false;
    loop {
        let began = Instant::now();
        if began >= next && std::mem::take(&mut again) {
            START.clone_into(&mut place.entry);
            replicas.compare_later();
        }
        let read = replicas.read(&app, &mut place).await;
        if read.is_ok() && began >= next {
            let given = replicas.give_all(&app).await;
            let refused = !matches!(given, Ok(()) | Err(LinkError::Gone));
            replicas.refused.store(refused, Ordering::Release);
            pause = if refused { (2 * pause).min(LONGEST) } else { EVERY };
            // A Redis that loses something all the time is not to keep this server from its work.
            next = Instant::now() + if refused { pause } else { 4 * began.elapsed() };
        }
        if read.is_ok() && swept.elapsed() >= SWEEP {
            replicas.sweep().await;
            swept = Instant::now();
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = replicas.waits.notified() => {}
            _ = lost.changed() => again = true,
        }
    }
}

impl Replicas {
    /// Reads what is new in the stream.
    async fn read(&self, app: &App, place: &mut Place) -> Result<(), LinkError> {
        loop {
            let mut ask = redis::pipe();
            let after = format!("({}", place.entry);
            ask.cmd("XRANGE").arg(&self.stream).arg(after).arg("+").arg("COUNT").arg(MANY);
            ask.cmd("EXISTS").arg(&self.stream);
            ask.cmd("ZRANGEBYLEX").arg(self.known()).arg("[!").arg("(0").arg("LIMIT").arg(0).arg(1);
            type Answer = (Entries, bool, Vec<String>);
            let (entries, whole, marks): Answer = self.link.ask_all(Lane::Steady, &ask).await?;
            let mark = marks.into_iter().next().filter(|_| whole);
            if mark != place.mark {
                // The data is new, or was lost.
                *place = Place { entry: START.to_owned(), mark };
                self.compare_later();
                continue;
            }
            let all = entries.len() < MANY;
            for (entry, fields) in entries {
                let label = fields.get("label").and_then(|json| serde_json::from_slice(json).ok());
                if let Some(label) = label {
                    self.heard(app, label).await;
                }
                place.entry = entry;
            }
            if all {
                return Ok(());
            }
        }
    }

    /// A label is in Redis.
    async fn heard(&self, app: &App, label: Label) {
        let tells = label.at >= self.since();
        let Some(uuid) = app.feedback.count(&app.models, &label, tells) else { return };
        let Some(own) = app.feedback.log.known(uuid).filter(|own| own.1 != label.class) else {
            return;
        };
        if own < label.rank() {
            // It does not know yet that ours was before.
            return self.compare_later();
        }
        let prediction = label.id.clone();
        if app.feedback.log.overrule(label, uuid).await == Ok(Taken::New) {
            app.metrics.feedback_conflicts.inc();
            tracing::warn!(
                prediction,
                "a label that this server had accepted gives way to another one, which another server had accepted before"
            );
        }
    }

    fn known(&self) -> String {
        format!("{}:known", self.stream)
    }

    /// Gives what waits.
    async fn give_all(&self, app: &App) -> Result<(), LinkError> {
        if self.link.condition() == Condition::Down {
            return Err(LinkError::Gone);
        }
        let waiting = std::mem::take(&mut *self.waiting());
        let given = match waiting.all {
            true => self.give_folder(app).await,
            false => self.give_these(app, &waiting.labels).await,
        };
        if given.is_err() {
            self.waiting().again(waiting);
        }
        given
    }

    async fn give_these(&self, app: &App, labels: &[Label]) -> Result<(), LinkError> {
        for some in labels.chunks(MANY) {
            for first in self.give(some).await? {
                self.heard(app, first).await;
            }
        }
        Ok(())
    }

    /// Those of the folder that came within `--feedback-ttl`.
    async fn give_folder(&self, app: &App) -> Result<(), LinkError> {
        let (path, oldest) =
            (app.feedback.log.labels.clone(), self.now().saturating_sub(self.life));
        let (sender, mut parts) = mpsc::channel(1);
        let reading = spawn_blocking(move || read_parts(&path, oldest, &sender));
        while let Some(labels) = parts.recv().await {
            self.give_these(app, &labels).await?;
        }
        if let Ok(Err(error)) = reading.await {
            tracing::error!("feedback: {error}");
        }
        Ok(())
    }

    /// Forgets predictions that nobody gives a label back for any more: each is given back for as long after it came
    /// as it could come after the prediction.
    async fn sweep(&self) {
        let ended = self.now().saturating_sub(2 * self.life + SWEEP.as_millis() as u64);
        let mut ask = redis::cmd("ZREMRANGEBYLEX");
        ask.arg(self.known()).arg("[0").arg(format!("({ended:012x}"));
        // If this fails it is done the next time.
        let _ = self.link.ask::<u64>(Lane::Steady, &ask).await;
    }
}

/// Reads a file of labels while it is written, and hands on those that are not too old, some at a time.
fn read_parts(path: &Path, oldest: u64, to: &mpsc::Sender<Vec<Label>>) -> Result<(), LogError> {
    let (mut labels, mut bytes) = (Vec::new(), 0);
    let hand_on = |labels: &mut Vec<Label>| {
        // Nobody takes them where Redis is gone again.
        let _ = to.blocking_send(std::mem::take(labels));
    };
    lines::read(path, &mut |json| {
        let Ok(label) = serde_json::from_slice::<Label>(json) else { return };
        if to.is_closed() || label.at < oldest {
            return;
        }
        labels.push(label);
        bytes += json.len();
        if labels.len() == MANY || bytes >= MANY_BYTES {
            hand_on(&mut labels);
            bytes = 0;
        }
    })?;
    hand_on(&mut labels);
    Ok(())
}
