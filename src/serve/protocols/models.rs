//! `GET /v1/models`: what is served, in the form of OpenAI and vLLM (`data`) and of the decision protocol
//! (`models`).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::app::App;
use super::super::endpoint::{Access, Endpoint};
use super::super::served::Served;

/// What is served.
#[derive(Debug, Serialize, ToSchema)]
struct Models {
    /// Always `list`.
    object: &'static str,
    /// As OpenAI and vLLM list models; the first one answers requests that name none.
    data: Vec<ModelEntry>,
    /// As the decision protocol lists them.
    models: Vec<DecisionModel>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelEntry {
    /// Its name.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// When its folder was written, in seconds since 1970.
    created: u64,
    /// Always `bayes`.
    owned_by: &'static str,
    /// A hash of everything that affects its predictions.
    version: String,
    /// Its labels.
    labels: Vec<String>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
struct DecisionModel {
    /// Its name.
    name: String,
    /// What it decides.
    description: String,
    /// When its folder was written: year, month, day.
    release_date: String,
}

pub fn endpoints() -> Vec<Endpoint> {
    let summary = "The models that are served";
    let models = Endpoint::get("/v1/models", get(models), summary).named("v1_models");
    let models = models.tag("protocols").access(Access::Key).gives::<Models>(200);
    vec![models.refuses(&[400, 401, 403, 421, 429, 500, 503])]
}

async fn models(State(app): State<Arc<App>>) -> Json<Models> {
    let (data, models) = app.models.all().iter().map(|served| both(served)).unzip();
    Json(Models { object: "list", data, models })
}

fn both(served: &Served) -> (ModelEntry, DecisionModel) {
    let model = served.model.current();
    let labels = model.predictor.labels().to_vec();
    let decision = DecisionModel {
        name: served.name.to_string(),
        description: described(&labels),
        release_date: day(model.written),
    };
    let entry = ModelEntry {
        id: served.name.to_string(),
        object: "model",
        created: model.written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        owned_by: "bayes",
        version: model.predictor.version().to_owned(),
        labels,
    };
    (entry, decision)
}

fn described(labels: &[String]) -> String {
    let noul = if labels.len() == 2 { ", and `noul` for either of them" } else { "" };
    format!(
        "Text classifier: answers `choice` over its {} labels or some of them{noul}",
        labels.len()
    )
}

fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_day_is_written_as_year_month_and_day() {
        assert_eq!(day(UNIX_EPOCH + Duration::from_secs(86_400)), "1970-01-02");
    }
}
