//! `POST /predict_stream`: one connection for as many texts as a client has.
//!
//! A line is a body of `/predict`; the line of the answer at its place is the prediction, or `{"error", "line"}`.
//! A few lines at a time are on their way. While their answers are not read, or the memory for bodies is used up,
//! no more is read, and the client waits: so a client has to read while it sends. Who goes away cancels what is on
//! its way. When the server stops, what was read is answered, and a last error names the first line that was not.

mod flow;
mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use self::flow::{Flow, Terms};
use self::lines::Lines;
use super::super::app::App;
use super::super::body::kind_of;
use super::super::encoding::Encoding;
use super::super::endpoint::Endpoint;
use super::super::forward::Leave;
use super::super::guard::client_of;
use super::super::life::Streams;
use super::super::observe::RequestId;
use super::super::problem::Problem;
use super::super::request;
use super::super::served::Chosen;
use super::super::settings::Settings;
use super::predict::urgency;

/// How a body of lines is called; the first is what we call it.
const KINDS: [&str; 6] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
    "application/json-lines",
];
/// Of so many connections one may be a stream: each keeps its place for as long as it likes.
const SHARE: usize = 4;

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let summary = "Classify any number of texts: a line of JSON for each, in and out";
    let timeout = json!({ "type": "integer", "minimum": 1, "maximum": 60_000 });
    let stream = Endpoint::post("/predict_stream", post(predict_stream), summary)
        .reads_as(KINDS[0], "PredictLine", line_schema(settings))
        .gives_text(KINDS[0])
        .of_model()
        .header("X-Request-Timeout-Ms", &timeout);
    vec![stream]
}

fn line_schema(settings: &Settings) -> Value {
    let mut schema = request::predict_schema(&settings.request);
    schema["description"] = "One line; the next one follows after a line feed.".into();
    schema
}

/// A place among the streams, and one of the requests that are being answered.
struct Place(Arc<App>);

impl Place {
    fn take(app: &Arc<App>) -> Result<Self, Problem> {
        let most = (app.settings.connections / SHARE).max(1);
        let free = |taken: usize| (taken < most).then_some(taken + 1);
        let taken: &AtomicUsize = &app.streams;
        let taken = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free);
        taken.map_err(|_| Problem::Overloaded(5))?;
        app.metrics.active.inc();
        Ok(Self(Arc::clone(app)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.active.dec();
    }
}

async fn predict_stream(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let urgency = urgency(&app, headers)?;
    if !kind_of(headers).is_some_and(|kind| KINDS.contains(&kind.as_str())) {
        return Err(Problem::UnsupportedMediaType(KINDS[0]));
    }
    let encoding = Encoding::of(headers)?;
    let place = Place::take(&app)?;
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let terms = Terms {
        client: client_of(&app, &request),
        timeout: urgency.deadline.map_or(app.settings.request_timeout, |end| end - urgency.came),
        cached: urgency.cached,
        again: urgency.leave == Leave::Again,
        id,
    };
    let waits = request.headers().contains_key(header::EXPECT);
    let mut lines = Lines::new(&app, request.into_body(), encoding)?;
    if waits {
        // The client sends nothing before it is told to, and what tells it is that somebody reads.
        lines.begin().await?;
    }
    let patience = app.settings.request_timeout.max(app.settings.header_timeout);
    let flow = Flow::new(app, chosen.way(), lines, terms, place);
    let mut response = Body::from_stream(flow.into_stream()).into_response();
    response.extensions_mut().insert(Streams(patience));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(KINDS[0]));
    // A proxy is to pass each line on, and not to collect them.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    Ok(response)
}
