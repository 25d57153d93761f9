//! Which texts share the next pass: a pure structure with a clock that the caller turns.
//!
//! A batch is packed, so its cost is its tokens, and it closes at a budget of cost rather than at a
//! number of texts. The oldest entry leads; its companions are those nearest to it in length, from a
//! window of a few budgets. An entry that younger ones have overtaken too often leads the next batch,
//! so nobody starves. An entry whose deadline has passed, or whose client has gone, is handed back
//! instead of being computed. Whoever cannot be served in time is refused at the door.

use std::collections::VecDeque;
use std::time::Duration;

/// Time since the scheduler began.
pub type Time = Duration;

/// How many budgets of entries are looked at for companions.
const WINDOW: u64 = 8;

/// How much the newest batch counts in the measured rate.
const RATE_GAIN: f64 = 0.2;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A person or a program, at the other end of a connection.
    Interactive,
    /// A job, which may take its time.
    Job,
}

impl Class {
    /// How often younger entries may be taken first: jobs yield more often, but not for ever.
    fn patience(self) -> u8 {
        match self {
            Self::Interactive => 2,
            Self::Job => 8,
        }
    }
}

/// What the scheduler may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most cost of a batch; one entry alone may exceed it.
    pub budget: u64,
    /// The most entries of a batch.
    pub batch_items: usize,
    /// The most entries of a lane and a class that wait.
    pub queue_items: usize,
}

/// A text on its way to the model.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    pub length: u32,
    pub cost: u64,
    /// When an answer is of no more use; `None` for never.
    pub deadline: Option<Time>,
    pub class: Class,
    /// The place of its model among those of the server.
    pub lane: usize,
    pub item: T,
}

/// Why an entry was not taken, with the wait until it might be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait already.
    Full(Duration),
    /// It could not be answered before its deadline.
    TooLate(Duration),
}

/// What leaves the queue together.
#[derive(Debug)]
pub struct Batch<T> {
    /// To be computed, with the time each has waited.
    pub entries: Vec<(Entry<T>, Duration)>,
    pub cost: u64,
    /// The deadline has passed.
    pub expired: Vec<Entry<T>>,
    /// Nobody waits any more.
    pub cancelled: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    entry: Entry<T>,
    since: Time,
    overtaken: u8,
}

/// The queue of one engine.
#[derive(Debug)]
pub struct Scheduler<T> {
    limits: Limits,
    waiting: VecDeque<Waiting<T>>,
    /// Cost a second, measured.
    rate: f64,
    /// What is being computed: its cost, and since when.
    running: Option<(u64, Time)>,
}

impl<T> Scheduler<T> {
    /// Nothing waits; `rate` is the cost that the engine does in a second, as first measured.
    pub fn new(limits: Limits, rate: f64) -> Self {
        Self { limits, waiting: VecDeque::new(), rate, running: None }
    }

    /// Entries that wait, of one class.
    pub fn waiting(&self, class: Class) -> usize {
        self.waiting.iter().filter(|waiting| waiting.entry.class == class).count()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The cost of all that waits.
    pub fn cost(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.entry.cost).sum()
    }

    /// How long the oldest entry has waited.
    pub fn oldest_age(&self, now: Time) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest.since))
    }

    /// How long an entry that comes now will wait until it is answered. One that fits into a batch waits
    /// for no more than a batch's worth of each that does not, since it comes between their passes.
    pub fn predicted_wait(&self, now: Time, cost: u64, class: Class) -> Duration {
        let light = class == Class::Interactive && cost <= self.limits.budget;
        let most = if light { self.limits.budget } else { u64::MAX };
        let ahead: u64 = self
            .waiting
            .iter()
            .filter(|waiting| class == Class::Job || waiting.entry.class == Class::Interactive)
            .map(|waiting| waiting.entry.cost.min(most))
            .sum();
        let running = self.running.map_or(0.0, |(cost, since)| {
            let left = cost as f64 / self.rate - now.saturating_sub(since).as_secs_f64();
            left.clamp(0.0, most as f64 / self.rate)
        });
        Duration::from_secs_f64((ahead + cost) as f64 / self.rate + running)
    }

    /// Takes an entry, or says why not. Jobs have room of their own: they never fill the queue for
    /// those who wait at a connection. So has each model: many requests for one do not refuse those for another.
    pub fn admit(&mut self, now: Time, entry: Entry<T>) -> Result<(), Refusal> {
        self.expect(now, entry.cost, entry.lane, entry.class, entry.deadline)?;
        self.waiting.push_back(Waiting { entry, since: now, overtaken: 0 });
        Ok(())
    }

    /// Says why an entry of that cost would not be taken now.
    pub fn expect(
        &self,
        now: Time,
        cost: u64,
        lane: usize,
        class: Class,
        deadline: Option<Time>,
    ) -> Result<(), Refusal> {
        let wait = self.predicted_wait(now, cost, class);
        let own = |one: &&Waiting<T>| (one.entry.lane, one.entry.class) == (lane, class);
        if self.waiting.iter().filter(own).count() >= self.limits.queue_items {
            return Err(Refusal::Full(wait));
        }
        match deadline {
            Some(deadline) if now + wait > deadline => Err(Refusal::TooLate(wait)),
            _ => Ok(()),
        }
    }

    /// The next batch; `gone` tells whose client has left. No entries if nothing is to be computed.
    pub fn next(&mut self, now: Time, gone: impl Fn(&T) -> bool) -> Batch<T> {
        let batch = self.take(now, gone, &|_| true);
        if !batch.entries.is_empty() {
            self.running = Some((batch.cost, now));
        }
        batch
    }

    /// A batch that comes between the passes of another: people who ask for no more than a batch.
    pub fn between(&mut self, now: Time, gone: impl Fn(&T) -> bool) -> Batch<T> {
        let budget = self.limits.budget;
        self.take(now, gone, &|one| one.class == Class::Interactive && one.cost <= budget)
    }

    fn take(
        &mut self,
        now: Time,
        gone: impl Fn(&T) -> bool,
        allowed: &dyn Fn(&Entry<T>) -> bool,
    ) -> Batch<T> {
        let mut batch =
            Batch { entries: Vec::new(), cost: 0, expired: Vec::new(), cancelled: Vec::new() };
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in self.waiting.drain(..) {
            if gone(&waiting.entry.item) {
                batch.cancelled.push(waiting.entry);
            } else if waiting.entry.deadline.is_some_and(|deadline| deadline <= now) {
                batch.expired.push(waiting.entry);
            } else {
                kept.push_back(waiting);
            }
        }
        self.waiting = kept;
        let taken = self.choose(allowed);
        let Some(&youngest) = taken.iter().max() else { return batch };
        let mut chosen = vec![false; self.waiting.len()];
        taken.iter().for_each(|&place| chosen[place] = true);
        let waiting = std::mem::take(&mut self.waiting);
        for (place, mut one) in waiting.into_iter().enumerate() {
            if chosen[place] {
                batch.cost += one.entry.cost;
                batch.entries.push((one.entry, now.saturating_sub(one.since)));
            } else {
                one.overtaken = one.overtaken.saturating_add(u8::from(place < youngest));
                self.waiting.push_back(one);
            }
        }
        batch
    }

    /// Places of the entries that go next.
    fn choose(&self, allowed: &dyn Fn(&Entry<T>) -> bool) -> Vec<usize> {
        let due = |one: &Waiting<T>| one.overtaken >= one.entry.class.patience();
        let interactive = |one: &Waiting<T>| one.entry.class == Class::Interactive;
        let first = |test: &dyn Fn(&Waiting<T>) -> bool| {
            self.waiting.iter().position(|one| allowed(&one.entry) && test(one))
        };
        let lead = first(&due).or_else(|| first(&interactive)).or_else(|| first(&|_| true));
        let Some(lead) = lead else { return vec![] };
        let Entry { length, mut cost, .. } = self.waiting[lead].entry;
        let mut seen = 0;
        let in_window = |place: &usize| {
            seen += self.waiting[*place].entry.cost;
            seen <= WINDOW * self.limits.budget
        };
        let mut others: Vec<usize> = (0..self.waiting.len()).take_while(in_window).collect();
        others.retain(|&place| place != lead && allowed(&self.waiting[place].entry));
        // Those that are due come first, then people before jobs, then the nearest in length, then
        // the oldest.
        others.sort_by_key(|&place| {
            let one = &self.waiting[place];
            (!due(one), !interactive(one), one.entry.length.abs_diff(length), place)
        });
        let mut taken = vec![lead];
        for place in others {
            let more = self.waiting[place].entry.cost;
            if taken.len() < self.limits.batch_items && cost + more <= self.limits.budget {
                cost += more;
                taken.push(place);
            }
        }
        taken
    }

    /// A batch of that cost took so long.
    pub fn finished(&mut self, cost: u64, took: Duration) {
        self.running = None;
        if cost > 0 && !took.is_zero() {
            let measured = cost as f64 / took.as_secs_f64();
            self.rate += RATE_GAIN * (measured - self.rate);
        }
    }
}

#[cfg(test)]
mod tests;
