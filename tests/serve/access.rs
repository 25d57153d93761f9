//! Who may ask, under which name, and with which key.

use serde_json::json;

use super::http2::{asked, head};
use super::server::{Server, command, eventually, model};

pub fn refused(flags: &[&str], key: Option<&[u8]>) -> String {
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().unwrap();
    let mut command = command(model(), home.path(), flags);
    command.args(["--port", "0"]).stderr(std::process::Stdio::piped());
    if let Some(key) = key {
        command.env("BAYES_API_KEY", std::ffi::OsStr::from_bytes(key));
    }
    let mut child = command.spawn().unwrap();
    let began = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > super::server::PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{flags:?} {key:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_key_that_could_never_match_is_refused_at_the_start() {
    for key in [&b""[..], b"\xff\xfesecret", b"secret\n", b"sec ret", b"\xef\xbb\xbfsecret"] {
        for flags in [&[][..], &["--check"]] {
            let message = refused(flags, Some(key));
            assert!(message.contains("BAYES_API_KEY"), "{message}");
            assert!(!message.contains("ret"), "{message}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    for (bytes, place) in [
        (&b"\xef\xbb\xbfalpha\n"[..], "line 1"),
        (b"alpha\nbe ta\n", "line 2"),
        (b"alpha\n\n# more\nbeta \n", "line 4"),
        (b"alpha\nb\xe9ta\n", "line 2"),
        (b"# none\n", "no API key"),
    ] {
        std::fs::write(&keys, bytes).unwrap();
        let message = refused(&["--api-key-file", keys.to_str().unwrap()], None);
        assert!(message.contains(place), "{message}");
    }
    assert!(refused(&["--api-key-file", "nowhere"], None).contains("nowhere"));
}

#[test]
fn wrong_keys_are_counted_for_their_address_and_the_file_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    std::fs::write(&keys, "alpha\nbeta\n").unwrap();
    let proxy =
        ["--api-key-file", "keys", "--rate-limit", "off", "--trusted-proxy", "127.0.0.1/32"];
    let server = Server::start_in(model(), home.path(), &proxy, &[]);
    let ask = |key: &str, from: &str| {
        server.ask("GET", "/info", &[("X-API-Key", key), ("X-Forwarded-For", from)], b"")
    };
    let guesses: Vec<u16> =
        (0..100).map(|guess| ask(&format!("k{guess}"), "192.0.2.1").status).collect();
    assert_eq!(guesses[..30], [401; 30]);
    assert_eq!(guesses[40..], [429; 60]);
    // Otherwise the right one would be found as quickly.
    let right = ask("alpha", "192.0.2.1");
    assert_eq!((right.status, &*right.problem()), (429, "rate-limited"));
    assert!(right.header("retry-after").is_some());
    assert_eq!(ask("alpha", "192.0.2.2").status, 200);

    std::fs::write(&keys, "# phones\ngamma\n").unwrap();
    server.signal("HUP");
    eventually("the new key is known", || ask("gamma", "192.0.2.2").status == 200);
    assert_eq!(ask("alpha", "192.0.2.3").status, 401);
    std::fs::write(&keys, "del ta\n").unwrap();
    server.signal("HUP");
    eventually("the log says why not", || server.log().contains("the old key list stays"));
    assert_eq!(ask("gamma", "192.0.2.2").status, 200);
    assert!(server.log().contains("phones") && !server.log().contains("gamma"), "{}", server.log());
    let refusals = "bayes_reloads_total{what=\"key list\",outcome=\"refused\"}";
    assert!(server.metric(refusals) == 1.0);
}

#[test]
fn a_job_belongs_to_its_key() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("keys"), "alpha\nbeta\n").unwrap();
    let flags = ["--api-key-file", "keys", "--rate-limit", "off"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let ask = |method: &str, path: &str, key: &str, body: &str| {
        server.ask(method, path, &[("X-API-Key", key)], body.as_bytes())
    };
    let body = json!({ "text": "router" }).to_string();
    let job = ask("POST", "/async_predict", "alpha", &body).json();
    let path = format!("/task_status/{}", job["task_id"].as_str().unwrap());
    let status = |key: &str| ask("GET", &path, key, "").status;
    assert_eq!((status("alpha"), status("beta")), (200, 404));
    let task = path.replace("/task_status", "/task");
    assert_eq!(ask("DELETE", &task, "beta", "").problem(), "not-found");
    eventually("it was not cancelled", || {
        ask("GET", &path, "alpha", "").json()["status"] == "completed"
    });
    // The same key in another place of the file is still the same.
    std::fs::write(home.path().join("keys"), "beta\nalpha\n").unwrap();
    server.signal("HUP");
    eventually("the keys were read", || server.log().contains("a new key list is in service"));
    assert_eq!((status("alpha"), status("beta")), (200, 404));
}

#[test]
fn a_page_of_another_name_is_not_answered() {
    use std::io::{Read, Write};
    let server = Server::start(&["--allowed-host", "models.example.org,other.example.org"]);
    let ask = |path: &str, hosts: &[&str]| {
        let mut stream = server.connect();
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        super::server::Answer::read(&mut stream)
    };
    for host in ["localhost", "127.0.0.1:8000", "models.example.org", "OTHER.example.org.:80", "a"]
    {
        assert_eq!(ask("/info", &[host]).status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:8000", "192.0.2.1", "example.org"] {
        for path in ["/info", "/health", "/metrics", "/playground", "/no/such/route"] {
            let refused = ask(path, &[host]);
            assert_eq!((refused.status, &*refused.problem()), (403, "forbidden"), "{host}{path}");
        }
        // A load balancer may call it as it likes.
        assert_eq!(ask("/livez", &[host]).status, 200);
    }
    for hosts in [&[][..], &["localhost", "localhost"], &["localhost", "evil.example"]] {
        let refused = ask("/info", hosts);
        assert_eq!((refused.status, &*refused.problem()), (400, "bad-host"), "{hosts:?}");
    }
    let status = |host: &str| {
        let mut stream = asked(&server, 65_535, &[head(1, "GET", "/info", host, true)]);
        stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert!(status("localhost").contains("\"model\""));
    assert!(status("evil.example").contains("urn:bayes:problem:misdirected"));
    assert!(status("").contains("urn:bayes:problem:bad-host"));
}

#[test]
fn flags_have_bounds() {
    // Should one be taken, the server is only checked and ends.
    let refused = |flags: &[&str]| refused(&[flags, &["--check"]].concat(), None);
    let huge = u64::MAX.to_string();
    for flag in [
        "--max-connections",
        "--request-timeout",
        "--header-timeout",
        "--body-timeout",
        "--drain-timeout",
        "--shutdown-delay",
        "--cache-ttl",
        "--job-ttl",
        "--max-batch-cost",
        "--batch-wait-us",
        "--max-inflight-bytes",
        "--max-jobs-bytes",
        "--max-queue-items",
        "--tokenizer-threads",
    ] {
        let message = refused(&[flag, &huge]);
        assert!(message.contains(flag), "{message}");
    }
    for flag in ["--abstain-min-confidence", "--abstain-ood-p", "--abstain-max-epistemic"] {
        for value in ["nan", "inf", "-1", "x"] {
            let message = refused(&[&format!("{flag}={value}")]);
            assert!(message.contains(flag) && message.contains("invalid value"), "{message}");
        }
    }
    // A body that never finds room would be told to come again for ever.
    let message = refused(&["--max-inflight-bytes", "4194304"]);
    assert!(message.contains("--max-body-bytes 2097152"), "{message}");
    for flag in ["--max-connections", "--header-timeout", "--max-inflight-bytes", "--max-chars"] {
        assert!(refused(&[flag, "0"]).contains(flag), "{flag}");
    }
}

#[test]
fn keys_that_are_no_plain_file_are_refused_and_the_next_ones_are_read() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    let pipe = |path: &std::path::Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let other = home.path().join("pipe");
    pipe(&other);
    for (path, said) in
        [(other.to_str().unwrap(), "not a regular file"), ("/dev/zero", "not a regular file")]
    {
        assert!(refused(&["--api-key-file", path], None).contains(said), "{path}");
    }
    std::fs::write(&keys, vec![b'a'; (1 << 20) + 1]).unwrap();
    assert!(refused(&["--api-key-file", keys.to_str().unwrap()], None).contains("too large"));
    std::fs::write(&keys, "alpha\n").unwrap();
    let flags = ["--api-key-file", "keys", "--rate-limit", "off"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let status = |key: &str| server.ask("GET", "/info", &[("X-API-Key", key)], b"").status;
    std::fs::remove_file(&keys).unwrap();
    pipe(&keys);
    server.signal("HUP");
    eventually("the log says why not", || server.log().contains("the old key list stays"));
    assert_eq!(status("alpha"), 200);
    std::fs::remove_file(&keys).unwrap();
    std::fs::write(&keys, "beta\n").unwrap();
    server.signal("HUP");
    eventually("the next ones are read", || status("beta") == 200);
}

#[test]
fn names_and_origins_that_no_request_carries_are_refused() {
    let names =
        ["a.example:8000", "http://a.example", "*.example", "a.example/x", "", "a b", "x@a"];
    let origins =
        ["https://A.example", "https://", "https://a b", "https://a.example:443", "a.example", ""];
    for (flag, values) in [("--allowed-host", &names[..]), ("--cors-allow-origin", &origins)] {
        for value in values {
            let message = refused(&[&format!("{flag}={value}"), "--check"], None);
            assert!(message.contains(flag), "{value}: {message}");
        }
    }
    let flags = ["--allowed-host", "a.example,::1", "--cors-allow-origin", "http://a.example:8080"];
    Server::start(&flags);
}

#[test]
fn a_client_behind_a_proxy_is_known_by_what_the_proxy_wrote() {
    use std::io::Write;
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "1/h", "--trusted-proxy", "127.0.0.0/8"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let ask = |forwarded: &[u8]| {
        let mut stream = server.connect();
        let body = json!({ "text": "router" }).to_string();
        let head = b"POST /predict HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                     Content-Type: application/json\r\nX-Forwarded-For: ";
        let length = format!("\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(&[head, forwarded, length.as_bytes()].concat()).unwrap();
        super::server::Answer::read(&mut stream).status
    };
    // What stands before it came from the client.
    assert_eq!(ask(b"\xff, 198.51.100.1"), 200);
    assert_eq!(ask(b"198.51.100.1"), 429);
    assert_eq!(ask(b"\xfe\xff, 198.51.100.1"), 429);
    assert_eq!(ask(b"127.0.0.1"), 200, "another's requests are not counted for the proxy");
}
