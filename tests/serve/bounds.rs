//! What is asked does not decide what is held: memory and work have bounds of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http2::{asked, head};
use super::server::{Answer, Server, eventually, model, peak_memory};

/// The request that asks for the metrics has a head, which is counted too.
const OWN_HEAD: f64 = 500.0;

/// A job that has ended, with a large result.
fn finished_job(server: &Server) -> String {
    let texts: Vec<String> = (0..1024).map(|i| format!("router {i}")).collect();
    let job = server.post("/async_predict", &json!({ "texts": texts, "return_samples": true }));
    assert_eq!(job.status, 202, "{}", job.text());
    let path = format!("/task_status/{}", job.json()["task_id"].as_str().unwrap());
    // Small answers first: a result that is asked for again and again is memory too.
    eventually("it has ended", || server.metric("bayes_jobs{status=\"completed\"}") >= 1.0);
    path
}

/// Connections of HTTP/2 on which so many answers are asked for and none is read.
fn unread(server: &Server, connections: usize, path: &str) -> Vec<TcpStream> {
    let heads: Vec<Vec<u8>> = (0..60).map(|n| head(1 + 2 * n, "GET", path, "test", true)).collect();
    (0..connections).map(|_| asked(server, 0, &heads)).collect()
}

#[test]
fn answers_that_nobody_reads_are_within_the_budget() {
    let server = Server::start(&["--max-inflight-bytes", "8388608"]);
    let job = finished_job(&server);
    let result = server.get(&job).json();
    assert_eq!(result["result"]["count"], 1024);
    assert_eq!(result["result"]["predictions"][7]["text"], "router 7");
    server.get("/docs/swagger-ui-bundle.js");
    let before = peak_memory(&server);
    for path in [&*job, "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let held = unread(&server, 4, path);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            assert_eq!(server.get("/livez").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(1), "{path}: {:?}", asked.elapsed());
        }
        assert!(server.metric("bayes_inflight_bytes") <= 8_388_608.0);
        let grown = peak_memory(&server) - before;
        assert!(grown < 64 << 20, "{path}: {grown} bytes");
        drop(held);
    }
    eventually("all is given back", || server.metric("bayes_inflight_bytes") < OWN_HEAD);
    assert_eq!(server.get(&job).json(), result);
}

#[test]
fn bodies_that_do_not_end_are_within_the_budget_and_small_ones_find_room() {
    let flags = ["--max-inflight-bytes", "33554432", "--max-body-bytes", "10000000"];
    let server = Server::start(&flags);
    server.predict("router");
    let before = peak_memory(&server);
    // Few enough for what each may take as a usual request.
    let held: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = server.connect();
            let head =
                b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                         Content-Length: 10000000\r\n\r\n";
            stream.write_all(head).unwrap();
            // It does not take all of it.
            stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            let _ = stream.write_all(&vec![b' '; 9_900_000]);
            stream
        })
        .collect();
    let taken = || server.metric("bayes_inflight_bytes");
    // All that larger ones may take is taken, so each of them waits for the others.
    eventually("they are read", || taken() >= 24_000_000.0);
    assert!(taken() < 33_554_432.0, "{}", taken());
    let grown = peak_memory(&server) - before;
    // Half of what was sent; vectors that grow leave about as much as they hold to the allocator.
    assert!(grown < 150_000_000, "{grown} bytes");
    assert_eq!(server.predict("my router").status, 200);
    // A large one waits for its room, or is told to come again; it gets room when the others have gone,
    // and those that nobody can know to have gone have waited for too long.
    let began = Instant::now();
    std::thread::scope(|scope| {
        let asked = || {
            let mut stream = server.connect();
            let head = "POST /predict HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                        Content-Type: application/json\r\nContent-Length: 1900000\r\n\r\n";
            // It may be refused before it has sent everything.
            let sent = stream.write_all(head.as_bytes());
            let _ = sent.and_then(|()| stream.write_all(&vec![b' '; 1_900_000]));
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            (!bytes.is_empty()).then(|| Answer::parse(&bytes))
        };
        let again = move || std::iter::repeat_with(asked).flatten();
        let ask = move || again().find(|answer| answer.status != 503).unwrap();
        let waiting = scope.spawn(ask);
        std::thread::sleep(Duration::from_secs(1));
        assert!(!waiting.is_finished(), "there was room at once");
        drop(held);
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, &*answer.problem()), (400, "malformed-json"));
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    eventually("all is given back", || server.metric("bayes_inflight_bytes") < OWN_HEAD);
}

#[test]
fn an_answer_that_would_be_very_much_larger_than_its_question_is_refused() {
    let flags = ["--max-client-batch-size", "5000", "--max-job-items", "10000"];
    let server = Server::start(&flags);
    let ask = |path: &str, count: usize, samples: bool| {
        let texts = vec!["router"; count];
        server.post(path, &json!({ "texts": texts, "return_samples": samples }))
    };
    for (path, count, samples) in [
        ("/batch_predict", 2000, true),
        ("/batch_predict", 5000, false),
        ("/async_predict", 8000, true),
    ] {
        let answer = ask(path, count, samples);
        assert_eq!((answer.status, &*answer.problem()), (422, "validation"), "{path} {count}");
        let json = answer.json();
        let place = if samples { "return_samples" } else { "texts" };
        assert_eq!(json["errors"][0]["loc"], json!(["body", place]), "{json}");
        assert_eq!(json["errors"][0]["type"], "answer_too_large");
    }
    assert_eq!(ask("/batch_predict", 500, true).status, 200);
    let job = ask("/async_predict", 3000, true);
    assert_eq!(job.status, 202, "{}", job.text());
    let dear = Server::start(&["--max-job-cost", "1000"]);
    let ask =
        |count: usize| dear.post("/async_predict", &json!({ "texts": vec!["router"; count] }));
    assert_eq!(ask(10).status, 202);
    let refused = ask(1000).json();
    assert_eq!(refused["errors"][0]["type"], "too_costly", "{refused}");
}

#[test]
fn every_route_but_probes_has_a_limit() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(model(), home.path(), &["--rate-limit", "1/h"], &[]);
    // Twenty times as many as for the model, for all of them together.
    for path in ["/info", "/openapi.json", "/docs/", "/playground/script.js", "/task_status/t_none"]
    {
        for _ in 0..4 {
            assert_ne!(server.get(path).status, 429, "{path}");
        }
    }
    for path in ["/info", "/docs/", "/task_status/t_none", "/"] {
        let refused = server.get(path);
        assert_eq!((refused.status, &*refused.problem()), (429, "rate-limited"), "{path}");
    }
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.predict("router").status, 200, "that is counted by itself");
    assert_eq!(server.predict("router").status, 429);
}

#[test]
fn answers_are_packed_for_whoever_asks_and_the_same_for_all() {
    let server = Server::start(&[]);
    let packed = ("Accept-Encoding", "br, gzip");
    let texts = json!({ "texts": vec!["router"; 30] }).to_string();
    for (method, path, body) in
        [("GET", "/openapi.json", ""), ("GET", "/docs/", ""), ("POST", "/batch_predict", &texts)]
    {
        let plain = server.ask(method, path, &[], body.as_bytes());
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let small = server.ask(method, path, &[packed], body.as_bytes());
        assert_eq!(small.header("content-encoding"), Some("gzip"), "{path}");
        assert!(small.head.to_lowercase().contains("vary: accept-encoding"), "{}", small.head);
        assert!(small.body.len() < plain.body.len());
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*small.body);
        decoder.read_to_string(&mut text).unwrap();
        let label = |text: &str| {
            let json: Option<Value> = serde_json::from_str(text).ok();
            json.map(|json| json["predictions"][3]["label"].clone())
        };
        assert_eq!(label(&text), label(&plain.text()), "{path}");
    }
}

#[test]
fn what_nobody_waits_for_is_not_tokenised() {
    let flags = ["--tokenizer-threads", "1", "--cache-entries", "0"];
    let server = Server::start(&flags);
    server.predict("router");
    let clients: Vec<_> = (0..40)
        .map(|client| {
            let texts: Vec<String> =
                (0..32).map(|text| format!("{client} {text} {}", "a ".repeat(16_000))).collect();
            let body = json!({ "texts": texts }).to_string();
            let address = server.address.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let head = format!(
                    "POST /batch_predict HTTP/1.1\r\nHost: test\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // It may be refused before it has sent everything.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(body.as_bytes());
                std::thread::sleep(Duration::from_millis(300));
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let began = Instant::now();
    let answer: Answer = server.predict("an honest text");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!([200, 503].contains(&answer.status), "{}", answer.text());
    eventually("all have gone", || server.metric("bayes_inflight_bytes") < OWN_HEAD);
    assert_eq!(server.predict("another honest text").status, 200);
}

/// Bytes of answers that the system holds for clients of a port.
fn held_by_the_system(server: &Server) -> usize {
    let port: u16 = server.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let own = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues =
        rows.filter(|row| row[1] == own).map(|row| row[4].split(':').next().unwrap().to_owned());
    queues.map(|queue| usize::from_str_radix(&queue, 16).unwrap()).sum()
}

#[test]
fn what_the_system_holds_of_unread_answers_is_bounded_too() {
    let server = Server::start(&["--header-timeout", "2"]);
    let ask = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: test\r\n\r\n".repeat(20);
    let unread: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&ask).unwrap();
            stream
        })
        .collect();
    eventually("answers wait", || held_by_the_system(&server) > 8 * 16 * 1024);
    std::thread::sleep(Duration::from_secs(1));
    let held = held_by_the_system(&server) / unread.len();
    assert!(held < 384 * 1024, "{held} bytes for each");
    eventually("nothing is held any more", || held_by_the_system(&server) == 0);
    drop(unread);
}
