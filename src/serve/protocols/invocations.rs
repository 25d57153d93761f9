//! `POST /invocations`: the body that Text Embeddings Inference, the Hugging Face toolkit for SageMaker and
//! `huggingface_hub`'s `InferenceClient` send, and the scores that they expect. `GET /ping` is the health check
//! of a SageMaker container.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::answer::Urgency;
use super::super::app::App;
use super::super::body::{Request, read_json};
use super::super::endpoint::Endpoint;
use super::super::endpoints::health;
use super::super::endpoints::predict::{server_timing, urgency};
use super::super::forward::Leave;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{self, Fields, Options, RequestLimits, Sent};
use super::super::served::Chosen;
use super::super::settings::Settings;
use super::{Asked, Told, ask, plain};

/// The probability of a label.
#[derive(Serialize)]
struct Scored {
    label: String,
    score: f64,
}

/// What is asked, and how many labels are wanted.
struct Invocation {
    asked: Asked,
    top_k: Option<usize>,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let summary = "Classify texts, in the form of TEI, the Hugging Face toolkit and SageMaker";
    let scored = json!({
        "type": "object", "required": ["label", "score"],
        "properties": {
            "label": { "type": "string" },
            "score": { "type": "number", "minimum": 0, "maximum": 1 },
        },
    });
    let rows = json!({
        "type": "array",
        "description": "For each text its labels, the most probable first.",
        "items": { "type": "array", "items": scored },
    });
    vec![
        Endpoint::post("/invocations", post(invocations), summary)
            .tag("protocols")
            .of_model()
            .reads("Invocation", schema(&settings.request))
            .gives_json("Scores", rows),
        Endpoint::get("/ping", get(health::readyz), "Alias of /readyz, for SageMaker")
            .tag("protocols")
            .may_be_unready(),
    ]
}

async fn invocations(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = Urgency { leave: Leave::Untold, ..urgency(&app, &headers)? };
    let Request { asked: Invocation { asked, top_k }, share } =
        read_json(&app, &headers, body, read).await?;
    let (told, about, times) = ask(&app, &chosen, &asked, urgency).await?;
    drop(share);
    let answer: Vec<Vec<Scored>> = told.iter().map(|told| scored(told, top_k)).collect();
    Ok((server_timing(times), reply::json(&app, &headers, about, answer).await?).into_response())
}

fn scored(told: &Told, top_k: Option<usize>) -> Vec<Scored> {
    let ranked = told.ranked().into_iter().take(top_k.unwrap_or(usize::MAX));
    ranked.map(|(label, score)| Scored { label: label.to_owned(), score }).collect()
}

fn read(body: Value, limits: &RequestLimits) -> Result<Invocation, Problem> {
    let mut fields = Fields::new(body)?;
    let invocation = read_fields(&mut fields, limits);
    fields.finish()?;
    Ok(invocation)
}

fn schema(limits: &RequestLimits) -> Value {
    let example = json!({
        "inputs": ["A dull first act.", "The acting was superb."], "parameters": { "top_k": 1 },
    });
    Fields::schema(|fields| drop(read_fields(fields, limits)), &example)
}

fn read_fields(fields: &mut Fields, limits: &RequestLimits) -> Invocation {
    let sent = inputs(fields, limits);
    let raw_scores = "scores are calibrated probabilities";
    fields.fixed("raw_scores", &[false.into(), Value::Null], raw_scores);
    let cut = request::truncate(fields);
    let about = "Options, as the pipelines of transformers call them.";
    let read = |inner: &mut Fields| parameters(inner, limits);
    let (options, top_k) = fields.within("parameters", about, read);
    let options = Options { truncate: options.truncate && cut, ..options };
    let place = |index: usize| vec!["inputs".into(), index.into()];
    Invocation { asked: Asked { sent, options, field: "inputs", place }, top_k }
}

fn parameters(fields: &mut Fields, limits: &RequestLimits) -> (Options, Option<usize>) {
    let allowed = ["softmax".into(), Value::Null];
    fields.fixed("function_to_apply", &allowed, "scores are calibrated probabilities");
    let all = "all labels are returned, or `top_k` of them";
    fields.fixed("return_all_scores", &[true.into(), Value::Null], all);
    let cut = fields.flag("truncation", true, "Another name of `truncate`.");
    let options = Options {
        truncate: request::truncate(fields) && cut,
        num_samples: request::num_samples(fields, limits),
        seed: request::seed(fields),
        ..plain()
    };
    (options, request::top_k(fields))
}

/// One text or several. A list of strings is a list of texts; a pair is an object, or a list within the list.
fn inputs(fields: &mut Fields, limits: &RequestLimits) -> Vec<Sent> {
    let (chars, most) = (limits.chars, limits.batch);
    let about =
        "A text, a list of texts, or pairs: `{\"text\", \"text_pair\"}` or `[[text, text]]`.";
    let (field, schema) = (|| Value::from("inputs"), || inputs_schema(chars, most));
    match fields.value("inputs", true, about, schema) {
        None => Vec::new(),
        Some(Value::Array(items)) if items.is_empty() => {
            fields.fault(&[field()], "must contain at least one text", "too_short");
            Vec::new()
        }
        Some(Value::Array(items)) if items.len() > most => {
            let msg = format!("must have at most {most} items, got {}", items.len());
            fields.fault(&[field()], msg, "too_long");
            Vec::new()
        }
        Some(Value::Array(items)) => {
            let one = |(index, item)| input(fields, item, &[field(), Value::from(index)], chars);
            items.into_iter().enumerate().filter_map(one).collect()
        }
        Some(item) => input(fields, item, &[field()], chars).into_iter().collect(),
    }
}

/// A string, an object of one or two texts, or a list of as many.
fn input(fields: &mut Fields, item: Value, place: &[Value], chars: usize) -> Option<Sent> {
    let within = |name: Value| place.iter().cloned().chain([name]).collect::<Vec<_>>();
    let (first, second) = match item {
        Value::Array(mut both) if matches!(both.len(), 1 | 2) => {
            let second = (both.len() == 2).then(|| both.pop()).flatten();
            ((within(0.into()), both.pop()?), second.map(|second| (within(1.into()), second)))
        }
        Value::Object(mut map) => {
            let (text, pair) = (map.swap_remove("text"), map.swap_remove("text_pair"));
            if let Some(name) = map.keys().next() {
                let name: String = name.chars().take(40).collect();
                fields.fault(&within(name.into()), "unknown field", "extra_forbidden");
                return None;
            }
            let Some(text) = text else {
                fields.fault(&within("text".into()), "is required", "missing");
                return None;
            };
            let pair = pair.filter(|pair| !pair.is_null());
            ((within("text".into()), text), pair.map(|pair| (within("text_pair".into()), pair)))
        }
        Value::String(text) => ((place.to_vec(), text.into()), None),
        _ => {
            let msg =
                "must be a string, `{\"text\", \"text_pair\"}` or a list of one or two strings";
            fields.fault(place, msg, "input_type");
            return None;
        }
    };
    let (place, text) = first;
    let text = fields.checked(text, &place, chars)?;
    let pair = match second {
        Some((place, pair)) => Some(fields.checked(pair, &place, chars)?.into()),
        None => None,
    };
    Some(Sent { text: text.into(), pair })
}

fn inputs_schema(chars: usize, most: usize) -> Value {
    let text = request::text_schema(chars);
    let one = json!({ "oneOf": [
        text,
        {
            "type": "object", "required": ["text"], "additionalProperties": false,
            "properties": { "text": text, "text_pair": { "oneOf": [text, { "type": "null" }] } },
        },
    ] });
    let item = json!({ "oneOf": [
        one, { "type": "array", "items": text, "minItems": 1, "maxItems": 2 },
    ] });
    json!({ "oneOf": [one, { "type": "array", "items": item, "minItems": 1, "maxItems": most }] })
}
