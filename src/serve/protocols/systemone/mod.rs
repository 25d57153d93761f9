//! `POST /v1/systemone`: typed questions about one state, each answered with probabilities.
//!
//! The wire format is that of the clients `typesafe-sdk` (PyPI, 0.7) and `typesafe-jev` (crates.io, 0.2), which
//! several hosted and local engines share. A classifier knows one question, which of its labels a text has, so:
//!
//! | question | answer |
//! |---|---|
//! | `choice` | among the labels in `criteria`; some of them share the probability of all |
//! | `noul` | of a model with two labels: the probability of the one that means yes, see [`yes`] |
//! | `score`, `box` | refused |
//!
//! Instructions and descriptions are not read: what the labels mean was learned from labelled rows. Everything
//! else that `/predict` says rides along beside `answers`.

mod read;
mod schema;
mod yes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::read::{Decide, Question, read};
use self::schema::{response_schema, schema};
use self::yes::yes;
use super::super::app::App;
use super::super::body::{Request, read_json};
use super::super::endpoint::Endpoint;
use super::super::endpoints::predict::{server_timing, urgency};
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::fault;
use super::super::served::Chosen;
use super::super::settings::Settings;
use super::{Told, ask};

/// Labels that one fault lists.
const MOST_LISTED: usize = 256;
/// Bytes of an answer beside its names.
const ANSWER: usize = 128;
/// Bytes of the probability of an option beside its name.
const OPTION: usize = 32;

/// A decision.
#[derive(Serialize)]
struct Decision {
    model: String,
    answers: Map<String, Value>,
    usage: Usage,
    label: String,
    confidence: f64,
    probabilities: Map<String, Value>,
    #[serde(flatten)]
    beside: Map<String, Value>,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: usize,
    output_tokens: usize,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let summary = "Answer questions about one text, in the form of System One";
    let decide = Endpoint::post("/v1/systemone", post(systemone), summary).named("v1_systemone");
    let decide = decide.reads("SystemOneRequest", schema(&settings.request));
    vec![decide.gives_json("SystemOneResponse", response_schema()).tag("protocols").of_model()]
}

async fn systemone(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = urgency(&app, &headers)?;
    let Request { asked: Decide { asked, model, questions }, share } =
        read_json(&app, &headers, body, read).await?;
    let chosen = app.models.chosen(chosen, model.as_deref())?;
    let kinds = resolved(&questions, chosen.loaded.predictor.labels())?;
    let (mut told, about, times) = ask(&app, &chosen, &asked, urgency).await?;
    drop(share);
    let told = told.pop().ok_or(Problem::Internal)?;
    let own = questions.iter().map(|(name, question)| bytes(name, question)).sum::<usize>();
    let mut answers = Map::new();
    for ((name, _), kind) in questions.iter().zip(kinds) {
        answers.insert(name.clone(), answer(&told, kind).ok_or(Problem::Internal)?);
    }
    let decision = Decision {
        model: told.0.model.clone(),
        answers,
        usage: Usage { input_tokens: told.0.num_tokens, output_tokens: 0 },
        label: told.0.label.clone(),
        confidence: told.0.confidence,
        probabilities: told.0.probabilities.clone(),
        beside: told.beside(),
    };
    let about = about + own;
    Ok((server_timing(times), reply::json(&app, &headers, about, decision).await?).into_response())
}

fn bytes(name: &str, question: &Question) -> usize {
    let options = match question {
        Question::Choice(labels) => labels.iter().map(|label| label.len() + OPTION).sum(),
        Question::Noul(_) => 0,
    };
    name.len() + ANSWER + options
}

/// A question that this model answers.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// Among these labels.
    Choice(&'a [String]),
    /// The probability of this label.
    Noul(&'a str),
}

/// What each question asks of a model with these labels, or all that is wrong with them.
fn resolved<'a>(
    questions: &'a [(String, Question)],
    labels: &'a [String],
) -> Result<Vec<Kind<'a>>, Problem> {
    let known: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let mut faults = Vec::new();
    let mut kinds = Vec::with_capacity(questions.len());
    for (name, question) in questions {
        let place = |part: &str| ["questions".into(), name.as_str().into(), part.into()];
        match question {
            Question::Choice(options) => {
                let unknown = options.iter().find(|option| !known.contains(option.as_str()));
                if let Some(unknown) = unknown {
                    let unknown: String = unknown.chars().take(40).collect();
                    let listed = listed(labels);
                    let msg = format!("the model has no label `{unknown}`; it has {listed}");
                    faults.push(fault(&place("criteria"), msg, "unknown_label"));
                }
                kinds.push(Kind::Choice(options));
            }
            Question::Noul(noul) => match yes(noul, labels) {
                Ok(label) => kinds.push(Kind::Noul(label)),
                Err(msg) => faults.push(fault(&place("criteria"), msg, "noul_unclear")),
            },
        }
        if faults.len() == 8 {
            break;
        }
    }
    if faults.is_empty() { Ok(kinds) } else { Err(Problem::Validation(faults)) }
}

fn listed(labels: &[String]) -> String {
    let names = labels.iter().take(MOST_LISTED).map(|label| format!("`{label}`"));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = labels.len().saturating_sub(MOST_LISTED);
    if more == 0 { names } else { format!("{names} and {more} more, see `/info`") }
}

/// `None` if the prediction has no such label.
fn answer(told: &Told, kind: Kind<'_>) -> Option<Value> {
    let all = &told.0.probabilities;
    let share = |label: &str| all.get(label)?.as_f64();
    let options = match kind {
        Kind::Noul(label) => {
            return Some(json!({ "type": "noul", "noul": share(label)?, "label": label }));
        }
        Kind::Choice(options) => options,
    };
    let shares: Vec<f64> = options.iter().map(|label| share(label)).collect::<Option<_>>()?;
    let shares = if options.len() == all.len() { shares } else { renormalised(&shares) };
    // Of equal ones the first in the model's order, as for `label`.
    let place: HashMap<&str, usize> =
        options.iter().enumerate().map(|(place, label)| (label.as_str(), place)).collect();
    let ordered = all.keys().filter_map(|label| place.get(label.as_str()).copied());
    let best =
        ordered.reduce(|one, other| if shares[other] > shares[one] { other } else { one })?;
    let named = options.iter().cloned().zip(shares.iter().copied().map(Value::from));
    Some(json!({
        "type": "choice",
        "choice": options[best],
        "confidence": peaked(shares[best], shares.len()),
        "probabilities": named.collect::<Map<_, _>>(),
    }))
}

/// Shares of what these have together; equal ones, if that is nothing.
fn renormalised(shares: &[f64]) -> Vec<f64> {
    let sum: f64 = shares.iter().sum();
    let equal = 1.0 / shares.len() as f64;
    shares.iter().map(|share| if sum > 0.0 { share / sum } else { equal }).collect()
}

/// How far the largest of `count` shares is above equal ones: 0 for equal ones, 1 for certainty. The protocol's
/// own examples follow this formula.
fn peaked(largest: f64, count: usize) -> f64 {
    let equal = 1.0 / count as f64;
    if count < 2 { 1.0 } else { ((largest - equal) / (1.0 - equal)).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests;
