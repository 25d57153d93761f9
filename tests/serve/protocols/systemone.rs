//! `/v1/systemone`.

use super::*;

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
        "is_billing": {
            "type": "noul", "instructions": "Is it about billing?", "criteria": { "true": "billing" },
        },
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
    let noul = json!({ "q": { "type": "noul", "instructions": "Is it about billing?" } });
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
