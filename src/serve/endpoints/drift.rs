//! `GET /drift`: whether the traffic is still like the calibration rows, and what the labels say.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::app::App;
use super::super::drift::{DriftState, LABELS};
use super::super::endpoint::{Access, Endpoint};
use super::super::feedback::Figures;
use super::super::problem::Problem;
use super::super::served::Chosen;
use crate::calibrate::drift::FeatureState;

/// Drift since the model was taken into service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Drift {
    /// A hash of everything that affects the model's predictions.
    model_version: String,
    /// When the tests began.
    since: String,
    /// Calibration rows that confidence, epistemic uncertainty, tokens and labels are compared with; `null` for a
    /// model of an earlier version, which has no such reference: `bayes fit` or `bayes recalibrate` writes one.
    reference_rows: Option<u64>,
    /// Mean number of requests between false alarms, at least; the chance of one among n requests is at most n
    /// divided by it.
    run_length: f64,
    /// A test alarms when its statistic reaches this.
    threshold: f64,
    /// Predictions left out because they were made without uncertainty, which the reference has.
    skipped: u64,
    /// Whether any test has alarmed. It stays so until another model is taken into service.
    alarm: bool,
    /// Tests of predictions: `confidence`, `epistemic`, `tokens`, `label`, `ood`, as far as there is a reference.
    features: Vec<DriftFeature>,
    /// Test of labels from /feedback against the model's prediction sets; `null` for a model without sets.
    labels: Option<DriftLabels>,
    /// Figures of the newest labels; `null` below 50.
    feedback: Option<Figures>,
}

/// Drift of one feature.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftFeature {
    /// Its name.
    #[schema(examples("confidence"))]
    feature: &'static str,
    /// Population stability index of the last 1,000 predictions; `null` below 200.
    psi: Option<f64>,
    /// What it would be by chance alone.
    psi_floor: f64,
    /// Number of predictions behind it.
    window: usize,
    #[serde(flatten)]
    test: DriftTest,
}

/// Drift of the labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftLabels {
    #[serde(flatten)]
    test: DriftTest,
}

/// A sequential test.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftTest {
    /// Shiryaev-Roberts statistic; at an alarm it stays.
    statistic: f64,
    /// Number of predictions or labels tested.
    tested: u64,
    /// When it alarmed.
    alarmed_at: Option<String>,
    /// The number of the prediction or label that made it alarm.
    alarmed_by: Option<u64>,
}

pub fn endpoints() -> Vec<Endpoint> {
    let summary = "Whether the traffic is still like the calibration rows, and what the labels say";
    let drift = Endpoint::get("/drift", get(drift), summary).of_model().access(Access::Key);
    let drift = drift.gives::<Drift>(200);
    vec![drift.refuses(&[400, 401, 403, 421, 429, 500, 503])]
}

async fn drift(State(app): State<Arc<App>>, chosen: Chosen) -> Result<Json<Drift>, Problem> {
    let own = Arc::clone(&app);
    app.aside.json(move || describe(&own, &chosen).ok_or(Problem::NotReady)).await.map(Json)
}

/// `None` in the moment in which one model takes the place of another.
fn describe(app: &App, chosen: &Chosen) -> Option<Drift> {
    let model = &chosen.loaded;
    let state = chosen.served.drift.state(model)?;
    let reference = model.predictor.artifact().drift.as_ref();
    let features = state.features.iter().map(|one| {
        let &FeatureState { feature, psi, psi_floor, window, statistic, seen, alarm } = one;
        let test = test(&state, feature.name(), (statistic, seen, alarm));
        DriftFeature { feature: feature.name(), psi, psi_floor, window, test }
    });
    let features: Vec<DriftFeature> = features.collect();
    let labels = state.labels.map(|own| DriftLabels { test: test(&state, LABELS, own) });
    let mut tests = features.iter().map(|one| &one.test).chain(labels.iter().map(|one| &one.test));
    let alarm = tests.any(|test| test.alarmed_by.is_some());
    Some(Drift {
        model_version: model.predictor.version().to_owned(),
        since: time(state.began),
        reference_rows: reference.map(|reference| reference.rows()),
        run_length: app.settings.drift_run_length,
        threshold: state.threshold,
        skipped: state.skipped,
        alarm,
        features,
        labels,
        feedback: app.feedback.figures(model),
    })
}

fn test(
    state: &DriftState,
    name: &str,
    (statistic, tested, alarmed_by): (f64, u64, Option<u64>),
) -> DriftTest {
    DriftTest { statistic, tested, alarmed_at: state.alarmed(name).map(time), alarmed_by }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
