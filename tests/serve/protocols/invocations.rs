//! `/invocations` of SageMaker and TEI, and `/classify` of vLLM.

use super::*;

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
