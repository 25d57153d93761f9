//! Protocols that clients already speak: how each asks, and how each is told.
//!
//! A protocol reads texts and options from its own body and is answered through one conversion, [`Told`], from
//! the object that `/predict` gives. `docs/protocols.md` says which fields become which.

mod classify;
mod invocations;
mod models;
pub mod open_inference;
mod systemone;

use serde_json::{Map, Value};

use super::answer::{Times, Urgency};
use super::app::App;
use super::endpoint::Endpoint;
use super::endpoints::predict;
use super::problem::Problem;
use super::request::{Fields, Options, RequestLimits, Sent};
use super::served::Chosen;
use super::settings::Settings;
use crate::predict::PredictionObject;

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let each = [
        open_inference::endpoints(settings),
        invocations::endpoints(settings),
        classify::endpoints(settings),
        systemone::endpoints(settings),
        models::endpoints(),
    ];
    each.into_iter().flatten().collect()
}

/// What a protocol asks.
pub struct Asked {
    pub sent: Vec<Sent>,
    /// What is asked of each.
    pub options: Options,
    /// The field of the body where the texts stand.
    pub field: &'static str,
    /// The place of one of them.
    pub place: fn(usize) -> Vec<Value>,
}

/// Fields of `/predict` that every protocol has a place of its own for.
const TOLD: [&str; 9] = [
    "text",
    "text_pair",
    "label",
    "sentiment",
    "confidence",
    "probabilities",
    "samples",
    "logits",
    "model",
];

/// A prediction as all protocols tell it.
pub struct Told(pub PredictionObject);

impl Told {
    /// By label, in the model's order.
    pub fn probabilities(&self) -> Vec<(&str, f64)> {
        let all = self.0.probabilities.iter();
        all.map(|(label, value)| (label.as_str(), value.as_f64().unwrap_or_default())).collect()
    }

    /// The most probable first; equal ones in the model's order.
    pub fn ranked(&self) -> Vec<(&str, f64)> {
        let mut ranked = self.probabilities();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
        ranked
    }

    /// Whatever a protocol has no place for, under the names of `/predict`.
    pub fn beside(&self) -> Map<String, Value> {
        let mut fields = match serde_json::to_value(&self.0) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.retain(|name, _| !TOLD.contains(&name.as_str()));
        fields
    }
}

/// The answers to all texts, the bytes that they will have about, and the longest of their times. A text that
/// has none fails the request: these protocols have no place for a problem of one text.
async fn ask(
    app: &App,
    chosen: &Chosen,
    asked: &Asked,
    urgency: Urgency<'_>,
) -> Result<(Vec<Told>, usize, Times), Problem> {
    app.check_able(&chosen.loaded, &asked.sent, asked.field, &asked.options)?;
    let about = predict::about(app, chosen, &asked.sent, &asked.options)?;
    let each =
        predict::each(app, chosen, &asked.sent, &asked.options, urgency, asked.place).await?;
    let (answers, times) = each;
    let told = answers.into_iter().map(|answer| answer.map(Told)).collect::<Result<_, _>>()?;
    Ok((told, about, times))
}

/// What a protocol without options of ours asks of each text.
fn plain() -> Options {
    Options { return_text: false, ..Options::default() }
}

/// Options that a body may have beside the fields of a protocol.
fn options(fields: &mut Fields, limits: &RequestLimits) -> Options {
    use super::request::{coverage, limits_of, num_samples, seed, truncate};
    Options {
        num_samples: num_samples(fields, limits),
        seed: seed(fields),
        coverage: coverage(fields),
        abstain: limits_of(fields),
        truncate: truncate(fields),
        ..plain()
    }
}

/// The name of a model, as a body has it.
fn model_of(fields: &mut Fields, required: bool) -> Option<String> {
    let about = "The name of the model, as `/v1/models` has it.";
    let schema = || serde_json::json!({ "type": "string" });
    match fields.value("model", required, about, schema)? {
        Value::String(name) => Some(name),
        Value::Null if !required => None,
        _ => {
            fields.fault(&["model".into()], "must be a string", "string_type");
            None
        }
    }
}
