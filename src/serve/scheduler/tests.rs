use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { budget: 100, batch_items: 8, queue_items: 64 };

/// 100 of cost a second.
fn scheduler() -> Scheduler<usize> {
    Scheduler::new(LIMITS, 100.0)
}

fn entry(length: u32, class: Class, item: usize) -> Entry<usize> {
    Entry { length, cost: u64::from(length), deadline: None, class, lane: 0, item }
}

fn items(batch: &Batch<usize>) -> Vec<usize> {
    batch.entries.iter().map(|(entry, _)| entry.item).collect()
}

fn seconds(seconds: f64) -> Time {
    Duration::from_secs_f64(seconds)
}

#[test]
fn between_passes_come_people_who_ask_for_no_more_than_a_batch() {
    let mut queue = scheduler();
    let heavy = Entry { cost: 5000, ..entry(10, Class::Interactive, 1) };
    for one in [entry(10, Class::Job, 0), heavy, entry(10, Class::Interactive, 2)] {
        queue.admit(Time::ZERO, one).unwrap();
    }
    assert_eq!(items(&queue.between(Time::ZERO, |_| false)), [2]);
    assert!(queue.between(Time::ZERO, |_| false).entries.is_empty());
    // One that fits into a batch waits for a batch's worth of what does not.
    let wait = queue.predicted_wait(Time::ZERO, 100, Class::Interactive);
    assert_eq!(wait, seconds(2.0));
    assert_eq!(queue.predicted_wait(Time::ZERO, 200, Class::Interactive), seconds(52.0));
    assert_eq!(items(&queue.next(Time::ZERO, |_| false)), [1]);
    assert_eq!(queue.predicted_wait(Time::ZERO, 100, Class::Interactive), seconds(2.0));
}

#[test]
fn the_oldest_leads_and_the_nearest_in_length_come_along() {
    let mut queue = scheduler();
    for (item, length) in [40, 90, 10, 41, 12].into_iter().enumerate() {
        queue.admit(Time::ZERO, entry(length, Class::Interactive, item)).unwrap();
    }
    // 40, then 41, then 12 (28 away) before 10 (30 away); 90 does not fit.
    let batch = queue.next(seconds(0.5), |_| false);
    assert_eq!((items(&batch), batch.cost), (vec![0, 3, 4], 93));
    assert_eq!(batch.entries[0].1, seconds(0.5));
    // Both that were left have been overtaken, and the older of them leads.
    let batch = queue.next(seconds(0.5), |_| false);
    assert_eq!((items(&batch), batch.cost), (vec![1, 2], 100));
}

#[test]
fn an_entry_above_the_budget_goes_alone() {
    let mut queue = scheduler();
    queue.admit(Time::ZERO, entry(500, Class::Interactive, 0)).unwrap();
    queue.admit(Time::ZERO, entry(1, Class::Interactive, 1)).unwrap();
    assert_eq!(items(&queue.next(Time::ZERO, |_| false)), [0]);
    assert_eq!(items(&queue.next(Time::ZERO, |_| false)), [1]);
}

#[test]
fn jobs_yield_to_people_but_not_for_ever() {
    let mut queue = scheduler();
    queue.admit(Time::ZERO, entry(100, Class::Job, 1000)).unwrap();
    for round in 0..8 {
        queue.admit(Time::ZERO, entry(100, Class::Interactive, round)).unwrap();
        assert_eq!(items(&queue.next(Time::ZERO, |_| false)), [round]);
    }
    queue.admit(Time::ZERO, entry(100, Class::Interactive, 9)).unwrap();
    assert_eq!(items(&queue.next(Time::ZERO, |_| false)), [1000]);
}

#[test]
fn who_cannot_be_served_in_time_is_refused_with_the_wait() {
    let mut queue = scheduler();
    queue.admit(Time::ZERO, entry(100, Class::Interactive, 0)).unwrap();
    // Two seconds of work: one that waits, and the entry's own.
    let late = Entry { deadline: Some(seconds(1.9)), ..entry(100, Class::Interactive, 1) };
    assert_eq!(queue.admit(Time::ZERO, late.clone()), Err(Refusal::TooLate(seconds(2.0))));
    let in_time = Entry { deadline: Some(seconds(2.1)), ..late };
    assert_eq!(queue.admit(Time::ZERO, in_time), Ok(()));
    // Work that runs counts with what is left of it.
    queue.next(Time::ZERO, |_| false);
    assert_eq!(queue.predicted_wait(seconds(0.25), 50, Class::Interactive), seconds(2.25));
    // Twice as fast as thought.
    queue.finished(100, seconds(0.5));
    assert_eq!(queue.predicted_wait(seconds(0.5), 20, Class::Interactive), seconds(1.0));
}

#[test]
fn a_full_queue_refuses_and_jobs_do_not_fill_it() {
    let mut queue = scheduler();
    for item in 0..LIMITS.queue_items {
        queue.admit(Time::ZERO, entry(1, Class::Job, item)).unwrap();
    }
    let refused = queue.admit(Time::ZERO, entry(1, Class::Job, 99));
    assert!(matches!(refused, Err(Refusal::Full(_))), "{refused:?}");
    assert_eq!(queue.admit(Time::ZERO, entry(1, Class::Interactive, 100)), Ok(()));
    assert_eq!(queue.waiting(Class::Job), LIMITS.queue_items);
}

#[test]
fn what_nobody_waits_for_is_not_computed() {
    let mut queue = scheduler();
    for item in 0..3 {
        let deadline = (item == 1).then_some(seconds(1.0));
        let entry = Entry { deadline, ..entry(10, Class::Interactive, item) };
        queue.admit(Time::ZERO, entry).unwrap();
    }
    let batch = queue.next(seconds(1.0), |&item| item == 2);
    assert_eq!(items(&batch), [0]);
    assert_eq!(batch.expired[0].item, 1);
    assert_eq!(batch.cancelled[0].item, 2);
    assert!(queue.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Admit { length: u32, passes: u64, deadline: Option<u64>, job: bool },
    Cancel(usize),
    Next,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..150u32, 1..4u64, proptest::option::of(0..5000u64), any::<bool>())
            .prop_map(|(length, passes, deadline, job)| Event::Admit { length, passes, deadline, job }),
        1 => (0..200usize).prop_map(Event::Cancel),
        2 => Just(Event::Next),
        1 => (0..2000u64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever comes: every entry that was taken leaves exactly once, within the budget, and
    /// younger entries overtake it at most as often as its patience allows.
    #[test]
    fn nothing_is_lost_doubled_or_starved(events in proptest::collection::vec(event(), 1..250)) {
        let mut queue = scheduler();
        let mut now = Time::ZERO;
        let (mut cancelled, mut overtaken) = (Vec::new(), BTreeMap::new());
        let mut admitted = 0;
        let drain = std::iter::repeat_n(Event::Next, 400);
        for event in events.into_iter().chain(drain) {
            match event {
                Event::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Event::Cancel(item) => cancelled.push(item),
                Event::Admit { length, passes, deadline, job } => {
                    let class = if job { Class::Job } else { Class::Interactive };
                    let entry = Entry {
                        cost: u64::from(length) * passes,
                        deadline: deadline.map(|deadline| now + Duration::from_millis(deadline)),
                        ..entry(length, class, admitted)
                    };
                    if queue.admit(now, entry).is_ok() {
                        overtaken.insert(admitted, (class, 0u8));
                        admitted += 1;
                    }
                }
                Event::Next => {
                    let batch = queue.next(now, |item| cancelled.contains(item));
                    prop_assert!(batch.cost <= LIMITS.budget || batch.entries.len() == 1);
                    prop_assert!(batch.entries.len() <= LIMITS.batch_items);
                    let cost: u64 = batch.entries.iter().map(|(entry, _)| entry.cost).sum();
                    prop_assert_eq!(cost, batch.cost);
                    for (entry, _) in &batch.entries {
                        prop_assert!(!cancelled.contains(&entry.item));
                        prop_assert!(entry.deadline.is_none_or(|deadline| deadline > now));
                    }
                    let gone = batch.expired.iter().chain(&batch.cancelled).map(|entry| entry.item);
                    for item in items(&batch).into_iter().chain(gone) {
                        prop_assert!(overtaken.remove(&item).is_some(), "{} left twice", item);
                    }
                    let youngest = batch.entries.iter().map(|(entry, _)| entry.item).max();
                    for (item, (class, times)) in &mut overtaken {
                        *times += u8::from(youngest.is_some_and(|youngest| *item < youngest));
                        // Of several that are due, one leads at a time.
                        let others = LIMITS.queue_items as u8 * 2;
                        prop_assert!(*times <= class.patience() + others);
                    }
                    queue.finished(batch.cost, Duration::from_secs_f64(batch.cost as f64 / 100.0));
                }
            }
        }
        prop_assert!(overtaken.is_empty(), "never left: {:?}", overtaken);
        prop_assert!(queue.is_empty());
    }
}

#[test]
fn many_entries_of_one_model_do_not_refuse_those_of_another() {
    let mut queue = scheduler();
    for item in 0..LIMITS.queue_items {
        queue.admit(Time::ZERO, entry(1, Class::Interactive, item)).unwrap();
    }
    let full = queue.admit(Time::ZERO, entry(1, Class::Interactive, 64));
    assert!(matches!(full, Err(Refusal::Full(_))));
    let other = Entry { lane: 1, ..entry(1, Class::Interactive, 65) };
    queue.admit(Time::ZERO, other).unwrap();
    queue.admit(Time::ZERO, entry(1, Class::Job, 66)).unwrap();
}
