//! The thread that writes: see [`super::log`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::id;
use super::lines::{self, LogError, failed};
use super::log::{LogSettings, NotKept, Taken};
use super::record::{KEPT, Label, Rank, TEXTS, Text, labels_of, numbered};
use crate::store::{self, Lock};

/// Bytes after which the next file of texts is begun.
const SEGMENT: u64 = 16 << 20;
/// A file of texts has those of such a share of a label's time at most, so that its end comes.
const SHARE: u32 = 8;
/// The longest that a text waits for the disk.
const PAUSE: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(60);
/// Commands that are worked on together.
const TOGETHER: usize = 1024;

/// A label to be kept.
pub struct Offered {
    pub label: Box<Label>,
    pub uuid: Uuid,
    /// It takes the place of another one that came later.
    pub overrules: bool,
    /// Where it is told what became of it.
    pub reply: Reply,
}

type Reply = oneshot::Sender<Result<Taken, NotKept>>;

/// What the thread is told.
pub enum Command {
    Label(Offered),
    Text(Text),
    Close(Sender<()>),
}

/// What both sides see.
#[derive(Default)]
pub struct Shared {
    /// Of all files.
    pub bytes: AtomicU64,
    /// Bytes of texts that wait for the thread.
    pub waiting: AtomicUsize,
    /// Texts that were not kept.
    pub dropped: Counter,
    /// The label that each prediction got, for as long as one may come.
    pub known: Mutex<HashMap<Uuid, Rank>>,
}

impl Shared {
    pub fn known(&self) -> MutexGuard<'_, HashMap<Uuid, Rank>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a text takes while it waits.
pub fn weight(text: &Text) -> usize {
    128 + text.text.len() + text.pair.as_ref().map_or(0, String::len)
}

pub fn now() -> u64 {
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

/// All that is kept, and what is known of it.
pub struct Writer {
    settings: LogSettings,
    shared: Arc<Shared>,
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
    pub fn new(settings: LogSettings, shared: Arc<Shared>) -> Self {
        let segments = Vec::new();
        Self { settings, shared, open: None, segments, next: 1, kept: 0, unsynced: false }
    }

    /// Opens the folder, if it is there; `each` is told its labels, in order.
    pub fn begin(&mut self, each: &mut dyn FnMut(Label)) -> Result<(), LogError> {
        if self.settings.folder.exists() {
            self.open(each)?;
            self.sweep();
        }
        Ok(())
    }

    fn open(&mut self, each: &mut dyn FnMut(Label)) -> Result<(), LogError> {
        let folder = self.settings.folder.clone();
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let lock = Lock::try_take(&folder.join("lock"))?;
        let lock = lock.ok_or_else(|| LogError::InUse(folder.clone()))?;
        let shared = Arc::clone(&self.shared);
        let labels = lines::Lines::open(&labels_of(&folder), &mut |json| {
            let Ok(label) = serde_json::from_slice::<Label>(json) else { return };
            let Some(named) = id::trusted(&label.id) else { return };
            let rank = label.rank();
            let mut known = shared.known();
            let own = known.entry(Uuid::from_bytes(named.uuid)).or_insert(rank);
            *own = rank.min(*own);
            drop(known);
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

    /// Until nobody can tell it anything any more.
    pub fn run(mut self, inbox: &Receiver<Command>) {
        let (mut synced, mut swept) = (Instant::now(), Instant::now());
        let every = SWEEP.min(self.settings.life / SHARE);
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
            if swept.elapsed() >= every {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    fn work(&mut self, commands: impl Iterator<Item = Command>) {
        let (mut labels, mut texts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for command in commands {
            match command {
                Command::Label(offered) => labels.push(offered),
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
            let _ = done.send(());
        }
        self.count();
    }

    fn add_labels(&mut self, labels: Vec<Offered>) {
        let (mut bytes, mut new, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        let shared = Arc::clone(&self.shared);
        let mut known = shared.known();
        for Offered { label, uuid, overrules, reply } in labels {
            let own = known.get(&uuid).copied();
            let taken = match own {
                Some((_, class)) if class == label.class => Taken::Known,
                Some(own) if !overrules || own < label.rank() => Taken::Other,
                _ => {
                    bytes.extend(lines::line(&label));
                    // From here on, so that its text stays if room has to be made.
                    known.insert(uuid, label.rank());
                    new.push((uuid, own));
                    Taken::New
                }
            };
            replies.push((reply, uuid, taken));
        }
        drop(known);
        let written = if bytes.is_empty() { Ok(()) } else { self.keep(&bytes) };
        if written.is_err() {
            let mut known = shared.known();
            for (uuid, own) in new.iter().rev() {
                match own {
                    Some(own) => known.insert(*uuid, *own),
                    None => known.remove(uuid),
                };
            }
        }
        for (reply, uuid, taken) in replies {
            // What was known may have been so by a line of this very batch.
            let taken = match written {
                Err(why) if new.iter().any(|(other, _)| *other == uuid) => Err(why),
                _ => Ok(taken),
            };
            // Who asked may have gone.
            let _ = reply.send(taken);
        }
    }

    /// Writes labels through to the disk.
    fn keep(&mut self, lines: &[u8]) -> Result<(), NotKept> {
        let unwritable = |error: LogError| {
            told(&error);
            NotKept::Unwritable
        };
        if !self.make_room(lines.len()).map_err(unwritable)? {
            return Err(NotKept::Full);
        }
        let labels = &mut self.opened().map_err(unwritable)?.labels;
        let synced = labels
            .add(lines)
            .and_then(|()| labels.sync().inspect_err(|_| labels.take_back(lines.len() as u64)));
        synced.map_err(unwritable)
    }

    /// Forgets texts until there is room for so many bytes; false if there is none.
    fn make_room(&mut self, bytes: usize) -> Result<bool, LogError> {
        while self.used() + bytes as u64 > self.settings.most {
            if !self.forget_oldest()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn opened(&mut self) -> Result<&mut Open, LogError> {
        if self.open.is_none() {
            self.open(&mut |_| ())?;
        }
        Ok(self.open.as_mut().expect("it was opened"))
    }

    fn add_texts(&mut self, lines: &[u8]) -> Result<(), LogError> {
        self.opened()?;
        if !self.make_room(lines.len())? {
            let (folder, full) = (&self.settings.folder, std::io::ErrorKind::QuotaExceeded);
            return Err(failed(folder)(full.into()));
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
        // Where no text comes any more, nobody else ends the file.
        let longest = self.settings.life / SHARE;
        let texts = self.open.as_ref().and_then(|open| open.texts.as_ref());
        if texts.is_some_and(|texts| texts.began.elapsed() >= longest) {
            self.end_segment();
        }
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
        self.shared.known().retain(|uuid, _| id::time_of(*uuid.as_bytes()) >= ended);
        self.count();
    }

    /// Keeps of the oldest file of texts those that have a label; false if there is none.
    fn forget_oldest(&mut self) -> Result<bool, LogError> {
        if self.segments.is_empty() {
            self.end_segment();
        }
        let Some(segment) = self.segments.first() else { return Ok(false) };
        let mut kept = Vec::new();
        let shared = &self.shared;
        lines::read(&segment.path, &mut |json| {
            let Some((uuid, text)) = Text::read(json) else { return };
            if shared.known().contains_key(&uuid) {
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
