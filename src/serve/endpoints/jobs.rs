//! `POST /async_predict`, `GET /task_status/{task_id}`, `DELETE /task/{task_id}`.

use std::io::{Cursor, Read};
use std::iter::once;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use flate2::read::GzDecoder;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::amount;
use super::super::app::{App, Phase};
use super::super::body::{Request, read_json};
use super::super::endpoint::{Access, Endpoint};
use super::super::guard::KeyHash;
use super::super::jobs::record::Record;
use super::super::jobs::{Offer, Promise};
use super::super::problem::{Fault, Problem};
use super::super::request::{self, Texts};
use super::super::served::Chosen;
use super::super::settings::Settings;
use crate::store::sha256;

const NO_TASK: &str = "no task with this id";
/// How a status says that there is no result.
const NO_RESULT: &str = "\"result\":null";
/// Bytes of a result that are unpacked at once.
const PIECE: usize = 16 * 1024;
/// How many times smaller a result becomes in the file, at least.
const PACKS: usize = 2;

/// Characters of an idempotency key.
const MOST_KEY: usize = 255;

/// An accepted job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Names the job.
    task_id: String,
    /// `processing`, or the current status if the job was accepted before.
    status: &'static str,
    /// When it was accepted.
    created_at: String,
    /// When the job will be deleted.
    expires_at: String,
    /// What survives a loss of power.
    durability: Promise,
}

/// The progress of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskStatus {
    /// Names the job.
    task_id: String,
    /// `processing`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    /// Texts.
    progress: Progress,
    /// A prediction or a batch, once completed.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// The problem, if failed.
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
    /// When it was accepted.
    created_at: String,
    /// When it last began.
    started_at: Option<String>,
    /// When it ended.
    finished_at: Option<String>,
    /// When the job will be deleted.
    expires_at: String,
}

/// Progress.
#[derive(Debug, Serialize, ToSchema)]
pub struct Progress {
    /// Number of texts done.
    done: usize,
    /// Total number of texts.
    total: usize,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let key = json!({
        "type": "string", "minLength": 1, "maxLength": MOST_KEY, "pattern": "^[!-~]+$",
    });
    let one = |endpoint: Endpoint| {
        endpoint
            .tag("jobs")
            .access(Access::Key)
            .path_part("task_id", "t_01997b3e6c0f7c3e9f7d2a4b5c6d7e8f")
            .gives::<TaskStatus>(200)
            .refuses(&[400, 401, 403, 404, 421, 429, 500, 503])
    };
    vec![
        Endpoint::post("/async_predict", post(async_predict), "Submit a job that survives a crash")
            .tag("jobs")
            .of_model()
            .reads("JobRequest", request::job_schema(&settings.request))
            .gives::<Accepted>(202)
            .header("Idempotency-Key", &key)
            .refuses(&[400, 401, 403, 408, 409, 413, 415, 421, 422, 429, 500, 503, 507]),
        one(Endpoint::get("/task_status/{task_id}", get(task_status), "Get the progress of a job")),
        one(Endpoint::delete(
            "/task/{task_id}",
            delete(cancel),
            "Cancel a job; a finished job is not affected",
        ))
        .named("cancel_task"),
    ]
}

fn rfc3339(milliseconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Takes a job: 202 once it is on disk.
async fn async_predict(
    State(app): State<Arc<App>>,
    chosen: Chosen,
    key: Option<Extension<KeyHash>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if app.phase() == Phase::Draining {
        return Err(Problem::Draining);
    }
    let owner = owner(key);
    let idempotency = idempotency_key(&headers, owner.as_deref())?;
    let Request { asked: mut job, share } = read_json(&app, &headers, body, request::job).await?;
    let field = if matches!(job.texts, Texts::One(_)) { "text_pair" } else { "text_pairs" };
    let chosen = app.models.chosen(chosen, job.options.model.as_deref())?;
    let model = &chosen.loaded;
    app.check_able(model, job.texts.all(), field, &job.options)?;
    // The model that does the job is the one that it was accepted for, whatever else is served by then.
    job.options.model = Some(chosen.served.name.to_string());
    let (texts, options) = (job.texts.all(), &job.options);
    amount::check_answer(model, texts, options, amount::MOST_RESULT)?;
    amount::check_cost(model, texts, app.sampling(model, options), app.settings.job_cost)?;
    let more =
        app.forward.as_ref().map_or(0, |_| amount::forwarded_bytes(model, texts.len(), options));
    let offer = Offer {
        body: request::kept(&job),
        owner,
        promised: ((amount::answer_bytes(model, texts, options) + more) / PACKS) as u64,
        total: job.texts.all().len(),
        life: job.ttl_seconds.map_or(app.settings.job_ttl, Duration::from_secs),
        key: idempotency,
    };
    let (task_id, record) = app.jobs.accept(offer, share).await?;
    let location = format!("/task_status/{task_id}");
    let accepted = Accepted {
        task_id,
        status: record.status.on_the_wire(),
        created_at: rfc3339(record.created),
        expires_at: rfc3339(record.expires),
        durability: app.jobs.promise(),
    };
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, "1".to_owned())];
    Ok((StatusCode::ACCEPTED, headers, Json(accepted)).into_response())
}

/// How far a job is.
async fn task_status(
    State(app): State<Arc<App>>,
    key: Option<Extension<KeyHash>>,
    task_id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    status(&app, owner(key), known(task_id)?).await
}

/// Cancels a job; one that has ended stays what it is.
async fn cancel(
    State(app): State<Arc<App>>,
    key: Option<Extension<KeyHash>>,
    task_id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let (task_id, owner) = (known(task_id)?, owner(key));
    app.jobs.cancel(task_id.clone(), owner.clone()).await?;
    status(&app, owner, task_id).await
}

/// An id that is no text names no task.
fn known(task_id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    task_id.map(|Path(id)| id).map_err(|_| Problem::NotFound(NO_TASK))
}

async fn status(app: &App, owner: Option<String>, id: String) -> Result<Response, Problem> {
    let task_id = id.clone();
    let found = app.jobs.find(id, owner, &app.budget).await?.ok_or(Problem::NotFound(NO_TASK))?;
    let Record { status, created, started, finished, expires, total, error, .. } = found.record;
    let status = TaskStatus {
        task_id,
        status: status.on_the_wire(),
        progress: Progress { done: found.done, total },
        result: None,
        error,
        created_at: rfc3339(created),
        started_at: started.map(rfc3339),
        finished_at: finished.map(rfc3339),
        expires_at: rfc3339(expires),
    };
    let Some(result) = found.result else { return Ok(Json(status).into_response()) };
    let text = serde_json::to_string(&status).map_err(|_| Problem::Internal)?;
    // Nothing before it is a client's text.
    let place = text.find(NO_RESULT).ok_or(Problem::Internal)? + NO_RESULT.len();
    let (before, after) = (&text[..place - "null".len()], &text[place..]);
    let (before, after) = (Bytes::from(before.to_owned()), Bytes::from(after.to_owned()));
    let pieces = once(Ok(before)).chain(unpacked(result)).chain(once(Ok(after)));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A result, piece by piece: it is never in memory as a whole.
fn unpacked(result: Bytes) -> impl Iterator<Item = std::io::Result<Bytes>> {
    let mut decoder = GzDecoder::new(Cursor::new(result));
    std::iter::from_fn(move || {
        let mut piece = vec![0; PIECE];
        let mut length = 0;
        while length < PIECE {
            match decoder.read(&mut piece[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) => return Some(Err(error)),
            }
        }
        piece.truncate(length);
        (length > 0).then(|| Ok(piece.into()))
    })
}

/// Whose jobs a request may see.
fn owner(key: Option<Extension<KeyHash>>) -> Option<String> {
    key.map(|Extension(KeyHash(hash))| sha256(&hash))
}

/// Clients with keys of their own cannot meet each other's jobs.
fn idempotency_key(headers: &HeaderMap, owner: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| {
        (1..=MOST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let Some(key) = value.to_str().ok().filter(fits) else {
        return Err(Problem::Validation(vec![Fault {
            loc: vec!["header".into(), "Idempotency-Key".into()],
            msg: format!("must have 1 to {MOST_KEY} visible ASCII characters"),
            kind: "string_range",
        }]));
    };
    Ok(Some(sha256(format!("{owner:?} {key}").as_bytes())))
}
