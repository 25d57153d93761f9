use proptest::prelude::*;

use super::*;

const LIMITS: RequestLimits =
    RequestLimits { chars: 50, batch: 3, job: 8, samples: 200, ttl: 86_400 };

fn ask(json: &Value, tail: &[u8]) -> Result<Infer, Problem> {
    let json = json.to_string();
    let body = Bytes::from([json.as_bytes(), tail].concat());
    read(&body, Head(Some(json.len())), &LIMITS)
}

fn texts(infer: &Infer) -> Vec<(String, Option<String>)> {
    let owned = |sent: &Sent| (sent.text.to_string(), sent.pair.as_deref().map(str::to_owned));
    infer.asked.sent.iter().map(owned).collect()
}

fn packed(texts: &[&[u8]]) -> Vec<u8> {
    let one = |text: &&[u8]| [&(text.len() as u32).to_le_bytes(), *text].concat();
    texts.iter().flat_map(one).collect()
}

/// The place of the first fault.
fn place(outcome: Result<Infer, Problem>) -> String {
    match outcome {
        Err(Problem::Validation(faults)) => {
            let part = |part: &Value| part.as_str().map_or(part.to_string(), str::to_owned);
            faults[0].loc.iter().map(part).collect::<Vec<_>>().join(".")
        }
        Err(problem) => format!("{problem:?}"),
        Ok(_) => "taken".to_owned(),
    }
}

fn tensor(shape: &Value, data: &Value) -> Value {
    json!({ "inputs": [{ "name": "text", "shape": shape, "datatype": "BYTES", "data": data }] })
}

#[test]
fn texts_come_flat_in_rows_or_behind_the_json() {
    let two = [("a".to_owned(), None), ("ü".to_owned(), None)];
    for (shape, data) in [
        (json!([2]), json!(["a", "ü"])),
        (json!([2, 1]), json!(["a", "ü"])),
        (json!([2, 1]), json!([["a"], ["ü"]])),
    ] {
        assert_eq!(texts(&ask(&tensor(&shape, &data), b"").unwrap()), two);
    }
    let binary = |name: &str, size: usize| {
        let size = json!({ "binary_data_size": size });
        json!({ "name": name, "shape": [2, 1], "datatype": "BYTES", "parameters": size })
    };
    let tail = packed(&[b"a", "ü".as_bytes()]);
    let body = json!({ "inputs": [binary("text", tail.len())] });
    assert_eq!(texts(&ask(&body, &tail).unwrap()), two);
    let (first, second) = (packed(&[b"a", b"bb"]), packed(&[b"ccc", b"d"]));
    let body = json!({
        "inputs": [binary("text_pair", first.len()), binary("text", second.len())],
    });
    let pairs = texts(&ask(&body, &[first, second].concat()).unwrap());
    assert_eq!(pairs[0], ("ccc".to_owned(), Some("a".to_owned())));
    assert_eq!(pairs[1], ("d".to_owned(), Some("bb".to_owned())));
}

#[test]
fn unknown_parameters_are_allowed_and_unknown_fields_are_not() {
    let mut body = tensor(&json!([1]), &json!(["a"]));
    body["parameters"] = json!({ "seed": 7, "binary_data_output": true, "priority": 3 });
    body["outputs"] = json!([{ "name": "label", "parameters": { "binary_data": true } }]);
    body["id"] = "".into();
    body["model_name"] = "as kserve repeats it".into();
    let infer = ask(&body, b"").unwrap();
    assert_eq!((infer.asked.options.seed, infer.id), (7, Some(String::new())));
    assert_eq!(infer.wanted, Some(vec!["label".to_owned()]));
    body["color"] = 1.into();
    assert_eq!(place(ask(&body, b"")), "body.color");
}

#[test]
fn what_is_no_tensor_of_texts_is_refused_with_its_place() {
    for (body, expected) in [
        (json!({}), "body.inputs"),
        (json!({ "inputs": [] }), "body.inputs"),
        (json!({ "inputs": "a" }), "body.inputs"),
        (json!({ "inputs": [7] }), "body.inputs.0"),
        (tensor(&json!([2]), &json!(["a"])), "body.inputs.0.data"),
        (tensor(&json!([4]), &json!(["a", "b", "c", "d"])), "body.inputs.0.shape"),
        (tensor(&json!([0]), &json!([])), "body.inputs.0.shape"),
        (tensor(&json!([-1]), &json!(["a"])), "body.inputs.0.shape"),
        (tensor(&json!([1, 2]), &json!(["a", "b"])), "body.inputs.0.shape"),
        (tensor(&json!([u64::MAX]), &json!(["a"])), "body.inputs.0.shape"),
        (tensor(&json!([1]), &json!("a")), "body.inputs.0.data"),
        (tensor(&json!([1]), &json!([1.5])), "body.inputs.0.data.0"),
        (tensor(&json!([1]), &json!([" "])), "body.inputs.0.data.0"),
        (tensor(&json!([1]), &json!([["a", "b"]])), "body.inputs.0.data.0"),
        (tensor(&json!([1]), &json!([[["a"]]])), "body.inputs.0.data.0"),
    ] {
        assert_eq!(place(ask(&body, b"")), expected, "{body}");
    }
    for (field, value, expected) in [
        ("name", json!("input_ids"), "body.inputs.0.name"),
        ("datatype", json!("INT64"), "body.inputs.0.datatype"),
        ("parameters", json!({ "binary_data_size": 3 }), "body.inputs.0.parameters"),
        ("parameters", json!({ "binary_data_size": -1 }), "body.inputs.0.parameters"),
        ("parameters", json!([]), "body.inputs.0.parameters"),
        ("color", json!(1), "body.inputs.0.color"),
    ] {
        let mut body = tensor(&json!([1]), &json!(["a"]));
        body["inputs"][0][field] = value;
        assert_eq!(place(ask(&body, b"")), expected, "{body}");
    }
    let twice = tensor(&json!([1]), &json!(["a"]))["inputs"][0].clone();
    assert_eq!(place(ask(&json!({ "inputs": [twice, twice] }), b"")), "body.inputs.1.name");
}

#[test]
fn binary_data_is_read_within_its_bounds() {
    let body = |size: usize| {
        let size = json!({ "binary_data_size": size });
        json!({ "inputs": [{ "name": "text", "shape": [1], "datatype": "BYTES", "parameters": size }] })
    };
    let whole = packed(&[b"a text"]);
    assert!(ask(&body(whole.len()), &whole).is_ok());
    for (tail, size, expected) in [
        (whole[..3].to_vec(), 3, "body.inputs.0.data.0"),
        (whole[..7].to_vec(), 7, "body.inputs.0.data.0"),
        (u32::MAX.to_le_bytes().to_vec(), 4, "body.inputs.0.data.0"),
        (packed(&[b"\xff"]), 5, "body.inputs.0.data.0"),
        (packed(&[b"a", b"b"]), 10, "body.inputs.0.data"),
        (packed(&[b"a", b"b", b"c", b"d"]), 20, "body.inputs.0.data"),
        (Vec::new(), 0, "body.inputs.0.data"),
        ([whole.clone(), b"more".to_vec()].concat(), whole.len(), "body.inputs"),
    ] {
        assert_eq!(place(ask(&body(size), &tail)), expected, "{tail:?}");
    }
    let short = Bytes::from_static(b"{}");
    let beyond = read(&short, Head(Some(3)), &LIMITS);
    assert_eq!(place(beyond), "header.Inference-Header-Content-Length");
}

proptest! {
    #[test]
    fn no_bytes_behind_the_json_make_it_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..60), size in 0_usize..70,
    ) {
        let size = json!({ "binary_data_size": size });
        let body = json!({
            "inputs": [{ "name": "text", "shape": [2], "datatype": "BYTES", "parameters": size }],
        });
        let _ = ask(&body, &tail);
    }
}
