//! Connections: how many, how long, and how they end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Server, eventually, peak_memory};

const ASKS: &[u8] = b"GET /info HTTP/1.1\r\nHost: test\r\n\r\n";

/// What comes within a moment; `None` if nothing does.
fn soon(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let mut bytes = [0; 2048];
    match stream.read(&mut bytes) {
        Ok(read) => Some(String::from_utf8(bytes[..read].to_vec()).unwrap()),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            None
        }
    }
}

/// A connection that has been answered once and stays open.
fn kept_alive(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(ASKS).unwrap();
    let mut bytes = [0; 2048];
    assert!(stream.read(&mut bytes).unwrap() > 0);
    stream
}

#[test]
fn half_a_head_after_a_whole_request_is_let_go_too() {
    let server = Server::start(&["--header-timeout", "1"]);
    let mut stream = kept_alive(&server);
    stream.write_all(&ASKS[..20]).unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(8), "it held its connection");
}

#[test]
fn one_connection_too_many_waits_for_its_place() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut held: Vec<TcpStream> = (0..3).map(|_| kept_alive(&server)).collect();
    let mut fourth = server.connect();
    fourth.write_all(ASKS).unwrap();
    assert_eq!(soon(&mut fourth), None, "it was served beside three others");
    held.pop();
    eventually("its turn has come", || {
        soon(&mut fourth).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
}

#[test]
fn without_files_for_connections_the_server_waits_and_comes_back() {
    let server = Server::start(&[]);
    let pid = server.id().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    // Room for a few more, and then for none.
    let limit = format!("--nofile={}:", open + 8);
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    let idle: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    let refusals = || server.log().matches("no connection was accepted").count();
    eventually("the system has no file left", || refusals() > 0);
    let before = refusals();
    std::thread::sleep(Duration::from_secs(1));
    let tries = refusals() - before;
    assert!(tries <= 40, "it tried {tries} times in a second");
    drop(idle);
    assert_eq!(server.get("/livez").text(), "ok");
}

#[test]
fn a_request_that_does_not_end_holds_the_server_no_longer_than_the_drain() {
    let mut server = Server::start(&["--drain-timeout", "1"]);
    let mut stream = server.connect();
    let head = "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    eventually("it has begun", || server.metric("http_server_active_requests") >= 2.0);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn probes_do_not_wait_for_the_model() {
    // The engine holds every text back for longer than a probe may take.
    let server = Server::start(&["--batch-wait-us", "4000000", "--cache-entries", "0"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.predict("my router"));
        eventually("a text waits", || server.get("/health").json()["queue_depth"] == json!(1));
        let began = Instant::now();
        for path in ["/livez", "/readyz", "/health", "/health/live", "/health/ready", "/metrics"] {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(!waiting.is_finished(), "the text should have waited longer than the probes");
        assert_eq!(waiting.join().unwrap().status, 200);
    });
}

#[test]
fn a_client_that_sends_all_before_it_reads_gets_its_refusal() {
    let server = Server::start(&["--max-body-bytes", "8388608"]);
    // As much as is read and thrown away, and more than the buffers of both ends hold.
    let body = vec![b' '; 2 * 8_388_608 - 1000];
    let answer = server.ask("POST", "/predict", &[], &body);
    assert_eq!((answer.status, &*answer.problem()), (413, "payload-too-large"));
}

#[test]
fn a_giant_body_is_not_kept_in_memory() {
    let server = Server::start(&["--max-body-bytes", "100000"]);
    let peak = || peak_memory(&server);
    server.predict("my router");
    let before = peak();
    for length in ["Content-Length: 67108864", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let chunked = length.starts_with('T');
        let piece = vec![b' '; 1 << 20];
        for _ in 0..64 {
            let mut bytes = if chunked { b"100000\r\n".to_vec() } else { Vec::new() };
            bytes.extend_from_slice(&piece);
            bytes.extend_from_slice(if chunked { b"\r\n" } else { b"" });
            // The server hangs up in the middle.
            if stream.write_all(&bytes).is_err() {
                break;
            }
        }
        let mut answer = [0; 32];
        let _ = stream.read(&mut answer);
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn an_answer_is_not_overtaken_by_the_end_of_its_connection() {
    let server = Server::start(&[]);
    let path = "/docs/swagger-ui-bundle.js";
    let whole = server.get(path).body.len();
    let mut stream = server.connect();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    // Nobody reads this. A stream that is closed before it is thrown away is reset, and the system throws
    // away with it what of the answer has not been sent.
    stream.write_all(&vec![b' '; 100_000]).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    while let read @ 1.. = stream.read(&mut piece).unwrap() {
        bytes.extend_from_slice(&piece[..read]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(super::server::Answer::parse(&bytes).body.len(), whole);
}
