//! Texts that the model abstains from, and who decides them.

mod failures;
mod other;

use serde_json::{Value, json};

use self::other::{BILLING, Other, Way, say};
use super::access::refused;
use super::server::home::Home;
use super::server::{Server, eventually, model, model_copy, model_with_spread};

const TEXT: &str = "please look at my invoice";
/// A model that abstains from every text.
const UNSURE: [&str; 2] = ["--abstain-ood-p", "1"];
/// One that decides every text.
const SURE: [&str; 4] = ["--abstain-ood-p", "0", "--abstain-min-confidence", "0"];

/// A server that abstains from every text and asks this one.
fn unsure(url: &str, more: &[&str]) -> Server {
    Server::of(model(), &[&["--forward-abstained", url][..], &UNSURE, more].concat())
}

fn sure() -> Server {
    Server::of(model_with_spread(), &SURE)
}

/// So many requests has a route answered.
fn requests(server: &Server, route: &str) -> usize {
    let text = server.get("/metrics").text();
    let own = format!("http_route=\"{route}\"");
    let counts = text.lines().filter(|line| {
        line.starts_with("http_server_request_duration_seconds_count") && line.contains(&own)
    });
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
}

fn outcomes(server: &Server, outcome: &str) -> f64 {
    server.metric(&format!("bayes_forwarded_total{{outcome=\"{outcome}\"}}"))
}

/// Waits for a line of the log.
fn logs(server: &Server, what: &str) {
    eventually(what, || server.log().contains(what));
}

/// Without what differs each time, and without what another server said.
fn own(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for field in ["prediction_id", "processing_time_ms", "cached", "forwarded"] {
        answer.as_object_mut().unwrap().remove(field);
    }
    answer
}

#[test]
fn both_protocols_say_who_decided_and_the_local_answer_stays_what_it_is() {
    let other = sure();
    let theirs = other.predict(TEXT).json();
    assert_eq!(theirs["decision"], "accept");
    let alone = Server::of(model(), &UNSURE).predict(TEXT).json();
    assert_eq!((&alone["decision"], alone.get("forwarded")), (&json!("abstain"), None));
    for (path, more) in
        [("/predict", &[][..]), ("/v1/systemone", &["--forward-model", "tickets"][..])]
    {
        let server = unsure(&format!("http://{}{path}", other.address), more);
        let before = requests(&other, path);
        let answer = server.predict(TEXT).json();
        assert_eq!(own(&answer), own(&alone), "{path}");
        let forwarded = &answer["forwarded"];
        assert_eq!(forwarded["decided_by"], "remote", "{path}: {answer}");
        for field in ["label", "confidence", "probabilities"] {
            assert_eq!(forwarded[field], theirs[field], "{path}");
        }
        assert_eq!(
            (&forwarded["server"], &forwarded["cached"]),
            (&json!("127.0.0.1"), &json!(false))
        );
        assert!(forwarded.get("failure").is_none(), "{forwarded}");
        let took = forwarded["took_ms"].as_f64().unwrap();
        assert!(took > 0.0 && took <= answer["processing_time_ms"].as_f64().unwrap());

        let again = server.predict(TEXT).json();
        assert_eq!((&again["cached"], &again["forwarded"]["cached"]), (&json!(true), &json!(true)));
        assert_eq!(again["forwarded"]["label"], theirs["label"]);
        assert_eq!(requests(&other, path), before + 1, "the text left once");
        let body = json!({ "text": TEXT, "top_k": 1 }).to_string();
        let fresh =
            server.ask("POST", "/predict", &[("Cache-Control", "no-cache")], body.as_bytes());
        let fresh = fresh.json();
        assert_eq!(fresh["forwarded"]["cached"], json!(false));
        assert_eq!(fresh["forwarded"]["probabilities"].as_object().unwrap().len(), 1);
        assert_eq!(requests(&other, path), before + 2, "the other server is asked again");
        assert_eq!((outcomes(&server, "remote"), outcomes(&server, "cached")), (2.0, 1.0));
        assert_eq!(server.metric("bayes_forward_duration_seconds_count"), 2.0);

        let expected = json!({ "server": "127.0.0.1", "state": "open", "per_minute": 600 });
        assert_eq!(server.get("/info").json()["forwarding"], expected);
        // Anybody may ask it.
        assert_eq!(server.get("/health").json()["forwarding"], json!("open"));
        logs(&server, "are sent to http://127.0.0.1");
    }
    assert!(other.get("/info").json()["forwarding"].is_null());
}

#[test]
fn batches_jobs_streams_and_other_protocols_are_decided_as_well() {
    let other = sure();
    let server = unsure(&format!("http://{}/predict", other.address), &[]);
    let remote = |one: &Value| {
        let forwarded = &one["forwarded"];
        let decided = forwarded["decided_by"] == "remote" && forwarded["label"].is_string();
        assert!(decided && one["decision"] == "abstain", "{one}");
    };
    let texts: Vec<String> = (0..5).map(|case| format!("my router, case {case}")).collect();
    let batch = server.post("/batch_predict", &json!({ "texts": texts })).json();
    batch["predictions"].as_array().unwrap().iter().for_each(remote);

    let texts: Vec<String> = (0..40).map(|case| format!("a job, case {case}")).collect();
    let job = server.post("/async_predict", &json!({ "texts": texts }));
    let place = job.header("location").unwrap().to_owned();
    let mut task = Value::Null;
    eventually("the job is done", || {
        task = server.get(&place).json();
        task["status"] == "completed"
    });
    let predictions = task["result"]["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 40);
    predictions.iter().for_each(remote);

    let lines = b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    let kind = [("Content-Type", "application/x-ndjson")];
    let stream = server.ask("POST", "/predict_stream", &kind, lines).text();
    let lines: Vec<Value> =
        stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    lines.iter().for_each(remote);

    let question = json!({ "type": "choice", "criteria": { "billing": null, "technical": null } });
    let body = json!({ "model": "tickets", "state": TEXT, "questions": { "team": question } });
    remote(&server.post("/v1/systemone", &body).json());
    remote(&server.post("/classify", &json!({ "input": [TEXT] })).json()["data"][0]);

    // Their answers cannot say who decided.
    assert_eq!(server.post("/invocations", &json!({ "inputs": "stays" })).status, 200);
    let tensor = json!({ "name": "text", "shape": [1], "datatype": "BYTES", "data": ["stays"] });
    let infer = server.post("/v2/models/tickets/infer", &json!({ "inputs": [tensor] }));
    assert_eq!(infer.status, 200, "{infer:?}");
    assert_eq!(outcomes(&server, "cached"), 1.0);
    assert_eq!(outcomes(&server, "remote") as usize, 5 + 40 + 2 + 1);
}

/// A model whose data are not known may read pairs.
#[test]
fn both_texts_of_a_pair_leave_by_both_protocols() {
    let either = model_copy();
    let path = either.path().join("bayes/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().shift_remove("sha256");
    manifest["data"] = Value::Null;
    std::fs::write(&path, manifest.to_string()).unwrap();
    let other = Server::of(either.path(), &SURE);
    let pair = json!({ "text": TEXT, "text_pair": "my router is broken" });
    let theirs = other.post("/predict", &pair).json();
    assert_ne!(theirs["confidence"], other.predict(TEXT).json()["confidence"]);
    for (path, more) in
        [("/predict", &[][..]), ("/v1/systemone", &["--forward-model", "tickets"][..])]
    {
        let url = format!("http://{}{path}", other.address);
        let flags = [&["--forward-abstained", &url][..], &UNSURE, more].concat();
        let server = Server::of(either.path(), &flags);
        let forwarded = server.post("/predict", &pair).json()["forwarded"].clone();
        assert_eq!(forwarded["confidence"], theirs["confidence"], "{path}: {forwarded}");
        // The first text alone is another question.
        let single = server.predict(TEXT).json()["forwarded"].clone();
        assert_eq!(single["cached"], json!(false));
        assert_ne!(single["confidence"], theirs["confidence"], "{path}: {single}");
    }
}

#[test]
fn nothing_leaves_where_nothing_abstains_or_what_was_forwarded_to_us() {
    let other = Other::start(|_, stream| say(stream, "200 OK", "", BILLING));
    let server = unsure(&other.url(), &[]);
    let accepted = json!({ "ood_p": 0, "min_confidence": 0 });
    let accepted = json!({ "text": TEXT, "abstain": accepted });
    let answer = server.post("/predict", &accepted).json();
    assert_eq!((&answer["decision"], answer.get("forwarded")), (&json!("accept"), None));
    let body = json!({ "text": TEXT }).to_string();
    let answer = server.ask("POST", "/predict", &[("X-Bayes-Forwarded", "1")], body.as_bytes());
    let forwarded = answer.json()["forwarded"].clone();
    assert_eq!(
        (&forwarded["decided_by"], &forwarded["failure"]),
        (&json!("local"), &json!("already_forwarded"))
    );
    assert!(forwarded.get("label").is_none(), "{forwarded}");
    assert_eq!(other.asked().len(), 0);

    // A certain answer that is kept does not keep the next one from leaving.
    assert_eq!(server.predict(TEXT).json()["forwarded"]["label"], "billing");
    assert_eq!(other.asked().len(), 1);
}

#[test]
fn two_servers_that_forward_to_each_other_do_not_go_round() {
    let way = Way::open();
    let first = unsure(&format!("http://{}/predict", way.address), &[]);
    let second = unsure(&format!("http://{}/predict", first.address), &[]);
    way.leads.set(second.address.clone()).unwrap();
    let forwarded = first.predict(TEXT).json()["forwarded"].clone();
    assert_eq!(
        (&forwarded["decided_by"], &forwarded["failure"]),
        (&json!("local"), &json!("abstained")),
        "{forwarded}"
    );
    assert!(forwarded["label"].is_string(), "a person may want to know it: {forwarded}");
    assert_eq!((requests(&first, "/predict"), requests(&second, "/predict")), (1, 1));
    assert_eq!(outcomes(&second, "already_forwarded"), 1.0);
}

#[test]
fn no_more_texts_leave_in_a_minute_than_may() {
    let other = Other::start(|_, stream| say(stream, "200 OK", "", BILLING));
    let server = unsure(&other.url(), &["--forward-per-minute", "2"]);
    let texts: Vec<String> = (0..5).map(|case| format!("a router, case {case}")).collect();
    let batch = server.post("/batch_predict", &json!({ "texts": texts })).json();
    let predictions = batch["predictions"].as_array().unwrap();
    let by = |what: &str, value: &str| {
        predictions.iter().filter(|one| one["forwarded"][what] == value).count()
    };
    assert_eq!((by("decided_by", "remote"), by("failure", "budget")), (2, 3), "{batch}");
    assert_eq!(other.asked().len(), 2);
    assert_eq!(outcomes(&server, "budget"), 3.0);
}

#[test]
fn the_other_server_is_told_who_asks_and_the_log_does_not_tell_the_key_or_the_text() {
    let home = tempfile::tempdir().unwrap();
    let (key, keys) = (home.path().join("key"), home.path().join("keys"));
    std::fs::write(&keys, "theirs-1\n").unwrap();
    std::fs::write(&key, "# of the other server\nwrong-1\n").unwrap();
    let guarded = ["--api-key-file", keys.to_str().unwrap(), "--rate-limit", "off"];
    let guarded = [&guarded[..], &SURE].concat();
    let other = Server::start_in(model(), home.path(), &guarded, &[]);
    let url = format!("http://{}/predict", other.address);
    let file = ["--forward-key-file", key.to_str().unwrap(), "-v"];
    let server = unsure(&url, &file);
    let ask = |text: &str| {
        let (id, body) = (format!("id-of-{}", text.len()), json!({ "text": text }).to_string());
        let headers = [("X-Request-Id", &*id)];
        server.ask("POST", "/predict", &headers, body.as_bytes()).json()["forwarded"].clone()
    };
    assert_eq!(ask("a secret text")["failure"], "refused");
    std::fs::write(&key, "theirs-1\n").unwrap();
    server.signal("HUP");
    eventually("the key is read again", || server.log().contains("a new forward key"));
    assert_eq!(ask("another secret text")["decided_by"], "remote");
    logs(&server, "the other server answered");
    let log = server.log();
    assert!(log.contains("a text leaves this machine") && log.contains("id-of-13"), "{log}");
    for hidden in ["wrong-1", "theirs-1", "secret text"] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }

    let other = Other::start(|_, stream| say(stream, "200 OK", "", BILLING));
    let url = other.url();
    let flags = [&["--forward-abstained", &url][..], &UNSURE].concat();
    let environment = [("BAYES_FORWARD_KEY", "of-the-environment")];
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(model(), home.path(), &flags, &environment);
    assert_eq!(server.predict(TEXT).json()["forwarded"]["label"], "billing");
    let asked = other.asked()[0].to_ascii_lowercase();
    for line in [
        "post /predict http/1.1",
        "authorization: bearer of-the-environment",
        "x-bayes-forwarded: 1",
        "content-type: application/json",
    ] {
        assert!(asked.lines().any(|found| found == line), "{line}: {asked}");
    }
    let body: Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, json!({ "text": TEXT, "return_text": false }));
}

#[test]
fn flags_that_lead_nowhere_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    let to = "--forward-abstained";
    for (flags, said) in [
        (
            &[to, "http://models.example/classify"][..],
            "`/predict` (another `bayes serve`) or in `/v1/systemone`",
        ),
        (&[to, "models.example"], "such as https://"),
        (&[to, "https://me:secret@models.example/predict"], "--forward-key-file"),
        (&[to, "http://models.example/v1/systemone"], "--forward-model"),
        (&[to, "http://models.example/predict", "--forward-model", "m"], "--forward-model"),
        (&[to, "http://models.example/predict", "--forward-timeout", "0"], "--forward-timeout"),
        (
            &[to, "http://models.example/predict", "--forward-per-minute", "0"],
            "--forward-per-minute",
        ),
        (&[to, "http://models.example/predict", "--forward-key-file", empty], "0 keys"),
        (&[to, "http://models.example/predict", "--forward-ca", empty], "https://"),
        (&[to, "https://models.example/predict", "--forward-ca", empty], "no certificate"),
        (&["--forward-key-file", empty], "without --forward-abstained"),
        (&["--forward-timeout", "5"], "--forward-timeout (or its variable) has no effect without"),
        // What is usual says nothing either.
        (&["--forward-per-minute", "600"], "--forward-per-minute (or its variable) has no effect"),
        (
            &["--forward-model", "m", "--forward-timeout", "2"],
            "--forward-model and --forward-timeout (or their variables) have no effect without",
        ),
    ] {
        let message = refused(&[flags, &["--check"]].concat(), None);
        assert!(message.contains(said) && !message.contains("secret"), "{flags:?}: {message}");
    }
}

/// A model that decides nothing sends nothing, which whoever starts the server should know.
#[test]
fn a_model_that_never_abstains_is_told_of() {
    let home = Home::new();
    home.train_tiny(&["--set", "calibration.target_risk=0", "--set", "calibration.ood_p=0"]);
    let model = home.path("checkpoints/tickets/model");
    let forward = ["--forward-abstained", "http://127.0.0.1:1/predict"];
    let server = Server::of(&model, &forward);
    assert_eq!(server.get("/info").json()["abstain"]["min_confidence"], Value::Null);
    logs(&server, "makes no accept/abstain decisions, so none of its texts is sent");
    let limited =
        Server::of(&model, &[&forward[..], &["--abstain-min-confidence", "0.9"]].concat());
    assert!(!limited.log().contains("makes no accept/abstain decisions"), "{}", limited.log());
}
