//! As much of HTTP as the double needs, by hand, so that a line can be cut at any byte.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::content::Content;

/// A request whose body has not been read.
pub struct Request {
    pub method: String,
    /// Percent-decoded parts of the path.
    pub parts: Vec<String>,
    /// The path as it came, without query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    /// Bytes of the body that have not been read yet.
    pub left: u64,
    pub reader: BufReader<TcpStream>,
}

impl Request {
    /// The next request of a line; `None` when it is closed.
    pub fn read(mut reader: BufReader<TcpStream>) -> Option<Self> {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut words = first.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_lowercase(), value.trim().to_owned());
                }
                None => break,
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let left = headers.get("content-length").and_then(|length| length.parse().ok());
        Some(Self {
            method,
            parts: path.split('/').skip(1).map(decoded).collect(),
            path: path.to_owned(),
            query: query.split('&').filter(|text| !text.is_empty()).map(pair).collect(),
            headers,
            left: left.unwrap_or(0),
            reader,
        })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The rest of the body.
    pub fn body(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader.by_ref().take(self.left).read_to_end(&mut bytes);
        self.left = 0;
        bytes
    }

    pub fn json(&mut self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or(Value::Null)
    }

    /// The bytes that `Range` asks for, of so many.
    pub fn range(&self, length: u64) -> Option<(u64, u64)> {
        let (start, end) = self.header("range").strip_prefix("bytes=")?.split_once('-')?;
        let start = start.parse().ok()?;
        let end = end.parse::<u64>().map_or(length, |end| (end + 1).min(length));
        Some((start, end))
    }
}

pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Content,
    /// The part of the body that is sent.
    pub part: (u64, u64),
}

impl Answer {
    pub fn bytes(status: u16, kind: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let body = Content::from(bytes.into());
        let part = (0, body.len());
        Self { status, headers: Vec::new(), body, part }.header("Content-Type", kind)
    }

    pub fn json(value: &Value) -> Self {
        Self::bytes(200, "application/json; charset=utf-8", value.to_string())
    }

    /// A refusal as the Hub words it.
    pub fn refuse(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        let answer = Self::bytes(status, "application/json; charset=utf-8", body);
        let answer = answer.header("X-Error-Message", message).header("X-Request-Id", "double");
        if code.is_empty() { answer } else { answer.header("X-Error-Code", code) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How an answer is sent.
#[derive(Default)]
pub struct Manner {
    /// The line is closed after so many bytes of the body.
    pub cut: Option<u64>,
    /// Nothing comes for a while after so many bytes.
    pub stall: Option<(u64, Duration)>,
    /// Bytes a second.
    pub rate: Option<u64>,
    /// The first byte is another one.
    pub wrong: bool,
}

/// Sends an answer; `sent` hears of every block. An error ends the line.
pub fn send(
    stream: &mut TcpStream,
    answer: &Answer,
    head_only: bool,
    manner: &Manner,
    sent: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let (start, end) = answer.part;
    let mut head = format!("HTTP/1.1 {} Double\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", end - start));
    stream.write_all(head.as_bytes())?;
    if head_only {
        return stream.flush();
    }
    let mut at = start;
    let mut stall = manner.stall;
    let block = manner.rate.map_or(1 << 16, |rate| (rate / 20).clamp(1, 1 << 16));
    while at < end {
        let mut stop = (at + block).min(end);
        if let Some(cut) = manner.cut {
            stop = stop.min(start + cut);
        }
        if let Some((after, pause)) = stall.filter(|(after, _)| start + after <= stop) {
            stop = start + after;
            if at >= stop {
                std::thread::sleep(pause);
                stall = None;
                continue;
            }
        }
        if at == stop {
            stream.flush()?;
            let _ = stream.shutdown(Shutdown::Both);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut bytes = answer.body.read(at, stop);
        if manner.wrong && at == 0 {
            bytes[0] ^= 1;
        }
        stream.write_all(&bytes)?;
        sent(bytes.len() as u64);
        at = stop;
        if let Some(rate) = manner.rate {
            std::thread::sleep(Duration::from_secs_f64(block as f64 / rate as f64));
        }
    }
    stream.flush()
}
