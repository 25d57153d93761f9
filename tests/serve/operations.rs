//! What an operator relies on.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Answer, Server, eventually, model, model_copy, model_with_spread};

#[test]
fn probes_and_info_say_how_it_is() {
    let server = Server::start(&[]);
    let health = server.get("/health").json();
    assert_eq!((&health["status"], &health["model_loaded"]), (&json!("healthy"), &json!(true)));
    assert_eq!((&health["device"], &health["queue_depth"]), (&json!("cpu"), &json!(0)));
    let parts = json!({ "engine": "ok", "cache": "ok", "jobs": "ok", "feedback": "ok" });
    assert_eq!(health["checks"], parts);
    for (path, text) in
        [("/livez", "ok"), ("/health/live", "ok"), ("/readyz", "ok"), ("/health/ready", "ok")]
    {
        assert_eq!(server.get(path).text(), text, "{path}");
    }
    assert!(server.get("/readyz?verbose").text().contains("engine: ok"));
    let info = server.get("/info").json();
    assert_eq!(
        (&info["model"], &info["task"], &info["labels"]),
        (&json!("tickets"), &json!("single_label"), &json!(["billing", "technical"]))
    );
    assert_eq!(info["limits"]["max_client_batch_size"], json!(32));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(server.get("/health").status, 200)));
        }
    });
}

#[test]
fn the_port_is_open_while_the_model_is_loaded() {
    let model = super::model_files::foreign();
    // Blanks are JSON, and it takes a while to read so many.
    let path = model.path().join("tokenizer.json");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(60 << 20, b' ');
    std::fs::write(&path, bytes).unwrap();
    let home = tempfile::tempdir().unwrap();
    let server = Server::opened(model.path(), home.path());
    assert_eq!(server.get("/livez").text(), "ok");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &*ready.text()), (503, "loading"));
    let ready = server.get("/v2/health/ready");
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false })));
    let early = server.get("/v2/models/tickets");
    assert_eq!((early.status, early.json()["error"].is_string()), (503, true));
    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("loading")));
    assert_eq!(health.json()["model_loaded"], json!(false));
    let early = server.predict("my router");
    assert_eq!((early.status, &*early.problem()), (503, "not-ready"));
    assert_eq!(early.header("retry-after"), Some("5"));
    eventually("it is ready", || server.get("/readyz").status == 200);
    assert_eq!(server.get("/health").json()["status"], "healthy");
    assert_eq!(server.predict("my router").status, 200);
    drop(server);

    let mut server = Server::opened(model.path(), home.path());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "nothing had begun that must end");
}

#[test]
fn metrics_have_their_names_and_a_bounded_number_of_series() {
    let server = Server::start(&[]);
    server.predict("my router");
    server.predict(&"router ".repeat(100));
    for name in [
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",http_route=\"/predict\",http_response_status_code=\"200\"}",
        "predictions_total{label=\"technical\",decision=\"none\"}",
        "prediction_duration_seconds_count",
        "bayes_build_info{version=\"0.1.0\"}",
        "bayes_stage_duration_seconds_count{stage=\"tokenize\"}",
        "bayes_stage_duration_seconds_count{stage=\"inference\"}",
        "bayes_batch_tokens_count",
        "bayes_passes_per_prediction_sum",
        "bayes_cache_requests_total{tier=\"memory\",result=\"miss\"}",
        "bayes_uncertainty_nats_count{kind=\"total\"}",
        "bayes_prediction_set_size_count",
        "bayes_ood_p_value_count",
        "bayes_truncated_total",
        "process_resident_memory_bytes",
    ] {
        assert!(server.metric(name) > 0.0, "{name} is missing: {}", server.get("/metrics").text());
    }
    let text = server.get("/metrics");
    assert!(text.text().contains("\n# TYPE predictions_total counter\n"), "the older format");
    let accept = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let open = server.ask("GET", "/metrics", &accept, b"");
    assert!(
        open.text().ends_with("# EOF\n") && open.text().contains("# TYPE predictions counter\n")
    );
    // An alert on a rate sees what has not happened yet.
    for never in [
        "predictions_total{model=\"tickets\",label=\"billing\",decision=\"none\"}",
        "prediction_errors_total{model=\"tickets\",type=\"internal\"}",
        "bayes_rejected_total{reason=\"overloaded\"}",
        "bayes_reloads_total{model=\"tickets\",what=\"model\",outcome=\"refused\"}",
        "bayes_jobs_finished_total{status=\"failed\"}",
    ] {
        assert!(text.text().contains(&format!("\n{never} 0\n")), "{never}");
    }
    assert!(!text.text().contains("kind=\"epistemic\""), "what is not known is not counted as 0");
    let spread = Server::of(model_with_spread(), &[]);
    spread.predict("my router");
    assert!(spread.metric("bayes_uncertainty_nats_count{kind=\"epistemic\"}") > 0.0);
    assert!(text.text().contains("bayes_model_info{name=\"tickets\",version=\"sha256:"));
    let series = |server: &Server| server.get("/metrics").text().lines().count();
    server.ask("BREW", "/coffee", &[], b"");
    server.get("/first");
    let before = series(&server);
    for i in 0..1000 {
        server.get(&format!("/random/{i}?q={i}"));
    }
    server.ask("FRY", "/eggs", &[], b"");
    assert_eq!(series(&server), before);
    // Counted in hundredths of a second: two requests may take less than one.
    assert!(server.metric("process_cpu_seconds_total") > 0.0);
}

#[test]
fn a_client_has_its_share_and_cannot_be_another() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(model(), home.path(), &[], &[]);
    let body = json!({ "text": "my router" }).to_string();
    let spoofed = |place: usize| {
        let forwarded = format!("198.51.100.{place}");
        server.ask("POST", "/predict", &[("X-Forwarded-For", &forwarded)], body.as_bytes())
    };
    let began = Instant::now();
    let first = spoofed(0);
    assert_eq!(first.header("ratelimit-policy"), Some("\"default\";q=100;w=60"));
    assert_eq!(first.header("ratelimit"), Some("\"default\";r=99;t=1"));
    assert_eq!(first.header("x-ratelimit-limit"), Some("100"));
    let answers: Vec<Answer> = (1..160).map(spoofed).collect();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    // What comes back while we ask: a request each 0.6 s.
    let back = (began.elapsed().as_secs_f64() / 0.6).ceil() as usize;
    assert!((60usize.saturating_sub(back)..=60).contains(&refused), "{refused}, {back} came back");
    let last = answers.iter().rfind(|answer| answer.status == 429).unwrap();
    assert_eq!((last.problem().as_str(), last.header("retry-after")), ("rate-limited", Some("1")));
    assert_eq!(server.get("/health").status, 200, "probes are not counted");
    assert_eq!(server.get("/task_status/t_0").status, 404);

    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "1/h", "--trusted-proxy", "127.0.0.0/8"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let ask = |forwarded: &str| {
        let headers = [("X-Forwarded-For", forwarded)];
        server.ask("POST", "/predict", &headers, body.as_bytes()).status
    };
    assert_eq!([ask("198.51.100.1"), ask("198.51.100.2"), ask("198.51.100.1")], [200, 200, 429]);
    // Only the last hop was added by the proxy that is trusted.
    assert_eq!(ask("203.0.113.9, 198.51.100.2"), 429);
    assert_eq!([ask("2001:db8::1"), ask("2001:db8::2")], [200, 429]);
    // With ports, as some proxies write it: the same client from two, and another.
    let ported = ["192.0.2.1:5000", "192.0.2.1:5001", "192.0.2.2:5000", "[2001:db8:9::1]:443"];
    assert_eq!(ported.map(ask), [200, 429, 200, 200]);
}

#[test]
fn without_its_key_a_request_is_refused_and_no_log_has_key_or_text() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("keys"), "# ours\nsecret-one\nsecret-two\n").unwrap();
    let flags = ["--api-key-file", "keys", "--log-format", "json", "-vv", "--rate-limit", "off"];
    let server = Server::start_in(model(), home.path(), &flags, &[]);
    let body = json!({ "text": "confidential words of a client" }).to_string();
    let ask = |headers: &[(&str, &str)]| server.ask("POST", "/predict", headers, body.as_bytes());
    for headers in [&[][..], &[("Authorization", "Bearer secret-three")], &[("X-API-Key", "")]] {
        let answer = ask(headers);
        assert_eq!((answer.status, &*answer.problem()), (401, "unauthorized"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(server.get("/info").status, 401);
    for open in ["/health", "/metrics", "/docs/", "/playground"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    let id = ("X-Request-Id", "request-77");
    assert_eq!(ask(&[("Authorization", "Bearer secret-two"), id]).status, 200);
    assert_eq!(ask(&[("X-API-Key", "secret-one")]).status, 200);
    let trace = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    ask(&[("X-API-Key", "secret-one"), trace, ("User-Agent", "\"forged\": \"line\"")]);
    eventually("the log has the last request", || server.log().contains("4bf92f3577b34da6"));
    let log = server.log();
    for secret in ["secret-", "confidential", "forged"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    let line = log.lines().find(|line| line.contains("request-77")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["route"], &line["status"]), (&json!("/predict"), &json!(200)));
    assert!(line["milliseconds"].is_number(), "{line}");
    let from_environment = [("BAYES_API_KEY", "third")];
    let home = tempfile::tempdir().unwrap();
    // Arguments can be read by everybody on the machine.
    let argument = super::server::command(model(), home.path(), &["--check", "--api-key", "third"])
        .stderr(std::process::Stdio::null())
        .status();
    assert_eq!(argument.unwrap().code(), Some(2));
    let server = Server::start_in(model(), home.path(), &[], &from_environment);
    assert_eq!(server.ask("GET", "/info", &[("X-API-Key", "third")], b"").status, 200);
}

#[test]
fn other_origins_are_let_in_by_name_only() {
    let preflight = |server: &Server, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        server.ask("OPTIONS", "/predict", &headers, b"")
    };
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    let closed = Server::start(&[]);
    assert_eq!(allowed(&preflight(&closed, "https://app.example")), None);
    let post = |server: &Server, headers: &[(&str, &str)]| {
        let body = json!({ "text": "my router" }).to_string();
        server.ask("POST", "/predict", headers, body.as_bytes())
    };
    for origin in ["https://app.example", "http://test.evil", "null", "http://127.0.0.1"] {
        let refused = [preflight(&closed, origin), post(&closed, &[("Origin", origin)])];
        for answer in refused {
            assert_eq!((answer.status, &*answer.problem()), (403, "forbidden"), "{origin}");
            assert_eq!(answer.header("vary"), Some("origin"));
        }
        let probe = closed.ask("GET", "/livez", &[("Origin", origin)], b"");
        assert_eq!(probe.status, 200, "a probe is everybody's");
    }
    // Pages of the server itself: `test` is the host that is asked for. A proxy may change it.
    assert_eq!(post(&closed, &[("Origin", "http://test")]).status, 200);
    let proxied = [("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(post(&closed, &proxied).status, 200);
    let open = Server::start(&["--cors-allow-origin", "https://app.example"]);
    let answer = preflight(&open, "https://app.example");
    assert_eq!(allowed(&answer).as_deref(), Some("https://app.example"));
    let headers = answer.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("content-type"), "{headers}");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(allowed(&preflight(&open, "https://app.example.evil")), None);
    let body = json!({ "text": "my router" }).to_string();
    let origin = [("Origin", "https://app.example")];
    let real = open.ask("POST", "/predict", &origin, body.as_bytes());
    assert_eq!(allowed(&real).as_deref(), Some("https://app.example"));
    // A refusal can be read by the page too.
    assert!(allowed(&open.ask("POST", "/predict", &origin, b"{")).is_some());
    assert!(real.head.to_lowercase().contains("vary: origin"), "{}", real.head);
}

#[test]
fn sigterm_lets_requests_end_and_a_second_one_does_not_wait() {
    let flags = ["--batch-wait-us", "1500000", "--shutdown-delay", "1"];
    let mut server = Server::start(&flags);
    let mut idle = server.connect();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    let address = server.address.clone();
    let in_flight = std::thread::spawn(move || {
        let body = json!({ "text": "my router" }).to_string();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        Answer::read(&mut stream)
    });
    let job = server.post("/async_predict", &json!({ "text": "my invoice" }));
    assert_eq!(job.status, 202);
    std::thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    server.signal("TERM");
    eventually("it is not ready any more", || server.get("/readyz").status == 503);
    assert_eq!(server.get("/health").json()["status"], "draining");
    let answer = in_flight.join().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    // Sooner than a silent connection would be let go anyway.
    assert!(told.elapsed() < Duration::from_secs(8), "the idle connection was waited for");
    drop(idle);

    let mut server = Server::start(&["--shutdown-delay", "60"]);
    server.signal("TERM");
    eventually("the first is noticed", || server.get("/readyz").status == 503);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn sighup_takes_another_model_and_keeps_the_old_one_if_that_is_broken() {
    let model = model_copy();
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(model.path(), home.path(), &["--rate-limit", "off"], &[]);
    let version = || server.get("/health").json()["model_version"].clone();
    let first = version();
    let config = model.path().join("config.json");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, good.replace('{', "{ ")).unwrap();
    server.signal("HUP");
    eventually("the log says why not", || server.log().contains("the old model stays"));
    assert!(server.log().contains("config.json"), "{}", server.log());
    assert_eq!(version(), first);
    assert_eq!(server.predict("my router").status, 200);

    let changed = good.replace('{', "{ ");
    let manifest = model.path().join("bayes/manifest.json");
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    value.as_object_mut().unwrap().shift_remove("sha256");
    value["files"]["config.json"] = bayes::store::sha256(changed.as_bytes()).into();
    std::fs::write(&manifest, serde_json::to_string_pretty(&value).unwrap()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (stop, server) = (&stop, &server);
            scope.spawn(move || {
                for i in 0.. {
                    if stop.load(std::sync::atomic::Ordering::Acquire) {
                        break;
                    }
                    let answer = server.predict(&format!("router {client} {i}"));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
        server.signal("HUP");
        eventually("another version answers", || version() != first);
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
    assert_eq!(server.predict("my router").json()["model_version"], version());

    // Texts that are cut elsewhere get other answers, though no file has changed but the manifest.
    let (second, text) = (version(), std::fs::read_to_string(&manifest).unwrap());
    std::fs::write(&manifest, text.replace("\"max_length\": 32", "\"max_length\": 16")).unwrap();
    server.signal("HUP");
    eventually("yet another version answers", || version() != second);
    assert_eq!(server.predict("my router").json()["cached"], false);

    // A copy that is under way: without `bayes/` it would be another classifier.
    let third = version();
    std::fs::rename(model.path().join("bayes"), home.path().join("bayes")).unwrap();
    server.signal("HUP");
    let why = "has no `bayes/manifest.json`";
    eventually("the log says what is missing", || server.log().contains(why));
    assert_eq!(version(), third);
}

#[test]
fn info_has_the_limits_that_are_in_effect() {
    let limits = |flags: &[&str]| {
        let info = Server::start(flags).get("/info").json();
        info["abstain"].clone()
    };
    let own = limits(&[]);
    let asked = limits(&["--abstain-min-confidence", "0.97"]);
    assert_eq!(asked["min_confidence"], 0.97);
    assert_ne!(own["min_confidence"], 0.97, "{own}");
    assert!(asked["ood_p"].is_number(), "{asked}");
}

#[test]
fn check_and_health_are_commands() {
    let home = tempfile::tempdir().unwrap();
    let checked = super::server::command(model(), home.path(), &["--check"])
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert!(checked.status.success());
    assert!(String::from_utf8(checked.stdout).unwrap().starts_with("ready in "));
    for (flags, told) in [
        (&["--cache-entries", "0", "--cache-ttl", "60"][..], true),
        (&["--cache-entries", "0"], false),
        (&["--cache-ttl", "60"], false),
    ] {
        let checked = super::server::command(model(), home.path(), &[&["--check"], flags].concat())
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert!(checked.status.success());
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(said.contains("--cache-ttl has no effect"), told, "{flags:?}: {said}");
    }
    let server = Server::start(&[]);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let health = |port: &str| {
        super::server::command(model(), home.path(), &["--health", "--port", port])
            .status()
            .unwrap()
    };
    assert_eq!(health(&port).code(), Some(0));
    drop(server);
    assert_eq!(health(&port).code(), Some(1));
}

#[test]
fn signals_to_read_again_are_answered_together() {
    let server = Server::start(&[]);
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap().count();
    let before = threads();
    // As a watcher of files may send them.
    let script = format!("for n in $(seq 400); do kill -HUP {}; sleep 0.001; done", server.id());
    let mut watcher = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let mut most = before;
    while watcher.try_wait().unwrap().is_none() {
        most = most.max(threads());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(most < before + 32, "{before} threads, and then {most}");
    let taken = "bayes_reloads_total{what=\"model\",outcome=\"taken\"}";
    eventually("the last one was heard", || server.metric(taken) >= 2.0);
    let body = json!({ "texts": vec![" router ".repeat(2000); 4] });
    assert_eq!(server.post("/batch_predict", &body).status, 200);
}
