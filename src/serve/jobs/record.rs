//! What is known of a job.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Offer;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits.
    Queued,
    /// It has begun.
    Running,
    /// It has a result.
    Completed,
    /// It has a problem.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The name on the wire, where waiting and running are one.
    pub fn on_the_wire(self) -> &'static str {
        match self {
            Self::Queued | Self::Running => "processing",
            other => other.name(),
        }
    }

    /// Whether nothing more happens.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What is known of a job. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// How far it is.
    pub status: Status,
    /// When it was accepted.
    pub created: u64,
    /// When it last began.
    pub started: Option<u64>,
    /// When it ended.
    pub finished: Option<u64>,
    /// When it is forgotten.
    pub expires: u64,
    /// Texts in it.
    pub total: usize,
    /// How often it has begun.
    pub attempts: u32,
    /// Bytes of its body, and later of its result.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes that its result may still take.
    #[serde(default)]
    pub promised: u64,
    /// SHA-256 of the API key that made it; nobody else may see it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Its place in the table of keys.
    pub key: Option<String>,
    /// Why it failed.
    pub error: Option<Value>,
}

impl Record {
    /// A job that is accepted now, without the bytes that it takes.
    pub fn new(offer: &Offer, now: u64) -> Self {
        Self {
            status: Status::Queued,
            created: now,
            started: None,
            finished: None,
            expires: now + offer.life.as_millis() as u64,
            total: offer.total,
            attempts: 0,
            bytes: 0,
            promised: offer.promised,
            owner: offer.owner.clone(),
            key: offer.key.clone(),
            error: None,
        }
    }

    /// Bytes that it takes, or will take.
    pub fn weight(&self) -> u64 {
        self.bytes + self.promised
    }

    /// Nothing is kept of it but what has so many bytes.
    pub fn keeps(&mut self, bytes: usize) {
        (self.bytes, self.promised) = (bytes as u64, 0);
    }
}
