//! `POST /feedback`: the true label of a prediction.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::app::{App, Phase};
use super::super::body::{Request, read_json};
use super::super::endpoint::Endpoint;
use super::super::feedback::Accepted;
use super::super::problem::Problem;
use super::super::request;
use super::super::settings::Settings;

/// A label that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    /// The prediction.
    prediction_id: String,
    /// Its label.
    label: String,
    /// Whether the prediction was right.
    correct: bool,
    /// Whether the label counts: `false` if the same one was accepted before.
    counted: bool,
}

pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let summary = "Tell the true label of a prediction";
    let own = Endpoint::post("/feedback", post(feedback), summary)
        .reads("FeedbackRequest", request::feedback_schema(&settings.request))
        .gives::<Acknowledged>(202)
        .refuses(&[400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 429, 500, 503, 507]);
    vec![own]
}

async fn feedback(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if app.phase() == Phase::Draining {
        return Err(Problem::Draining);
    }
    let Request { asked: told, share } = read_json(&app, &headers, body, request::feedback).await?;
    let (prediction_id, label) = (told.prediction_id.clone(), told.label.clone());
    let take = async move {
        let Accepted { chosen, correct, is_new } = app.feedback.take(&app.models, told).await?;
        drop(share);
        if is_new {
            app.metrics.told(&chosen.served.name, correct);
        }
        Ok((correct, is_new))
    };
    // A label that is kept is counted, though its client leaves meanwhile: the next time it is known.
    let (correct, counted) = tokio::spawn(take).await.unwrap_or(Err(Problem::Internal))?;
    let answer = Acknowledged { prediction_id, label, correct, counted };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
