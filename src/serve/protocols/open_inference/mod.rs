//! The Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it.
//!
//! Of the specification (github.com/kserve/open-inference-protocol, `inference_rest.md`) all REST calls are here.
//! Inputs may come as JSON or by the binary tensor data extension, which `tritonclient` uses by default; outputs
//! are JSON. A call that fails has the status 400 where others have 422, and the specification's `error`.

mod infer;
mod tensors;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::infer::{Infer, read};
use self::tensors::{InferResponse, TensorKind, offered, outputs, written};
use super::super::answer::Urgency;
use super::super::app::App;
use super::super::body::{Request, read_bytes};
use super::super::endpoint::{Access, Endpoint};
use super::super::endpoints::health;
use super::super::endpoints::predict::{server_timing, urgency};
use super::super::forward::Leave;
use super::super::problem::Problem;
use super::super::reply;
use super::super::served::{Chosen, NO_MODEL};
use super::super::settings::Settings;
use super::ask;
use crate::predict::Pairs;

/// Problems of an inference.
const OF_INFER: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 421, 429, 500, 503, 504];
/// Problems of a call that only reads.
const OF_READS: &[u16] = &[400, 401, 403, 404, 421, 429, 500, 503];

/// The server.
#[derive(Debug, Serialize, ToSchema)]
struct ServerMetadata {
    /// `bayes`.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Extensions of the protocol: binary tensor data, of inputs.
    extensions: [&'static str; 1],
}

/// The model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelMetadata {
    /// Its name.
    name: String,
    /// The version in service.
    versions: [String; 1],
    /// What runs it.
    platform: &'static str,
    /// What it reads.
    inputs: Vec<TensorKind>,
    /// What it gives.
    outputs: Vec<TensorKind>,
    /// What the columns mean.
    parameters: ModelParameters,
}

/// What the columns of the outputs mean.
#[derive(Debug, Serialize, ToSchema)]
struct ModelParameters {
    /// The label of each column of `probabilities` and `prediction_set`.
    labels: Vec<String>,
}

/// Whether the model answers.
#[derive(Debug, Serialize, ToSchema)]
struct ModelReady {
    /// Its name.
    name: String,
    /// Whether it does.
    ready: bool,
}

/// Whether the server is there.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    /// It is.
    live: bool,
}

/// Whether to send requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether to.
    pub ready: bool,
}

/// Which model a path names.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    #[serde(default)]
    version: Option<String>,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let one = |endpoint: Endpoint, id: &'static str| {
        let endpoint = endpoint.named(id).path_part("model", "tickets");
        match endpoint.path.contains("{version}") {
            true => endpoint.path_part("version", "sha256:ab12"),
            false => endpoint,
        }
    };
    let reads = |path, route: MethodRouter<Arc<App>>, about| {
        Endpoint::get(path, route, about).access(Access::Key).refuses(OF_READS)
    };
    let about = "Metadata of the model: inputs, outputs and labels";
    let metadata = |path, id| one(reads(path, get(model), about), id).gives::<ModelMetadata>(200);
    let ready = |path, id| {
        let about = "Whether the model answers";
        one(reads(path, get(model_ready), about), id).gives::<ModelReady>(200).may_be_unready()
    };
    let infer = |path, id| {
        let about = "Classify texts, with tensors";
        one(Endpoint::post(path, post(infer), about), id)
            .reads("InferRequest", infer::schema(&settings.request))
            .gives::<InferResponse>(200)
            .refuses(OF_INFER)
    };
    let server = "Metadata of the server";
    let all = vec![
        reads("/v2", get(self::server), server).gives::<ServerMetadata>(200),
        reads("/v2/", get(self::server), server).named("v2_root").gives::<ServerMetadata>(200),
        Endpoint::get("/v2/health/live", get(live), "Whether the process is alive")
            .named("v2_live")
            .gives::<Live>(200),
        Endpoint::get("/v2/health/ready", get(health_ready), "Whether to send requests")
            .named("v2_ready")
            .gives::<Ready>(200)
            .may_be_unready(),
        metadata("/v2/models/{model}", "v2_model"),
        metadata("/v2/models/{model}/versions/{version}", "v2_version"),
        ready("/v2/models/{model}/ready", "v2_model_ready"),
        ready("/v2/models/{model}/versions/{version}/ready", "v2_version_ready"),
        infer("/v2/models/{model}/infer", "v2_infer"),
        infer("/v2/models/{model}/versions/{version}/infer", "v2_version_infer"),
    ];
    let error = json!({
        "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } },
    });
    let tagged = |endpoint: Endpoint| {
        endpoint.tag("protocols").fails_with("application/json", "InferError", error.clone())
    };
    all.into_iter().map(tagged).collect()
}

/// Whether a path is one of this protocol, whose errors have another form.
pub fn speaks(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// The status of a problem in this protocol, which knows 400 for all that is wrong with a request.
pub fn status(status: StatusCode) -> StatusCode {
    if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status }
}

async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: "bayes",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data"],
    })
}

pub async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn health_ready(State(app): State<Arc<App>>) -> Response {
    let ready = health::unready(&app).is_none();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Ready { ready })).into_response()
}

async fn model(
    State(app): State<Arc<App>>,
    named: Result<Path<Named>, PathRejection>,
) -> Result<Json<ModelMetadata>, Problem> {
    let (Chosen { served, loaded: model, .. }, _) = find(&app, named)?;
    let text = |name| TensorKind { name, datatype: "BYTES", shape: vec![-1] };
    let inputs = match model.predictor.pairs() {
        Pairs::Never | Pairs::NoSegment { .. } => vec![text("text")],
        Pairs::Always | Pairs::Either => vec![text("text"), text("text_pair")],
    };
    Ok(Json(ModelMetadata {
        name: served.name.to_string(),
        versions: [model.predictor.version().to_owned()],
        platform: "bayes",
        inputs,
        outputs: offered(&app, &model),
        parameters: ModelParameters { labels: model.predictor.labels().to_vec() },
    }))
}

async fn model_ready(
    State(app): State<Arc<App>>,
    named: Result<Path<Named>, PathRejection>,
) -> Result<Response, Problem> {
    let (chosen, _) = find(&app, named)?;
    let name = chosen.served.name.to_string();
    let ready = health::unready(&app).is_none();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(ModelReady { name, ready })).into_response())
}

async fn infer(
    State(app): State<Arc<App>>,
    named: Result<Path<Named>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let urgency = Urgency { leave: Leave::Untold, ..urgency(&app, &headers)? };
    let (chosen, version) = find(&app, named)?;
    let model = &chosen.loaded;
    let head = infer::head(&headers)?;
    let Request { asked: Infer { id, asked, wanted }, share } =
        read_bytes(&app, &headers, body, move |bytes, limits| read(bytes, head, limits)).await?;
    let offered = outputs(&offered(&app, model), wanted.as_deref())?;
    let (told, about, times) = ask(&app, &chosen, &asked, urgency).await?;
    drop(share);
    let version = version.as_deref().unwrap_or(model.predictor.version());
    let response = InferResponse {
        model_name: chosen.served.name.to_string(),
        model_version: version.to_owned(),
        id,
        outputs: written(&told, &offered, wanted.is_some())?,
    };
    Ok((server_timing(times), reply::json(&app, &headers, about, response).await?).into_response())
}

/// The model that a path names, and the version that it has to have.
fn find(
    app: &App,
    named: Result<Path<Named>, PathRejection>,
) -> Result<(Chosen, Option<String>), Problem> {
    let Path(Named { model, version }) = named.map_err(|_| Problem::NotFound(NO_MODEL))?;
    let chosen = app.models.find(&model).ok_or(Problem::NotFound(NO_MODEL))?;
    let own = chosen.loaded.predictor.version();
    let is_it = version.as_deref().is_none_or(|version| version == own);
    if is_it { Ok((chosen, version)) } else { Err(Problem::NotFound(NO_MODEL)) }
}
