//! Requests and refusals.

use std::time::Duration;

use crate::hub_double::{Content, Double, Fault, STRANGER, TOKEN};
use bayes::hub::{Call, Client, HubError, Payload, Repository, Settings};
use serde_json::{Value, json};
use ureq::http::Method;

/// A client of the double, with or without a token.
fn client(double: &Double, token: Option<&str>) -> Client {
    Client::new(Settings::new(double.endpoint(), token, Duration::from_secs(2)).unwrap()).unwrap()
}

#[test]
fn a_listing_of_many_pages_is_read_whole() {
    let double = Double::start();
    double.state().page = 3;
    let names: Vec<String> = (0..10).map(|i| format!("folder {i}/file ä {i}.txt")).collect();
    let files: Vec<(&str, Content)> = names.iter().map(|name| (&**name, "x".into())).collect();
    let commit = double.dataset("team/many", &files);
    let client = client(&double, None);
    let repository = Repository::dataset("team/many");
    assert_eq!(client.info(&repository, "main").unwrap().sha, commit);
    let tree = client.tree(&repository, &commit).unwrap();
    let found: Vec<&str> = tree.iter().map(|entry| &*entry.path).collect();
    let mut expected = vec![".gitattributes".to_owned()];
    expected.extend(names);
    assert_eq!(found, expected);
    assert_eq!(tree[1].hash(), Content::from("x").blob());
    assert!(double.requests("/tree/").len() > 5);
}

#[test]
fn the_token_goes_to_the_endpoint_and_to_no_other_host() {
    let double = Double::start();
    double.model("team/model", &[("model.safetensors", "weights".into())]);
    let client = client(&double, Some(TOKEN));
    let repository = Repository::model("team/model");
    let address = repository.file("main", "model.safetensors");
    let (bytes, _) = client.bytes(&Call::new(Method::GET, "the file", address)).unwrap();
    assert_eq!(bytes, b"weights");
    let [first, second] = &double.requests("GET /")[..] else { panic!("a redirect") };
    assert_eq!(first.authorization, format!("Bearer {TOKEN}"));
    assert!(second.cdn && second.authorization.is_empty());
}

#[test]
fn refusals_say_what_to_do() {
    let double = Double::start();
    double.model("team/model", &[("config.json", "{}".into())]);
    double.model("team/gated", &[("config.json", "{}".into())]);
    double.change(false, "team/gated", |repository| repository.gated = true);
    double.model("team/old", &[("config.json", "{}".into())]);
    double.rename(false, "team/old", "other/new");
    let ask = |token: Option<&str>, id: &str, revision: &str, file: &str| {
        let repository = Repository::model(id);
        let call = Call::new(Method::GET, repository.to_string(), repository.file(revision, file));
        client(&double, token).bytes(&call).unwrap_err()
    };
    let error = ask(None, "team/none", "main", "config.json");
    assert!(matches!(error, HubError::Unauthorised { token: false, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    for (revision, file) in [("v9", "config.json"), ("main", "none")] {
        let error = ask(None, "team/model", revision, file);
        assert!(matches!(error, HubError::Missing { .. }), "{error}");
    }
    let error = ask(Some(TOKEN), "team/none", "main", "config.json");
    assert!(matches!(error, HubError::Missing { .. }), "{error}");
    for token in [None, Some(STRANGER)] {
        let error = ask(token, "team/gated", "main", "config.json").to_string();
        assert!(error.contains(&format!("{}/team/gated", double.endpoint())), "{error}");
        assert!(!error.contains(STRANGER), "{error}");
    }
    let error = ask(None, "team/old", "main", "config.json").to_string();
    assert_eq!(error, "`team/old` has been renamed to `other/new`; use that name");
    let info = client(&double, None).info(&Repository::model("team/old"), "main").unwrap_err();
    assert!(matches!(info, HubError::Moved { .. }), "{info}");
}

#[test]
fn a_server_that_fails_or_asks_to_wait_is_asked_again() {
    let double = Double::start();
    double.model("team/model", &[("config.json", "{}".into())]);
    let repository = Repository::model("team/model");
    let client = client(&double, Some(TOKEN));
    double.fault("/revision/", 2, Fault::Status(500, vec![], "oops"));
    double.fault("/revision/", 1, Fault::Cut(9));
    double.fault("/revision/", 1, Fault::Status(429, vec![("Retry-After", "1".to_owned())], ""));
    let begun = std::time::Instant::now();
    assert_eq!(client.info(&repository, "main").unwrap().id, "team/model");
    assert_eq!(double.requests("/revision/").len(), 5);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let wait = vec![("Retry-After", "3600".to_owned())];
    double.fault("/revision/", 1, Fault::Status(429, wait, "slow down"));
    let error = client.info(&repository, "main").unwrap_err().to_string();
    assert!(error.contains("429") && error.contains("3600 s"), "{error}");
    let body = r#"{"error": "hf_doubleSecretToken is bad"}"#;
    double.fault("/revision/", 1, Fault::Status(400, vec![], body));
    let error = client.info(&repository, "main").unwrap_err().to_string();
    assert!(error.contains("is bad") && !error.contains("Secret"), "{error}");
}

#[test]
fn the_double_takes_uploads_as_the_hub_does() {
    let double = Double::start();
    double.state().chunk = 10;
    let client = client(&double, Some(TOKEN));
    let who: Value = client.json(&Call::new(Method::GET, "the token", "/api/whoami-v2")).unwrap();
    assert_eq!(who["name"], "tester");
    let repository = Repository::model("team/new");
    let create = json!({ "name": "new", "organization": "team", "private": true });
    let made: Value = client.post(&repository, "/api/repos/create", &create).unwrap();
    assert_eq!(made["url"], format!("{}/team/new", double.endpoint()));
    let again = client.post::<Value>(&repository, "/api/repos/create", &create).unwrap_err();
    assert!(matches!(again, HubError::Conflict { .. }), "{again}");

    let weights = Content::from("25 bytes of large weights");
    let sha = weights.sha256();
    let batch = json!({
        "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256",
        "objects": [{ "oid": sha, "size": 25 }],
    });
    let address = format!("{}.git/info/lfs/objects/batch", repository.page());
    let answer: Value = client.post(&repository, &address, &batch).unwrap();
    let upload = &answer["objects"][0]["actions"]["upload"];
    let mut parts = Vec::new();
    for (part, range) in [(1, 0..10), (2, 10..20), (3, 20..25)] {
        let bytes = weights.read(range.start, range.end);
        let open = || -> std::io::Result<Box<dyn std::io::Read>> {
            Ok(Box::new(std::io::Cursor::new(bytes.clone())))
        };
        let address = upload["header"][part.to_string()].as_str().unwrap();
        double.fault("PUT /part/", 1, Fault::CutRequest(3));
        let call = Call::new(Method::PUT, "a part", address);
        let call = call.payload(Payload::Stream(bytes.len() as u64, &open));
        let headers = client.headers(&call).unwrap();
        parts.push(json!({ "partNumber": part, "etag": headers["etag"].to_str().unwrap() }));
    }
    let whole = json!({ "oid": sha, "parts": parts });
    let _: Value = client.post(&repository, upload["href"].as_str().unwrap(), &whole).unwrap();
    assert!(double.requests("PUT /part/").iter().all(|record| record.authorization.is_empty()));

    let head = client.info(&repository, "main").unwrap().sha;
    let lines = |parent: &str| {
        let lines = [
            json!({ "key": "header", "value": { "summary": "add", "parentCommit": parent } }),
            json!({ "key": "file", "value":
                { "path": "README.md", "encoding": "base64", "content": "IyBhCg==" } }),
            json!({ "key": "lfsFile", "value":
                { "path": "model.safetensors", "algo": "sha256", "oid": sha, "size": 25 } }),
        ];
        lines.map(|line| line.to_string()).join("\n")
    };
    let commit = |parent: &str| {
        let lines = lines(parent);
        let address = format!("{}/commit/main", repository.api());
        let call = Call::new(Method::POST, repository.to_string(), address).once();
        let payload = Payload::Bytes("application/x-ndjson", lines.as_bytes());
        client.json::<Value>(&call.payload(payload))
    };
    let oid = commit(&head).unwrap()["commitOid"].clone();
    assert_eq!(client.info(&repository, "main").unwrap().sha, oid);
    assert!(matches!(commit(&head).unwrap_err(), HubError::ParentMoved { .. }));
    let tree = client.tree(&repository, "main").unwrap();
    let large = tree.iter().find(|entry| entry.path == "model.safetensors").unwrap();
    assert_eq!((large.hash(), large.bytes()), (&*sha, 25));
    let tag = json!({ "tag": "v1.0.0", "message": "first" });
    let address = format!("{}/tag/main", repository.api());
    client.post::<Value>(&repository, &address, &tag).unwrap();
    let again = client.post::<Value>(&repository, &address, &tag).unwrap_err();
    assert!(matches!(again, HubError::Conflict { .. }), "{again}");
    let outside =
        Client::new(Settings::new(double.endpoint(), None, Duration::from_secs(2)).unwrap());
    let error = outside.unwrap().info(&repository, "main").unwrap_err();
    assert!(matches!(error, HubError::Unauthorised { .. }), "private: {error}");
}
