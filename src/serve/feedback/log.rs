//! Feedback on disk. One thread writes: what comes together is made durable together.
//!
//! A label is acknowledged once it is on disk. Texts are written as they come and are on disk a second later; one that
//! finds no room is dropped and counted, and holds up no prediction. When no label can come any more for the texts of
//! a file, those that have one go to a smaller file and the rest is deleted.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::lines::{LogError, failed};
use super::record::{Label, Rank, Text, labels_of};
use super::writer::{Command, Offered, Shared, Writer, weight};

/// Bytes of texts that may wait for the thread.
const MOST_WAITING: usize = 16 << 20;

/// What became of a label.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    New,
    /// It was there before.
    Known,
    /// There was another one before.
    Other,
}

/// Why it was not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NotKept {
    /// There is no room.
    Full,
    /// The disk does not take it.
    Unwritable,
}

/// How the folder may be used.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// It is made when there is something to keep.
    pub folder: PathBuf,
    /// Bytes of all files.
    pub most: u64,
    /// How long after a prediction its label may come.
    pub life: Duration,
}

/// The way to the thread.
pub struct Log {
    sender: Sender<Command>,
    shared: Arc<Shared>,
    /// The file of the labels.
    pub labels: PathBuf,
    /// Why the last new label was not kept; `None` once one is.
    refused: Mutex<Option<NotKept>>,
}

impl Log {
    /// Opens the folder, if it is there, and starts the thread. `each` is told the labels of before, in order;
    /// `dropped` counts texts that were not kept.
    pub fn open(
        settings: LogSettings,
        dropped: Counter,
        each: &mut dyn FnMut(Label),
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let labels = labels_of(&settings.folder);
        let mut writer = Writer::new(settings, Arc::clone(&shared));
        writer.begin(each)?;
        let (sender, inbox) = channel();
        std::thread::Builder::new()
            .name("feedback".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(failed(Path::new("feedback")))?;
        Ok(Self { sender, shared, labels, refused: Mutex::default() })
    }

    /// Keeps a label: it is on disk when this ends.
    pub async fn label(&self, label: Label, uuid: [u8; 16]) -> Result<Taken, NotKept> {
        self.offer(label, uuid, false).await
    }

    /// Keeps the label of another replica, which was before the one that is here; `Known` if that is the same.
    pub async fn overrule(&self, label: Label, uuid: [u8; 16]) -> Result<Taken, NotKept> {
        self.offer(label, uuid, true).await
    }

    async fn offer(&self, label: Label, uuid: [u8; 16], overrules: bool) -> Result<Taken, NotKept> {
        let (reply, taken) = oneshot::channel();
        let (label, uuid) = (Box::new(label), Uuid::from_bytes(uuid));
        let offered = Offered { label, uuid, overrules, reply };
        let taken = match self.sender.send(Command::Label(offered)) {
            Ok(()) => taken.await.unwrap_or(Err(NotKept::Unwritable)),
            Err(_) => Err(NotKept::Unwritable),
        };
        match taken {
            Ok(Taken::New) => *self.last() = None,
            // Nothing was written.
            Ok(Taken::Known | Taken::Other) => {}
            Err(why) => *self.last() = Some(why),
        }
        taken
    }

    fn last(&self) -> MutexGuard<'_, Option<NotKept>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why labels are not kept, as the last new one was told; `None` if it was kept.
    pub fn refused(&self) -> Option<NotKept> {
        *self.last()
    }

    /// The label of a prediction, as it is on disk or about to be.
    pub fn known(&self, uuid: [u8; 16]) -> Option<Rank> {
        self.shared.known().get(&Uuid::from_bytes(uuid)).copied()
    }

    /// Keeps a text, if there is room.
    pub fn text(&self, text: Text) {
        let bytes = weight(&text);
        let waiting = self.shared.waiting.fetch_add(bytes, Ordering::AcqRel);
        if waiting + bytes > MOST_WAITING || self.sender.send(Command::Text(text)).is_err() {
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
            self.shared.dropped.inc();
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Acquire)
    }

    /// Waits until everything is on disk.
    pub fn close(&self) {
        let (done, end) = channel();
        if self.sender.send(Command::Close(done)).is_ok() {
            let _ = end.recv_timeout(Duration::from_secs(10));
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
