//! Whatever the other server does, the answer is ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::server::{PATIENCE, Server, eventually};
use super::other::{BILLING, Other, say};
use super::{TEXT, logs, outcomes, unsure};

/// What is wrong, and how it is told.
const WRONG: [(&str, &str); 14] = [
    ("silence", "timeout"),
    ("one byte after another", "timeout"),
    ("the end of the line", "unreachable"),
    ("half an answer", "unreachable"),
    ("an error", "refused"),
    ("a wrong key", "refused"),
    ("a text that is too long", "refused"),
    ("a redirect", "refused"),
    ("no HTTP", "invalid"),
    ("a page", "invalid"),
    ("another protocol", "invalid"),
    ("an unknown label", "invalid"),
    ("a probability of two", "invalid"),
    ("too much", "invalid"),
];

/// Does what the text says.
fn wrong(request: &str, stream: &mut TcpStream, elsewhere: &str) {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let good = |stream: &mut TcpStream, body: &str| say(stream, "200 OK", "", body);
    match body["text"].as_str().unwrap() {
        "silence" => std::thread::sleep(PATIENCE),
        "one byte after another" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            for byte in head.iter().chain([b' '].iter().cycle()) {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "the end of the line" => {}
        "half an answer" => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"label\": \"bill");
        }
        "an error" => say(stream, "500 Internal Server Error", "", BILLING),
        "a wrong key" => say(stream, "401 Unauthorized", "", "{}"),
        "a text that is too long" => say(stream, "422 Unprocessable Content", "", "{}"),
        "a redirect" => {
            let place = format!("Location: http://{elsewhere}/predict\r\n");
            say(stream, "307 Temporary Redirect", &place, "");
        }
        "no HTTP" => drop(stream.write_all(b"220 mail.example ESMTP\r\n")),
        "a page" => good(stream, "<html><body>Please log in.</body></html>"),
        "another protocol" => good(stream, r#"[[{"label": "billing", "score": 0.75}]]"#),
        "an unknown label" => good(stream, r#"{"label": "sales", "confidence": 0.75}"#),
        "a probability of two" => good(stream, r#"{"label": "billing", "confidence": 2}"#),
        "too much" => good(stream, &format!("{}{}", " ".repeat(2 << 20), BILLING)),
        _ => good(stream, BILLING),
    }
}

#[test]
fn whatever_goes_wrong_the_abstention_stands_and_says_why() {
    let elsewhere = Other::start(|_, stream| say(stream, "200 OK", "", BILLING));
    let place = elsewhere.address.clone();
    let other = Other::start(move |request, stream| wrong(request, stream, &place));
    let server = unsure(&other.url(), &["--forward-timeout", "2"]);
    for (case, (text, failure)) in WRONG.into_iter().enumerate() {
        let began = Instant::now();
        let answer = server.predict(text);
        assert_eq!(answer.status, 200, "{text}: {answer:?}");
        let answer = answer.json();
        assert_eq!((&answer["decision"], &answer["text"]), (&json!("abstain"), &json!(text)));
        assert!(answer["label"].is_string() && answer["probabilities"].is_object());
        let forwarded = &answer["forwarded"];
        let told = (&forwarded["decided_by"], &forwarded["failure"]);
        assert_eq!(told, (&json!("local"), &json!(failure)), "{text}: {answer}");
        assert!(forwarded.get("label").is_none() && forwarded.get("confidence").is_none());
        assert!(began.elapsed() < PATIENCE / 2, "{text}: {:?}", began.elapsed());
        // Failures are not kept; and too many in a row would be another test.
        let good = server.predict(&format!("{TEXT}, case {case}")).json();
        assert_eq!(good["forwarded"]["decided_by"], "remote", "after {text}: {good}");
    }
    assert_eq!(server.predict("an error").json()["forwarded"]["failure"], "refused");
    assert_eq!(other.asked().iter().filter(|asked| asked.contains("an error")).count(), 2);
    assert_eq!(elsewhere.asked().len(), 0, "texts go where they are sent, and nowhere else");
    assert_eq!(outcomes(&server, "timeout"), 2.0);
    assert_eq!(outcomes(&server, "refused"), 5.0);
    assert_eq!(outcomes(&server, "invalid"), 6.0);
    assert_eq!(outcomes(&server, "unreachable"), 2.0);
    logs(&server, "a forwarded text got no answer");
}

#[test]
fn a_request_is_answered_before_its_own_deadline() {
    let other = Other::start(|_, _| std::thread::sleep(PATIENCE));
    let server = unsure(&other.url(), &["--forward-timeout", "60", "--request-timeout", "120"]);
    let body = json!({ "text": TEXT }).to_string();
    for _ in 0..6 {
        let began = Instant::now();
        let headers = [("X-Request-Timeout-Ms", "1000")];
        let answer = server.ask("POST", "/predict", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        // One that is in a hurry does not make the other server rest for all.
        assert_eq!(answer.json()["forwarded"]["failure"], "timeout");
        assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    }
    assert_eq!(other.asked().len(), 6);
}

#[test]
fn a_server_that_is_not_there_costs_nothing_after_some_texts() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = unsure(&format!("http://{address}/predict"), &[]);
    for case in 0..5 {
        let answer = server.predict(&format!("a router, case {case}")).json();
        assert_eq!(answer["forwarded"]["failure"], "unreachable", "{answer}");
    }
    let answer = server.predict("another router").json();
    assert_eq!(answer["forwarded"]["failure"], "resting");
    assert_eq!(server.metric("bayes_forward_duration_seconds_count"), 5.0);
}

#[test]
fn a_server_that_fails_is_left_alone_and_asked_again_later() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let other = Other::start(move |_, stream| match is_well.load(Ordering::Acquire) {
        true => say(stream, "200 OK", "", BILLING),
        false => say(stream, "503 Service Unavailable", "", "{}"),
    });
    let server = unsure(&other.url(), &[]);
    let ask = |case: usize| server.predict(&format!("a router, case {case}")).json();
    let failures: Vec<String> =
        (0..8).map(|case| ask(case)["forwarded"]["failure"].as_str().unwrap().to_owned()).collect();
    assert_eq!(failures[..5], ["refused"; 5]);
    assert_eq!(failures[5..], ["resting"; 3]);
    assert_eq!(other.asked().len(), 5, "it is not asked");
    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
    assert_eq!(health.json()["forwarding"], "resting");
    assert_eq!(server.get("/info").json()["forwarding"]["state"], "resting");
    assert_eq!(server.get("/readyz").status, 200);
    logs(&server, "no text is forwarded for 10 s");

    well.store(true, Ordering::Release);
    let mut case = 8;
    eventually("it is asked again", || {
        case += 1;
        ask(case)["forwarded"]["decided_by"] == "remote"
    });
    assert_eq!(ask(0)["forwarded"]["decided_by"], "remote", "for all");
    assert_eq!(server.get("/health").json()["status"], "healthy");
    logs(&server, "is back");
}

#[test]
fn some_texts_are_on_their_way_at_once_and_the_others_wait() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (own, largest) = (Arc::clone(&now), Arc::clone(&most));
    let other = Other::start(move |_, stream| {
        largest.fetch_max(own.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
        std::thread::sleep(Duration::from_millis(200));
        own.fetch_sub(1, Ordering::AcqRel);
        say(stream, "200 OK", "", BILLING);
    });
    let server = unsure(&other.url(), &["--forward-timeout", "30", "--request-timeout", "120"]);
    let texts: Vec<String> = (0..32).map(|case| format!("a router, case {case}")).collect();
    let batch = server.post("/batch_predict", &json!({ "texts": texts })).json();
    let predictions = batch["predictions"].as_array().unwrap();
    assert!(predictions.iter().all(|one| one["forwarded"]["decided_by"] == "remote"), "{batch}");
    let most = most.load(Ordering::Acquire);
    assert!((2..=16).contains(&most), "{most} at once");

    // The same text many times is one.
    let before = other.asked().len();
    let batch = server.post("/batch_predict", &json!({ "texts": vec!["the same"; 32] })).json();
    let predictions = batch["predictions"].as_array().unwrap();
    assert!(predictions.iter().all(|one| one["forwarded"]["label"] == "billing"), "{batch}");
    assert_eq!(other.asked().len(), before + 1);
}

/// A server with TLS that answers once, by OpenSSL's own.
struct Tls {
    process: Child,
    port: u16,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tls(folder: &Path) -> Tls {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = |name: &str, more: &[&str]| {
        let files =
            ["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")].map(str::to_owned);
        let curve =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        openssl(&[&curve, &["-days", "2", "-subj", "/CN=test"][..], &files, more].concat());
    };
    new("authority", &[]);
    let signed = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    let names = [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    new("other", &[signed, names].concat());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", &port.to_string()]);
    server.args(["-cert", "other.pem", "-key", "other.key"]).current_dir(folder);
    server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = server.spawn().unwrap();
    let (mut input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.to_ascii_lowercase().starts_with("post /predict") {
                let length = BILLING.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                input.write_all(format!("{head}{BILLING}").as_bytes()).unwrap();
                input.flush().unwrap();
            }
        }
    });
    eventually("the port is open", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Tls { process, port }
}

#[test]
fn certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let other = tls(folder.path());
    let port = other.port;
    let url = |name: &str| format!("https://{name}:{port}/predict");
    let authority = folder.path().join("authority.pem");
    let trusted = [
        "--forward-ca",
        authority.to_str().unwrap(),
        "--forward-timeout",
        "30",
        "--request-timeout",
        "120",
    ];
    let failure = |server: &Server| server.predict(TEXT).json()["forwarded"].clone();
    let stranger =
        unsure(&url("localhost"), &["--forward-timeout", "30", "--request-timeout", "120"]);
    assert_eq!(failure(&stranger)["failure"], "unreachable", "nobody vouches for it");
    logs(&stranger, "UnknownIssuer");
    let renamed = unsure(&url("127.0.0.1"), &trusted);
    assert_eq!(failure(&renamed)["failure"], "unreachable", "the certificate has another name");
    logs(&renamed, "not valid for name");
    let server = unsure(&url("localhost"), &trusted);
    let answer = failure(&server);
    assert_eq!((&answer["decided_by"], &answer["server"]), (&json!("remote"), &json!("localhost")));
}
