//! Jobs that are accepted by one replica, done by anybody, and seen through all.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::server::{Answer, Server, eventually, model};
use super::store::{Store, with_each};
use super::{Member, UNLIMITED};

/// No text is answered for a minute.
const SLOW: [&str; 2] = ["--batch-wait-us", "60000000"];

fn ended(member: &Member, id: &str) -> Value {
    eventually("it has ended", || member.status(id)["status"] != "processing");
    member.status(id)
}

fn keyed(member: &Member, key: &str, body: &Value) -> Answer {
    let headers = [("Idempotency-Key", key)];
    member.server.ask("POST", "/async_predict", &headers, body.to_string().as_bytes())
}

#[test]
fn a_job_of_one_replica_is_done_by_a_worker_and_seen_by_all() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let [one, other] = [(); 2].map(|()| Member::replica(&store, &SLOW));
        // Replicas hold their jobs for a minute: what they take is given back when they are told to stop.
        let worker = Member::worker(&store);
        let texts: Vec<String> = (0..5).map(|text| format!("my router, case {text}")).collect();
        let ids: Vec<String> = (0..12).map(|_| one.job(&json!({ "texts": texts }))).collect();
        eventually("the worker has done some", || {
            worker.server.metric("bayes_jobs_finished_total{status=\"completed\"}") > 0.0
        });
        drop((one, other));
        let last = Member::replica(&store, &[]);
        eventually("all are done, those of the dead ones too", || {
            last.server.metric("bayes_jobs{status=\"completed\"}") == 12.0
        });
        for id in &ids {
            let task = ended(&last, id);
            assert_eq!(
                (&task["status"], &task["progress"]["done"]),
                (&json!("completed"), &json!(5))
            );
            let found = task["result"]["predictions"].as_array().unwrap();
            let found: Vec<&str> = found.iter().map(|one| one["text"].as_str().unwrap()).collect();
            assert_eq!(found, texts);
        }
        assert_eq!(store.ask::<usize>(&["XLEN", &store.keys("bayes:*:jobs")[0]]), 0);
    });
}

#[test]
fn who_is_told_to_stop_gives_its_jobs_back_at_once_and_is_not_blamed() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let mut slow = Member::replica(&store, &SLOW);
        let id = slow.job(&json!({ "text": "my router" }));
        for _ in 0..12 {
            eventually("it runs", || slow.server.metric("bayes_jobs{status=\"running\"}") == 1.0);
            slow.server.signal("TERM");
            assert_eq!(slow.server.wait().code(), Some(0), "{}", slow.server.log());
            slow.again();
        }
        slow.server.signal("TERM");
        slow.server.wait();
        let began = std::time::Instant::now();
        let other = Member::replica(&store, &[]);
        let task = ended(&other, &id);
        assert_eq!(task["status"], "completed");
        assert!(began.elapsed().as_secs() < 8, "a lease is 10 s: {:?}", began.elapsed());
    });
}

#[test]
fn a_key_is_one_job_over_all_replicas_and_a_cancelled_job_stays_cancelled() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let [one, other] = [(); 2].map(|()| Member::replica(&store, &SLOW));
        let body = json!({ "text": "my invoice" });
        let first = keyed(&one, "k1", &body).json();
        assert_eq!(keyed(&other, "k1", &body).json()["task_id"], first["task_id"]);
        let conflict = keyed(&other, "k1", &json!({ "text": "my router" }));
        assert_eq!((conflict.status, &*conflict.problem()), (409, "idempotency-conflict"));
        assert_ne!(keyed(&other, "k2", &body).json()["task_id"], first["task_id"]);
        let id = first["task_id"].as_str().unwrap();
        eventually("it runs", || store.ask::<usize>(&["ZCARD", "bayes:tickets:jobs:running"]) == 2);
        let cancelled = other.server.ask("DELETE", &format!("/task/{id}"), &[], b"");
        assert_eq!(cancelled.json()["status"], "cancelled");
        assert_eq!(one.status(id)["status"], "cancelled");
        eventually("whoever did it stops", || {
            one.server.metric("bayes_jobs{status=\"running\"}") == 1.0
        });
        let unknown = other.server.get("/task_status/t_00000000000000000000000000000000");
        eventually("nothing is in doubt", || {
            let unknown = other.server.get("/task_status/t_00000000000000000000000000000000");
            unknown.status == 404 || other.server.log().contains("Redis is there")
        });
        assert!([404, 503].contains(&unknown.status), "{}", unknown.text());
        for strange in ["t_1", "x", "t_%00", "t_:jobs", "..%2fjobs"] {
            assert_eq!(other.server.get(&format!("/task_status/{strange}")).status, 404);
        }
    });
}

/// Asked again, a key leaves what is kept of its job as it was.
#[test]
fn a_key_that_was_asked_twice_is_one_job_after_a_loss_too() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        let body = json!({ "text": "my invoice" });
        let ask = || keyed(&one, "k1", &body).json()["task_id"].as_str().unwrap().to_owned();
        let id = ask();
        assert_eq!(ask(), id);
        eventually("it is done", || one.status(&id)["status"] == "completed");
        let () = store.ask(&["FLUSHALL"]);
        let place = format!("bayes:tickets:job:{id}");
        eventually("it is given back", || store.ask::<u64>(&["EXISTS", &place]) == 1);
        assert_eq!(ask(), id);
    });
}

#[test]
fn a_job_is_seen_with_the_key_that_made_it_alone() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "alpha\nbeta\n").unwrap();
        let flags = ["--api-key-file", keys.path().to_str().unwrap()];
        let [one, other] = [(); 2].map(|()| Member::replica(&store, &flags));
        let ask = |member: &Member, verb: &str, path: &str, key: &str| {
            member.server.ask(verb, path, &[("X-API-Key", key)], b"{\"text\":\"my router\"}")
        };
        let job = ask(&one, "POST", "/async_predict", "alpha").json();
        let id = job["task_id"].as_str().unwrap().to_owned();
        let path = format!("/task_status/{id}");
        assert_eq!(ask(&other, "GET", &path, "alpha").status, 200);
        for member in [&one, &other] {
            assert_ne!(ask(member, "GET", &path, "beta").status, 200);
            assert_ne!(ask(member, "DELETE", &format!("/task/{id}"), "beta").status, 200);
        }
        eventually("it is done", || {
            ask(&one, "GET", &path, "alpha").json()["status"] == "completed"
        });
        let values: Vec<Vec<u8>> = store.ask(&["HVALS", &format!("bayes:tickets:job:{id}")]);
        let shown = String::from_utf8_lossy(&values.concat()).into_owned();
        assert!(shown.contains("completed") && !shown.contains("alpha"), "keys are hashes");
    });
}

#[test]
fn a_job_that_was_there_whenever_a_process_ended_waits_and_is_given_up_in_the_end() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let slow = Member::replica(&store, &SLOW);
        let ids: Vec<String> = (0..7).map(|_| slow.job(&json!({ "text": "my router" }))).collect();
        let running = || store.ask::<usize>(&["ZCARD", "bayes:tickets:jobs:running"]);
        eventually("it holds as many as it does at once", || running() == 4);
        // Of the three that wait one has taken ten processes with it, and one four, the last of which held it.
        let key = |id: &str| format!("bayes:tickets:job:{id}");
        let jobs = "bayes:tickets:jobs";
        for (id, attempts) in [(&ids[4], "4"), (&ids[5], "10")] {
            let _: u64 = store.ask(&["HSET", &key(id), "attempts", attempts]);
        }
        let entry: String = store.ask(&["HGET", &key(&ids[4]), "entry"]);
        let read = ["XREADGROUP", "GROUP", "workers", "dead", "COUNT", "1", "STREAMS", jobs, ">"];
        let _: redis::Value = store.ask(&read);
        let _: u64 = store.ask(&["HSET", &key(&ids[4]), "status", "running", "consumer", "dead"]);
        let long = ["XCLAIM", jobs, "workers", "dead", "0", &entry, "IDLE", "60000", "JUSTID"];
        let _: redis::Value = store.ask(&long);
        let other = Member::replica(&store, &[]);
        assert_eq!(ended(&other, &ids[6])["status"], "completed");
        assert_eq!(other.status(&ids[4])["status"], "processing", "it has to wait");
        let given_up = ended(&other, &ids[5]);
        assert_eq!(given_up["status"], "failed");
        assert_eq!(given_up["error"]["type"], "urn:bayes:problem:given-up");
        assert_eq!(ended(&other, &ids[4])["status"], "completed");
    });
}

#[test]
fn the_202_says_what_it_promises() {
    with_each(|program| {
        let body = json!({ "text": "my router" });
        for (flags, promise) in [
            (&["--appendonly", "yes", "--appendfsync", "always"][..], "always"),
            (&["--appendonly", "yes", "--appendfsync", "everysec"], "everysec"),
            (&["--appendonly", "yes", "--appendfsync", "no"], "no"),
            (&[], "off"),
        ] {
            let store = Store::start(program, flags);
            let one = Member::replica(&store, &[]);
            let accepted = one.server.post("/async_predict", &body).json();
            assert_eq!(accepted["durability"], json!({ "replica": "fsync", "redis": promise }));
        }
    });
    let home = tempfile::tempdir().unwrap();
    let alone = Server::start_in(model(), home.path(), &[], &UNLIMITED);
    let accepted = alone.post("/async_predict", &json!({ "text": "my router" })).json();
    assert_eq!(accepted["durability"], json!({ "replica": "fsync", "redis": null }));
}

#[test]
fn jobs_of_a_file_from_before_are_done_with_redis_too() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let home = tempfile::tempdir().unwrap();
        let alone = Server::start_in(model(), home.path(), &SLOW, &UNLIMITED);
        let job = alone.post("/async_predict", &json!({ "text": "my router" }));
        let path = job.header("location").unwrap().to_owned();
        drop(alone);
        let url = store.url();
        let one = Server::start_in(model(), home.path(), &["--redis-url", &url], &UNLIMITED);
        eventually("it is done", || {
            let answer = one.get(&path);
            answer.status == 200 && answer.json()["status"] == "completed"
        });
        eventually("its end is copied", || {
            one.log().contains("lost a job")
                && store.ask::<usize>(&["XLEN", "bayes:tickets:jobs"]) == 0
        });
    });
}

#[test]
fn a_job_that_is_over_is_forgotten_with_all_its_keys() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        let id = keyed(&one, "k", &json!({ "text": "x", "ttl_seconds": 1 })).json();
        let path = format!("/task_status/{}", id["task_id"].as_str().unwrap());
        eventually("nobody sees it", || [404, 503].contains(&one.server.get(&path).status));
        eventually("nothing is left of it", || {
            let left: HashSet<String> = store.keys("bayes:tickets:*").into_iter().collect();
            !left.iter().any(|key| key.contains(":job:") || key.contains(":key:"))
        });
    });
}
