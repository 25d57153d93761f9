//! Clients that mean ill, or are broken.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Answer, Server};

fn resident(server: &Server) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.id())).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// `{"text": "aa…"}` of so many bytes; JSON may have blanks after it.
fn padded(bytes: usize) -> Vec<u8> {
    let mut body = json!({ "text": "my router" }).to_string().into_bytes();
    body.resize(bytes, b' ');
    body
}

fn chunked(stream: &mut TcpStream, body: &[u8], chunk: usize) {
    let head = "POST /predict HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    for part in body.chunks(chunk) {
        bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    // The server may answer and close before all of it is sent.
    let _ = stream.write_all(&bytes);
}

#[test]
fn a_body_has_its_limit_however_it_is_sent_and_leaves_no_memory_behind() {
    let limit = 100_000;
    let server = Server::start(&["--max-body-bytes", "100000"]);
    for (bytes, status) in [(limit - 1, 200), (limit, 200), (limit + 1, 413)] {
        let answer = server.ask("POST", "/predict", &[], &padded(bytes));
        assert_eq!(answer.status, status, "{bytes}: {answer:?}");
    }
    for (bytes, chunk, status) in [
        (limit, 5000, 200),
        (limit + 1, 5000, 413),
        // A hundred thousand chunks of one byte, and one more.
        (limit, 1, 200),
        (limit + 1, 1, 413),
    ] {
        let mut stream = server.connect();
        chunked(&mut stream, &padded(bytes), chunk);
        assert_eq!(Answer::read(&mut stream).status, status, "{bytes} in chunks of {chunk}");
    }
    let before = resident(&server);
    for _ in 0..20 {
        let answer = server.ask("POST", "/predict", &[], &padded(3 * limit));
        assert_eq!(answer.problem(), "payload-too-large");
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn strange_texts_are_answered_or_refused_and_nothing_breaks() {
    let server = Server::start(&[]);
    let marks = format!("e{}", "\u{301}".repeat(30_000));
    let many_marks = format!("e{}", "\u{301}".repeat(900_000));
    for (text, status) in [
        ("a\u{0}b", 200),
        ("\u{feff}my router", 200),
        ("\u{202e}gnitseretni\u{202c}", 200),
        ("👩‍👩‍👧‍👦 🏳️‍🌈", 200),
        ("<script>alert(1)</script>", 200),
        ("'; DROP TABLE jobs; --", 200),
        (&*marks, 200),
        (&*many_marks, 422),
        (&*"好".repeat(32_768), 200),
        (&*"好".repeat(600_000), 422),
        (" \u{a0}\u{0} ", 422),
    ] {
        let answer = server.predict(text);
        let shown: String = text.chars().take(20).collect();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
    }
    for body in [&b"\xef\xbb\xbf{\"text\": \"a\"}"[..], b"{\"text\": \"\xff\xfe\"}", b"\0\0\0\0"] {
        let answer = server.ask("POST", "/predict", &[], body);
        assert_eq!(answer.problem(), "malformed-json");
        assert!(answer.json()["errors"][0]["loc"][1].is_number());
    }
    assert_eq!(server.get("/livez").text(), "ok");
}

#[test]
fn slow_and_silent_clients_are_let_go() {
    let flags = ["--header-timeout", "1", "--body-timeout", "1"];
    let server = Server::start(&flags);
    // Nothing at all, the beginning of HTTP/2's preface, half a head.
    for sent in ["", "PR", "GET /livez HTTP/1.1\r\nHost: te"] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let began = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(began.elapsed() < Duration::from_secs(8), "{sent:?} held its connection");
    }
    // A body that comes byte by byte: each byte in time, the whole too late.
    let mut stream = server.connect();
    let head = "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        for _ in 0..50 {
            if writer.write_all(b" ").is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, &*answer.problem()), (408, "request-timeout"));
    trickle.join().unwrap();
}

#[test]
fn heads_have_a_limit() {
    let server = Server::start(&[]);
    let many: String = (0..1000).map(|i| format!("X-Header-{i}: 1\r\n")).collect();
    let giant = format!("X-Giant: {}\r\n", "a".repeat(200_000));
    for (line, headers, expected) in [
        ("/livez".to_owned(), many.as_str(), [431, 400]),
        ("/livez".to_owned(), giant.as_str(), [431, 400]),
        (format!("/{}", "a".repeat(100_000)), "", [414, 431]),
    ] {
        let mut stream = server.connect();
        let head = format!("GET {line} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
        let _ = stream.write_all(head.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        if !bytes.is_empty() {
            assert!(expected.contains(&Answer::parse(&bytes).status), "{}", head.len());
        }
    }
    for (count, status) in [(60, "HTTP/1.1 200"), (70, "HTTP/1.1 431")] {
        let headers: String = (2..count).map(|i| format!("X-Header-{i}: 1\r\n")).collect();
        let mut stream = server.connect();
        let head =
            format!("GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let answer = String::from_utf8(bytes).unwrap();
        assert!(answer.starts_with(status), "{count} headers: {answer}");
    }
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let flags = ["--header-timeout", "1", "--max-connections", "64"];
    let server = Server::start(&flags);
    let idle: Vec<TcpStream> = (0..250).map(|_| server.connect()).collect();
    // More than there are places for: they are let go in time, and the probe has its turn.
    assert_eq!(server.get("/livez").text(), "ok");
    drop(idle);
    let server = Server::start(&[]);
    let idle: Vec<TcpStream> = (0..1000).map(|_| server.connect()).collect();
    let began = Instant::now();
    assert_eq!(server.get("/livez").text(), "ok");
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(idle);
}

#[test]
fn a_client_that_leaves_costs_nothing() {
    // A text waits for company long enough for its client to leave.
    let server = Server::start(&["--batch-wait-us", "700000", "--cache-entries", "0"]);
    let passes = |server: &Server| server.metric("bayes_batch_items_count");
    let before = passes(&server);
    for _ in 0..3 {
        let mut stream = server.connect();
        let body = padded(100);
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let nothing = stream.read(&mut [0; 1]).unwrap_err().kind();
        assert!(matches!(nothing, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    }
    let series = "bayes_requests_cancelled_total{stage=\"queue\"}";
    super::server::eventually("all three are dropped", || server.metric(series) == 3.0);
    assert_eq!(passes(&server), before, "the model saw a text that nobody waits for");
}
