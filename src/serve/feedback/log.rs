//! Feedback on disk. One thread writes: what comes together is made durable together.
//!
//! A label is acknowledged once it is on disk. Texts are written as they come and are on disk a second later; one that
//! finds no room is dropped and counted, and holds up no prediction. When no label can come any more for the texts of
//! a file, those that have one go to a smaller file and the rest is deleted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::id;
use super::lines::{self, LogError, failed};
use super::record::{KEPT, Label, TEXTS, Text, labels_of, numbered};
use crate::store::{self, Lock};

/// Bytes of texts that may wait for the thread.
const MOST_WAITING: usize = 16 << 20;
/// Bytes after which the next file of texts is begun.
const SEGMENT: u64 = 16 << 20;
/// A file of texts has those of such a share of a label's time at most, so that its end comes.
const SHARE: u32 = 8;
/// The longest that a text waits for the disk.
const PAUSE: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(60);
/// Commands that are worked on together.
const TOGETHER: usize = 1024;

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

enum Command {
    Label(Box<Label>, Uuid, oneshot::Sender<Result<Taken, NotKept>>),
    Text(Text),
    Close(Sender<()>),
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
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    waiting: AtomicUsize,
    dropped: Counter,
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
        let mut writer = Writer::new(settings, Arc::clone(&shared));
        if writer.settings.folder.exists() {
            writer.open(each)?;
            writer.sweep();
        }
        let (sender, inbox) = channel();
        std::thread::Builder::new()
            .name("feedback".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(failed(Path::new("feedback")))?;
        Ok(Self { sender, shared })
    }

    /// Keeps a label: it is on disk when this ends.
    pub async fn label(&self, label: Label, uuid: [u8; 16]) -> Result<Taken, NotKept> {
        let (reply, taken) = oneshot::channel();
        let command = Command::Label(Box::new(label), Uuid::from_bytes(uuid), reply);
        self.sender.send(command).map_err(|_| NotKept::Unwritable)?;
        taken.await.unwrap_or(Err(NotKept::Unwritable))
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

fn weight(text: &Text) -> usize {
    128 + text.text.len() + text.pair.as_ref().map_or(0, String::len)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// A file of texts that is not written to any more.
struct Segment {
    path: PathBuf,
    number: u64,
    bytes: u64,
    /// The time of the newest prediction in it, at most.
    newest: u64,
}

/// The file that texts are added to.
struct Texts {
    lines: lines::Lines,
    number: u64,
    began: Instant,
}

/// What is open while there is a folder.
struct Open {
    labels: lines::Lines,
    texts: Option<Texts>,
    #[expect(dead_code, reason = "held")]
    lock: Lock,
}

struct Writer {
    settings: LogSettings,
    shared: Arc<Shared>,
    /// The class that each prediction got, for as long as a label may come.
    known: HashMap<Uuid, u32>,
    open: Option<Open>,
    segments: Vec<Segment>,
    /// The number of the next file of texts.
    next: u64,
    /// Bytes of files of texts that have a label.
    kept: u64,
    /// Texts were written that are not on disk yet.
    unsynced: bool,
}

impl Writer {
    fn new(settings: LogSettings, shared: Arc<Shared>) -> Self {
        let (known, segments) = (HashMap::new(), Vec::new());
        Self { settings, shared, known, open: None, segments, next: 1, kept: 0, unsynced: false }
    }

    fn open(&mut self, each: &mut dyn FnMut(Label)) -> Result<(), LogError> {
        let folder = self.settings.folder.clone();
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let lock = Lock::try_take(&folder.join("lock"))?;
        let lock = lock.ok_or_else(|| LogError::InUse(folder.clone()))?;
        let known = &mut self.known;
        let labels = lines::Lines::open(&labels_of(&folder), &mut |json| {
            let Ok(label) = serde_json::from_slice::<Label>(json) else { return };
            let Some(named) = id::trusted(&label.id) else { return };
            known.insert(Uuid::from_bytes(named.uuid), label.class);
            each(label);
        })?;
        self.segments.clear();
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        for (number, path) in numbered(&folder, TEXTS)? {
            let modified = std::fs::metadata(&path).and_then(|file| file.modified());
            let newest = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let newest = newest.map_or_else(now, |time| time.as_millis() as u64);
            self.segments.push(Segment { bytes: size(&path), path, number, newest });
        }
        let kept = numbered(&folder, KEPT)?;
        self.kept = kept.iter().map(|(_, path)| size(path)).sum();
        let numbers = kept.iter().map(|(number, _)| *number);
        let numbers = numbers.chain(self.segments.iter().map(|segment| segment.number));
        self.next = numbers.max().map_or(1, |last| last.saturating_add(1));
        self.open = Some(Open { labels, texts: None, lock });
        self.count();
        Ok(())
    }

    fn run(mut self, inbox: &Receiver<Command>) {
        let (mut synced, mut swept) = (Instant::now(), Instant::now());
        loop {
            let first = match inbox.recv_timeout(PAUSE) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.work(first.into_iter().chain(inbox.try_iter().take(TOGETHER)));
            if self.unsynced && synced.elapsed() >= PAUSE {
                self.sync_texts();
                synced = Instant::now();
            }
            if swept.elapsed() >= SWEEP {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    fn work(&mut self, commands: impl Iterator<Item = Command>) {
        let (mut labels, mut texts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for command in commands {
            match command {
                Command::Label(label, uuid, reply) => labels.push((label, uuid, reply)),
                Command::Text(text) => texts.push(text),
                Command::Close(done) => ends.push(done),
            }
        }
        if !texts.is_empty() {
            let bytes: usize = texts.iter().map(weight).sum();
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
            let count = texts.len() as u64;
            let lines: Vec<u8> = texts.iter().flat_map(lines::line).collect();
            if let Err(error) = self.add_texts(&lines) {
                self.shared.dropped.inc_by(count);
                told(&error);
            }
        }
        if !labels.is_empty() {
            self.add_labels(labels);
        }
        for done in ends {
            self.sync_texts();
            // Who asked may have gone.
            let _ = done.send(());
        }
        self.count();
    }

    #[expect(clippy::type_complexity, reason = "what a command holds")]
    fn add_labels(
        &mut self,
        labels: Vec<(Box<Label>, Uuid, oneshot::Sender<Result<Taken, NotKept>>)>,
    ) {
        let room = self.settings.most.saturating_sub(self.used());
        let (mut bytes, mut new, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        for (label, uuid, reply) in labels {
            let taken = match self.known.get(&uuid) {
                Some(&class) if class == label.class => Ok(Taken::Known),
                Some(_) => Ok(Taken::Other),
                None => {
                    let line = lines::line(&label);
                    if (bytes.len() + line.len()) as u64 > room {
                        Err(NotKept::Full)
                    } else {
                        bytes.extend(line);
                        self.known.insert(uuid, label.class);
                        new.push(uuid);
                        Ok(Taken::New)
                    }
                }
            };
            replies.push((reply, taken));
        }
        let written = if bytes.is_empty() { Ok(()) } else { self.keep(&bytes) };
        if let Err(error) = &written {
            told(error);
            new.iter().for_each(|uuid| {
                self.known.remove(uuid);
            });
        }
        for (reply, taken) in replies {
            // What was known may have been so by a line of this very batch.
            let taken = match (&written, taken) {
                (Err(_), Ok(_)) => Err(NotKept::Unwritable),
                (_, taken) => taken,
            };
            let _ = reply.send(taken);
        }
    }

    /// Writes labels through to the disk.
    fn keep(&mut self, lines: &[u8]) -> Result<(), LogError> {
        let labels = &mut self.opened()?.labels;
        labels.add(lines)?;
        labels.sync().inspect_err(|_| labels.take_back(lines.len() as u64))
    }

    fn opened(&mut self) -> Result<&mut Open, LogError> {
        if self.open.is_none() {
            self.open(&mut |_| ())?;
        }
        Ok(self.open.as_mut().expect("it was opened"))
    }

    fn add_texts(&mut self, lines: &[u8]) -> Result<(), LogError> {
        self.opened()?;
        while self.used() + lines.len() as u64 > self.settings.most {
            if !self.forget_oldest()? {
                let (folder, full) = (&self.settings.folder, std::io::ErrorKind::QuotaExceeded);
                return Err(failed(folder)(full.into()));
            }
        }
        let (number, folder) = (self.next, self.settings.folder.clone());
        let open = self.opened()?;
        if open.texts.is_none() {
            let path = folder.join(format!("{TEXTS}{number}.log"));
            let lines = lines::Lines::open(&path, &mut |_| ())?;
            open.texts = Some(Texts { lines, number, began: Instant::now() });
            self.next += 1;
        }
        let longest = self.settings.life / SHARE;
        let Some(texts) = self.open.as_mut().and_then(|open| open.texts.as_mut()) else {
            return Ok(());
        };
        texts.lines.add(lines)?;
        let full = texts.lines.length() >= SEGMENT || texts.began.elapsed() >= longest;
        self.unsynced = true;
        if full {
            self.end_segment();
        }
        Ok(())
    }

    /// The file that texts are added to becomes one of the others.
    fn end_segment(&mut self) {
        self.sync_texts();
        if let Some(texts) = self.open.as_mut().and_then(|open| open.texts.take()) {
            let Texts { lines, number, .. } = texts;
            let (path, bytes) = (lines.path().to_owned(), lines.length());
            self.segments.push(Segment { path, number, bytes, newest: now() });
        }
    }

    fn sync_texts(&mut self) {
        self.unsynced = false;
        let texts = self.open.as_ref().and_then(|open| open.texts.as_ref());
        if let Some(Err(error)) = texts.map(|texts| texts.lines.sync()) {
            told(&error);
        }
    }

    /// Forgets what no label can come for any more.
    fn sweep(&mut self) {
        let life = self.settings.life.as_millis() as u64;
        let ended = now().saturating_sub(life);
        while self.segments.first().is_some_and(|segment| segment.newest < ended) {
            if let Err(error) = self.forget_oldest() {
                told(&error);
                break;
            }
        }
        // They are asked for until the last file with texts of their time is gone.
        let ended = ended.saturating_sub(life + 10 * SWEEP.as_millis() as u64);
        self.known.retain(|uuid, _| id::time_of(*uuid.as_bytes()) >= ended);
        self.count();
    }

    /// Keeps of the oldest file of texts those that have a label; false if there is none.
    fn forget_oldest(&mut self) -> Result<bool, LogError> {
        if self.segments.is_empty() {
            self.end_segment();
        }
        let Some(segment) = self.segments.first() else { return Ok(false) };
        let mut kept = Vec::new();
        let known = &self.known;
        lines::read(&segment.path, &mut |json| {
            let Some((uuid, text)) = Text::read(json) else { return };
            if known.contains_key(&uuid) {
                kept.extend(lines::line(&text));
            }
        })?;
        if !kept.is_empty() {
            let name = format!("{KEPT}{}.log", segment.number);
            store::write_atomically(&self.settings.folder.join(name), &kept)?;
        }
        std::fs::remove_file(&segment.path).map_err(failed(&segment.path))?;
        self.kept += kept.len() as u64;
        self.segments.remove(0);
        Ok(true)
    }

    fn used(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| {
            open.labels.length() + open.texts.as_ref().map_or(0, |texts| texts.lines.length())
        });
        open + self.kept + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    fn count(&self) {
        self.shared.bytes.store(self.used(), Ordering::Release);
    }
}

/// Says why something was not kept.
fn told(error: &LogError) {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    tracing::error!("feedback: {}", causes.join(": "));
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
