//! The Open Inference Protocol, as `tritonclient` and `kserve` speak it.

use super::*;

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

    // What `tritonclient` sends: the JSON, then the texts.
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
