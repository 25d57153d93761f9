//! Everything may end at any moment: two replicas, a worker, and the store itself.
//!
//! `TEST_KILLS=50 cargo test --test replicas kills` does it for long; `TEST_SEED` picks the moments.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::eventually;
use super::store::{Store, with_each};
use super::{Member, lasting};

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A few bits that follow each other without a pattern.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The predictions of a job without what is new each time it is done.
fn content(task: &Value) -> Vec<Value> {
    task["result"]["predictions"].as_array().unwrap().iter().map(lasting).collect()
}

fn texts(job: usize) -> Vec<String> {
    (0..3).map(|text| format!("please look at my router, number {job} of {text}")).collect()
}

#[test]
fn whoever_is_killed_no_accepted_job_is_lost_and_none_is_answered_in_two_ways() {
    let kills = number("TEST_KILLS", 6);
    let seed = number("TEST_SEED", 1);
    with_each(|program| {
        // With its file a store loses nothing; without it, all.
        for forgets in [false, true] {
            let flags = ["--appendonly", "yes", "--appendfsync", "always"];
            let mut store = Store::start(program, if forgets { &[] } else { &flags });
            // Batches wait a little, so that jobs last long enough to be killed.
            let wait = ["--batch-wait-us", "50000", "--cache-entries", "0"];
            let mut members = [
                Member::replica(&store, &wait),
                Member::replica(&store, &wait),
                Member::of(
                    super::server::model(),
                    &store,
                    &[&["--role", "worker"][..], &wait].concat(),
                ),
            ];
            let mut dice = Dice(seed);
            let mut accepted: Vec<String> = Vec::new();
            let mut seen: HashMap<String, Value> = HashMap::new();
            let mut refused = 0;
            for kill in 0..kills {
                for _ in 0..10 {
                    let member = &members[dice.below(2) as usize];
                    let body = json!({ "texts": texts(accepted.len()) });
                    let answer = member.server.post("/async_predict", &body);
                    match answer.status {
                        202 => accepted.push(answer.json()["task_id"].as_str().unwrap().to_owned()),
                        503 => refused += 1,
                        _ => panic!("{answer:?}\n{}", member.server.log()),
                    }
                }
                std::thread::sleep(Duration::from_millis(dice.below(400)));
                match dice.below(4) {
                    3 => {
                        store.kill();
                        std::thread::sleep(Duration::from_millis(dice.below(1500)));
                        store.again();
                    }
                    member => members[member as usize].killed(),
                }
                // What anybody was told meanwhile must stay true.
                for id in accepted.iter().rev().take(15) {
                    let member = &members[dice.below(2) as usize];
                    let answer = member.server.get(&format!("/task_status/{id}"));
                    assert!([200, 503].contains(&answer.status), "{kill}: {}", answer.text());
                    if answer.status == 200 && answer.json()["status"] == "completed" {
                        let first = seen.entry(id.clone()).or_insert_with(|| answer.json());
                        assert_eq!(content(first), content(&answer.json()));
                    }
                }
            }
            println!(
                "{program}: {} accepted, {refused} refused, {} seen",
                accepted.len(),
                seen.len()
            );
            assert!(!accepted.is_empty());
            for (job, id) in accepted.iter().enumerate() {
                let path = format!("/task_status/{id}");
                let mut tasks = Vec::new();
                for member in &members[..2] {
                    eventually("it is completed", || {
                        let answer = member.server.get(&path);
                        assert!([200, 503].contains(&answer.status), "{}", answer.text());
                        answer.status == 200 && answer.json()["status"] == "completed"
                    });
                    tasks.push(member.server.get(&path).json());
                }
                assert_eq!(tasks[0], tasks[1], "all replicas say the same");
                let found = content(&tasks[0]);
                let found: Vec<&str> =
                    found.iter().map(|one| one["text"].as_str().unwrap()).collect();
                assert_eq!(found, texts(job), "{id}");
                if let Some(first) = seen.get(id) {
                    assert_eq!(content(first), content(&tasks[0]));
                    // A store that keeps its file gives the very same answer, with its ids and times.
                    assert!(forgets || first == &tasks[0], "{first}\n{}", tasks[0]);
                }
            }
            let wrong = members[0].server.metric("bayes_jobs{status=\"failed\"}");
            assert_eq!(wrong, 0.0);
        }
    });
}
