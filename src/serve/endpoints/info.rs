//! `GET /info`: what is served, what it was measured to be worth, and what may be asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::app::App;
use super::super::endpoint::{Access, Endpoint};
use crate::posterior::OwnDoubt;
use crate::predict::Predictor;

/// The model and the limits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    /// Its name.
    model: String,
    /// A hash of everything that changes its predictions.
    model_version: String,
    /// How its posterior was made.
    method: &'static str,
    /// Its labels.
    labels: Vec<String>,
    /// The most tokens that it reads.
    max_tokens: usize,
    /// `cpu` or `cuda`.
    device: &'static str,
    /// The version of this server.
    version: &'static str,
    /// What may be asked.
    limits: InfoLimits,
    /// What was fitted on held-out rows.
    calibration: InfoCalibration,
    /// The report on the test part, where there is one.
    #[schema(value_type = Option<Object>)]
    test: Option<Value>,
}

/// What may be asked.
#[derive(Debug, Serialize, ToSchema)]
struct InfoLimits {
    /// Characters a text.
    max_chars: usize,
    /// Texts a batch.
    max_client_batch_size: usize,
    /// Texts a job.
    max_job_items: usize,
    /// Passes a text.
    max_samples: usize,
    /// Bytes a body.
    max_body_bytes: usize,
    /// Whether an API key is asked for.
    api_key: bool,
}

/// What was fitted on held-out rows.
#[derive(Debug, Serialize, ToSchema)]
struct InfoCalibration {
    /// Logits are divided by it.
    temperature: f64,
    /// The variance of the logits is multiplied by it.
    scale: f64,
    /// Whether answers say how much of their uncertainty is the model's own: `known`, `left_out` (the
    /// variance helped no held-out row and is not used), `absent` (there is no posterior).
    #[schema(value_type = String, examples("known"))]
    epistemic: OwnDoubt,
    /// Rows behind the prediction sets, of all classes together.
    prediction_set_rows: Option<usize>,
    /// What novelty is measured by.
    novelty: Option<&'static str>,
    /// The least confidence of an answer that is accepted; `null` where none is too low.
    min_confidence: Option<f64>,
    /// At most this share of the answers of that confidence, or of all answers where it is `null`, is
    /// wrong, as held-out rows have proved (95 % sure).
    target_risk: Option<f64>,
}

/// The endpoint.
pub fn endpoints() -> Vec<Endpoint> {
    let summary = "The model, its calibration and the limits";
    let info = Endpoint::get("/info", get(info), summary).access(Access::Key).gives::<Info>(200);
    vec![info.refuses(&[400, 401, 403, 421, 429, 500, 503])]
}

/// Describes the model.
async fn info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(describe(&app, &app.model.current().predictor))
}

fn describe(app: &App, predictor: &Predictor) -> Info {
    let artifact = predictor.artifact();
    let (manifest, calibration) = (&artifact.manifest, &artifact.calibration);
    let request = app.settings.request;
    Info {
        model: manifest.name.clone(),
        model_version: predictor.version().to_owned(),
        method: manifest.method.name(),
        labels: predictor.labels().to_vec(),
        max_tokens: manifest.preprocessing.max_length,
        device: app.model.device(),
        version: env!("CARGO_PKG_VERSION"),
        limits: InfoLimits {
            max_chars: request.chars,
            max_client_batch_size: request.batch,
            max_job_items: request.job,
            max_samples: request.samples,
            max_body_bytes: app.settings.body.bytes,
            api_key: app.keys().required(),
        },
        calibration: InfoCalibration {
            temperature: artifact.uncertainty.scaling.temperature,
            scale: artifact.uncertainty.scaling.scale,
            epistemic: artifact.uncertainty.own_doubt(),
            prediction_set_rows: calibration.conformal.as_ref().map(|conformal| conformal.rows()),
            novelty: calibration.novelty.as_ref().map(|novelty| novelty.score.name()),
            min_confidence: calibration.limits.and_then(|limits| limits.min_confidence),
            target_risk: calibration.risk,
        },
        test: manifest.test.as_ref().and_then(|test| serde_json::to_value(test).ok()),
    }
}
