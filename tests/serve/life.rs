//! The life of a connection: it goes on with progress, and with nothing else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::http2::{asked, head, pinged_until_closed};
use super::server::{Answer, Server, eventually};

/// A whole request that keeps its connection.
fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    head.into_bytes()
}

#[test]
fn pings_and_unread_answers_keep_no_connection() {
    let server = Server::start(&["--header-timeout", "1"]);
    let page = "/docs/swagger-ui-bundle.js";
    let most = Duration::from_secs(10);
    for (what, window, heads) in [
        ("nothing asked", 65_535, vec![]),
        ("an answer that was read", 65_535, vec![head(1, "GET", "/info", "test", true)]),
        ("an answer that is not read", 0, vec![head(1, "GET", page, "test", true)]),
        ("many of them", 0, (0..60).map(|n| head(1 + 2 * n, "GET", page, "test", true)).collect()),
        ("a small one", 1, vec![head(1, "GET", "/info", "test", true)]),
    ] {
        let closed = pinged_until_closed(asked(&server, window, &heads), most);
        assert!(closed.is_some(), "{what}: it held its connection");
    }
}

#[test]
fn an_answer_that_is_not_read_gives_its_place_back() {
    let server = Server::start(&["--header-timeout", "1", "--max-connections", "1"]);
    let mut greedy = server.connect();
    let many = request("GET", "/docs/swagger-ui-bundle.js", "").repeat(40);
    greedy.write_all(&many).unwrap();
    let began = Instant::now();
    assert_eq!(server.get("/info").status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_slow_reader_that_goes_on_reading_gets_all_of_it() {
    let server = Server::start(&["--header-timeout", "1"]);
    let whole = server.get("/docs/swagger-ui-bundle.js").body.len();
    let mut stream = server.connect();
    let ask = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let began = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(80));
        match stream.read(&mut piece).unwrap() {
            0 => break,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    assert!(began.elapsed() > Duration::from_secs(1), "it was no slow reader");
    assert_eq!(Answer::parse(&bytes).body.len(), whole);
}

#[test]
fn probes_have_places_of_their_own() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut holder = server.connect();
    holder.write_all(&request("POST", "/predict", "{     }")[..95]).unwrap();
    // Halves of probes, and silence, which all want a place or nothing.
    let idle: Vec<TcpStream> = (0..100)
        .map(|place| {
            let mut stream = server.connect();
            let half = b"GET /livez HTTP/1.1\r\nHost: test\r\n";
            stream.write_all(&half[..place % 2 * half.len()]).unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        for path in ["/livez", "/readyz", "/readyz?verbose", "/health"] {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut other = server.connect();
    other.write_all(&request("GET", "/info", "")).unwrap();
    other.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(other.read(&mut [0; 1]).is_err(), "the only place was taken twice");
    drop((idle, holder));
}

#[test]
fn who_has_closed_its_writing_half_gets_its_answer() {
    let server = Server::start(&["--batch-wait-us", "300000", "--cache-entries", "0"]);
    let body = json!({ "text": "please look at my router" }).to_string();
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/predict", &body)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["label"], "technical");
    // One whose body ends too early gets no answer, and holds nothing.
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/predict", &body)[..100]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(began.elapsed() < Duration::from_secs(5), "it was waited for");
}

#[test]
fn sigterm_leaves_no_request_without_an_answer() {
    for delay in ["0", "1"] {
        let mut server = Server::start(&["--shutdown-delay", delay]);
        let address = server.address.clone();
        let told = AtomicBool::new(false);
        let converse = |client: usize| {
            let Ok(mut stream) = TcpStream::connect(&address) else { return 0 };
            for answered in 0.. {
                let texts = vec![format!("{client} {answered} router"); 4];
                let body = json!({ "texts": texts }).to_string();
                let sent = stream.write_all(&request("POST", "/batch_predict", &body));
                let mut bytes = vec![0; 1 << 16];
                let read = sent.and_then(|()| stream.read(&mut bytes)).unwrap_or(0);
                assert!(read > 0, "request {answered} of {client} had no answer");
                if String::from_utf8_lossy(&bytes[..read])
                    .to_lowercase()
                    .contains("\r\nconnection: close")
                {
                    assert!(told.load(Ordering::Acquire), "nobody has told it to stop");
                    return answered + 1;
                }
            }
            0
        };
        let answered: usize = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..16).map(|client| scope.spawn(move || converse(client))).collect();
            std::thread::sleep(Duration::from_millis(500));
            told.store(true, Ordering::Release);
            server.signal("TERM");
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert!(answered > 16, "{answered}");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn a_request_that_waited_for_its_place_is_answered_while_the_server_stops() {
    let mut server = Server::start(&["--max-connections", "1", "--batch-wait-us", "1000000"]);
    let body = json!({ "text": "my router" }).to_string();
    let ask = || {
        let mut stream = server.connect();
        stream.write_all(&request("POST", "/predict", &body)).unwrap();
        stream
    };
    let mut first = ask();
    eventually("it waits", || server.get("/health").json()["queue_depth"] == json!(1));
    let mut second = ask();
    std::thread::sleep(Duration::from_millis(200));
    server.signal("TERM");
    assert_eq!(Answer::read(&mut first).status, 200);
    assert_eq!(Answer::read(&mut second).problem(), "draining");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn who_stays_after_a_probe_keeps_no_other_out() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut holder = server.connect();
    holder.write_all(&request("POST", "/predict", "{     }")[..95]).unwrap();
    // As many as there are places for probes; they do not close their connections.
    let stay: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(server.get("/livez").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop((stay, holder));
}

#[test]
fn while_others_wait_a_connection_ends_with_its_answer() {
    let server = Server::start(&["--max-connections", "2"]);
    for http2 in [false, true] {
        let keep = || {
            let mut stream = server.connect();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            if http2 {
                stream.write_all(&super::http2::preface(65_535)).unwrap();
            }
            // A place is kept by asking now and then, whatever the server says of an end.
            for asked in 0..40 {
                let ask = match http2 {
                    true => head(1 + 2 * asked, "GET", "/info", "test", true),
                    false => request("GET", "/info", ""),
                };
                let mut bytes = [0; 4096];
                if stream.write_all(&ask).is_err() || !matches!(stream.read(&mut bytes), Ok(1..)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(250));
            }
        };
        std::thread::scope(|scope| {
            let keepers = [(); 2].map(|()| scope.spawn(keep));
            std::thread::sleep(Duration::from_millis(500));
            let began = Instant::now();
            assert_eq!(server.get("/info").status, 200);
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(5), "HTTP/2: {http2}, {waited:?}");
            keepers.into_iter().for_each(|keeper| keeper.join().unwrap());
        });
    }
}

#[test]
fn a_request_that_crosses_the_end_is_answered() {
    let mut server = Server::start(&[]);
    let mut idle: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&request("GET", "/info", "")).unwrap();
            assert!(stream.read(&mut [0; 1 << 16]).unwrap() > 0);
            stream
        })
        .collect();
    server.signal("TERM");
    eventually("nobody new is let in", || TcpStream::connect(&server.address).is_err());
    // They have not been told yet.
    for stream in &mut idle {
        stream.write_all(&request("GET", "/info", "")).unwrap();
    }
    for stream in &mut idle {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
