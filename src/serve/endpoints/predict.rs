//! `POST /predict`, `/predict_cached` and `/batch_predict`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::super::amount;
use super::super::answer::{Times, Urgency};
use super::super::app::{App, Phase};
use super::super::body::{Request, read_json};
use super::super::endpoint::Endpoint;
use super::super::forward::Leave;
use super::super::observe::RequestId;
use super::super::problem::{self, Fault, Problem};
use super::super::reply;
use super::super::request::{self, Options, Sent};
use super::super::scheduler::Class;
use super::super::served::Chosen;
use super::super::settings::Settings;
use crate::predict::PredictionObject;

/// The most time that a client may ask for.
const MOST_MILLISECONDS: u64 = 60_000;

/// Several predictions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Batch {
    /// One for each text, in their order.
    pub predictions: Vec<Item>,
    /// How many.
    pub count: usize,
    /// How many of them failed.
    pub errors: usize,
    /// Time from the arrival of the request to this response, in milliseconds.
    pub processing_time_ms: f64,
}

/// A prediction, or the reason why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Item {
    /// The prediction.
    Prediction(Box<PredictionObject>),
    /// The problem.
    Failed {
        /// The problem, in the same form as for a single request.
        error: problem::Body,
    },
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let limits = &settings.request;
    let timeout = json!({ "type": "integer", "minimum": 1, "maximum": MOST_MILLISECONDS });
    let all = [
        Endpoint::post("/predict", post(predict), "Classify one text, with uncertainty")
            .reads("PredictRequest", request::predict_schema(limits))
            .gives::<PredictionObject>(200),
        Endpoint::post(
            "/predict_cached",
            post(predict_cached),
            "Same as /predict, but responses are cached by default",
        )
        .reads("PredictRequest", request::predict_schema(limits))
        .gives::<PredictionObject>(200),
        Endpoint::post(
            "/batch_predict",
            post(batch_predict),
            "Classify several texts in one request",
        )
        .reads("BatchRequest", request::batch_schema(limits))
        .gives::<Batch>(200),
    ];
    all.map(|endpoint| endpoint.of_model().header("X-Request-Timeout-Ms", &timeout)).into()
}

async fn predict(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = urgency(&app, &headers)?;
    let Request { asked: (sent, options), share } =
        read_json(&app, &headers, body, request::predict).await?;
    let chosen = app.models.chosen(chosen, options.model.as_deref())?;
    let one = std::slice::from_ref(&sent);
    app.check_able(&chosen.loaded, one, "text_pair", &options)?;
    let about = about(&app, &chosen, one, &options)?;
    let (object, times) = app.answer(&chosen, &sent, &options, urgency).await?;
    drop(share);
    Ok((server_timing(times), reply::json(&app, &headers, about, object).await?).into_response())
}

/// The same: answers are kept by default.
async fn predict_cached(
    state: State<Arc<App>>,
    chosen: Chosen,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    predict(state, chosen, headers, body).await
}

async fn batch_predict(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    Extension(RequestId(id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = urgency(&app, &headers)?;
    let Request { asked: (texts, options), share } =
        read_json(&app, &headers, body, request::batch).await?;
    let chosen = app.models.chosen(chosen, options.model.as_deref())?;
    app.check_able(&chosen.loaded, &texts, "text_pairs", &options)?;
    let about = about(&app, &chosen, &texts, &options)?;
    let (batch, times) = answer_all(&app, &chosen, &texts, &options, urgency, &id).await?;
    drop(share);
    Ok((server_timing(times), reply::json(&app, &headers, about, batch).await?).into_response())
}

/// Bytes of the answer, unless they would be too many.
pub fn about(
    app: &App,
    chosen: &Chosen,
    texts: &[Sent],
    options: &Options,
) -> Result<usize, Problem> {
    let model = &chosen.loaded;
    amount::check_answer(model, texts, options, amount::MOST_ANSWER)?;
    let more =
        app.forward.as_ref().map_or(0, |_| amount::forwarded_bytes(model, texts.len(), options));
    Ok(amount::answer_bytes(model, texts, options) + more)
}

/// All texts at once. A text whose output is no number fails alone; any other problem is one of all, and
/// ends the work on the others.
pub async fn answer_all(
    app: &App,
    chosen: &Chosen,
    texts: &[Sent],
    options: &Options,
    urgency: Urgency<'_>,
    id: &str,
) -> Result<(Batch, Times), Problem> {
    let place = |index: usize| vec!["texts".into(), index.into()];
    let (answers, times) = each(app, chosen, texts, options, urgency, place).await?;
    let errors = answers.iter().filter(|answer| answer.is_err()).count();
    let item = |answer| match answer {
        Ok(object) => Item::Prediction(Box::new(object)),
        Err(problem) => Item::Failed { error: Problem::body(&problem, id) },
    };
    let predictions: Vec<Item> = answers.into_iter().map(item).collect();
    let processing_time_ms = urgency.came.elapsed().as_secs_f64() * 1e3;
    Ok((Batch { count: predictions.len(), predictions, errors, processing_time_ms }, times))
}

/// The answer to each of several texts, or why its output is no number, and the longest of their times. `place`
/// says where a text stands in the body.
pub async fn each(
    app: &App,
    chosen: &Chosen,
    texts: &[Sent],
    options: &Options,
    urgency: Urgency<'_>,
    place: impl Fn(usize) -> Vec<Value>,
) -> Result<(Vec<Result<PredictionObject, Problem>>, Times), Problem> {
    let place = &place;
    let answer =
        async |index: usize, text: &Sent| match app.answer(chosen, text, options, urgency).await {
            Err(problem @ Problem::ModelOutput) => Ok(Err(problem)),
            Err(Problem::TextTooLong(faults)) => {
                Err(Problem::TextTooLong(moved(faults, &place(index))))
            }
            answer => answer.map(Ok),
        };
    let answers = texts.iter().enumerate().map(|(index, text)| answer(index, text));
    let mut all = Times::default();
    let mut longest = |(object, times): (PredictionObject, Times)| {
        all.tokenize = all.tokenize.max(times.tokenize);
        all.queue = all.queue.max(times.queue);
        all.inference = all.inference.max(times.inference);
        object
    };
    let answers = try_join_all(answers).await?.into_iter();
    let answers = answers.map(|answer| answer.map(&mut longest)).collect();
    Ok((answers, all))
}

/// Faults of `text` become those of another place.
fn moved(faults: Vec<Fault>, place: &[Value]) -> Vec<Fault> {
    faults.into_iter().map(|fault| request::fault(place, fault.msg, fault.kind)).collect()
}

/// How long there is for an answer, and whether one from before will do.
pub fn urgency<'a>(app: &App, headers: &'a HeaderMap) -> Result<Urgency<'a>, Problem> {
    if app.phase() == Phase::Draining {
        return Err(Problem::Draining);
    }
    let came = Instant::now();
    let timeout = match headers.get("x-request-timeout-ms") {
        None => app.settings.request_timeout,
        Some(value) => {
            let milliseconds = value.to_str().ok().and_then(|value| value.parse().ok());
            let fits = |ms: &u64| (1..=MOST_MILLISECONDS).contains(ms);
            Duration::from_millis(milliseconds.filter(fits).ok_or_else(|| {
                Problem::Validation(vec![Fault {
                    loc: vec!["header".into(), "X-Request-Timeout-Ms".into()],
                    msg: format!("must be a whole number from 1 to {MOST_MILLISECONDS}"),
                    kind: "int_range",
                }])
            })?)
        }
    };
    let control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let cached = !control.is_some_and(|control| control.contains("no-cache"));
    let (class, leave) = (Class::Interactive, Leave::of(headers));
    Ok(Urgency { class, came, deadline: Some(came + timeout), cached, leave })
}

pub fn server_timing(times: Times) -> [(HeaderName, HeaderValue); 1] {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let Times { tokenize, queue, inference } = times;
    let (tokenize, queue, inference) = (ms(tokenize), ms(queue), ms(inference));
    let value = format!("tok;dur={tokenize:.2}, queue;dur={queue:.2}, infer;dur={inference:.2}");
    let value = HeaderValue::from_str(&value).expect("digits and ASCII");
    [(HeaderName::from_static("server-timing"), value)]
}
