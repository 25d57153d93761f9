//! HTTP/2 by hand: frames that no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::server::Server;

/// A frame: its kind, its flags, its stream.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The beginning of a connection; the client takes so many bytes of each answer without being asked.
pub fn preface(window: u32) -> Vec<u8> {
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &setting)[..]].concat()
}

/// The head of a request, which ends it if `whole`.
pub fn head(stream: u32, method: &str, path: &str, host: &str, whole: bool) -> Vec<u8> {
    let mut block = Vec::new();
    let kind = ("content-type", "application/json");
    let authority = (":authority", host);
    let fields = [(":method", method), (":scheme", "http"), (":path", path), kind];
    for (name, value) in fields.into_iter().chain((!host.is_empty()).then_some(authority)) {
        // A literal that enters no table.
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.bytes());
        }
    }
    // Pseudo-headers come first.
    if !host.is_empty() {
        let kind: usize = 3 + kind.0.len() + kind.1.len();
        let own = 3 + authority.0.len() + authority.1.len();
        let start = block.len() - own - kind;
        block[start..].rotate_left(kind);
    }
    frame(1, if whole { 5 } else { 4 }, stream, &block)
}

/// Sends pings until the connection is closed; the time that took, `None` if it was not.
pub fn pinged_until_closed(mut stream: TcpStream, most: Duration) -> Option<Duration> {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut bytes = [0; 4096];
    while began.elapsed() < most {
        if stream.write_all(&frame(6, 0, 0, &[7; 8])).is_err() {
            return Some(began.elapsed());
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Some(began.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Some(began.elapsed()),
        }
    }
    None
}

/// A connection on which these requests were made.
pub fn asked(server: &Server, window: u32, heads: &[Vec<u8>]) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(&[preface(window), heads.concat()].concat()).unwrap();
    stream
}
