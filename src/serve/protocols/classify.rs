//! `POST /classify`, as vLLM has it: `input` is a text or a list of texts, `probs` stand in the order of the
//! model's labels. A text that is a list of token ids, or a chat, is refused: the model's own tokenizer reads texts.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::app::App;
use super::super::body::{Request, read_json};
use super::super::endpoint::Endpoint;
use super::super::endpoints::predict::{server_timing, urgency};
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{Fields, RequestLimits, Sent, text_schema};
use super::super::served::Chosen;
use super::super::settings::Settings;
use super::{Asked, Told, ask, model_of, options};

/// Several classifications.
#[derive(Debug, Serialize, ToSchema)]
struct Classifications {
    /// Names this answer.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// When it was made, in seconds since 1970.
    created: u64,
    /// The model's name.
    model: String,
    /// One for each text, in their order.
    data: Vec<Classification>,
    /// Tokens.
    usage: Usage,
}

/// A classification. Fields of `/predict` beside these have the same names and meaning.
#[derive(Debug, Serialize, ToSchema)]
struct Classification {
    /// The place of its text.
    index: usize,
    /// The most probable label.
    label: String,
    /// The probability of each label, in the order of the model's labels.
    probs: Vec<f64>,
    /// How many labels there are.
    num_classes: usize,
    /// The probability of the label.
    confidence: f64,
    #[serde(flatten)]
    #[schema(ignore)]
    beside: Map<String, Value>,
}

/// Tokens of a request.
#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    /// That the model read.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
    /// None.
    completion_tokens: usize,
}

/// What is asked, and of which model.
struct Classify {
    asked: Asked,
    model: Option<String>,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let classify =
        Endpoint::post("/classify", post(classify), "Classify texts, in the form of vLLM");
    let classify = classify.reads("ClassifyRequest", schema(&settings.request));
    vec![classify.gives::<Classifications>(200).tag("protocols").of_model()]
}

async fn classify(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = urgency(&app, &headers)?;
    let Request { asked: Classify { asked, model }, share } =
        read_json(&app, &headers, body, read).await?;
    let chosen = app.models.chosen(chosen, model.as_deref())?;
    let (told, about, times) = ask(&app, &chosen, &asked, urgency).await?;
    drop(share);
    let tokens = told.iter().map(|told| told.0.num_tokens).sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let answer = Classifications {
        id: format!("classify-{}", Uuid::now_v7().simple()),
        object: "list",
        created: now.as_secs(),
        model: chosen.served.name.to_string(),
        data: told.iter().enumerate().map(classification).collect(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 },
    };
    Ok((server_timing(times), reply::json(&app, &headers, about, answer).await?).into_response())
}

fn classification((index, told): (usize, &Told)) -> Classification {
    let probs: Vec<f64> = told.probabilities().into_iter().map(|(_, share)| share).collect();
    Classification {
        index,
        label: told.0.label.clone(),
        num_classes: probs.len(),
        probs,
        confidence: told.0.confidence,
        beside: told.beside(),
    }
}

fn read(body: Value, limits: &RequestLimits) -> Result<Classify, Problem> {
    let mut fields = Fields::new(body)?;
    let classify = read_fields(&mut fields, limits);
    fields.finish()?;
    Ok(classify)
}

fn schema(limits: &RequestLimits) -> Value {
    let example = json!({ "input": ["A dull first act.", "The acting was superb."] });
    Fields::schema(|fields| drop(read_fields(fields, limits)), &example)
}

fn read_fields(fields: &mut Fields, limits: &RequestLimits) -> Classify {
    let model = model_of(fields, false);
    let sent = input(fields, limits);
    let user = || json!({ "type": ["string", "null"] });
    fields.value("user", false, "Left aside.", user);
    let null = Value::Null;
    let longest = "a text is cut at the model's own length; see `truncate`";
    fields.fixed("truncate_prompt_tokens", &[(-1).into(), null.clone()], longest);
    let calibrated = "probabilities are calibrated";
    fields.fixed("use_activation", &[true.into(), null.clone()], calibrated);
    let own = "the model's own tokenizer adds its special tokens";
    fields.fixed("add_special_tokens", &[true.into()], own);
    fields.fixed("priority", &[0.into()], "requests are answered in their order");
    let options = options(fields, limits);
    let place = |index: usize| vec!["input".into(), index.into()];
    Classify { asked: Asked { sent, options, field: "input", place }, model }
}

/// A text, or a list of texts.
fn input(fields: &mut Fields, limits: &RequestLimits) -> Vec<Sent> {
    let (chars, most) = (limits.chars, limits.batch);
    let schema = || {
        let text = text_schema(chars);
        json!({ "oneOf": [
            text, { "type": "array", "items": text, "minItems": 1, "maxItems": most },
        ] })
    };
    let place = || Value::from("input");
    let items = match fields.value("input", true, "A text, or a list of texts.", schema) {
        None => return Vec::new(),
        Some(Value::Array(items)) if items.len() > most => {
            let msg = format!("must have at most {most} items, got {}", items.len());
            fields.fault(&[place()], msg, "too_long");
            return Vec::new();
        }
        Some(Value::Array(items)) if items.is_empty() => {
            fields.fault(&[place()], "must contain at least one text", "too_short");
            return Vec::new();
        }
        Some(Value::Array(items)) => items,
        Some(one) => {
            let text = fields.checked(one, &[place()], chars);
            return text.map(|text| Sent { text: text.into(), pair: None }).into_iter().collect();
        }
    };
    let one = |(index, item)| fields.checked(item, &[place(), Value::from(index)], chars);
    let texts = items.into_iter().enumerate().filter_map(one);
    texts.map(|text| Sent { text: text.into(), pair: None }).collect()
}
