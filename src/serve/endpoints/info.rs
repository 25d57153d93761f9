//! `GET /info`: what is served, what it was measured to be worth, and what may be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::app::App;
use super::super::endpoint::{Access, Endpoint};
use super::super::forward::Forwarding;
use super::super::request::Options;
use super::super::served::Chosen;
use crate::artifact::Verdict;
use crate::calibrate::Limits;
use crate::compute::Precision;
use crate::posterior::OwnDoubt;

/// The model and the limits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    /// Its name.
    model: String,
    /// All models of this server; the first one answers requests that name none.
    models: Vec<String>,
    /// A hash of everything that affects its predictions.
    model_version: String,
    /// What it predicts: `single_label` (each text belongs to one class).
    task: &'static str,
    /// How its posterior was made.
    method: &'static str,
    /// Forward passes of the encoder per text: more than one for an ensemble or sampled dropout.
    forward_passes: usize,
    /// Its labels.
    labels: Vec<String>,
    /// Maximum number of tokens per text.
    max_tokens: usize,
    /// `cpu` or `cuda`.
    device: &'static str,
    /// Of the products in the encoder's layers: `f32`, `bf16` or `int8`.
    precision: Precision,
    /// Whether the model keeps its promises at each precision that was checked: `bf16`, `int8`.
    certificates: BTreeMap<String, Verdict>,
    /// The version of this server.
    version: &'static str,
    /// Request limits.
    limits: InfoLimits,
    /// What was fitted on held-out rows.
    calibration: InfoCalibration,
    /// The limits of a request that sets none: those of the model, and of the server where it was
    /// given other ones; `null` if predictions have no decision.
    abstain: Option<InfoAbstain>,
    /// Where texts go that the model abstains from; `null` if nowhere.
    forwarding: Option<Forwarding>,
    /// The report on the test split, if there is one.
    #[schema(value_type = Option<Object>)]
    test: Option<Value>,
    /// The precision that the report was measured at, which may be another one than `precision`.
    test_precision: Option<Precision>,
}

/// Request limits.
#[derive(Debug, Serialize, ToSchema)]
struct InfoLimits {
    /// Maximum characters per text.
    max_chars: usize,
    /// Maximum texts per batch.
    max_client_batch_size: usize,
    /// Maximum texts per job.
    max_job_items: usize,
    /// Maximum forward passes per text.
    max_samples: usize,
    /// Maximum request body size, in bytes.
    max_body_bytes: usize,
    /// Whether an API key is required.
    api_key: bool,
}

/// What was fitted on held-out rows.
#[derive(Debug, Serialize, ToSchema)]
struct InfoCalibration {
    /// Logits are divided by it.
    temperature: f64,
    /// The variance of the logits is multiplied by it.
    scale: f64,
    /// Whether predictions report epistemic uncertainty: `known`, `left_out` (the variance did not
    /// help held-out rows and is not used), `absent` (there is no posterior).
    #[schema(value_type = String, examples("known"))]
    epistemic: OwnDoubt,
    /// The coverage of the model's own prediction sets; a request that names none gets 0.9.
    coverage: Option<f64>,
    /// Calibration rows of the prediction sets, over all classes.
    prediction_set_rows: Option<usize>,
    /// The novelty score.
    novelty: Option<&'static str>,
    /// The model's own limit of the confidence, which the server may replace (see `abstain`);
    /// `null` if it has none.
    min_confidence: Option<f64>,
    /// At most this share of predictions with at least that confidence (or of all predictions, if
    /// it is `null`) is wrong, as held-out rows prove (with 95 % certainty).
    target_risk: Option<f64>,
}

/// What a prediction must meet to be accepted; what is `null` is not asked for.
#[derive(Debug, Serialize, ToSchema)]
struct InfoAbstain {
    /// The lowest confidence.
    min_confidence: Option<f64>,
    /// The largest epistemic uncertainty, in nats.
    max_epistemic: Option<f64>,
    /// A novelty p-value at or below this one is too strange.
    ood_p: Option<f64>,
    /// The most labels in the model's own prediction set.
    max_set_size: Option<usize>,
}

pub fn endpoints() -> Vec<Endpoint> {
    let summary = "The model, its calibration and the limits";
    let info = Endpoint::get("/info", get(info), summary).of_model().access(Access::Key);
    let info = info.gives::<Info>(200);
    vec![info.refuses(&[400, 401, 403, 421, 429, 500, 503])]
}

async fn info(State(app): State<Arc<App>>, chosen: Chosen) -> Json<Info> {
    Json(describe(&app, &chosen))
}

fn describe(app: &App, chosen: &Chosen) -> Info {
    let Chosen { served, loaded: model, .. } = chosen;
    let predictor = &model.predictor;
    let artifact = predictor.artifact();
    let (manifest, calibration) = (&artifact.manifest, &artifact.calibration);
    let request = app.settings.request;
    Info {
        model: served.name.to_string(),
        models: app.models.all().iter().map(|one| one.name.to_string()).collect(),
        model_version: predictor.version().to_owned(),
        task: predictor.task().name(),
        method: manifest.fit.method.name(),
        forward_passes: predictor.forward_passes(),
        labels: predictor.labels().to_vec(),
        max_tokens: manifest.preprocessing.max_length,
        device: served.model.device(),
        precision: predictor.precision(),
        certificates: manifest
            .certificates
            .keys()
            .filter_map(|own| Some((own.to_string(), manifest.verdict(*own)?)))
            .collect(),
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
            temperature: artifact.posterior.scaling.temperature,
            scale: artifact.posterior.scaling.scale,
            epistemic: artifact.posterior.own_doubt(),
            coverage: calibration.own_coverage(),
            prediction_set_rows: calibration.conformal.as_ref().map(|conformal| conformal.rows()),
            novelty: calibration.novelty.as_ref().map(|novelty| novelty.score.name()),
            min_confidence: calibration.limits.and_then(|limits| limits.min_confidence),
            target_risk: calibration.risk,
        },
        abstain: app.limits(model, &Options::default()).map(|limits| {
            let Limits { min_confidence, max_epistemic, ood_p, max_set_size } = limits;
            InfoAbstain { min_confidence, max_epistemic, ood_p, max_set_size }
        }),
        forwarding: app.forward.as_ref().map(|forward| forward.state()),
        test: manifest.test.as_ref().and_then(|test| serde_json::to_value(test).ok()),
        test_precision: manifest.test.as_ref().map(|_| manifest.precision),
    }
}
