//! What a replica accepted it keeps, and gives back what Redis has lost: by a start without its file, by eviction, or
//! when a replica of Redis took over that did not know all of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use super::copies::{Copies, is_final};
use super::fields::{FIELDS, read_record};
use super::scripts::{CHECK, RESTORE, run};
use crate::serve::jobs::store::Whole;
use crate::serve::shared::{Condition, Lane, LinkError};

/// How often the jobs that are open are compared.
const COMPARED: Duration = Duration::from_secs(2);
/// How often those that have ended are.
const ALL: u32 = 15;
/// Jobs that are asked for at once.
const MANY: usize = 200;

impl Shared {
    /// Compares for ever.
    pub(super) async fn mirror(self: Arc<Self>) {
        let Some(copies) = &self.copies else { return };
        let mut lost = self.link.lost.subscribe();
        let mut all = true;
        for round in 1.. {
            match self.compare(copies, all).await {
                Ok(()) => all = round % ALL == 0,
                // What has not been compared is compared when it is back.
                Err(_) => all = true,
            }
            tokio::select! {
                () = sleep(COMPARED) => {}
                _ = lost.changed() => all = true,
            }
        }
    }

    async fn compare(&self, copies: &Copies, all: bool) -> Result<(), LinkError> {
        if self.link.condition() == Condition::Down {
            return Err(LinkError::Gone);
        }
        for ids in copies.open().chunks(MANY) {
            for (id, status) in ids.iter().zip(self.statuses(ids).await?) {
                match &*status {
                    "" => self.restore(copies, id).await?,
                    status if is_final(status) => self.copy_end(copies, id).await?,
                    _ => {}
                }
            }
        }
        if all && let Ok(ended) = copies.ended().await {
            for ids in ended.chunks(MANY) {
                for (id, status) in ids.iter().zip(self.statuses(ids).await?) {
                    if status.is_empty() {
                        self.restore(copies, id).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn statuses(&self, ids: &[String]) -> Result<Vec<String>, LinkError> {
        let mut ask = run(CHECK, &self.stream);
        ask.arg(ids);
        self.link.ask(Lane::Steady, &ask).await
    }

    async fn restore(&self, copies: &Copies, id: &str) -> Result<(), LinkError> {
        let Ok(Some(whole)) = copies.whole(id).await else { return Ok(()) };
        let Whole { record, body, result, hash } = whole;
        let error = record.error.as_ref().map(|error| error.to_string().into_bytes());
        let (field, value) = match (body, result, error) {
            (Some(body), ..) => ("body", body),
            (None, Some(result), _) => ("result", result),
            (None, None, Some(error)) => ("error", error),
            (None, None, None) => ("done", b"0".to_vec()),
        };
        let time = |time: Option<u64>| time.map_or(String::new(), |time| time.to_string());
        let mut ask = run(RESTORE, &self.stream);
        ask.arg(id).arg(record.status.name()).arg(record.created).arg(time(record.started));
        ask.arg(time(record.finished)).arg(record.expires).arg(record.total);
        ask.arg(record.owner.unwrap_or_default()).arg(record.key.unwrap_or_default());
        ask.arg(hash.unwrap_or_default()).arg(field).arg(value);
        let outcome: String = self.link.ask(Lane::Steady, &ask).await?;
        match &*outcome {
            "expired" => copies.drop(id).await,
            "restored" => tracing::info!(id, "Redis had lost a job, which it has been given back"),
            _ => {}
        }
        Ok(())
    }

    /// Writes down what became of a job.
    async fn copy_end(&self, copies: &Copies, id: &str) -> Result<(), LinkError> {
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(self.place(id)).arg(&FIELDS);
        ask.cmd("HGET").arg(self.place(id)).arg("result");
        type Answer = (Vec<Option<String>>, Option<Vec<u8>>);
        let (fields, result): Answer = self.link.ask_all(Lane::Steady, &ask).await?;
        if let Some((record, _)) = read_record(fields) {
            copies.finish(id, record, result).await;
        }
        Ok(())
    }
}
