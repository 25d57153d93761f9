//! How a server is told where Redis is, and what it says of that.

use std::process::{Command, Stdio};

use super::server::{Server, command, model};
use super::store::{Store, with_each};
use super::{Member, UNLIMITED};

/// The message of a server that does not start.
fn refused(flags: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = command(model(), home.path(), flags)
        .args(["--port", "0"])
        .env("BAYES_LOG", "debug")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

#[test]
fn what_cannot_be_meant_is_refused_and_no_password_is_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "redis//:secret@h").unwrap();
    let path = file.path().to_str().unwrap();
    for (flags, told) in [
        (&["--redis-url", "redis//:secret@h"][..], "is not the address of a Redis or Valkey"),
        (&["--redis-url", "redis://:secret@h:1:2"], "is not the address"),
        (&["--redis-url", "rediss://:secret@h#insecure"], "--redis-ca"),
        (&["--redis-url-file", path], "--redis-url-file"),
        (&["--redis-url-file", "/nowhere"], "/nowhere"),
        (&["--redis-url", "redis://h", "--redis-url-file", path], "both set"),
        (&["--redis-url", "redis://h", "--redis-ca", path], "rediss://"),
        (&["--redis-url", "redis://h", "--redis-prefix", "a b"], "visible ASCII"),
        (&["--redis-prefix", "a"], "without --redis-url"),
        (&["--role", "worker"], "--redis-url"),
    ] {
        let message = refused(flags);
        assert!(message.contains(told) && !message.contains("secret"), "{flags:?}: {message}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_bayes"))
        .args(["serve", "--help"])
        .env("BAYES_REDIS_URL", "redis://:secret@h")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("BAYES_REDIS_URL") && !help.contains("secret"), "{help}");
}

/// A user as `docs/replicas.md` makes it, and no other.
const USERS: [&str; 12] = [
    "--user",
    "bayes",
    "on",
    ">p%w",
    "~bayes:*",
    "+@all",
    "-@dangerous",
    "+info",
    "+config|get",
    "--user",
    "default",
    "off",
];

#[test]
fn a_user_and_its_password_come_from_any_source_and_are_never_logged() {
    with_each(|program| {
        let store = Store::locked(program, &USERS, Some("bayes:p%25w"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}\n", store.url())).unwrap();
        let start = |flags: &[&str], more: &[(&str, &str)]| {
            let home = tempfile::tempdir().unwrap();
            let environment: Vec<(&str, &str)> = UNLIMITED.iter().chain(more).copied().collect();
            let server = Server::start_in(model(), home.path(), flags, &environment);
            let done = server.post("/async_predict", &serde_json::json!({ "text": "my router" }));
            assert_eq!(done.status, 202, "{}", server.log());
            assert_eq!(done.json()["durability"]["redis"], "off");
            assert_eq!(server.get("/health").json()["status"], "healthy", "{}", server.log());
            let log = server.log();
            assert!(!log.contains("p%25w") && !log.contains("p%w"), "{log}");
            log
        };
        let url = store.url();
        assert!(start(&["--redis-url", &url], &[]).contains("everybody on this machine can read"));
        let quiet = start(&[], &[("BAYES_REDIS_URL", &url)]);
        assert!(!quiet.contains("everybody"), "{quiet}");
        start(&["--redis-url-file", file.path().to_str().unwrap()], &[]);
        // A wrong password is told, without it, and answers are given all the same.
        let wrong = url.replace("p%25w", "other");
        let home = tempfile::tempdir().unwrap();
        let environment = [("BAYES_REDIS_URL", &*wrong)];
        let server = Server::start_in(model(), home.path(), &[], &environment);
        assert_eq!(server.predict("my router").status, 200);
        assert_eq!(server.get("/health").json()["status"], "degraded");
        let log = server.log();
        assert!(log.contains("Redis is gone") && !log.contains("other"), "{log}");
    });
}

#[test]
fn a_certificate_is_checked() {
    with_each(|program| {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let made = |name: &str, more: &[&str]| {
            let (key, certificate) = (file(&format!("{name}.key")), file(&format!("{name}.pem")));
            let subject = format!("/CN={name}");
            let usual = [
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ];
            openssl(&usual.iter().chain(more).copied().collect::<Vec<_>>());
        };
        made("authority", &[]);
        made("stranger", &[]);
        let (authority, its_key) = (file("authority.pem"), file("authority.key"));
        let signed = ["-CA", &authority, "-CAkey", &its_key];
        let name = [
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        made("server", &[&signed[..], &name].concat());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let (key, certificate) = (file("server.key"), file("server.pem"));
        let store = Store::start(
            program,
            &[
                "--tls-port",
                &port,
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &authority,
                "--tls-auth-clients",
                "no",
            ],
        );
        let start = |host: &str, authority: &str| {
            let url = format!("rediss://{host}:{port}");
            let home = tempfile::tempdir().unwrap();
            let flags = ["--redis-url", &url, "--redis-ca", &file(authority)];
            (Server::start_in(model(), home.path(), &flags, &UNLIMITED), home)
        };
        let (known, _home) = start("localhost", "authority.pem");
        assert_eq!(known.get("/health").json()["status"], "healthy", "{}", known.log());
        let done = known.post("/async_predict", &serde_json::json!({ "text": "my router" }));
        assert_eq!(done.status, 202, "{}\n{}", done.text(), known.log());
        assert_eq!(store.keys("bayes:*:job:*").len(), 1);
        for (host, authority) in [("localhost", "stranger.pem"), ("127.0.0.1", "authority.pem")] {
            let (server, _home) = start(host, authority);
            assert_eq!(server.get("/health").json()["status"], "degraded", "{host} {authority}");
            assert!(server.log().contains("certificate"), "{}", server.log());
        }
    });
}

#[test]
fn a_worker_answers_how_it_is_and_nothing_else() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let worker = Member::worker(&store);
        for path in ["/livez", "/readyz", "/health", "/metrics"] {
            assert_eq!(worker.server.get(path).status, 200, "{path}");
        }
        assert_eq!(worker.server.predict("my router").status, 404);
        assert_eq!(worker.server.get("/docs").status, 404);
        assert!(!worker.home.path().join("runs").exists(), "it has no file of jobs");
    });
}
