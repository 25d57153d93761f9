//! What is asked and answered.

use serde_json::{Value, json};

use super::server::{Server, model, model_copy, model_of_passes, model_with_spread};

/// What must be equal however a text was sent.
fn essence(prediction: &Value) -> Value {
    let mut prediction = prediction.clone();
    let object = prediction.as_object_mut().unwrap();
    for volatile in ["prediction_id", "processing_time_ms", "cached"] {
        assert!(object.remove(volatile).is_some(), "{volatile} is missing");
    }
    prediction
}

#[test]
fn an_answer_has_its_uncertainty_and_is_the_same_alone_in_a_batch_kept_and_as_a_job() {
    let server = Server::of(model_with_spread(), &[]);
    assert_eq!(server.get("/info").json()["calibration"]["epistemic"], "known");
    let text = "please look at my invoice";
    let request = json!({ "text": text, "coverage": 0.95, "return_samples": true, "seed": 7 });
    let first = server.post("/predict", &request);
    assert_eq!(first.status, 200, "{first:?}");
    let answer = first.json();
    assert_eq!((&answer["label"], &answer["sentiment"]), (&json!("billing"), &json!("billing")));
    assert_eq!((&answer["text"], &answer["cached"]), (&json!(text), &json!(false)));
    assert!(answer["prediction_id"].as_str().unwrap().starts_with("p_"));
    let details = &answer["uncertainty_details"];
    let number = |name: &str| details[name].as_f64().unwrap();
    assert!((number("aleatoric") + number("epistemic") - number("total")).abs() < 1e-6);
    assert_eq!(answer["uncertainty"], details["total"]);
    assert_eq!((&details["method"], &details["seed"]), (&json!("laplace"), &json!(7)));
    assert!(details["num_samples"].is_null(), "a closed form draws nothing");
    let interval = details["confidence_interval"].as_array().unwrap();
    let confidence = answer["confidence"].as_f64().unwrap();
    assert!(interval[0].as_f64().unwrap() <= confidence + 1e-9);
    assert!(confidence <= interval[1].as_f64().unwrap() + 1e-9);
    assert_eq!(answer["samples"].as_array().unwrap().len(), 64);
    assert_eq!(answer["prediction_set"]["coverage"], json!(0.95));
    assert_eq!(answer["prediction_set"]["calibration_size"], json!(24));
    for name in ["tok", "queue", "infer"] {
        assert!(first.header("server-timing").unwrap().contains(name));
    }
    assert_eq!(first.header("cache-control"), Some("no-store"));

    let again = server.post("/predict_cached", &request).json();
    assert_eq!(again["cached"], json!(true));
    assert_eq!(essence(&again), essence(&answer));
    let mut mates = request.clone();
    mates.as_object_mut().unwrap().remove("text");
    mates["texts"] = json!(["another thing", text, "my router is broken again and again"]);
    let headers = [("Cache-Control", "no-cache")];
    let batch = server.ask("POST", "/batch_predict", &headers, mates.to_string().as_bytes());
    let batch = batch.json();
    assert_eq!((&batch["count"], &batch["errors"]), (&json!(3), &json!(0)));
    assert_eq!(batch["predictions"][1]["cached"], json!(false));
    assert_eq!(essence(&batch["predictions"][1]), essence(&answer));

    let fresh = Server::of(model_with_spread(), &["--threads", "1"]);
    let job = fresh.post("/async_predict", &request);
    assert_eq!(job.status, 202);
    let location = job.header("location").unwrap().to_owned();
    let mut task = Value::Null;
    super::server::eventually("the job is done", || {
        task = fresh.get(&location).json();
        task["status"] == "completed"
    });
    assert_eq!(essence(&task["result"]), essence(&answer));
    assert_eq!(task["progress"], json!({ "done": 1, "total": 1 }));
}

/// With its posterior left out a model does not know its own part of the doubt; it does not say 0.
#[test]
fn what_a_model_without_spread_does_not_know_is_null() {
    let server = Server::start(&[]);
    let info = server.get("/info").json();
    assert_eq!(info["calibration"]["epistemic"], "left_out");
    // A report says which precision it is of; a model without one has neither.
    assert!(info["test"].is_object(), "{info}");
    assert_eq!(info["test_precision"], "f32");
    let asked = json!({ "text": "please look at my invoice", "return_samples": true });
    let answer = server.post("/predict", &asked).json();
    let details = &answer["uncertainty_details"];
    for name in ["aleatoric", "epistemic", "confidence_interval"] {
        assert!(details[name].is_null(), "{name}: {details}");
    }
    assert!(details["total"].is_number() && details["normalized"].is_number(), "{details}");
    assert_eq!(answer.get("samples"), Some(&Value::Null), "what was asked for is there: {answer}");
    assert!(answer["ood"]["p_value"].is_number(), "{answer}");
    let usual = server.predict("please look at my invoice").json();
    assert!(usual.get("samples").is_none(), "nobody asked for it: {usual}");
    let script = server.get("/playground/script.js").text();
    assert!(script.contains("left_out:") && script.contains("absent:"), "the page says why");

    // Who sets a threshold relies on it.
    let home = tempfile::tempdir().unwrap();
    let strict = ["--check", "--abstain-max-epistemic", "0.2"];
    let refused = super::server::command(model(), home.path(), &strict).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("--abstain-max-epistemic cannot be enforced"), "{message}");
    assert!(message.contains("using the variance of its posterior did not improve"), "{message}");
    let kept = super::server::command(model_with_spread(), home.path(), &strict).output().unwrap();
    assert_eq!(kept.status.code(), Some(0));
}

#[test]
fn a_limit_of_a_request_that_the_model_cannot_keep_is_refused() {
    let limit = json!({ "max_epistemic": 0.1 });
    let server = Server::start(&[]);
    let (text, texts) = (json!({ "text": "a router" }), json!({ "texts": ["a router"] }));
    for (path, body) in [
        ("/predict", &text),
        ("/predict_cached", &text),
        ("/batch_predict", &texts),
        ("/async_predict", &texts),
    ] {
        let mut body = body.clone();
        body["abstain"] = limit.clone();
        let refused = server.post(path, &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{path}");
        let fault = refused.json()["errors"][0].clone();
        assert_eq!(fault["loc"], json!(["body", "abstain", "max_epistemic"]), "{path}");
        let message = fault["msg"].as_str().unwrap();
        assert!(
            message.contains("because using the variance of its posterior"),
            "{path}: {message}"
        );
    }
    let able = Server::of(model_with_spread(), &[]);
    let kept = able.post("/predict", &json!({ "text": "a router", "abstain": limit }));
    assert_eq!(kept.status, 200, "{kept:?}");
}

#[test]
fn options_change_what_is_shown_and_decided() {
    let server = Server::start(&["--abstain-ood-p", "1"]);
    let ask = |more: Value| {
        let mut body = json!({ "text": "please look at my router" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post("/predict", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let usual = ask(json!({}));
    assert_eq!(
        (&usual["decision"], &usual["abstain_reasons"]),
        (&json!("abstain"), &json!(["ood"]))
    );
    let lenient = ask(json!({ "abstain": { "ood_p": 0 } }));
    assert_eq!((&lenient["decision"], &lenient["abstain_reasons"]), (&json!("accept"), &json!([])));
    let strict = ask(json!({ "abstain": { "min_confidence": 0, "ood_p": 1 } }));
    assert!(strict["abstain_reasons"].as_array().unwrap().contains(&json!("ood")), "{strict}");
    let bare = ask(json!({ "return_uncertainty": false, "return_text": false, "coverage": null }));
    assert!(bare["uncertainty"].is_null() && bare["uncertainty_details"].is_null());
    assert!(bare["prediction_set"].is_null() && bare.get("text").is_none());
    assert_eq!(bare["confidence"], usual["confidence"]);
    let one = ask(json!({ "top_k": 1 }));
    assert_eq!(one["probabilities"], json!({ "technical": one["confidence"] }));
    let sizes = [0.5, 0.999].map(|coverage| {
        let set = ask(json!({ "coverage": coverage }))["prediction_set"]["labels"].clone();
        set.as_array().unwrap().len()
    });
    assert!(sizes[0] <= sizes[1] && sizes[1] == 2, "{sizes:?}: 24 rows cannot promise 99.9 %");

    let long = "please ".repeat(100);
    let cut = server.predict(&long).json();
    assert_eq!((&cut["truncated"], &cut["num_tokens"]), (&json!(true), &json!(32)));
    let refused =
        server.post("/batch_predict", &json!({ "texts": ["short", long], "truncate": false }));
    assert_eq!((refused.status, &*refused.problem()), (422, "text-too-long"));
    assert_eq!(refused.json()["errors"][0]["loc"], json!(["body", "texts", 1]));
}

#[test]
fn a_wrong_request_is_refused_with_its_place() {
    let server = Server::start(&[]);
    let ask = |path: &str, body: &str| server.ask("POST", path, &[], body.as_bytes());
    let many = json!({ "texts": vec!["a"; 33] }).to_string();
    for (path, body, status, kind) in [
        ("/predict", "", 400, "malformed-json"),
        ("/predict", "{", 400, "malformed-json"),
        ("/predict", r#"{"text": "a", "seed": 1e400}"#, 400, "malformed-json"),
        ("/predict", r#"{"text": "\ud800"}"#, 400, "malformed-json"),
        ("/predict", r#"{"text": " \u0000"}"#, 422, "validation"),
        ("/predict", r#"{"text": "a", "text": "b"}"#, 422, "validation"),
        ("/predict", r#"{"text": "a", "color": 1}"#, 422, "validation"),
        ("/predict", "[]", 422, "validation"),
        ("/batch_predict", &many, 422, "validation"),
        ("/async_predict", r#"{"text": "a", "ttl_seconds": 0}"#, 422, "validation"),
    ] {
        let answer = ask(path, body);
        assert_eq!((answer.status, &*answer.problem()), (status, kind), "{path} {body}");
        assert!(answer.json()["errors"][0]["loc"][0] == "body", "{}", answer.text());
    }
    assert_eq!(ask("/predict", &"[".repeat(200_000)).problem(), "malformed-json");
    let headers = [("Content-Type", "text/plain")];
    let plain = server.ask("POST", "/predict", &headers, b"{\"text\": \"a\"}");
    assert_eq!((plain.status, &*plain.problem()), (415, "unsupported-media-type"));
    let hurry = server.ask("POST", "/predict", &[("X-Request-Timeout-Ms", "soon")], b"{}");
    assert_eq!(hurry.json()["errors"][0]["loc"], json!(["header", "X-Request-Timeout-Ms"]));
    assert_eq!(server.get("/nothing").problem(), "not-found");
    assert_eq!(server.get("/task_status/t_0").problem(), "not-found");
    let wrong = server.get("/predict");
    assert_eq!((wrong.status, &*wrong.problem()), (405, "method-not-allowed"));
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_eq!(
        server.ask("GET", "/livez", &[("X-Request-Id", "mine")], b"").header("x-request-id"),
        Some("mine")
    );
}

#[test]
fn parameters_of_the_address_that_nothing_reads_are_refused_and_probes_take_any() {
    let server = Server::start(&[]);
    let text = json!({ "text": "a router" });
    let body = text.to_string();
    for (method, path, body) in [
        ("POST", "/predict", &*body),
        ("POST", "/predict_cached", &body),
        ("POST", "/batch_predict", r#"{"texts": ["a router"]}"#),
        ("POST", "/async_predict", &body),
        ("GET", "/task_status/t_0", ""),
        ("DELETE", "/task/t_0", ""),
        ("GET", "/info", ""),
        ("POST", "/feedback", &body),
        ("GET", "/metrics", ""),
        ("GET", "/openapi.json", ""),
        ("GET", "/docs/", ""),
        ("GET", "/playground", ""),
    ] {
        let ask = |query: &str| server.ask(method, &format!("{path}{query}"), &[], body.as_bytes());
        let refused = ask("?coverage=0.9&x=1");
        assert_eq!((refused.status, &*refused.problem()), (400, "unknown-parameter"), "{path}");
        let faults = refused.json()["errors"].clone();
        assert_eq!(faults[0]["loc"], json!(["query", "coverage"]), "{path}");
        assert_eq!(faults[1]["loc"], json!(["query", "x"]), "{path}");
        let told = faults[0]["msg"].as_str().unwrap();
        assert_eq!(told.contains("into the JSON body"), method == "POST", "{path}: {told}");
        assert_ne!(ask("?").status, 400, "{path}");
    }
    for path in ["/livez", "/readyz", "/health", "/health/live", "/health/ready"] {
        for query in ["?t=123", "?_=1&verbose", "?verbos"] {
            assert_eq!(server.get(&format!("{path}{query}")).status, 200, "{path}{query}");
        }
    }
    assert_eq!(server.get("/nothing?x=1").problem(), "not-found");
}

#[test]
fn documents_and_pages_come_from_the_binary_alone() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Bayesian Transformer API");
    for route in
        ["/predict", "/predict_cached", "/batch_predict", "/async_predict", "/health", "/metrics"]
    {
        assert!(document["paths"][route].is_object(), "{route}");
    }
    for (path, target) in [("/", "/playground"), ("/docs", "/docs/"), ("/redoc", "/docs/")] {
        assert_eq!(server.get(path).header("location"), Some(target), "{path}");
    }
    let script = server.get("/docs/swagger-initializer.js").text();
    assert!(script.contains("/openapi.json"), "{script}");
    for path in ["/playground", "/docs/"] {
        let page = server.get(path);
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("script-src"), "no script but our own: {policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert!(page.text().contains("width=device-width"), "{path} is drawn for a phone too");
    }
    let pages = ["/playground", "/playground/style.css", "/playground/script.js", "/docs/"];
    for text in pages.map(|path| server.get(path).text()) {
        for target in targets(&text) {
            assert!(!target.contains("//") && !target.starts_with("http"), "{target}");
        }
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "onclick="] {
            assert!(!text.contains(way), "{way} in {text}");
        }
        assert!(!text.contains("<script>"), "a script inside the page: {text}");
    }
}

/// What a page loads, links to or asks.
fn targets(text: &str) -> Vec<&str> {
    let ways = ["src=", "href=", "action=", "url(", "fetch(", "import(", "import "];
    let after =
        ways.into_iter().flat_map(|way| text.match_indices(way).map(move |(at, _)| at + way.len()));
    let target = |at: usize| {
        let rest = text[at..].trim_start_matches(['"', '\'', '`', ' ']);
        rest.split(['"', '\'', '`', ' ', ')', '>']).next().unwrap_or_default()
    };
    after.map(target).collect()
}

#[test]
fn a_packed_body_is_unpacked_within_the_limit_or_refused_by_the_name_of_its_packing() {
    use std::io::Write;

    let server = Server::start(&["--max-body-bytes", "2000"]);
    let packed = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let ask = |encoding: &str, body: &[u8]| {
        server.ask("POST", "/predict", &[("Content-Encoding", encoding)], body)
    };
    let plain = r#"{"text": "please look at my invoice"}"#;
    let answer = ask("gzip", &packed(plain));
    assert_eq!((answer.status, &answer.json()["label"]), (200, &json!("billing")), "{answer:?}");
    assert_eq!(ask("identity", plain.as_bytes()).status, 200);
    for encoding in ["br", "compress", "gzip, gzip"] {
        let answer = ask(encoding, plain.as_bytes());
        assert_eq!((answer.status, &*answer.problem()), (415, "unsupported-media-type"));
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, zstd"));
        assert!(answer.text().contains("Content-Encoding"), "{}", answer.text());
    }
    let bomb = packed(&format!("{{\"text\": \"{}\"}}", " ".repeat(1_000_000)));
    assert!(bomb.len() < 2000);
    let answer = ask("gzip", &bomb);
    assert_eq!((answer.status, &*answer.problem()), (413, "payload-too-large"));
    let answer = ask("gzip", plain.as_bytes());
    assert_eq!((answer.status, &*answer.problem()), (400, "malformed-json"));
    assert!(answer.text().contains("gzip"), "{}", answer.text());
}

#[test]
fn a_pair_is_one_question_alone_in_a_batch_and_as_a_job() {
    // Of a model whose data are not known it is not known that it reads single texts only.
    let either = model_copy();
    edit(&either.path().join("bayes/manifest.json"), |manifest| {
        manifest.as_object_mut().unwrap().shift_remove("sha256");
        manifest["data"] = Value::Null;
    });
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(either.path(), home.path(), &[], &[]);
    let (text, pair) = ("please look at my invoice", "my router is broken");
    let request = json!({ "text": text, "text_pair": pair });
    let first = server.post("/predict", &request);
    assert_eq!(first.status, 200, "{first:?}");
    let answer = first.json();
    assert_eq!((&answer["text"], &answer["text_pair"]), (&json!(text), &json!(pair)));
    let single = server.post("/predict", &json!({ "text": text })).json();
    assert!(single["text_pair"].is_null());
    // [CLS] a [SEP] b [SEP], and not the answer to the first text that was kept before.
    let tokens = |answer: &Value| answer["num_tokens"].as_u64().unwrap();
    let second = server.post("/predict", &json!({ "text": pair })).json();
    assert_eq!(tokens(&answer), tokens(&single) + tokens(&second) - 1);
    assert_ne!(answer["confidence"], single["confidence"]);
    let turned = json!({ "text": pair, "text_pair": text });
    assert_ne!(server.post("/predict", &turned).json()["confidence"], answer["confidence"]);

    let batch = json!({ "texts": [text, pair], "text_pairs": [pair, text] });
    let both = server.post("/batch_predict", &batch).json();
    assert_eq!(essence(&both["predictions"][0]), essence(&answer));
    let job = server.post("/async_predict", &request);
    assert_eq!(job.status, 202, "{job:?}");
    let location = job.header("location").unwrap().to_owned();
    let mut task = Value::Null;
    super::server::eventually("the job is done", || {
        task = server.get(&location).json();
        task["status"] == "completed"
    });
    assert_eq!(essence(&task["result"]), essence(&answer));
    let hidden = json!({ "text": text, "text_pair": pair, "return_text": false });
    let hidden = server.post("/predict", &hidden).json();
    assert!(hidden["text"].is_null() && hidden["text_pair"].is_null());
}

#[test]
fn a_model_of_pairs_asks_for_the_second_text_and_one_of_single_texts_refuses_it() {
    let pairs = model_copy();
    edit(&pairs.path().join("bayes/manifest.json"), |manifest| {
        manifest.as_object_mut().unwrap().shift_remove("sha256");
        manifest["data"]["text_pair_column"] = "reply".into();
    });
    // Without `bayes` the folder is one of transformers: its tokenizer may have any template.
    let single = model_copy();
    std::fs::remove_dir_all(single.path().join("bayes")).unwrap();
    edit(&single.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["post_processor"]["pair"] = tokenizer["post_processor"]["single"].clone();
    });
    let trained = model_copy();
    let alone = json!({ "text": "my invoice" });
    let pair = json!({ "text": "my invoice", "text_pair": "my router" });
    for (folder, right, wrong) in
        [(&pairs, &pair, &alone), (&single, &alone, &pair), (&trained, &alone, &pair)]
    {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start_in(folder.path(), home.path(), &["--rate-limit", "off"], &[]);
        assert_eq!(server.post("/predict", right).status, 200);
        for path in ["/predict", "/async_predict"] {
            let refused = server.post(path, wrong);
            assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{path}");
            assert_eq!(refused.json()["errors"][0]["loc"], json!(["body", "text_pair"]));
        }
        let mut many = wrong.clone();
        let many = many.as_object_mut().unwrap();
        many.remove("text");
        many.insert("texts".to_owned(), json!(["my invoice"]));
        if many.remove("text_pair").is_some() {
            many.insert("text_pairs".to_owned(), json!(["my router"]));
        }
        let refused = server.post("/batch_predict", &json!(many));
        assert_eq!(refused.json()["errors"][0]["loc"], json!(["body", "text_pairs"]));
    }
}

fn edit(path: &std::path::Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Who leaves the uncertainty out of the answer still relies on the limit.
#[test]
fn a_limit_on_what_passes_say_is_kept_although_the_uncertainty_is_not_sent() {
    let server = Server::of(model_of_passes(), &[]);
    let passes = || server.metric("bayes_passes_per_prediction_sum");
    let ask = |more: Value| {
        let mut body = json!({ "text": "please look at my invoice", "return_uncertainty": false });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let before = passes();
        let answer = server.post("/predict", &body).json();
        assert!(answer["uncertainty_details"].is_null(), "{answer}");
        (answer, passes() - before)
    };
    let (plain, cheap) = ask(json!({}));
    let (strict, dear) = ask(json!({ "abstain": { "max_epistemic": 0.0, "ood_p": 0.0 } }));
    assert_eq!(cheap, 1.0, "one pass answers: {plain}");
    assert!(dear > 1.0, "{dear} passes");
    assert_eq!(strict["abstain_reasons"], json!(["epistemic"]), "{strict}");
    let lenient = ask(json!({ "abstain": { "max_epistemic": 10.0, "ood_p": 0.0 } })).0;
    assert_eq!(lenient["decision"], json!("accept"), "{lenient}");
}

/// A client that asks for samples relies on the spread over them.
#[test]
fn samples_of_a_model_of_one_pass_are_refused() {
    let server = Server::start(&[]);
    for (path, mut body) in [
        ("/predict", json!({ "text": "a router" })),
        ("/predict_cached", json!({ "text": "a router" })),
        ("/batch_predict", json!({ "texts": ["a router"] })),
        ("/async_predict", json!({ "texts": ["a router"] })),
    ] {
        body["num_samples"] = 5.into();
        let refused = server.post(path, &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{path}");
        let fault = refused.json()["errors"][0].clone();
        assert_eq!(fault["loc"], json!(["body", "num_samples"]), "{path}");
        assert!(fault["msg"].as_str().unwrap().contains("single forward pass"), "{path}: {fault}");
        body["num_samples"] = Value::Null;
        assert!(server.post(path, &body).status < 300, "{path}");
    }
}
