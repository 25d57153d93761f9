//! `POST /async_predict`, `GET /task_status/{task_id}`, `DELETE /task/{task_id}`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::app::{App, Phase};
use super::super::body::read_json;
use super::super::guard::KeyHash;
use super::super::jobs::Offer;
use super::super::jobs::record::Record;
use super::super::problem::{Fault, Problem};
use super::super::request::{self, Texts};
use crate::store::sha256;

const NO_TASK: &str = "there is no such task";

/// Characters of an idempotency key.
const MOST_KEY: usize = 255;

/// An accepted job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Names the job.
    task_id: String,
    /// `processing`, or what it has become if it was accepted before.
    status: &'static str,
    /// When it was accepted.
    created_at: String,
    /// When it is forgotten.
    expires_at: String,
}

/// How far a job is.
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
    /// When it is forgotten.
    expires_at: String,
}

/// Texts that are done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Progress {
    /// So many.
    done: usize,
    /// Of so many.
    total: usize,
}

fn rfc3339(milliseconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Takes a job: 202 once it is on disk.
pub async fn async_predict(
    State(app): State<Arc<App>>,
    key: Option<Extension<KeyHash>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if app.phase() == Phase::Draining {
        return Err(Problem::Draining);
    }
    let idempotency = idempotency_key(&headers, key.map(|Extension(KeyHash(hash))| hash))?;
    let body = read_json(&headers, body, app.settings.body).await?;
    let job = request::job(body, &app.settings.request)?;
    let field = if matches!(job.texts, Texts::One(_)) { "text_pair" } else { "text_pairs" };
    app.check_pairs(job.texts.all(), field)?;
    let offer = Offer {
        body: request::kept(&job),
        total: job.texts.all().len(),
        life: job.ttl_seconds.map_or(app.settings.job_ttl, Duration::from_secs),
        key: idempotency,
    };
    let (task_id, record) = blocking(move || app.jobs.accept(&offer)).await?;
    let location = format!("/task_status/{task_id}");
    let accepted = Accepted {
        task_id,
        status: record.status.on_the_wire(),
        created_at: rfc3339(record.created),
        expires_at: rfc3339(record.expires),
    };
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, "1".to_owned())];
    Ok((StatusCode::ACCEPTED, headers, Json(accepted)).into_response())
}

/// How far a job is.
pub async fn task_status(
    State(app): State<Arc<App>>,
    task_id: Result<Path<String>, PathRejection>,
) -> Result<Json<TaskStatus>, Problem> {
    status(app, known(task_id)?).await
}

/// Cancels a job; one that has ended stays what it is.
pub async fn cancel(
    State(app): State<Arc<App>>,
    task_id: Result<Path<String>, PathRejection>,
) -> Result<Json<TaskStatus>, Problem> {
    let task_id = known(task_id)?;
    let (jobs, id) = (Arc::clone(&app), task_id.clone());
    blocking(move || jobs.jobs.cancel(&id)).await?;
    status(app, task_id).await
}

/// An id that is no text names no task.
fn known(task_id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    task_id.map(|Path(id)| id).map_err(|_| Problem::NotFound(NO_TASK))
}

async fn status(app: Arc<App>, task_id: String) -> Result<Json<TaskStatus>, Problem> {
    let id = task_id.clone();
    let found = blocking(move || app.jobs.find(&id)).await?;
    let (record, result, done) = found.ok_or(Problem::NotFound(NO_TASK))?;
    let Record { status, created, started, finished, expires, total, error, .. } = record;
    Ok(Json(TaskStatus {
        task_id,
        status: status.on_the_wire(),
        progress: Progress { done, total },
        result,
        error,
        created_at: rfc3339(created),
        started_at: started.map(rfc3339),
        finished_at: finished.map(rfc3339),
        expires_at: rfc3339(expires),
    }))
}

/// The disk is waited for on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::Internal))
}

/// Clients with keys of their own cannot meet each other's jobs.
fn idempotency_key(headers: &HeaderMap, client: Option<[u8; 32]>) -> Result<Option<String>, Problem> {
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
    Ok(Some(sha256(format!("{client:?} {key}").as_bytes())))
}
