//! Lines in and out of one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Answer, Server, eventually, peak_memory};

/// A client that reads while it sends.
struct Lines {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// What has come of lines that are not whole.
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// Sends the head of a request, and reads that of its answer.
    fn open(server: &Server, headers: &[(&str, &str)]) -> Self {
        let mut stream = server.connect();
        let mut head =
            "POST /predict_stream HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
                        Content-Type: application/x-ndjson\r\n"
                .to_owned();
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "no answer: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/x-ndjson"), "{head}");
        Self { stream, reader, buffer: Vec::new(), ended: false }
    }

    fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.stream.write_all(&chunk).unwrap();
    }

    fn ask(&mut self, text: &str) {
        self.send(format!("{}\n", json!({ "text": text })).as_bytes());
    }

    fn finish(&mut self) {
        self.stream.write_all(b"0\r\n\r\n").unwrap();
    }

    /// The next line, or `None` once the answer has ended as it should.
    fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            if self.ended {
                assert!(self.buffer.is_empty());
                return None;
            }
            let mut size = String::new();
            self.reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).expect("the answer broke off");
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            self.buffer.extend_from_slice(&chunk[..size]);
            self.ended = size == 0;
        }
    }

    fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// What must be equal however a text was sent.
fn essence(prediction: &Value) -> Value {
    let mut prediction = prediction.clone();
    for volatile in ["prediction_id", "processing_time_ms", "cached"] {
        prediction.as_object_mut().unwrap().remove(volatile);
    }
    prediction
}

fn problem(line: &Value) -> (String, u64) {
    let kind = line["error"]["type"].as_str().unwrap_or_else(|| panic!("no error: {line}"));
    let kind = kind.strip_prefix("urn:bayes:problem:").unwrap();
    (kind.to_owned(), line["line"].as_u64().unwrap())
}

#[test]
fn every_line_has_its_answer_at_its_place() {
    let server = Server::start(&["--max-body-bytes", "3000"]);
    let first = server.post("/predict", &json!({ "text": "my invoice", "coverage": 0.95 })).json();
    let mut lines = Lines::open(&server, &[]);
    let sent: Vec<Vec<u8>> = vec![
        br#"{"text": "my invoice", "coverage": 0.95}"#.to_vec(),
        b"{".to_vec(),
        br#"{"text": " "}"#.to_vec(),
        br#"{"text": "a", "color": 1}"#.to_vec(),
        b"".to_vec(),
        format!("{{\"text\": \"{}\"}}", "a ".repeat(2000)).into_bytes(),
        br#"{"text": "please"#.to_vec(),
        b"\xff".to_vec(),
        br#"{"text": "a router", "num_samples": 3}"#.to_vec(),
        br#"{"text": "my router"}"#.to_vec(),
    ];
    let body = sent.join(&b"\n"[..]);
    // Cut anywhere, and the last line has no end.
    for piece in body.chunks(37) {
        lines.send(piece);
    }
    lines.finish();
    let answers = lines.rest();
    assert_eq!(answers.len(), sent.len());
    assert_eq!(essence(&answers[0]), essence(&first));
    let kinds =
        ["malformed-json", "validation", "validation", "malformed-json", "payload-too-large"];
    for (place, kind) in kinds.into_iter().enumerate() {
        let place = place + 1;
        assert_eq!(problem(&answers[place]), (kind.to_owned(), place as u64 + 1));
    }
    assert_eq!(answers[2]["error"]["errors"][0]["loc"], json!(["body", "text"]));
    for (place, kind) in [(6, "malformed-json"), (7, "malformed-json"), (8, "validation")] {
        assert_eq!(problem(&answers[place]), (kind.to_owned(), place as u64 + 1));
    }
    assert_eq!(essence(&answers[9]), essence(&server.predict("my router").json()));

    // `curl --data-binary @rows.jsonl`, packed or not; and a body without lines.
    let plain = "{\"text\": \"my invoice\"}\r\n{\"text\": \"my router\"}\r\n";
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let kind = ("Content-Type", "application/jsonl");
    for (headers, body) in
        [(vec![kind], plain.as_bytes()), (vec![kind, ("Content-Encoding", "gzip")], &packed)]
    {
        let answer = server.ask("POST", "/predict_stream", &headers, body).text();
        let labels: Vec<Value> = answer
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["label"].clone())
            .collect();
        assert_eq!(labels, [json!("billing"), json!("technical")]);
    }
    let cut =
        server.ask("POST", "/predict_stream", &[kind, ("Content-Encoding", "gzip")], &packed[..20]);
    assert!(cut.text().contains("is not gzip"), "{}", cut.text());
    let other = server.ask("POST", "/predict_stream", &[kind, ("Content-Encoding", "zstd")], b"");
    assert_eq!(other.status, 415);
    assert!(other.text().contains("as one of: gzip\""), "{}", other.text());
    let empty = server.ask("POST", "/predict_stream", &[kind], b"");
    assert_eq!((empty.status, empty.text()), (200, String::new()));
    let wrong = server.ask("POST", "/predict_stream", &[], b"{}");
    assert_eq!((wrong.status, &*wrong.problem()), (415, "unsupported-media-type"));
    assert!(wrong.text().contains("application/x-ndjson"), "{}", wrong.text());
}

#[test]
fn an_answer_comes_before_the_next_line_is_sent() {
    let server = Server::start(&["--header-timeout", "1"]);
    let mut lines = Lines::open(&server, &[]);
    for word in ["invoice", "router", "invoice"] {
        lines.ask(&format!("my {word} once more"));
        let answer = lines.next().unwrap();
        assert_eq!(answer["text"], json!(format!("my {word} once more")));
        // A client that thinks is no client that does not read.
        std::thread::sleep(Duration::from_millis(1500));
    }
    lines.finish();
    assert_eq!(lines.next(), None);
}

#[test]
fn a_client_that_sends_no_more_still_gets_all_of_its_answers() {
    let server = Server::start(&["--cache-entries", "0"]);
    let rows: String =
        (0..500).map(|row| format!("{}\n", json!({ "text": format!("row {row}") }))).collect();
    let mut stream = server.connect();
    let head = format!(
        "POST /predict_stream HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{rows}",
        rows.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, answer.text().lines().count()), (200, 500));
    assert!(answer.text().lines().last().unwrap().contains("row 499"));
}

/// A client that expects to be told to send is told, and its answer does not come before that.
#[test]
fn who_waits_for_leave_to_send_gets_it() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let line = "{\"text\": \"my router\"}\n";
    let head = format!(
        "POST /predict_stream HTTP/1.1\r\nHost: test\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        line.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(line.as_bytes()).unwrap();
    let answer = Answer::read(&mut stream);
    assert!(answer.text().contains("technical"), "{}", answer.text());
}

#[test]
fn many_rows_take_no_more_memory_than_few_and_keep_their_order() {
    let server = Server::start(&["--cache-entries", "100"]);
    let stream = |rows: usize| {
        let mut lines = Lines::open(&server, &[]);
        let mut sender = lines.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            for from in (0..rows).step_by(100) {
                let bodies: String = (from..rows.min(from + 100))
                    .map(|row| {
                        format!(
                            "{}\n",
                            json!({ "text": format!("row {}", row % 300), "seed": row })
                        )
                    })
                    .collect();
                let chunk = format!("{:x}\r\n{bodies}\r\n", bodies.len());
                sender.write_all(chunk.as_bytes()).unwrap();
            }
            sender.write_all(b"0\r\n\r\n").unwrap();
        });
        for row in 0..rows {
            let answer = lines.next().unwrap_or_else(|| panic!("it ended before row {row}"));
            assert_eq!(answer["text"], json!(format!("row {}", row % 300)));
            assert_eq!(answer["uncertainty_details"]["seed"], json!(row));
        }
        assert_eq!(lines.next(), None);
        sending.join().unwrap();
    };
    stream(500);
    let before = peak_memory(&server);
    stream(5000);
    let more = peak_memory(&server).saturating_sub(before);
    assert!(more < 16 << 20, "{} MiB more", more >> 20);
    eventually("all is given back", || server.metric("bayes_inflight_bytes") < 2000.0);
}

/// The server stops reading when its answers are not read, and gives such a client up after a while.
#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let server = Server::start(&["--header-timeout", "1", "--request-timeout", "2"]);
    server.predict("router");
    let before = peak_memory(&server);
    let mut lines = Lines::open(&server, &[]);
    lines.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let rows = format!("{}\n", json!({ "text": "my router is broken" })).repeat(500);
    let chunk = format!("{:x}\r\n{rows}\r\n", rows.len()).into_bytes();
    let mut sent = 0;
    while sent < 200 << 20 && lines.stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 100 << 20, "{} MiB were taken", sent >> 20);
    let more = peak_memory(&server).saturating_sub(before);
    assert!(more < 24 << 20, "{} MiB more", more >> 20);
    eventually("it is given up", || server.metric("http_server_active_requests") < 2.0);
}

#[test]
fn who_goes_away_cancels_what_is_on_its_way() {
    let server = Server::start(&["--cache-entries", "0"]);
    let done = || server.metric("prediction_duration_seconds_count");
    let mut lines = Lines::open(&server, &[]);
    let long = "a ".repeat(10_000);
    for row in 0..60 {
        let body = json!({ "text": format!("{row} {long}"), "return_text": false });
        lines.send(format!("{body}\n").as_bytes());
        if row == 0 {
            lines.next();
        }
    }
    drop(lines);
    eventually("it is noticed", || server.metric("http_server_active_requests") < 2.0);
    let after = done();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(done(), after, "nobody asks for more");
}

#[test]
fn a_stop_answers_what_was_read_and_says_where_to_go_on() {
    let mut server = Server::start(&["--drain-timeout", "20"]);
    let mut lines = Lines::open(&server, &[]);
    for row in 0..40 {
        lines.ask(&format!("row {row}"));
    }
    for row in 0..40 {
        assert_eq!(lines.next().unwrap()["text"], json!(format!("row {row}")));
    }
    let began = Instant::now();
    server.signal("TERM");
    let last = lines.rest();
    assert_eq!(last.len(), 1, "{last:?}");
    assert_eq!(problem(&last[0]), ("draining".to_owned(), 41));
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn as_many_lines_as_a_job_may_have_are_one_request_of_the_rate_limit() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "2/h", "--max-job-items", "10"];
    let server = Server::start_in(super::server::model(), home.path(), &flags, &[]);
    let mut lines = Lines::open(&server, &[]);
    for row in 0..30 {
        lines.ask(&format!("row {row}"));
    }
    for row in 0..20 {
        assert_eq!(lines.next().unwrap()["text"], json!(format!("row {row}")));
    }
    let last = lines.rest();
    assert_eq!(last.len(), 1, "{last:?}");
    assert_eq!(problem(&last[0]), ("rate-limited".to_owned(), 21));
    assert_eq!(server.predict("router").status, 429);

    // Where there is more to be had soon, the stream waits for it.
    let (home, flags) =
        (tempfile::tempdir().unwrap(), ["--rate-limit", "1/s", "--max-job-items", "10"]);
    let server = Server::start_in(super::server::model(), home.path(), &flags, &[]);
    let began = Instant::now();
    let mut lines = Lines::open(&server, &[]);
    for row in 0..30 {
        lines.ask(&format!("row {row}"));
    }
    lines.finish();
    assert_eq!(lines.rest().iter().filter(|line| line["label"].is_string()).count(), 30);
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn a_line_has_its_time_and_a_stream_its_share_of_the_connections() {
    let server = Server::start(&["--body-timeout", "1", "--max-connections", "4"]);
    let mut lines = Lines::open(&server, &[]);
    let second =
        server.ask("POST", "/predict_stream", &[("Content-Type", "application/x-ndjson")], b"");
    assert_eq!((second.status, &*second.problem()), (503, "overloaded"));
    lines.ask("my router");
    assert_eq!(lines.next().unwrap()["label"], "technical");
    lines.send(b"{\"text\": \"my inv");
    let last = lines.rest();
    assert_eq!(last.len(), 1, "{last:?}");
    assert_eq!(problem(&last[0]), ("request-timeout".to_owned(), 2));
    eventually("its place is free", || {
        server
            .ask("POST", "/predict_stream", &[("Content-Type", "application/x-ndjson")], b"")
            .status
            == 200
    });
}

#[test]
fn a_line_that_cannot_be_answered_in_time_says_so_and_the_others_go_on() {
    let server = Server::start(&[]);
    let mut lines =
        Lines::open(&server, &[("X-Request-Timeout-Ms", "1"), ("Cache-Control", "no-cache")]);
    for _ in 0..5 {
        lines.ask(&"please look at my router ".repeat(1000));
    }
    lines.finish();
    let answers = lines.rest();
    assert_eq!(answers.len(), 5);
    let late: Vec<_> = answers.iter().filter(|answer| answer["error"].is_object()).collect();
    assert!(!late.is_empty(), "a millisecond is too little: {answers:?}");
    for answer in late {
        let (kind, _) = problem(answer);
        assert!(["deadline-exceeded", "overloaded"].contains(&kind.as_str()), "{answer}");
    }
}
