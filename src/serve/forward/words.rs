//! What the other server is asked, and what its answer says: strict where a decision rests on it.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::body::parse;
use super::super::request::Sent;
use super::target::Protocol;

/// The name of our question.
const QUESTION: &str = "label";
/// What models that read it are told; labels come as the options.
const INSTRUCTIONS: &str = "Which of these labels does the text have?";

/// An answer that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// One of the model's.
    pub label: String,
    /// Its probability.
    pub confidence: Option<f64>,
    /// By label.
    pub probabilities: Map<String, Value>,
    /// The other server would not decide either.
    pub abstains: bool,
}

/// Numbers that were rounded on their way may differ by so much.
const SLACK: f64 = 0.01;

/// The body of a request; `name` is that of a model of a server of several, which asks the one of the same name.
pub fn ask(protocol: &Protocol, sent: &Sent, labels: &[String], name: Option<&str>) -> Value {
    let text = &*sent.text;
    match (protocol, sent.pair.as_deref()) {
        (Protocol::Predict, pair) => {
            let own = [("text", Some(text)), ("text_pair", pair), ("model", name)].into_iter();
            let own = own.filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
            let all = own.chain([("return_text".to_owned(), false.into())]);
            Value::Object(all.collect())
        }
        (Protocol::SystemOne { model }, pair) => {
            let options = labels.iter().map(|label| (label.clone(), Value::Null));
            let question = json!({
                "type": "choice",
                "instructions": INSTRUCTIONS,
                "criteria": options.collect::<Map<_, _>>(),
            });
            let state = match pair {
                None => json!(text),
                Some(pair) => json!({ "text": text, "text_pair": pair }),
            };
            let model = model.as_deref().or(name).unwrap_or_default();
            json!({ "model": model, "state": state, "questions": { QUESTION: question } })
        }
    }
}

/// What an answer says to a model with these labels, or why it cannot be used.
pub fn read(protocol: &Protocol, bytes: &[u8], labels: &[String]) -> Result<Said, &'static str> {
    let answer = parse(bytes).map_err(|_| "it is no JSON")?;
    let known: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let (label, confidence, shares) = match protocol {
        Protocol::Predict => ("label", answer.get("confidence"), &answer),
        // Its own confidence is no probability.
        Protocol::SystemOne { .. } => {
            let answers = answer.get("answers").and_then(|answers| answers.get(QUESTION));
            // A server like this one says beside it what it would decide by itself.
            let other = answer.get("label").and_then(Value::as_str);
            if other.is_some_and(|label| !known.contains(label)) {
                return Err("it would decide for a label that this model does not have");
            }
            ("choice", None, answers.ok_or("it does not answer our question")?)
        }
    };
    let label = shares.get(label).and_then(Value::as_str).ok_or("it has no label")?;
    if !known.contains(label) {
        return Err("its label is none of this model's");
    }
    let probabilities = match shares.get("probabilities") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(shares)) => shares.clone(),
        Some(_) => return Err("its probabilities are no object"),
    };
    if !probabilities.keys().all(|label| known.contains(label.as_str())) {
        return Err("it has the probability of a label that this model does not have");
    }
    if !probabilities.values().all(is_probability) {
        return Err("its probabilities are no numbers from 0 to 1");
    }
    let shares = || probabilities.values().filter_map(Value::as_f64);
    if shares().sum::<f64>() > 1.0 + SLACK {
        return Err("its probabilities have a sum above 1");
    }
    let own = probabilities.get(label).and_then(Value::as_f64);
    if !probabilities.is_empty() && own.is_none_or(|own| shares().any(|one| one > own + SLACK)) {
        return Err("its label is not the most probable one");
    }
    let confidence = match confidence {
        None | Some(Value::Null) => probabilities.get(label),
        Some(confidence) if is_probability(confidence) => Some(confidence),
        Some(_) => return Err("its confidence is no number from 0 to 1"),
    };
    let confidence = confidence.and_then(Value::as_f64);
    if own.zip(confidence).is_some_and(|(own, confidence)| (own - confidence).abs() > SLACK) {
        return Err("its confidence is not the probability of its label");
    }
    let abstains = match answer.get("decision").unwrap_or(&Value::Null) {
        Value::Null => false,
        Value::String(decision) if decision == "accept" => false,
        Value::String(decision) if decision == "abstain" => true,
        _ => return Err("its decision is neither `accept` nor `abstain`"),
    };
    Ok(Said { label: label.to_owned(), confidence, abstains, probabilities })
}

fn is_probability(value: &Value) -> bool {
    value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share))
}

impl Said {
    /// The largest probabilities, so many of them; all of them as they came.
    pub fn shares(&self, top_k: Option<usize>) -> Option<Map<String, Value>> {
        let mut shares: Vec<(&String, &Value)> = self.probabilities.iter().collect();
        if let Some(most) = top_k {
            let share = |value: &Value| value.as_f64().unwrap_or_default();
            shares.sort_by(|one, other| share(other.1).total_cmp(&share(one.1)));
            shares.truncate(most);
        }
        let cloned = shares.into_iter().map(|(label, share)| (label.clone(), share.clone()));
        (!self.probabilities.is_empty()).then(|| cloned.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Vec<String> {
        ["billing", "technical"].map(str::to_owned).into()
    }

    fn system_one() -> Protocol {
        Protocol::SystemOne { model: Some("large".to_owned()) }
    }

    fn said(protocol: &Protocol, answer: &Value) -> Result<Said, &'static str> {
        read(protocol, answer.to_string().as_bytes(), &labels())
    }

    #[test]
    fn our_own_protocols_take_what_is_asked() {
        let limits = super::super::super::request::RequestLimits {
            chars: 100,
            batch: 1,
            job: 1,
            samples: 1,
            ttl: 1,
        };
        for pair in [None, Some("b".into())] {
            let sent = Sent { text: "a".into(), pair };
            let body = ask(&Protocol::Predict, &sent, &labels(), None);
            let (read, options) = super::super::super::request::predict(body, &limits).unwrap();
            assert_eq!((read, options.return_text), (sent.clone(), false));
            let body = ask(&system_one(), &sent, &labels(), None);
            assert_eq!(
                body["questions"][QUESTION]["criteria"],
                json!({ "billing": null, "technical": null })
            );
            assert_eq!(body["model"], "large");
            match sent.pair {
                None => assert_eq!(body["state"], "a"),
                Some(_) => assert_eq!(body["state"], json!({ "text": "a", "text_pair": "b" })),
            }
        }
    }

    #[test]
    fn answers_of_both_protocols_are_read() {
        let shares = json!({ "technical": 0.75, "billing": 0.25 });
        let plain = json!({
            "label": "technical", "confidence": 0.75, "probabilities": shares, "decision": "accept", "more": [1],
        });
        let read = said(&Protocol::Predict, &plain).unwrap();
        assert_eq!(
            (&*read.label, read.confidence, read.abstains),
            ("technical", Some(0.75), false)
        );
        assert_eq!(Value::from(read.shares(None).unwrap()), shares);
        assert_eq!(Value::from(read.shares(Some(1)).unwrap()), json!({ "technical": 0.75 }));
        let answer = json!({ "type": "choice", "choice": "technical", "confidence": 0.5, "probabilities": shares });
        let typed = json!({ "answers": { QUESTION: answer }, "decision": "abstain" });
        let other = said(&system_one(), &typed).unwrap();
        assert_eq!(other, Said { abstains: true, ..read });

        let bare = said(&Protocol::Predict, &json!({ "label": "billing" })).unwrap();
        assert_eq!((bare.confidence, bare.shares(None)), (None, None));
    }

    #[test]
    fn answers_that_decide_nothing_are_refused() {
        let right =
            json!({ "label": "billing", "confidence": 0.5, "probabilities": { "billing": 0.5 } });
        assert!(said(&Protocol::Predict, &right).is_ok());
        for (field, value) in [
            ("label", json!(null)),
            ("label", json!(1)),
            ("label", json!("Billing")),
            ("confidence", json!("0.5")),
            ("confidence", json!(1.5)),
            ("probabilities", json!([0.5, 0.5])),
            ("probabilities", json!({ "billing": "0.5" })),
            ("probabilities", json!({ "billing": null })),
            ("probabilities", json!({ "billing": -0.1 })),
            ("probabilities", json!({ "spam": 0.1 })),
        ] {
            let mut wrong = right.clone();
            wrong[field] = value;
            assert!(said(&Protocol::Predict, &wrong).is_err(), "{wrong}");
        }
        for bytes in [
            &b""[..],
            b"ok",
            b"[]",
            b"{\"label\": \"billing\"",
            b"{\"label\": \"billing\", \"confidence\": NaN}",
        ] {
            assert!(read(&Protocol::Predict, bytes, &labels()).is_err());
        }
        for answers in [
            json!({}),
            json!([]),
            json!({ "other": { "choice": "billing" } }),
            json!({ QUESTION: "billing" }),
        ] {
            assert!(said(&system_one(), &json!({ "answers": answers })).is_err(), "{answers}");
        }
        assert!(said(&system_one(), &right).is_err(), "the answer of another protocol");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&Protocol::Predict, &bytes, &labels());
            let _ = read(&system_one(), &bytes, &labels());
        }
    }
}
