//! The engine: one thread that takes batches from the scheduler and answers them.
//!
//! Requests hand in a [`Ticket`] and wait at the other end of its channel. A client that goes away
//! drops that end, which is all it takes to cancel. A panic while a batch is computed answers that
//! batch with an error and nothing more: prediction changes nothing, so there is no state to mend.
//! Should the thread itself end, it is started once more; then the server gives up.

mod encoded;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tokio::sync::oneshot;

use self::encoded::EncodedTexts;
use super::metrics::{Metrics, Stage};
use super::model::Loaded;
use super::problem::Problem;
use super::scheduler::{Batch, Class, Entry, Limits, Refusal, Scheduler, Time};
use crate::calibrate::Asked;
use crate::data::Encoded;
use crate::model::{Sampling, StillWanted};
use crate::predict::{Prediction, Reading, TrunkHash};

/// How often an idle engine shows that it lives.
const PULSE: Duration = Duration::from_millis(500);

/// A text with what is asked of it, and where its answer goes.
pub struct Ticket {
    /// The model that tokenised it, and that will read it.
    pub model: Arc<Loaded>,
    pub encoded: Encoded,
    pub asked: Asked,
    /// The place of the model among those of the server.
    pub lane: usize,
    /// Passes, where the posterior is one of passes and the answer rests on them.
    pub sampling: Option<Sampling>,
    pub reply: oneshot::Sender<Result<Answer, Problem>>,
}

/// The answer to each text of a batch.
type Answers = Vec<Result<Prediction, Problem>>;

/// A prediction with its times.
#[derive(Clone, Debug)]
pub struct Answer {
    pub prediction: Arc<Prediction>,
    /// Time spent in the queue.
    pub queue: Duration,
    /// Time spent in the model, with its whole batch.
    pub inference: Duration,
}

/// Whether the engine works for several models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    No,
    Yes,
    /// Some have the same encoder, and what it makes of texts is kept for the others.
    OneEncoder,
}

/// The engine as the rest of the server sees it.
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    scheduler: Mutex<Scheduler<Ticket>>,
    changed: Condvar,
    limits: Limits,
    batch_wait: Duration,
    encoded: EncodedTexts,
    /// Of the slowest model at the start.
    rate: f64,
    has_several: bool,
    metrics: Arc<Metrics>,
    began: Instant,
    /// Milliseconds since `began` at which the thread was last seen.
    pulse: AtomicU64,
    alive: AtomicBool,
    stopping: AtomicBool,
    /// Recent times at work: the end of each, and how long.
    busy: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Engine {
    /// Starts the thread. `rate` is the cost a second that the slowest model was measured to do, and `fatal` is called
    /// when the thread has ended twice.
    pub fn start(
        limits: Limits,
        batch_wait: Duration,
        rate: f64,
        several: Several,
        metrics: Arc<Metrics>,
        fatal: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            scheduler: Mutex::new(Scheduler::new(limits, rate)),
            changed: Condvar::new(),
            limits,
            batch_wait,
            encoded: EncodedTexts::new(several == Several::OneEncoder),
            rate,
            has_several: several != Several::No,
            metrics,
            began: Instant::now(),
            pulse: AtomicU64::new(0),
            alive: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            busy: Mutex::new(VecDeque::new()),
        });
        let for_thread = Arc::clone(&shared);
        let run = move || for_thread.twice(|| for_thread.work(), fatal);
        std::thread::Builder::new().name("engine".to_owned()).spawn(run)?;
        Ok(Self { shared })
    }

    /// Hands a ticket in.
    pub fn submit(
        &self,
        ticket: Ticket,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<(), Refusal> {
        let shared = &self.shared;
        let length = ticket.encoded.ids.len() as u32;
        let deadline = deadline.map(|deadline| deadline.saturating_duration_since(shared.began));
        let cost = shared.cost(&ticket);
        let entry = Entry { length, cost, deadline, class, lane: ticket.lane, item: ticket };
        shared.lock().admit(shared.now(), entry)?;
        shared.changed.notify_one();
        Ok(())
    }

    /// Says why a text for the model at that place would not be taken now, whatever it costs.
    pub fn expect(
        &self,
        lane: usize,
        class: Class,
        deadline: Option<Instant>,
    ) -> Result<(), Refusal> {
        let shared = &self.shared;
        let deadline = deadline.map(|deadline| deadline.saturating_duration_since(shared.began));
        shared.lock().expect(shared.now(), 0, lane, class, deadline)
    }

    pub fn waiting(&self, class: Class) -> usize {
        self.shared.lock().waiting(class)
    }

    /// How long the oldest entry has waited.
    pub fn oldest_age(&self) -> Duration {
        self.shared.lock().oldest_age(self.shared.now())
    }

    /// When the thread was last seen; `None` once it is gone for good. A thread that works on a
    /// batch is not seen meanwhile.
    pub fn last_seen(&self) -> Option<Duration> {
        let seen = Duration::from_millis(self.shared.pulse.load(Ordering::Acquire));
        self.shared.alive.load(Ordering::Acquire).then(|| self.shared.now().saturating_sub(seen))
    }

    /// The share of the last minute that the thread spent on batches.
    pub fn busy_ratio(&self) -> f64 {
        self.shared.busy_ratio()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Scheduler<Ticket>> {
        // The scheduler's own steps do not panic halfway through a change.
        self.scheduler.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    /// Works until the server stops. A panic that no batch owns begins the work once more; after a
    /// second one the server is told to give up.
    fn twice(&self, work: impl Fn(), fatal: impl FnOnce()) {
        let run = || catch_unwind(AssertUnwindSafe(&work));
        if run().is_ok() {
            return;
        }
        tracing::error!("the engine thread ended and is restarted once");
        self.metrics.engine_restarts.inc();
        if run().is_err() {
            self.alive.store(false, Ordering::Release);
            tracing::error!("the engine thread ended again");
            fatal();
        }
    }

    fn work(&self) {
        while let Some(batch) = self.next_batch() {
            // A batch of people who ask for no more than a batch is soon over.
            let yields = batch.cost > self.limits.budget
                || batch.entries.iter().all(|(entry, _)| entry.class == Class::Job);
            let began = Instant::now();
            let between = Mutex::new(Duration::ZERO);
            let pause = || {
                self.pulse.store(self.now().as_millis() as u64, Ordering::Release);
                if yields {
                    let began = Instant::now();
                    let others = self.lock().between(self.now(), |one| one.reply.is_closed());
                    self.perform(others, &|| ());
                    *between.lock().unwrap_or_else(std::sync::PoisonError::into_inner) +=
                        began.elapsed();
                }
            };
            let Some(cost) = self.perform(batch, &pause) else { continue };
            let took = began.elapsed();
            let own = *between.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.lock().finished(cost, took.saturating_sub(own));
            self.note_busy(took);
        }
    }

    /// Answers a batch; `pause` is called between its passes, where another batch may come. The cost of what was
    /// computed, which tells how fast that was: 0 if a part was given up because all its clients had gone. `None` if
    /// there was nothing to compute.
    fn perform(&self, batch: Batch<Ticket>, pause: &(dyn Fn() + Sync)) -> Option<u64> {
        for (problem, entries) in
            [(Problem::DeadlineExceeded, batch.expired), (Problem::Cancelled, batch.cancelled)]
        {
            for entry in entries {
                if matches!(problem, Problem::Cancelled) {
                    self.metrics.cancelled("queue");
                }
                let _ = entry.item.reply.send(Err(problem.clone()));
            }
        }
        if batch.entries.is_empty() {
            return None;
        }
        self.metrics.batch_items.observe(batch.entries.len() as f64);
        let tokens: u32 = batch.entries.iter().map(|(entry, _)| entry.length).sum();
        self.metrics.batch_tokens.observe(f64::from(tokens));
        Some(self.answer(batch.entries, pause))
    }

    /// Waits for work; `None` when the server stops.
    fn next_batch(&self) -> Option<Batch<Ticket>> {
        let mut scheduler = self.lock();
        loop {
            self.pulse.store(self.now().as_millis() as u64, Ordering::Release);
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            if scheduler.is_empty() {
                let waited = self.changed.wait_timeout(scheduler, PULSE);
                scheduler = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
                continue;
            }
            let age = scheduler.oldest_age(self.now());
            if age < self.batch_wait && scheduler.cost() < self.limits.budget {
                let waited = self.changed.wait_timeout(scheduler, self.batch_wait - age);
                scheduler = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
                continue;
            }
            return Some(scheduler.next(self.now(), |ticket| ticket.reply.is_closed()));
        }
    }

    /// Answers a batch, in groups that share encoder and passes.
    fn answer(&self, entries: Vec<(Entry<Ticket>, Duration)>, pause: &(dyn Fn() + Sync)) -> u64 {
        let (mut whole, mut cost) = (true, 0);
        let mut rest: Vec<(Ticket, Duration)> =
            entries.into_iter().map(|(entry, waited)| (entry.item, waited)).collect();
        while let Some((first, _)) = rest.first() {
            let (model, sampling) = (Arc::clone(&first.model), first.sampling);
            let same = |(ticket, _): &(Ticket, Duration)| {
                let shared = model.trunk.is_some() && ticket.model.trunk == model.trunk;
                let same = shared || Arc::ptr_eq(&ticket.model, &model);
                same && ticket.sampling == sampling
            };
            let (group, others) = rest.into_iter().partition(same);
            let computed = self.answer_of(&model, sampling, group, pause);
            whole &= computed.is_some();
            cost += computed.unwrap_or_default();
            rest = others;
        }
        if whole { cost } else { 0 }
    }

    fn answer_of(
        &self,
        model: &Loaded,
        sampling: Option<Sampling>,
        tickets: Vec<(Ticket, Duration)>,
        pause: &(dyn Fn() + Sync),
    ) -> Option<u64> {
        let began = Instant::now();
        let wanted = || {
            pause();
            !tickets.iter().all(|(ticket, _)| ticket.reply.is_closed())
        };
        let read = || match &model.trunk {
            Some(trunk) => self.read_shared(trunk, sampling, &tickets, &wanted),
            None => read(model, sampling, &tickets, &wanted).map(|answers| {
                let cost = |(ticket, _): &(Ticket, Duration)| self.cost(ticket);
                (answers, tickets.iter().map(cost).sum())
            }),
        };
        let outcome = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            self.metrics.engine_panics.inc();
            tracing::error!("a panic while a batch was computed");
            Err(Problem::Internal)
        });
        let inference = began.elapsed();
        let given_up = matches!(outcome, Err(Problem::Cancelled));
        self.metrics.stage(Stage::Inference, inference);
        let (answers, cost): (Answers, u64) = match outcome {
            Ok(answers) => answers,
            Err(problem) => (tickets.iter().map(|_| Err(problem.clone())).collect(), 0),
        };
        for ((ticket, queue), answer) in tickets.into_iter().zip(answers) {
            self.metrics.stage(Stage::Queue, queue);
            let answer = answer.map(|prediction| Answer {
                prediction: Arc::new(prediction),
                queue,
                inference,
            });
            if ticket.reply.send(answer).is_err() {
                self.metrics.cancelled("inference");
            }
        }
        (!given_up).then_some(cost)
    }

    /// The same for models with one encoder, which only texts cost that it has not read a little while ago.
    fn read_shared(
        &self,
        trunk: &TrunkHash,
        sampling: Option<Sampling>,
        tickets: &[(Ticket, Duration)],
        wanted: StillWanted<'_>,
    ) -> Result<(Answers, u64), Problem> {
        let all: Vec<&Ticket> = tickets.iter().map(|(ticket, _)| ticket).collect();
        let (answers, read) = self.encoded.read(trunk, sampling, &all, wanted)?;
        self.metrics.encoder_read(read.len(), all.len() - read.len());
        Ok((answers, read.into_iter().map(|ticket| self.cost(ticket)).sum()))
    }

    /// What a ticket costs: tokens of a pass of the slowest model there was at first, since the rate is one of all.
    fn cost(&self, ticket: &Ticket) -> u64 {
        let Ticket { model, encoded, sampling, .. } = ticket;
        let cost = model.cost(encoded.ids.len() as u32, *sampling);
        match self.has_several {
            false => cost,
            true => (cost as f64 * self.rate / model.rate.max(1e-9)).ceil() as u64,
        }
    }

    fn note_busy(&self, took: Duration) {
        let mut busy = self.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        busy.push_back((Instant::now(), took));
        forget_old(&mut busy);
    }

    fn busy_ratio(&self) -> f64 {
        let mut busy = self.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        forget_old(&mut busy);
        let worked: Duration = busy.iter().map(|(_, took)| *took).sum();
        (worked.as_secs_f64() / MINUTE.min(self.now()).as_secs_f64().max(1e-3)).min(1.0)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn forget_old(busy: &mut VecDeque<(Instant, Duration)>) {
    while busy.front().is_some_and(|(end, _)| end.elapsed() > MINUTE) {
        busy.pop_front();
    }
}

/// The passes, and what was asked of each text. Logits that are no numbers spoil only their own. Once
/// all clients have gone, the passes that are left are not made.
fn read(
    model: &Loaded,
    sampling: Option<Sampling>,
    tickets: &[(Ticket, Duration)],
    wanted: StillWanted<'_>,
) -> Result<Answers, Problem> {
    let batch: Vec<&Encoded> = tickets.iter().map(|(ticket, _)| &ticket.encoded).collect();
    let readings = model.predictor.read(&batch, sampling, wanted).map_err(|error| {
        tracing::error!("the model failed: {error}");
        Problem::Internal
    })?;
    let readings = readings.ok_or(Problem::Cancelled)?;
    Ok(answered(model, readings, tickets.iter().map(|(ticket, _)| ticket)))
}

/// What was asked of each text.
fn answered<'a>(
    model: &Loaded,
    readings: Vec<Reading>,
    tickets: impl Iterator<Item = &'a Ticket>,
) -> Answers {
    let tickets: Vec<&Ticket> = tickets.collect();
    let both = readings.into_par_iter().zip(tickets);
    let answer = |(reading, ticket): (_, &Ticket)| {
        let answer = model.predictor.answer(&ticket.encoded, reading, &ticket.asked);
        answer.ok_or(Problem::ModelOutput)
    };
    both.map(answer).collect()
}

#[cfg(test)]
mod tests;
