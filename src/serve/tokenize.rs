//! Texts on their way to tokens: a queue with bounds, which knows who still waits.
//!
//! A thread takes what is most urgent when it gets to it, and leaves out texts whose client has gone or
//! whose time is over. How long it will take is known from what was measured, so that whoever would
//! come too late is told at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::metrics::Metrics;
use super::model::Loaded;
use super::problem::Problem;
use super::request::Sent;
use super::scheduler::{Class, Refusal};
use crate::data::Encoded;

/// Bytes of the texts of one class that may wait.
const MOST_BYTES: usize = 16 << 20;
/// Bytes that a text takes beside its own.
const ENTRY: usize = 256;
/// Bytes a second of one thread, until that is measured.
const FIRST_RATE: f64 = 500e3;
/// How much of what was measured before counts beside the newest text.
const MEMORY: f64 = 0.95;

/// A text that is to be tokenised.
pub struct Ask {
    pub model: Arc<Loaded>,
    pub sent: Sent,
    pub class: Class,
    /// When its tokens are of no more use.
    pub deadline: Option<Instant>,
}

/// The threads and their queue.
pub struct Tokenizers {
    pool: rayon::ThreadPool,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    threads: f64,
    metrics: Arc<Metrics>,
}

struct Queue {
    interactive: VecDeque<Waiting>,
    jobs: VecDeque<Waiting>,
    /// Bytes of each class that wait or are being read.
    bytes: [usize; 2],
    /// Bytes and seconds that were measured, the newest most.
    measured: (f64, f64),
}

struct Waiting {
    ask: Ask,
    bytes: usize,
    reply: oneshot::Sender<Result<Encoded, Problem>>,
}

impl Tokenizers {
    /// Starts so many threads.
    pub fn new(threads: usize, metrics: Arc<Metrics>) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("tokenize-{index}"))
            .build()?;
        let queue = Queue {
            interactive: VecDeque::new(),
            jobs: VecDeque::new(),
            bytes: [0; 2],
            measured: (FIRST_RATE, 1.0),
        };
        let threads = threads as f64;
        Ok(Self { pool, shared: Arc::new(Shared { queue: Mutex::new(queue), threads, metrics }) })
    }

    /// The tokens of a text, later; or why it is not even taken.
    pub fn submit(&self, ask: Ask) -> Result<oneshot::Receiver<Result<Encoded, Problem>>, Refusal> {
        let bytes = ask.sent.bytes() + ENTRY;
        let mut queue = self.shared.lock();
        let wait = queue.wait(bytes, ask.class, self.shared.threads);
        let place = ask.class as usize;
        if queue.bytes[place] + bytes > MOST_BYTES && queue.bytes[place] > 0 {
            return Err(Refusal::Full(wait));
        }
        if ask.deadline.is_some_and(|deadline| Instant::now() + wait > deadline) {
            return Err(Refusal::TooLate(wait));
        }
        queue.bytes[place] += bytes;
        let (reply, encoded) = oneshot::channel();
        let waiting = Waiting { ask, bytes, reply };
        match waiting.ask.class {
            Class::Interactive => queue.interactive.push_back(waiting),
            Class::Job => queue.jobs.push_back(waiting),
        }
        drop(queue);
        let shared = Arc::clone(&self.shared);
        self.pool.spawn(move || shared.one());
        Ok(encoded)
    }
}

impl Queue {
    /// How long a text that comes now will take.
    fn wait(&self, bytes: usize, class: Class, threads: f64) -> Duration {
        let ahead = match class {
            Class::Interactive => self.bytes[Class::Interactive as usize],
            Class::Job => self.bytes.iter().sum(),
        };
        let (measured, seconds) = self.measured;
        // One text is read by one thread.
        let share = ahead as f64 / threads + bytes as f64;
        Duration::from_secs_f64(share * seconds / measured.max(1.0))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is most urgent: there is one call for each text.
    fn one(&self) {
        let mut queue = self.lock();
        let next = queue.interactive.pop_front().or_else(|| queue.jobs.pop_front());
        drop(queue);
        let Some(Waiting { ask, bytes, reply }) = next else { return };
        let began = Instant::now();
        let (encoded, read) = if reply.is_closed() {
            self.metrics.cancelled("tokenize");
            (Err(Problem::Cancelled), false)
        } else if ask.deadline.is_some_and(|deadline| deadline <= began) {
            (Err(Problem::DeadlineExceeded), false)
        } else {
            (encode(&ask), true)
        };
        let mut queue = self.lock();
        queue.bytes[ask.class as usize] -= bytes;
        if read {
            let (all, seconds) = queue.measured;
            let took = began.elapsed().as_secs_f64();
            queue.measured = (MEMORY * all + bytes as f64, MEMORY * seconds + took);
        }
        drop(queue);
        // The client may have gone.
        let _ = reply.send(encoded);
    }
}

fn encode(ask: &Ask) -> Result<Encoded, Problem> {
    let text = (&*ask.sent.text, ask.sent.pair.as_deref());
    let encode = || ask.model.predictor.encode(&[text]).map(|mut all| all.pop());
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(Ok(Some(encoded))) if !encoded.ids.is_empty() => Ok(encoded),
        Ok(Err(error)) => {
            tracing::error!("the tokenizer failed: {error}");
            Err(Problem::Internal)
        }
        Ok(Ok(_)) | Err(_) => Err(Problem::Internal),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::serve::model::Place;

    fn model() -> Arc<Loaded> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
        Arc::new(Loaded::load(&Place::alone(&folder), &[]).unwrap())
    }

    fn ask(model: &Arc<Loaded>, text: &str, class: Class, deadline: Option<Instant>) -> Ask {
        let sent = Sent { text: text.into(), pair: None };
        Ask { model: Arc::clone(model), sent, class, deadline }
    }

    /// Threads that are busy until the sender is dropped.
    fn held(tokenizers: &Tokenizers) -> std::sync::mpsc::Sender<()> {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        tokenizers.pool.spawn(move || {
            let _ = receiver.recv();
        });
        sender
    }

    #[test]
    fn what_nobody_waits_for_is_not_read_and_what_is_urgent_comes_first() {
        let (model, metrics) = (model(), Arc::new(Metrics::new()));
        let tokenizers = Tokenizers::new(1, Arc::clone(&metrics)).unwrap();
        let busy = held(&tokenizers);
        let submit = |text: &str, class, deadline| {
            tokenizers.submit(ask(&model, text, class, deadline)).unwrap()
        };
        let job = submit("a job", Class::Job, None);
        for _ in 0..5 {
            drop(submit("a client that goes", Class::Interactive, None));
        }
        let late = Instant::now() + Duration::from_millis(50);
        let late = submit("too late", Class::Interactive, Some(late));
        let urgent = submit("a film", Class::Interactive, None);
        std::thread::sleep(Duration::from_millis(100));
        drop(busy);
        assert!(urgent.blocking_recv().unwrap().is_ok());
        assert_eq!(late.blocking_recv().unwrap().unwrap_err(), Problem::DeadlineExceeded);
        assert!(job.blocking_recv().unwrap().is_ok());
        assert_eq!(metrics.cancelled_so_far("tokenize"), 5);
        assert_eq!(tokenizers.shared.lock().bytes, [0, 0]);
    }

    #[test]
    fn very_many_short_texts_find_no_room() {
        let (model, metrics) = (model(), Arc::new(Metrics::new()));
        let tokenizers = Tokenizers::new(1, metrics).unwrap();
        let busy = held(&tokenizers);
        let most = MOST_BYTES / ENTRY;
        let submit = || tokenizers.submit(ask(&model, "a", Class::Interactive, None));
        let waiting: Vec<_> = (0..most).map_while(|_| submit().ok()).collect();
        assert!((1..most).contains(&waiting.len()), "{}", waiting.len());
        drop((waiting, busy));
    }

    #[test]
    fn who_would_come_too_late_or_finds_no_room_is_told_at_once() {
        let (model, metrics) = (model(), Arc::new(Metrics::new()));
        let tokenizers = Tokenizers::new(1, metrics).unwrap();
        let busy = held(&tokenizers);
        let long = "film ".repeat(1 << 18);
        let submit = |class, deadline| tokenizers.submit(ask(&model, &long, class, deadline));
        let second = Some(Instant::now() + Duration::from_secs(1));
        assert!(matches!(submit(Class::Interactive, second), Err(Refusal::TooLate(_))));
        let waiting: Vec<_> = (0..12).map(|_| submit(Class::Interactive, None).unwrap()).collect();
        assert!(matches!(submit(Class::Interactive, None), Err(Refusal::Full(_))));
        let jobs = submit(Class::Job, None).unwrap();
        drop((waiting, jobs, busy));
    }
}
