use serde_json::json;

use super::*;

const LIMITS: RequestLimits =
    RequestLimits { chars: 20, batch: 3, job: 5, samples: 200, ttl: 86_400 };

fn sent_as(text: &str, pair: Option<&str>) -> Sent {
    Sent { text: text.into(), pair: pair.map(Into::into) }
}

/// Places and kinds of all faults.
fn faults<T: std::fmt::Debug>(outcome: Result<T, Problem>) -> Vec<(String, &'static str)> {
    let Err(Problem::Validation(faults)) = outcome else { panic!("{outcome:?}") };
    let place = |fault: &Fault| Value::from(fault.loc.clone()).to_string();
    faults.iter().map(|fault| (place(fault), fault.kind)).collect()
}

#[test]
fn a_plain_text_has_the_usual_options() {
    let (sent, options) = predict(json!({ "text": " fine " }), &LIMITS).unwrap();
    assert_eq!((sent, options), (sent_as(" fine ", None), Options::default()));
}

/// Every field that is read is in the schema, and every example passes.
#[test]
fn the_schema_says_what_is_read() {
    let keys = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let schema = predict_schema(&LIMITS);
    let own = keys(&schema);
    let read = kept(&job(json!({ "text": "fine", "text_pair": "too" }), &LIMITS).unwrap());
    assert_eq!(own, read.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    assert_eq!(schema["required"], json!(["text"]));
    assert_eq!(schema["properties"]["coverage"]["maximum"], 0.999);
    assert_eq!(schema["properties"]["abstain"]["type"], json!(["object", "null"]));
    let limits = RequestLimits { chars: 100, ..LIMITS };
    assert!(predict(schema["examples"][0].clone(), &limits).is_ok());
    let schema = batch_schema(&LIMITS);
    assert_eq!(schema["properties"]["texts"]["maxItems"], 3);
    assert!(batch(schema["examples"][0].clone(), &limits).is_ok());
    let schema = job_schema(&LIMITS);
    assert_eq!(keys(&schema)[..5], ["text", "text_pair", "texts", "text_pairs", "ttl_seconds"]);
    assert!(job(schema["examples"][0].clone(), &limits).is_ok());
}

#[test]
fn every_option_is_read() {
    let body = json!({
        "text": "fine", "return_uncertainty": false, "num_samples": 7, "seed": u64::MAX,
        "coverage": null, "abstain": { "min_confidence": 0.5, "max_epistemic": 2, "ood_p": null },
        "truncate": false, "top_k": 2, "return_text": false, "return_samples": false, "model": "tickets",
    });
    let expected = Options {
        model: Some("tickets".to_owned()),
        return_uncertainty: false,
        num_samples: Some(7),
        seed: u64::MAX,
        coverage: None,
        abstain: Abstain { min_confidence: Some(0.5), max_epistemic: Some(2.0), ood_p: None },
        truncate: false,
        top_k: Some(2),
        return_text: false,
        return_samples: false,
    };
    assert_eq!(predict(body, &LIMITS).unwrap().1, expected);
    let samples = |body| predict(body, &LIMITS).map(|(_, options)| options.return_samples);
    assert!(samples(json!({ "text": "fine", "return_samples": true })).unwrap());
    let body = json!({ "text": "fine", "return_samples": true, "return_uncertainty": false });
    let expected = (r#"["body","return_samples"]"#.to_owned(), "contradiction");
    assert_eq!(faults(samples(body)), [expected]);
}

#[test]
fn all_faults_are_named_by_their_places() {
    let body = json!({
        "text": 3, "seed": -1, "coverage": 0.4, "num_samples": 0, "truncate": 1, "top_k": 1.5,
        "abstain": { "ood_p": "x", "extra": 1 }, "color": "red",
    });
    let expected = [
        (r#"["body","text"]"#, "string_type"),
        (r#"["body","num_samples"]"#, "int_range"),
        (r#"["body","seed"]"#, "int_range"),
        (r#"["body","coverage"]"#, "float_range"),
        (r#"["body","abstain","ood_p"]"#, "float_range"),
        (r#"["body","abstain","extra"]"#, "extra_forbidden"),
        (r#"["body","truncate"]"#, "bool_type"),
        (r#"["body","top_k"]"#, "int_range"),
        (r#"["body","color"]"#, "extra_forbidden"),
    ];
    let expected: Vec<_> = expected.map(|(place, kind)| (place.to_owned(), kind)).into();
    assert_eq!(faults(predict(body, &LIMITS)), expected);
    assert_eq!(faults(predict(json!([]), &LIMITS)), [(r#"["body"]"#.to_owned(), "model_type")]);
    assert_eq!(faults(predict(json!({}), &LIMITS)), [(r#"["body","text"]"#.to_owned(), "missing")]);
}

#[test]
fn a_batch_names_the_text_that_is_wrong() {
    let texts = json!({ "texts": ["fine", " \u{0} ", "x".repeat(21)] });
    let expected =
        [(r#"["body","texts",1]"#, "string_blank"), (r#"["body","texts",2]"#, "string_too_long")];
    let expected: Vec<_> = expected.map(|(place, kind)| (place.to_owned(), kind)).into();
    assert_eq!(faults(batch(texts, &LIMITS)), expected);
    let place = r#"["body","texts"]"#.to_owned();
    assert_eq!(faults(batch(json!({ "texts": [] }), &LIMITS)), [(place.clone(), "too_short")]);
    let many = json!({ "texts": ["a", "b", "c", "d"] });
    assert_eq!(faults(batch(many, &LIMITS)), [(place, "too_long")]);
    // Twenty characters are twenty characters in any script.
    assert!(batch(json!({ "texts": ["好".repeat(20)] }), &LIMITS).is_ok());
}

#[test]
fn a_job_has_one_text_or_many_and_is_kept_as_it_was_asked() {
    let one = job(json!({ "text": "fine", "ttl_seconds": 60 }), &LIMITS).unwrap();
    assert_eq!((one.texts, one.ttl_seconds), (Texts::One(sent_as("fine", None)), Some(60)));
    let both = json!({ "text": "fine", "texts": ["fine"] });
    assert_eq!(faults(job(both, &LIMITS))[0].1, "value_error");
    assert_eq!(faults(job(json!({}), &LIMITS))[0].1, "missing");
    let body =
        json!({ "texts": ["a", "b"], "seed": 3, "coverage": 0.95, "abstain": { "ood_p": 0.1 } });
    let many = job(body, &LIMITS).unwrap();
    assert_eq!(job(kept(&many), &LIMITS).unwrap(), many);
}

#[test]
fn a_second_text_belongs_to_the_first_and_null_is_none() {
    let pair = json!({ "text": "one", "text_pair": "two" });
    assert_eq!(predict(pair, &LIMITS).unwrap().0, sent_as("one", Some("two")));
    let none = json!({ "text": "one", "text_pair": null });
    assert_eq!(predict(none, &LIMITS).unwrap().0, sent_as("one", None));
    for (wrong, kind) in [
        (json!(""), "string_blank"),
        (json!(3), "string_type"),
        (json!(["two"]), "string_type"),
        (json!("x".repeat(21)), "string_too_long"),
    ] {
        let body = json!({ "text": "one", "text_pair": wrong });
        let expected = (r#"["body","text_pair"]"#.to_owned(), kind);
        assert_eq!(faults(predict(body, &LIMITS)), [expected]);
    }
    let body = json!({ "texts": ["a", "b"], "text_pairs": ["c", "d"] });
    let expected = [sent_as("a", Some("c")), sent_as("b", Some("d"))];
    assert_eq!(batch(body.clone(), &LIMITS).unwrap().0, expected);
    let many = job(body, &LIMITS).unwrap();
    assert_eq!(many.texts.all(), expected);
    assert_eq!(job(kept(&many), &LIMITS).unwrap(), many);
    let one = job(json!({ "text": "a", "text_pair": "c" }), &LIMITS).unwrap();
    assert_eq!(job(kept(&one), &LIMITS).unwrap(), one);
    let place = r#"["body","text_pairs"]"#.to_owned();
    let uneven = json!({ "texts": ["a", "b"], "text_pairs": ["c"] });
    assert_eq!(faults(batch(uneven, &LIMITS)), [(place, "length_mismatch")]);
    for blank in [" ", "\u{200b}", "\u{2060}\u{ad}"] {
        let blank = json!({ "texts": ["a", "b"], "text_pairs": ["c", blank] });
        let place = r#"["body","text_pairs",1]"#.to_owned();
        assert_eq!(faults(batch(blank, &LIMITS)), [(place, "string_blank")]);
    }
    // The second text of one kind of request is unknown to the other.
    let strange = json!({ "text": "a", "text_pairs": ["c"] });
    assert_eq!(faults(predict(strange, &LIMITS))[0].1, "extra_forbidden");
}
