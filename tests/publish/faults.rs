//! What goes wrong on the way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::home::text;
use super::hub_double::Fault;
use super::site::Site;

const PUBLISH: [&str; 3] = ["--repo", "tester/tickets", "--json"];

/// Waits until the double has had such a request.
fn wait_for(site: &Site, request: &str) {
    let began = Instant::now();
    while site.double.requests(request).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "no {request}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn breaks_refusals_and_lost_answers_are_lived_through() {
    let site = Site::new();
    let busy = || {
        let headers = vec![("Retry-After", "0".to_owned())];
        Fault::Status(429, headers, "{\"error\":\"Too Many Requests\"}")
    };
    site.double.fault("POST /api/repos/create", 1, Fault::Status(500, Vec::new(), "{}"));
    site.double.fault("/refs", 1, busy());
    site.double.fault("/preupload/", 1, Fault::Cut(3));
    site.double.fault("/batch", 1, Fault::Status(503, Vec::new(), "{}"));
    site.double.fault("PUT /upload", 1, Fault::CutRequest(700));
    site.double.fault("PUT /upload", 1, Fault::LostAnswer);
    site.double.fault("/verify", 1, Fault::Status(502, Vec::new(), "{}"));
    site.double.fault("/commit/", 1, busy());
    site.double.fault("/commit/", 1, Fault::LostAnswer);
    site.double.fault("/tag/", 1, Fault::LostAnswer);
    let mut tagged = PUBLISH.to_vec();
    tagged.extend(["--tag", "v1"]);
    let answer = site.json(&tagged);
    assert_eq!(site.commits("tester/tickets"), 2, "a lost answer makes no second commit");
    let head = site.head("tester/tickets", "main");
    assert_eq!((answer["commit"].as_str(), head.files.len()), (Some(&*head.oid), 16));
    assert_eq!(site.repository("tester/tickets", |one| one.tags.len()), 1);
}

#[test]
fn someone_elses_commit_is_not_overwritten() {
    let site = Site::new();
    site.double.fault("/batch", 1, Fault::Stall(0, Duration::from_millis(1500)));
    site.json(&["--repo", "tester/tickets", "--card-only", "--json"]);
    let mut command = site.command(&PUBLISH);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&site, "/batch");
    let theirs = site.double.put(false, "tester/tickets", "main", &[("notes.md", "theirs".into())]);
    let output = child.wait_with_output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("someone else changed"), "{message}");
    assert!(message.contains("run the command again"), "{message}");
    assert_eq!(site.head("tester/tickets", "main").oid, theirs);

    site.double.forget_requests();
    site.json(&PUBLISH);
    let head = site.head("tester/tickets", "main");
    assert_eq!((head.files.len(), head.files["notes.md"].content.all()), (17, b"theirs".to_vec()));
    assert!(site.double.requests("PUT").is_empty(), "large files were stored already");
}

#[test]
fn a_refusal_that_stays_changes_nothing() {
    let site = Site::new();
    site.json(&["--repo", "tester/tickets", "--card-only", "--json"]);
    let head = site.head("tester/tickets", "main").oid;
    for status in [409, 412] {
        site.double.fault("/commit/", 1, Fault::Status(status, Vec::new(), "{}"));
        let message = site.refused(&PUBLISH);
        assert!(message.contains("nothing of yours is lost"), "{message}");
    }
    site.double.fault("/batch", 1, Fault::Status(403, Vec::new(), "{\"error\":\"read only\"}"));
    // Large files are there already, so the question is asked of others.
    let message = site.refused(&["--repo", "tester/other", "--json"]);
    assert!(message.contains("read only"), "{message}");
    site.double.fault("/validate-yaml", 1, {
        Fault::Status(400, Vec::new(), "{\"errors\":[{\"message\":\"\\\"license\\\" is wrong\"}]}")
    });
    let message = site.refused(&PUBLISH);
    assert!(message.contains("\"license\" is wrong"), "{message}");
    assert_eq!(site.head("tester/tickets", "main").oid, head);
}

/// Killed at the fourth part: the next call sends it and what follows, and nothing before it.
#[test]
fn parts_that_have_arrived_are_not_sent_again() {
    let site = Site::new();
    let model = site.home.path("checkpoints/tickets/model/model.safetensors");
    let size = std::fs::metadata(model).unwrap().len();
    let chunk = size / 5;
    let parts = size.div_ceil(chunk);
    site.double.state().chunk = chunk;
    site.double.fault("PUT /part/0/4", 9, Fault::CutRequest(10));
    let mut child =
        site.command(&PUBLISH).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&site, "PUT /part/0/4");
    child.kill().unwrap();
    child.wait().unwrap();
    let before: Vec<String> =
        site.double.requests("PUT /part/").into_iter().map(|one| one.path).collect();
    assert!(before.iter().any(|path| path.ends_with("/3")), "{before:?}");
    site.double.clear_faults();
    site.double.forget_requests();
    site.json(&PUBLISH);
    let sent = site.double.requests("PUT /part/");
    let own = |one: &&super::hub_double::Record| one.path.starts_with("/part/0/");
    let numbers: Vec<&str> =
        sent.iter().filter(own).map(|one| one.path.rsplit('/').next().unwrap()).collect();
    let expected: Vec<String> = (4..=parts).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    let bytes: u64 = sent.iter().filter(own).map(|one| one.received).sum();
    assert_eq!(bytes, size - 3 * chunk);
    let head = site.head("tester/tickets", "main");
    assert_eq!(head.files["model.safetensors"].content.len(), size);
    let remembered = std::fs::read_dir(site.home.path("cache/uploads")).unwrap().flatten();
    let mut texts = remembered.map(|one| std::fs::read_to_string(one.path()).unwrap_or_default());
    assert!(!texts.any(|text| text.contains(site.double.endpoint())), "what is done is forgotten");
}

#[test]
fn parts_whose_addresses_are_no_longer_good_are_sent_anew() {
    let site = Site::new();
    site.double.state().chunk = 4096;
    site.double.fault("PUT /part/0/2", 9, Fault::CutRequest(10));
    let mut child =
        site.command(&PUBLISH).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&site, "PUT /part/0/2");
    child.kill().unwrap();
    child.wait().unwrap();
    site.double.clear_faults();
    site.double.fault("PUT /part/0/", 99, Fault::Status(403, Vec::new(), "expired"));
    site.json(&PUBLISH);
    assert_eq!(site.head("tester/tickets", "main").files.len(), 16);
}
