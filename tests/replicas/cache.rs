//! Answers that replicas keep for each other.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::home::{Home, TINY};
use super::server::{eventually, model, model_of_passes, model_with_spread};
use super::store::{Store, with_each};
use super::{Member, lasting};

/// One of three departments, whose covariances share a basis.
fn model_of_three() -> (Home, PathBuf) {
    let home = Home::new();
    let mut csv = "subject,department\n".to_owned();
    for row in 0..240 {
        let (thing, department) =
            [("invoice", "billing"), ("router", "technical"), ("parcel", "delivery")][row % 3];
        csv.push_str(&format!("\"please look at my {thing}, case {row}\",{department}\n"));
    }
    let data = home.write("tickets.csv", csv);
    let own = ["--set", "calibration.temperature=false"];
    let mut arguments = vec!["train", data.to_str().unwrap()];
    arguments.extend(TINY.iter().chain(&own));
    home.done(&arguments);
    let model = home.path("checkpoints/tickets/model");
    (home, model)
}

const HITS: &str = "bayes_cache_requests_total{tier=\"redis\",result=\"hit\"}";

/// Asks until the answer is kept for others; its key.
fn shared(store: &Store, member: &Member, body: &Value) -> String {
    let again = [("Cache-Control", "no-cache")];
    eventually("it is shared", || {
        member.server.ask("POST", "/predict", &again, body.to_string().as_bytes());
        std::thread::sleep(Duration::from_millis(100));
        store.keys("bayes:*:cache:*").len() == 1
    });
    store.keys("bayes:*:cache:*").remove(0)
}

fn ask(member: &Member, body: &Value) -> Value {
    let answer = member.server.post("/predict", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn an_answer_of_one_replica_is_given_by_another_to_the_last_bit() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let (_home, three) = model_of_three();
        for (model, kind) in [
            (model(), "two"),
            (model_with_spread(), "spread"),
            (model_of_passes(), "passes"),
            (&*three, "three"),
        ] {
            let one = Member::of(model, &store, &["--redis-prefix", kind]);
            let other = Member::of(model, &store, &["--redis-prefix", kind]);
            for (number, more) in [
                json!({}),
                json!({ "coverage": 0.8, "top_k": 1 }),
                json!({ "return_samples": true }),
                json!({ "abstain": { "min_confidence": 0.999 } }),
            ]
            .into_iter()
            .enumerate()
            {
                let hits = || other.server.metric(HITS);
                let before = hits();
                // Where this machine is too busy, an answer is not waited for: then it is another text's turn.
                let (first, second) = (0..50)
                    .map(|text| {
                        let mut body =
                            json!({ "text": format!("my router, case {number} {text}") });
                        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                        let first = ask(&one, &body);
                        std::thread::sleep(Duration::from_millis(300));
                        (first, ask(&other, &body))
                    })
                    .find(|_| hits() > before)
                    .unwrap();
                assert_eq!((&first["cached"], &second["cached"]), (&json!(false), &json!(true)));
                assert_eq!(lasting(&first), lasting(&second), "{kind} {more}");
            }
            let up = format!("bayes_redis_up{{server=\"127.0.0.1:{}\"}}", store.port);
            eventually("it is well", || other.server.metric(&up) == 1.0);
            eventually("all is well", || other.health()["status"] == "healthy");
        }
    });
}

#[test]
fn who_would_answer_otherwise_is_not_given_an_answer_of_others() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        let strict = Member::replica(&store, &["--abstain-min-confidence", "0.999999"]);
        let body = json!({ "text": "my router" });
        shared(&store, &one, &body);
        let answer = ask(&strict, &body);
        assert_eq!((&answer["cached"], &answer["decision"]), (&json!(false), &json!("abstain")));
        let off = Member::replica(&store, &["--cache-entries", "0"]);
        assert_eq!(ask(&off, &body)["cached"], false);
    });
}

#[test]
fn what_is_no_answer_is_computed_again() {
    with_each(|program| {
        let store = Store::start(program, &[]);
        let one = Member::replica(&store, &[]);
        let body = json!({ "text": "my router" });
        let first = ask(&one, &body);
        let key = shared(&store, &one, &body);
        let good: String = store.ask(&["GET", &key]);
        let long = "x".repeat(100_000);
        let wrong = [
            "",
            "{}",
            "null",
            &long,
            &good.replace("\"label\":", "\"label\":7"),
            &good.replace("\"probability_c\":[", "\"probability_c\":[0.1,"),
        ];
        for value in wrong {
            let () = store.ask(&["SET", &key, value]);
            let other = Member::replica(&store, &[]);
            let answer = ask(&other, &body);
            assert_eq!((&answer["cached"], lasting(&answer)), (&json!(false), lasting(&first)));
        }
        // Another type of value is no answer either.
        let _: u64 = store.ask(&["DEL", &key]);
        let _: u64 = store.ask(&["LPUSH", &key, "x"]);
        assert_eq!(ask(&Member::replica(&store, &[]), &body)["cached"], false);
    });
}
