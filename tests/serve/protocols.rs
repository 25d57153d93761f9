//! Requests of stock clients, as they were recorded from them, and the answers that they rely on. The scripts
//! `tests/python/check_*.py` drive the same routes with the clients themselves.

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
fn the_open_inference_protocol_tells_what_there_is_and_what_it_gives() {
    let server = Server::of(model_with_spread(), &[]);
    assert_eq!(server.get("/v2/health/live").json(), json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").json(), json!({ "ready": true }));
    for path in ["/v2", "/v2/"] {
        let told = server.get(path).json();
        assert_eq!(
            (&told["name"], &told["extensions"]),
            (&json!("bayes"), &json!(["binary_tensor_data"]))
        );
    }
    let told = server.get("/v2/models/tickets").json();
    let version = told["versions"][0].as_str().unwrap().to_owned();
    assert_eq!(told["inputs"], json!([{ "name": "text", "datatype": "BYTES", "shape": [-1] }]));
    assert_eq!(told["parameters"]["labels"], json!(["billing", "technical"]));
    let names: Vec<&Value> =
        told["outputs"].as_array().unwrap().iter().map(|output| &output["name"]).collect();
    for name in ["label", "probabilities", "confidence", "uncertainty", "epistemic", "aleatoric"] {
        assert!(names.contains(&&json!(name)), "{name}: {told}");
    }
    for path in
        ["/v2/models/tickets/ready", &format!("/v2/models/tickets/versions/{version}/ready")]
    {
        assert_eq!(server.get(path).json(), json!({ "name": "tickets", "ready": true }), "{path}");
    }
    let pinned = server.get(&format!("/v2/models/tickets/versions/{version}")).json();
    assert_eq!(pinned, told);
    for path in
        ["/v2/models/other", "/v2/models/tickets/versions/1", "/v2/models/other/ready", "/v2/x"]
    {
        let missing = server.get(path);
        assert_eq!(missing.status, 404, "{path}");
        assert!(!error(&missing).is_empty());
    }
    // A model without a spread of its own does not offer one.
    let told = Server::start(&[]).get("/v2/models/tickets").json().to_string();
    assert!(!told.contains("epistemic") && told.contains("prediction_set"), "{told}");
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
fn inference_is_that_of_predict_by_json_and_by_binary_data() {
    let server = Server::of(model_with_spread(), &[]);
    let plain =
        server.post("/predict", &json!({ "text": TEXT, "coverage": 0.95, "seed": 7 })).json();
    let input = json!({ "name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [[TEXT], ["my router"]] });
    let parameters = json!({ "coverage": 0.95, "seed": 7, "binary_data_output": true });
    let body = json!({ "id": "42", "inputs": [input], "parameters": parameters });
    let answer = server.post("/v2/models/tickets/infer", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("server-timing").is_some());
    let answer = answer.json();
    assert_eq!((&answer["id"], &answer["model_name"]), (&json!("42"), &json!("tickets")));
    assert_eq!(answer["model_version"], plain["model_version"]);
    assert_eq!(output(&answer, "label")["data"][0], plain["label"]);
    assert_eq!(output(&answer, "probabilities")["shape"], json!([2, 2]));
    let details = &plain["uncertainty_details"];
    for (name, expected) in [
        ("confidence", &plain["confidence"]),
        ("uncertainty", &plain["uncertainty"]),
        ("aleatoric", &details["aleatoric"]),
        ("epistemic", &details["epistemic"]),
        ("ood_p_value", &plain["ood"]["p_value"]),
        ("probabilities", &plain["probabilities"]["billing"]),
    ] {
        let output = output(&answer, name);
        assert_eq!(output["datatype"], "FP32");
        let found = number(&output["data"][0]);
        assert!((found - number(expected)).abs() < 1e-6, "{name}: {found} and {expected}");
    }
    let set = &output(&answer, "prediction_set")["data"];
    for (place, label) in ["billing", "technical"].into_iter().enumerate() {
        let holds = plain["prediction_set"]["labels"].as_array().unwrap().contains(&json!(label));
        assert_eq!(set[place], json!(holds));
    }

    // What `tritonclient` sends: the JSON, then the texts, and no content type.
    let texts = [TEXT, "my router"]
        .map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
    let tail = texts.concat();
    let size = json!({ "binary_data_size": tail.len() });
    let input = json!({ "name": "text", "shape": [2], "datatype": "BYTES", "parameters": size });
    let head = json!({
        "inputs": [input], "outputs": [{ "name": "label", "parameters": { "binary_data": true } }],
    });
    let head = head.to_string();
    let length = head.len().to_string();
    let bytes = [head.as_bytes(), &tail].concat();
    for kind in ["application/octet-stream", "application/json"] {
        let headers = [("Inference-Header-Content-Length", &*length), ("Content-Type", kind)];
        let binary = server.ask("POST", "/v2/models/tickets/infer", &headers, &bytes).json();
        assert_eq!(output(&binary, "label"), output(&answer, "label"));
        assert_eq!(binary["outputs"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_call_of_the_open_inference_protocol_fails_in_its_own_form() {
    let server = Server::start(&["--max-body-bytes", "2000"]);
    let path = "/v2/models/tickets/infer";
    let tensor = |shape: Value, data: Value| json!({ "inputs": [{ "name": "text", "shape": shape, "datatype": "BYTES", "data": data }] });
    let mut unknown = tensor(json!([1]), json!(["a"]));
    unknown["outputs"] = json!([{ "name": "logits" }]);
    let mut undrawn = tensor(json!([1]), json!(["a"]));
    undrawn["parameters"] = json!({ "num_samples": 5 });
    let mut no_set = tensor(json!([1]), json!(["a"]));
    no_set["parameters"] = json!({ "coverage": null });
    no_set["outputs"] = json!([{ "name": "prediction_set" }]);
    let many = tensor(json!([33]), vec!["a"; 33].into());
    for (body, said) in [
        (tensor(json!([2]), json!(["a"])), "inputs.0.data"),
        (many, "inputs.0.shape"),
        (unknown, "this model has the outputs `label`"),
        (undrawn, "num_samples"),
        (no_set, "coverage"),
        (json!({ "inputs": [] }), "`text` is required"),
        (json!([]), "must be an object"),
    ] {
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(error(&answer).contains(said), "{}", answer.text());
    }
    for (headers, body, status) in [
        (&[][..], "{".to_owned(), 400),
        (&[("Content-Type", "text/plain")], "{}".to_owned(), 415),
        (&[("Inference-Header-Content-Length", "9")], "{}".to_owned(), 400),
        (&[("Inference-Header-Content-Length", "-1")], "{}".to_owned(), 400),
        (&[("X-Request-Timeout-Ms", "soon")], "{}".to_owned(), 400),
        (&[], " ".repeat(3000), 413),
    ] {
        let answer = server.ask("POST", path, headers, body.as_bytes());
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(!error(&answer).is_empty() && answer.header("x-request-id").is_some());
    }
    assert_eq!(server.get(path).status, 405);
    assert_eq!(
        error(&server.get(path)),
        "Method not allowed: see the `Allow` header for the allowed methods"
    );
    assert!(error(&server.get("/v2/models/tickets?x=1")).contains("no query parameters"));
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

#[test]
fn invocations_take_what_tei_and_the_hugging_face_toolkit_send() {
    let server = Server::start(&[]);
    let plain = server.predict(TEXT).json();
    // `InferenceClient(url).text_classification(TEXT)` and with `top_k=1`.
    let one = server.post("/invocations", &json!({ "inputs": TEXT, "parameters": {} })).json();
    let top = server.post("/invocations", &json!({ "inputs": TEXT, "parameters": { "top_k": 1 } }));
    assert_eq!(one.as_array().unwrap().len(), 1);
    assert_eq!(one[0][0]["label"], plain["label"]);
    assert_eq!(one[0][0]["score"], plain["confidence"]);
    assert_eq!(one[0][1]["score"], plain["probabilities"]["technical"]);
    assert_eq!(top.json(), json!([[one[0][0]]]));
    for inputs in [
        json!([TEXT, TEXT]),
        json!([[TEXT], [TEXT]]),
        json!([{ "text": TEXT }, { "text": TEXT, "text_pair": null }]),
    ] {
        let body = json!({ "inputs": inputs, "truncate": true, "raw_scores": false });
        assert_eq!(server.post("/invocations", &body).json(), json!([one[0], one[0]]), "{body}");
    }
    for (body, place) in [
        (json!({}), json!(["body", "inputs"])),
        (json!({ "inputs": [] }), json!(["body", "inputs"])),
        (json!({ "inputs": vec!["a"; 33] }), json!(["body", "inputs"])),
        (json!({ "inputs": 7 }), json!(["body", "inputs"])),
        (json!({ "inputs": ["a", " "] }), json!(["body", "inputs", 1])),
        (json!({ "inputs": [["a", "b", "c"]] }), json!(["body", "inputs", 0])),
        (json!({ "inputs": [{ "texts": "a" }] }), json!(["body", "inputs", 0, "texts"])),
        (json!({ "inputs": [["a", 7]] }), json!(["body", "inputs", 0, 1])),
        (json!({ "inputs": [["a", "b"]] }), json!(["body", "inputs"])),
        (json!({ "inputs": "a", "raw_scores": true }), json!(["body", "raw_scores"])),
        (
            json!({ "inputs": "a", "parameters": { "function_to_apply": "none" } }),
            json!(["body", "parameters", "function_to_apply"]),
        ),
        (
            json!({ "inputs": "a", "parameters": { "max_length": 9 } }),
            json!(["body", "parameters", "max_length"]),
        ),
    ] {
        let refused = server.post("/invocations", &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{body}");
        assert_eq!(refused.json()["errors"][0]["loc"], place, "{}", refused.text());
    }
    let long =
        json!({ "inputs": ["a", "please ".repeat(100)], "parameters": { "truncation": false } });
    let refused = server.post("/invocations", &long);
    assert_eq!((refused.status, &*refused.problem()), (422, "text-too-long"));
    assert_eq!(refused.json()["errors"][0]["loc"], json!(["body", "inputs", 1]));
    assert_eq!(server.get("/ping").status, 200);
}

#[test]
fn classify_is_that_of_vllm_with_everything_else_beside_it() {
    let server = Server::start(&[]);
    let model = server.get("/v1/models").json()["data"][0]["id"].clone();
    let plain = server.predict(TEXT).json();
    let body = json!({ "model": model, "input": [TEXT, "my router"], "user": "u", "priority": 0 });
    let answer = server.post("/classify", &body).json();
    assert!(answer["id"].as_str().unwrap().starts_with("classify-"));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &model));
    let first = &answer["data"][0];
    assert_eq!((&first["index"], &first["num_classes"]), (&json!(0), &json!(2)));
    assert_eq!(first["label"], plain["label"]);
    assert_eq!(first["probs"][0], plain["probabilities"]["billing"]);
    assert_eq!(first["probs"][1], plain["probabilities"]["technical"]);
    for name in
        ["confidence", "uncertainty", "prediction_set", "ood", "decision", "abstain_reasons"]
    {
        assert_eq!(first[name], plain[name], "{name}");
    }
    let tokens =
        number(&answer["data"][0]["num_tokens"]) + number(&answer["data"][1]["num_tokens"]);
    assert_eq!(number(&answer["usage"]["prompt_tokens"]), tokens);
    let one = server.post("/classify", &json!({ "input": TEXT })).json();
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    for (body, place) in [
        (json!({ "input": [1, 2, 3] }), json!(["body", "input", 0])),
        (json!({ "input": [[1, 2]] }), json!(["body", "input", 0])),
        (json!({ "input": "" }), json!(["body", "input"])),
        (json!({ "messages": [] }), json!(["body", "input"])),
        (json!({ "input": "a", "model": "other" }), json!(["body", "model"])),
        (json!({ "input": "a", "use_activation": false }), json!(["body", "use_activation"])),
        (
            json!({ "input": "a", "truncate_prompt_tokens": 5 }),
            json!(["body", "truncate_prompt_tokens"]),
        ),
    ] {
        let refused = server.post("/classify", &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{body}");
        assert_eq!(refused.json()["errors"][0]["loc"], place, "{}", refused.text());
    }
}

/// The bodies are those of `typesafe-sdk` and `typesafe-jev`.
#[test]
fn decisions_are_choices_over_the_labels_and_yes_or_no_of_two() {
    let server = Server::of(model_with_spread(), &[]);
    let listed = server.get("/v1/models").json()["models"][0].clone();
    assert_eq!(listed["name"], "tickets");
    let day = listed["release_date"].as_str().unwrap();
    assert!(day.len() == 10 && day.starts_with("20"), "{day}");
    assert!(listed["description"].as_str().unwrap().contains("2 labels"));

    let plain = server.predict(TEXT).json();
    let (billing, technical) =
        (number(&plain["probabilities"]["billing"]), number(&plain["probabilities"]["technical"]));
    let questions = json!({
        "department": {
            "type": "choice", "instructions": "Which team should handle this?",
            "criteria": { "technical": "Bugs, outages", "billing": null },
        },
        "alone": { "type": "choice", "criteria": { "technical": null } },
        "is_billing": { "type": "noul", "instructions": "Is it about billing?" },
        "is_technical": { "type": "noul", "criteria": { "true": "technical", "false": null } },
    });
    let ask = |state: &Value, questions: &Value| {
        let body = json!({ "model": "tickets", "state": state, "questions": questions });
        server.post("/v1/systemone", &body)
    };
    let answer = ask(&json!(TEXT), &questions);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(
        (&answer["model"], &answer["usage"]["input_tokens"]),
        (&json!("tickets"), &plain["num_tokens"])
    );
    let answers = &answer["answers"];
    let names: Vec<&String> = answers.as_object().unwrap().keys().collect();
    assert_eq!(names, ["department", "alone", "is_billing", "is_technical"]);
    let department = &answers["department"];
    assert_eq!((&department["type"], &department["choice"]), (&json!("choice"), &plain["label"]));
    let named = json!({ "technical": plain["probabilities"]["technical"], "billing": billing });
    assert_eq!(
        department["probabilities"].to_string(),
        named.to_string(),
        "in the order of the question"
    );
    let peak = 2.0 * (billing.max(technical) - 0.5);
    assert!((number(&department["confidence"]) - peak).abs() < 1e-12);
    let alone = json!({ "type": "choice", "choice": "technical", "confidence": 1.0, "probabilities": { "technical": 1.0 } });
    assert_eq!(answers["alone"], alone);
    assert_eq!(
        answers["is_billing"],
        json!({ "type": "noul", "noul": billing, "label": "billing" })
    );
    assert_eq!(
        answers["is_technical"],
        json!({ "type": "noul", "noul": technical, "label": "technical" })
    );
    for name in [
        "prediction_set",
        "ood",
        "decision",
        "abstain_reasons",
        "uncertainty",
        "label",
        "confidence",
    ] {
        assert_eq!(answer[name], plain[name], "{name}");
    }
    for state in [json!({ "text": TEXT }), json!({ "message": TEXT })] {
        assert_eq!(ask(&state, &questions).json()["answers"], *answers, "{state}");
    }
    // `extra_body` of the SDK.
    let strict = json!({
        "model": "tickets", "state": TEXT, "questions": questions,
        "coverage": 0.95, "abstain": { "min_confidence": 1.0 },
    });
    let strict = server.post("/v1/systemone", &strict).json();
    assert_eq!(
        (&strict["decision"], &strict["prediction_set"]["coverage"]),
        (&json!("abstain"), &json!(0.95))
    );

    let label =
        json!({ "q": { "type": "choice", "criteria": { "billing": null, "sales": null } } });
    let refused = ask(&json!(TEXT), &label);
    assert_eq!((refused.status, &*refused.problem()), (422, "validation"));
    let fault = refused.json()["errors"][0].clone();
    assert_eq!(fault["loc"], json!(["body", "questions", "q", "criteria"]));
    assert_eq!(fault["msg"], "the model has no label `sales`; it has `billing`, `technical`");
    let noul = json!({ "q": { "type": "noul", "instructions": "Is it urgent?" } });
    let refused = ask(&json!(TEXT), &noul).json();
    assert!(refused["detail"].as_str().unwrap().contains(r#"{"true": "billing"}"#), "{refused}");
    let choice = json!({ "q": { "type": "choice", "criteria": { "billing": null } } });
    for (body, place) in [
        (json!({ "state": TEXT, "questions": choice }), json!(["body", "model"])),
        (
            json!({ "model": "jev-latest", "state": TEXT, "questions": choice }),
            json!(["body", "model"]),
        ),
        (json!({ "model": "tickets", "questions": choice }), json!(["body", "state"])),
        (
            json!({ "model": "tickets", "state": [TEXT], "questions": choice }),
            json!(["body", "state"]),
        ),
        (
            json!({ "model": "tickets", "state": { "subject": "a", "message": "b" }, "questions": choice }),
            json!(["body", "state"]),
        ),
        (json!({ "model": "tickets", "state": {}, "questions": choice }), json!(["body", "state"])),
        (
            json!({ "model": "tickets", "state": { "a": 7 }, "questions": choice }),
            json!(["body", "state", "a"]),
        ),
        (
            json!({ "model": "tickets", "state": TEXT, "questions": {} }),
            json!(["body", "questions"]),
        ),
        (
            json!({ "model": "tickets", "state": TEXT, "questions": { "q": { "type": "box" } } }),
            json!(["body", "questions", "q", "type"]),
        ),
        (
            json!({ "model": "tickets", "state": TEXT, "questions": choice, "assets": { "a": {} } }),
            json!(["body", "assets"]),
        ),
    ] {
        let refused = server.post("/v1/systemone", &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{body}");
        assert_eq!(refused.json()["errors"][0]["loc"], place, "{}", refused.text());
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
