//! A store that is stopped, paused, slow, full, evicting, a replica, or back without what it knew.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Member;
use super::server::eventually;
use super::store::{Store, with_each};

/// No text is answered for a minute, so that jobs stay where they are.
const SLOW: [&str; 2] = ["--batch-wait-us", "60000000"];

fn jobs(member: &Member, count: usize) -> Vec<String> {
    let body = |job: usize| json!({ "texts": [format!("my router {job}"), "my invoice"] });
    (0..count).map(|job| member.job(&body(job))).collect()
}

fn check(member: &Member, part: &str) -> String {
    member.health()["checks"][part].as_str().unwrap().to_owned()
}

/// All are completed, as all members see them.
fn completed(members: &[&Member], ids: &[String]) {
    for (member, id) in members.iter().flat_map(|member| ids.iter().map(move |id| (member, id))) {
        let path = format!("/task_status/{id}");
        eventually("it is completed", || {
            let answer = member.server.get(&path);
            // Nobody is told that an accepted job is unknown.
            assert!(
                [200, 503].contains(&answer.status),
                "{}\n{}",
                answer.text(),
                member.server.log()
            );
            answer.status == 200 && answer.json()["status"] == "completed"
        });
        let found = member.status(id)["result"]["predictions"].clone();
        let labels: Vec<&Value> = (0..2).map(|text| &found[text]["label"]).collect();
        assert_eq!(labels, ["technical", "billing"]);
    }
}

/// Whatever the store is like, the model answers soon, jobs are refused for now, and probes say how it is. A store
/// that does not answer may have taken a job, which is accepted then: its id.
fn works_without(member: &Member, ids: &[String], told: &str) -> Option<String> {
    for request in 0..30 {
        let began = Instant::now();
        assert_eq!(member.server.predict(&format!("my router {told} {request}")).status, 200);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{told}: {took:?}");
    }
    eventually("it is noticed", || check(member, "cache").contains(told));
    let took = (0..5).map(|request| {
        let began = Instant::now();
        assert_eq!(member.server.predict(&format!("another router {request}")).status, 200);
        began.elapsed()
    });
    let least = took.min().unwrap();
    assert!(least < Duration::from_millis(150), "nobody waits for it any more: {least:?}");
    assert_eq!(member.health()["status"], "degraded");
    assert_eq!(member.server.get("/readyz").status, 200);
    let metrics = member.server.get("/metrics").text();
    let up = metrics.lines().find(|line| line.starts_with("bayes_redis_up{")).unwrap();
    assert!(up.ends_with(" 0"), "{up}");
    let job = json!({ "texts": ["my router", "my invoice"] });
    let posted = member.server.post("/async_predict", &job);
    let taken = posted.status == 202 && told != "Redis is gone";
    if !taken {
        assert_eq!((posted.status, &*posted.problem()), (503, "job-queue-full"));
    }
    for id in ids {
        assert_eq!(member.status(id)["status"], "processing", "its copy is known");
    }
    let unknown = member.server.get("/task_status/t_0123456789abcdef0123456789abcdef");
    assert_eq!((unknown.status, &*unknown.problem()), (503, "jobs-unavailable"));
    taken.then(|| posted.json()["task_id"].as_str().unwrap().to_owned())
}

fn well(members: &[&Member]) {
    for member in members {
        eventually("it is well again", || member.health()["status"] == "healthy");
    }
}

#[test]
fn a_store_that_is_stopped_or_paused_is_done_without() {
    with_each(|program| {
        let mut store = Store::start(program, &["--appendonly", "yes", "--appendfsync", "always"]);
        let mut one = Member::replica(&store, &SLOW);
        let worker = Member::worker(&store);
        worker.server.signal("STOP");
        let ids = jobs(&one, 6);
        let short = Member::replica(&store, &[]);
        store.signal("STOP");
        let perhaps = works_without(&short, &[], "Redis is");
        store.signal("CONT");
        well(&[&short]);
        store.kill();
        works_without(&short, &[], "Redis is gone");
        // Those that it could not begin are done by another by now.
        let known = ids.iter().filter(|id| one.status(id)["status"] == "processing").count();
        assert!(known >= 4, "{known}");
        // A replica that starts meanwhile starts, and so does one that accepted jobs.
        one.killed();
        assert_eq!(one.health()["status"], "degraded");
        store.again();
        worker.server.signal("CONT");
        well(&[&one, &short, &worker]);
        drop(one);
        completed(&[&short], &ids);
        completed(&[&short], perhaps.as_slice());
    });
}

#[test]
fn a_store_that_comes_back_with_nothing_is_given_back_what_was_accepted() {
    with_each(|program| {
        for log in [true, false] {
            let flags = ["--appendonly", if log { "yes" } else { "no" }];
            let mut store = Store::start(program, &flags);
            let [one, other] = [(); 2].map(|()| Member::replica(&store, &[]));
            let before = jobs(&one, 4);
            completed(&[&one, &other], &before);
            let results: Vec<Value> = before.iter().map(|id| one.status(id)).collect();
            let path = format!("/task_status/{}", before[0]);
            let key = format!("bayes:tickets:job:{}", before[0]);
            std::thread::sleep(Duration::from_secs(3));
            let open = jobs(&one, 20);
            store.kill();
            if log {
                std::fs::remove_dir_all(store.log()).unwrap();
            }
            store.again();
            assert_eq!(store.ask::<u64>(&["EXISTS", &key]), 0, "it has nothing");
            let answer = other.server.get(&path);
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            completed(&[&one, &other], &open);
            completed(&[&one, &other], &before);
            for (id, result) in before.iter().zip(&results) {
                assert_eq!(&one.status(id), result, "what was answered is answered again");
                assert_eq!(&other.status(id), result);
            }
        }
    });
}

#[test]
fn a_store_that_refuses_what_it_is_asked_is_told_of() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        let () = store.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let refused = one.server.post("/async_predict", &json!({ "text": "my router" }));
        assert_eq!((refused.status, &*refused.problem()), (503, "job-queue-full"));
        assert_eq!(one.server.predict("my router").status, 200);
        assert!(check(&one, "cache").contains("refuses"), "{}", one.health());
        assert_eq!(one.health()["status"], "degraded");
        let said = one.server.log().matches("Redis refused").count();
        (0..20).for_each(|row| assert_eq!(one.server.predict(&format!("row {row}")).status, 200));
        assert!(one.server.log().matches("Redis refused").count() <= said + 2, "not each time");
        let () = store.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        eventually("it is well again", || one.health()["status"] == "healthy");
        completed(&[&one], &jobs(&one, 1));
    });
}

#[test]
fn a_store_that_takes_no_more_takes_no_jobs_and_those_accepted_are_done() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let slow = Member::replica(&store, &SLOW);
        let ids = jobs(&slow, 8);
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "1000"]);
        let one = Member::replica(&store, &[]);
        eventually("it is noticed", || check(&one, "jobs").contains("Redis is full"));
        assert_eq!(one.server.predict("my router").status, 200);
        let refused = one.server.post("/async_predict", &json!({ "text": "my router" }));
        assert_eq!((refused.status, &*refused.problem()), (503, "job-queue-full"));
        assert_eq!(one.health()["status"], "degraded");
        // Told to stop, it gives its jobs back, and they are done though the store takes no more.
        slow.server.signal("TERM");
        completed(&[&one], &ids);
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        well(&[&one]);
        completed(&[&one], &jobs(&one, 2));
    });
}

#[test]
fn a_store_that_evicts_jobs_is_told_of_and_given_them_back() {
    with_each(|program| {
        let store = Store::start(program, &["--maxmemory-policy", "allkeys-lru"]);
        let one = Member::replica(&store, &SLOW);
        let ids = jobs(&one, 30);
        let junk = "x".repeat(10_000);
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "4mb"]);
        let evicted = || {
            let info: String = store.ask(&["INFO", "stats"]);
            let line = info.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        for key in 0..1000 {
            let () = store.ask(&["SET", &format!("junk:{key}"), &junk]);
        }
        assert!(evicted() > 200, "{}", evicted());
        eventually("it is told", || check(&one, "jobs").contains("evicts jobs"));
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        eventually("all are given back", || {
            ids.iter().all(|id| store.ask(&["EXISTS", &format!("bayes:tickets:job:{id}")]))
        });
        let two = Member::replica(&store, &[]);
        one.server.signal("TERM");
        completed(&[&two], &ids);
        completed(&[&two], &jobs(&two, 3));
    });
}

#[test]
fn keys_without_a_time_are_not_evicted_and_are_all_that_jobs_have() {
    with_each(|program| {
        let store = Store::start(program, &["--maxmemory-policy", "volatile-lru"]);
        let slow = Member::replica(&store, &SLOW);
        let ids = jobs(&slow, 8);
        let () = store.ask(&["CONFIG", "SET", "maxmemory", "3mb"]);
        let junk = "x".repeat(10_000);
        for key in 0..1000 {
            let () = store.ask(&["SET", &format!("junk:{key}"), &junk, "EX", "1000"]);
        }
        assert!(store.keys("junk:*").len() < 900);
        for id in &ids {
            let key = format!("bayes:tickets:job:{id}");
            assert_eq!(store.ask::<i64>(&["TTL", &key]), -1);
        }
        let one = Member::replica(&store, &[]);
        assert_eq!(check(&one, "jobs"), "ok");
        slow.server.signal("TERM");
        completed(&[&one], &ids);
    });
}

#[test]
fn a_store_that_becomes_a_replica_is_left_until_there_is_a_primary() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        completed(&[&one], &jobs(&one, 2));
        let other = Store::start(program, &[]);
        let () = store.ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
        eventually("it is noticed", || check(&one, "cache").contains("Redis is gone"));
        let refused = one.server.post("/async_predict", &json!({ "text": "my router" }));
        assert_eq!(refused.status, 503);
        assert_eq!(one.server.predict("my router").status, 200);
        // It has taken over all that the other had, which is nothing of ours.
        let () = store.ask(&["REPLICAOF", "NO", "ONE"]);
        well(&[&one]);
        completed(&[&one], &jobs(&one, 2));
    });
}

/// Passes on what comes, and what comes back after a while.
fn delayed(port: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let delay = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&delay);
    let copy = |mut from: TcpStream, mut to: TcpStream, delay: Arc<AtomicU64>| {
        std::thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    };
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
            copy(client, server, Arc::default());
            copy(both.1, both.0, Arc::clone(&shared));
        }
    });
    (own, delay)
}

#[test]
fn a_slow_store_is_left_out_of_answers_and_does_jobs_all_the_same() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let (port, delay) = delayed(store.port);
        let one = Member::at(&format!("redis://127.0.0.1:{port}"), &[]);
        well(&[&one]);
        delay.store(300, Ordering::Relaxed);
        let mut slowest = Duration::ZERO;
        for request in 0..40 {
            let began = Instant::now();
            assert_eq!(one.server.predict(&format!("my router {request}")).status, 200);
            slowest = slowest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(30));
        }
        assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
        eventually("it is told", || check(&one, "cache").contains("Redis is slow"));
        completed(&[&one], &jobs(&one, 2));
        delay.store(0, Ordering::Relaxed);
        well(&[&one]);
    });
}
