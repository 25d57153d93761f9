//! Many requests, one after the other: memory does not grow with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::server::Server;

/// Requests before the first look, and before the second: the second is ten times as many.
const FIRST: usize = 1_500;
const SECOND: usize = 15_000;
/// Connections at once.
const CLIENTS: usize = 8;

fn resident(server: &Server) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.id())).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// One request on a connection that stays open; its status.
fn ask(connection: &mut BufReader<TcpStream>, number: usize) -> u16 {
    let body = match number % 10 {
        // Refusals have memory of their own.
        0 => "{\"text\": 3}".to_owned(),
        _ => json!({ "text": format!("please look at my router {number}") }).to_string(),
    };
    let path =
        if number.is_multiple_of(7) { format!("/nothing/{number}") } else { "/predict".to_owned() };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        let lower = line.trim().to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(rest) = lower.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        } else if lower.is_empty() {
            break;
        }
    }
    connection.read_exact(&mut vec![0; length]).unwrap();
    status
}

#[test]
fn ten_times_as_many_requests_need_no_more_memory() {
    // What is kept on purpose is full before the first look.
    let server =
        Server::start(&["--cache-entries", "200", "--log-format", "json", "--feedback-texts"]);
    let next = AtomicUsize::new(0);
    let until = |goal: usize| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut connection = BufReader::new(server.connect());
                    loop {
                        let number = next.fetch_add(1, Ordering::AcqRel);
                        if number >= goal {
                            break;
                        }
                        let status = ask(&mut connection, number);
                        assert!([200, 404, 422].contains(&status), "{number}: {status}");
                    }
                });
            }
        });
        next.store(goal, Ordering::Release);
        resident(&server)
    };
    let (first, second) = (until(FIRST), until(SECOND));
    // `/metrics` was not asked: nothing waits to be collected. The process is so small that what the
    // allocator holds in reserve is more than a twentieth of it; half a kilobyte a request is not.
    let allowed = (first / 20).max(8 << 20);
    assert!(second <= first + allowed, "{first} bytes, then {second}");
}
