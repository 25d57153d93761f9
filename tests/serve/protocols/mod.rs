//! Requests of stock clients, as they were recorded from them, and the answers that they rely on. The scripts
//! `tests/python/check_*.py` drive the same routes with the clients themselves.

mod invocations;
mod open_inference;
mod systemone;

use serde_json::{Value, json};

use super::server::{Answer, Server, model_of_passes, model_with_spread};

const TEXT: &str = "please look at my invoice";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let outputs = answer["outputs"].as_array().unwrap();
    let found = outputs.iter().find(|output| output["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {answer}"))
}

/// The error of the Open Inference Protocol, after checking its form.
fn error(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn the_document_has_every_route_and_every_schema_that_it_names() {
    let document = Server::start(&[]).get("/openapi.json").json();
    let operations = [
        ("/v2", "get"),
        ("/v2/health/live", "get"),
        ("/v2/health/ready", "get"),
        ("/v2/models/{model}", "get"),
        ("/v2/models/{model}/versions/{version}", "get"),
        ("/v2/models/{model}/ready", "get"),
        ("/v2/models/{model}/versions/{version}/ready", "get"),
        ("/v2/models/{model}/infer", "post"),
        ("/v2/models/{model}/versions/{version}/infer", "post"),
        ("/invocations", "post"),
        ("/ping", "get"),
        ("/classify", "post"),
        ("/v1/systemone", "post"),
        ("/v1/models", "get"),
        ("/predict_stream", "post"),
    ];
    for (path, verb) in operations {
        let operation = &document["paths"][path][verb];
        assert!(operation["operationId"].is_string(), "{verb} {path}");
    }
    let ids: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(Value::as_object)
        .flat_map(|path| path.values().map(|operation| operation["operationId"].as_str().unwrap()))
        .collect();
    let once: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), once.len(), "{ids:?}");
    let text = document.to_string();
    for (place, start) in text.match_indices("#/components/schemas/") {
        let name = text[place + start.len()..].split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn keys_and_rates_hold_for_every_protocol() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "4/h"];
    let server = Server::start_in(
        super::server::model(),
        home.path(),
        &flags,
        &[("BAYES_API_KEY", "alpha")],
    );
    let tensor =
        json!({ "inputs": [{ "name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"] }] });
    let choice = json!({ "type": "choice", "criteria": { "billing": null } });
    let asked = [
        ("/v2/models/tickets/infer", tensor),
        ("/invocations", json!({ "inputs": "a" })),
        ("/classify", json!({ "input": "a" })),
        (
            "/v1/systemone",
            json!({ "model": "tickets", "state": "a", "questions": { "q": choice } }),
        ),
    ];
    for path in ["/v2", "/v2/models/tickets", "/v2/models/tickets/ready", "/v1/models"] {
        assert_eq!(server.get(path).status, 401, "{path}");
        assert_eq!(server.ask("GET", path, &[("X-API-Key", "alpha")], b"").status, 200, "{path}");
    }
    for path in ["/v2/health/live", "/v2/health/ready", "/ping"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for (path, body) in &asked {
        assert_eq!(server.post(path, body).status, 401, "{path}");
        let key = [("Authorization", "Bearer alpha")];
        let answer = server.ask("POST", path, &key, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("ratelimit").is_some());
    }
    for (path, body) in &asked {
        let key = [("Authorization", "Bearer alpha")];
        let answer = server.ask("POST", path, &key, body.to_string().as_bytes());
        assert_eq!(answer.status, 429, "{path}");
        assert!(answer.header("retry-after").is_some());
    }
    let metrics = server.get("/metrics").text();
    for (path, _) in &asked {
        let route = path.replace("tickets", "{model}");
        assert!(metrics.contains(&format!("http_route=\"{route}\"")), "{route}");
    }
}

/// Whatever protocol asks, dropout is sampled as the calibration was fitted.
#[test]
fn a_model_of_passes_answers_every_protocol_with_all_its_passes() {
    let server = Server::of(model_of_passes(), &[]);
    let plain = server.predict(TEXT).json();
    let tensor = json!({
        "inputs": [{ "name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT] }],
        "outputs": [{ "name": "confidence" }],
    });
    let infer = server.post("/v2/models/tickets/infer", &tensor).json();
    let confidence = number(&plain["confidence"]);
    assert!((number(&infer["outputs"][0]["data"][0]) - confidence).abs() < 1e-6);
    let scores = server.post("/invocations", &json!({ "inputs": TEXT })).json();
    assert_eq!(number(&scores[0][0]["score"]), confidence);
    let probs = server.post("/classify", &json!({ "input": TEXT })).json();
    assert_eq!(probs["data"][0]["confidence"], plain["confidence"]);
    let fewer = json!({ "inputs": TEXT, "parameters": { "num_samples": 2, "seed": 3 } });
    let direct =
        server.post("/predict", &json!({ "text": TEXT, "num_samples": 2, "seed": 3 })).json();
    let scores = server.post("/invocations", &fewer).json();
    assert_eq!(scores[0][0]["score"], direct["confidence"]);
}
