//! Jobs, by a real file and a real kill.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Answer, Server, eventually, model};

fn start(home: &Path) -> Server {
    // Batches wait a little, so that jobs last long enough to be killed.
    Server::start_in(model(), home, &["--rate-limit", "off", "--batch-wait-us", "100000"], &[])
}

fn with_key(server: &Server, key: &str, body: &Value) -> Answer {
    server.ask("POST", "/async_predict", &[("Idempotency-Key", key)], body.to_string().as_bytes())
}

fn count(server: &Server, status: &str) -> usize {
    server.metric(&format!("bayes_jobs{{status=\"{status}\"}}")) as usize
}

#[test]
fn kill_9_at_any_moment_loses_no_job_and_doubles_none() {
    let home = tempfile::tempdir().unwrap();
    let mut server = start(home.path());
    let texts = |job: usize| -> Vec<String> {
        (0..3).map(|i| format!("please look at my router, number {job} of {i}")).collect()
    };
    let mut ids = Vec::new();
    for job in 0..200 {
        let answer = server.post("/async_predict", &json!({ "texts": texts(job) }));
        assert_eq!(answer.status, 202, "{answer:?}");
        ids.push(answer.json()["task_id"].as_str().unwrap().to_owned());
    }
    let mut unfinished = Vec::new();
    for round in 0..5u64 {
        std::thread::sleep(Duration::from_millis(40 + 37 * round));
        unfinished.push(count(&server, "queued") + count(&server, "running"));
        server.signal("KILL");
        server.wait();
        server = start(home.path());
    }
    assert!(unfinished[0] > 0, "all jobs were done before the first kill: {unfinished:?}");
    eventually("all are completed", || count(&server, "completed") == 200);
    for (job, id) in ids.iter().enumerate() {
        let task = server.get(&format!("/task_status/{id}")).json();
        assert_eq!((&task["status"], &task["error"]), (&json!("completed"), &Value::Null));
        let predictions = task["result"]["predictions"].as_array().unwrap();
        let found: Vec<&str> =
            predictions.iter().map(|prediction| prediction["text"].as_str().unwrap()).collect();
        assert_eq!(found, texts(job), "{id}");
        assert!(predictions.iter().all(|prediction| prediction["label"] == "technical"));
    }
    assert_eq!(count(&server, "failed") + count(&server, "queued") + count(&server, "running"), 0);
}

#[test]
fn a_job_is_on_disk_before_its_202_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let slow = ["--rate-limit", "off", "--batch-wait-us", "60000000"];
    let mut server = Server::start_in(model(), home.path(), &slow, &[]);
    let post = |server: &Server, number: usize| {
        let answer = server.post("/async_predict", &json!({ "text": format!("router {number}") }));
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    };
    let mut jobs: Vec<String> = (0..4).map(|number| post(&server, number)).collect();
    eventually("nobody is left to begin another", || count(&server, "running") == 4);
    // Nothing is written after these that could take them along.
    jobs.extend((4..8).map(|number| post(&server, number)));
    server.signal("KILL");
    server.wait();
    let server = start(home.path());
    for job in jobs {
        assert_eq!(server.get(&job).status, 200, "{job}");
    }
}

#[test]
fn a_job_is_not_blamed_for_a_server_that_is_told_to_stop() {
    let home = tempfile::tempdir().unwrap();
    // No text is answered before the server is told to stop.
    let slow = ["--rate-limit", "off", "--batch-wait-us", "60000000"];
    let mut server = Server::start_in(model(), home.path(), &slow, &[]);
    let job = server.post("/async_predict", &json!({ "text": "my router" })).json();
    // More often than a job may take the server down with it.
    for _ in 0..12 {
        eventually("it runs", || count(&server, "running") == 1);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        server = Server::start_in(model(), home.path(), &slow, &[]);
    }
    drop(server);
    let server = start(home.path());
    let path = format!("/task_status/{}", job["task_id"].as_str().unwrap());
    eventually("it has ended", || server.get(&path).json()["status"] != "processing");
    assert_eq!(server.get(&path).json()["status"], "completed");
}

#[test]
fn a_key_gives_the_same_job_again_and_refuses_another_body() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path());
    let body = json!({ "text": "my invoice" });
    let first = with_key(&server, "k1", &body).json();
    assert_eq!(with_key(&server, "k1", &body).json()["task_id"], first["task_id"]);
    let other = with_key(&server, "k1", &json!({ "text": "my router" }));
    assert_eq!((other.status, &*other.problem()), (409, "idempotency-conflict"));
    assert!(other.text().contains("with another body, or for another model"), "{}", other.text());
    assert_ne!(with_key(&server, "k2", &body).json()["task_id"], first["task_id"]);
    drop(server);
    let server = start(home.path());
    assert_eq!(with_key(&server, "k1", &body).json()["task_id"], first["task_id"]);
}

#[test]
fn a_cancelled_job_stays_cancelled_and_an_old_one_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "off", "--batch-wait-us", "400000", "--cache-entries", "0"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let id = |answer: Answer| answer.json()["task_id"].as_str().unwrap().to_owned();
    let jobs: Vec<String> = (0..6)
        .map(|job| id(server.post("/async_predict", &json!({ "text": format!("router {job}") }))))
        .collect();
    // The last one waits, since four are done at a time; the first has begun.
    for job in [&jobs[5], &jobs[0]] {
        let cancelled = server.ask("DELETE", &format!("/task/{job}"), &[], b"");
        assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")));
    }
    eventually("the others are done", || count(&server, "completed") == 4);
    for job in [&jobs[5], &jobs[0]] {
        let task = server.get(&format!("/task_status/{job}")).json();
        assert_eq!((&task["status"], &task["result"]), (&json!("cancelled"), &Value::Null));
    }
    let done = server.ask("DELETE", &format!("/task/{}", jobs[1]), &[], b"").json();
    assert_eq!(done["status"], "completed", "what has ended stays");
    let short = id(server.post("/async_predict", &json!({ "text": "x", "ttl_seconds": 1 })));
    eventually("it is forgotten", || server.get(&format!("/task_status/{short}")).status == 404);
    let unknown = server.ask("DELETE", "/task/t_unknown", &[], b"");
    assert_eq!(unknown.problem(), "not-found");
}

#[test]
fn a_file_that_is_no_store_or_is_in_use_is_named() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path());
    let refused = |home: &Path| {
        let output = super::server::command(model(), home, &["--port", "0"])
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(home.path()).contains("runs/jobs.redb"), "in use");
    drop(server);
    std::fs::write(home.path().join("runs/jobs.redb"), b"this is no store at all").unwrap();
    assert!(refused(home.path()).contains("runs/jobs.redb"), "damaged");
    std::fs::remove_dir_all(home.path().join("runs")).unwrap();
    std::fs::write(home.path().join("runs"), b"").unwrap();
    let nowhere = refused(home.path());
    assert!(nowhere.contains("give a writable place with --jobs-path"), "{nowhere}");
    assert!(!nowhere.contains("damaged"), "{nowhere}");
}

#[test]
fn a_disk_that_takes_nothing_for_a_while_loses_no_job() {
    let home = tempfile::tempdir().unwrap();
    // Four are done at a time and each waits a second: most of them are still there when the disk fills.
    const JOBS: usize = 16;
    let flags = ["--rate-limit", "off", "--batch-wait-us", "1000000", "--cache-entries", "0"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let limit = |bytes: &str| {
        let pid = server.id().to_string();
        let soft = format!("--fsize={bytes}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &soft]).status().unwrap().success());
    };
    let post = || server.post("/async_predict", &json!({ "text": "please look at my router" }));
    for _ in 0..JOBS {
        assert_eq!(post().status, 202);
    }
    limit("0");
    let refused = post();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text().contains("job-queue-full"), "{}", refused.text());
    std::thread::sleep(Duration::from_millis(1500));
    assert!(count(&server, "completed") < JOBS, "all were done before the disk was full");
    assert_eq!(server.get("/livez").status, 200);
    limit("unlimited");
    eventually("all are completed", || count(&server, "completed") >= JOBS);
    eventually("new ones are taken", || post().status == 202);
    assert_eq!(count(&server, "failed"), 0);
}

#[test]
fn a_file_that_is_full_takes_no_more_jobs_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "off", "--max-jobs-bytes", "1048576"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let post = |job: usize| {
        let texts: Vec<String> = (0..200).map(|text| format!("router {job} {text}")).collect();
        server.post("/async_predict", &json!({ "texts": texts }))
    };
    let full = (0..100).map(post).find(|answer| answer.status != 202).unwrap();
    assert_eq!((full.status, &*full.problem()), (507, "jobs-full"));
    assert!(full.header("retry-after").is_some());
    eventually("all have ended", || count(&server, "queued") + count(&server, "running") == 0);
    let length = std::fs::metadata(home.path().join("runs/jobs.redb")).unwrap().len();
    assert!(length <= 1_048_576 + 524_288, "{length} bytes");
    assert!(server.metric("bayes_jobs_bytes") <= 524_288.0);
    assert!(count(&server, "completed") > 0);
    assert_eq!(server.predict("my router").status, 200);
}

#[test]
fn a_file_that_is_cut_under_the_server_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path());
    let post = || server.post("/async_predict", &json!({ "text": "router" }));
    let id = post().json()["task_id"].as_str().unwrap().to_owned();
    eventually("it is done", || count(&server, "completed") == 1);
    let path = home.path().join("runs/jobs.redb");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    for _ in 0..3 {
        let refused = post();
        assert_eq!((refused.status, &*refused.problem()), (503, "job-queue-full"));
        assert_eq!(server.get(&format!("/task_status/{id}")).status, 500);
    }
    assert_eq!(server.get("/health").json()["status"], "degraded");
    assert!(server.log().contains("was truncated or replaced"), "{}", server.log());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "another was put in its place");
    drop(server);
    let output = super::server::command(model(), home.path(), &["--port", "0"])
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is empty"));
}

#[test]
fn a_job_whose_time_is_over_is_not_worked_on() {
    let home = tempfile::tempdir().unwrap();
    let slow = ["--rate-limit", "off", "--batch-wait-us", "60000000"];
    let server = Server::start_in(model(), home.path(), &slow, &[]);
    let job = server.post("/async_predict", &json!({ "text": "my router", "ttl_seconds": 2 }));
    eventually("it runs", || count(&server, "running") == 1);
    let began = std::time::Instant::now();
    eventually("it has ended", || count(&server, "running") == 0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(server.get(job.header("location").unwrap()).status, 404);
}
