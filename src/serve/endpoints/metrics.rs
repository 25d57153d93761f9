//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::app::App;
use super::super::drift::{DriftState, LABELS};
use super::super::endpoint::{Access, Endpoint};
use super::super::feedback::{Coverage, Figures};
use super::super::metrics::{CLASSIC, Sample, Snapshot, classic};
use super::super::scheduler::Class;
use super::super::served::{Chosen, Served};
use super::super::settings::Settings;
use crate::calibrate::drift::FeatureState;

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoint, where the metrics have no address of their own.
pub fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let own = settings.metrics_address.is_none().then(|| {
        Endpoint::get("/metrics", get(metrics), "Prometheus metrics")
            .access(Access::Uncounted)
            .gives_text(KIND)
            .refuses(&[400, 403, 421, 503])
    });
    own.into_iter().collect()
}

/// In OpenMetrics for who asks for it, as Prometheus does; else in the older text format.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let own = Arc::clone(&app);
    // A floor takes its time.
    let known = app.aside.json(move || Ok(known(&own))).await.unwrap_or_default();
    let text = app.metrics.render(&Snapshot {
        queue: [Class::Interactive, Class::Job].map(|class| app.engine.waiting(class)),
        oldest_age: app.engine.oldest_age(),
        busy: app.engine.busy_ratio(),
        cache_entries: app.models.all().iter().filter_map(cached).collect(),
        redis: app.shared.as_ref().map(|link| (link.place().to_owned(), link.is_well())),
        jobs: app.jobs.counts(),
        jobs_bytes: app.jobs.bytes(),
        inflight_bytes: app.budget.taken(),
        feedback_bytes: app.feedback.bytes(),
        known,
    });
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|own| own.to_str().ok());
    let (kind, text) = match accepted.any(|own| own.contains("application/openmetrics-text")) {
        true => (KIND, text),
        false => (CLASSIC, classic(&text)),
    };
    ([(header::CONTENT_TYPE, kind), (header::VARY, "accept")], text).into_response()
}

fn cached(served: &Arc<Served>) -> Option<(Arc<str>, u64)> {
    Some((Arc::clone(&served.name), served.cache.as_ref()?.entry_count()))
}

/// What is known of the models in service; what has one name stands together.
fn known(app: &App) -> Vec<Sample> {
    let mut all = Vec::new();
    for Chosen { served, loaded, .. } in app.models.in_service() {
        let mut own = of_labels(app.feedback.figures(&loaded));
        own.extend(served.drift.state(&loaded).iter().flat_map(of_drift));
        for sample in &mut own {
            sample.labels.insert(0, ("model", served.name.to_string()));
        }
        all.extend(own);
    }
    all.sort_by_key(|sample| sample.name);
    all
}

/// What the tests of the traffic say.
fn of_drift(state: &DriftState) -> Vec<Sample> {
    let psi = state.features.iter().filter_map(|one| Some((one.feature.name(), one.psi?)));
    let floor = state.features.iter().filter(|one| one.psi.is_some());
    let tests = || {
        let of_test = |one: &FeatureState| (one.feature.name(), one.statistic, one.alarm);
        let labels = state.labels.map(|(statistic, _, alarm)| (LABELS, statistic, alarm));
        state.features.iter().map(of_test).chain(labels)
    };
    let sample = |name, help, kind| {
        move |(of, value): (&'static str, f64)| Sample {
            name,
            help,
            labels: vec![(kind, of.to_owned())],
            value,
        }
    };
    let help = "Population stability index of the last 1,000 predictions";
    let mut all: Vec<Sample> = psi.map(sample("bayes_drift_psi", help, "feature")).collect();
    let floor = floor.map(|one| (one.feature.name(), one.psi_floor));
    all.extend(floor.map(sample("bayes_drift_psi_floor", "The same by chance alone", "feature")));
    let help = "Statistic of the sequential test of drift";
    let statistics = tests().map(|(test, statistic, _)| (test, statistic));
    all.extend(statistics.map(sample("bayes_drift_statistic", help, "test")));
    let help = "Whether the test of drift has alarmed";
    let alarms = tests().map(|(test, _, alarm)| (test, f64::from(u8::from(alarm.is_some()))));
    all.extend(alarms.map(sample("bayes_drift_alarm", help, "test")));
    let help = "Statistic at which a test of drift alarms";
    if tests().next().is_some() {
        all.push(Sample {
            name: "bayes_drift_threshold",
            help,
            labels: Vec::new(),
            value: state.threshold,
        });
    }
    all
}

/// What the newest labels say.
fn of_labels(figures: Option<Figures>) -> Vec<Sample> {
    let Some(Figures { labels, accuracy, ece, ece_floor, brier, coverage }) = figures else {
        return Vec::new();
    };
    let one = |name, help, value| Sample { name, help, labels: Vec::new(), value };
    let mut all = vec![
        one("bayes_feedback_window_labels", "Labels in the window", labels as f64),
        one("bayes_accuracy_ratio", "Share of labels that were predicted", accuracy),
        one("bayes_calibration_ece_ratio", "Expected calibration error, 15 bins", ece),
        one("bayes_calibration_ece_floor_ratio", "The same by chance alone", ece_floor),
        one("bayes_brier_score", "Brier score", brier),
    ];
    let help = "Share of prediction sets that contain the label";
    let (low, high) = ("Lower end of its band by chance", "Upper end of its band by chance");
    for (name, help, part) in [
        ("bayes_conformal_coverage_ratio", help, 0),
        ("bayes_conformal_coverage_low_ratio", low, 1),
        ("bayes_conformal_coverage_high_ratio", high, 2),
    ] {
        let of = |one: &Coverage| [Some(one.share), one.low, one.high][part];
        let known = coverage.iter().filter_map(|one| Some((one.target, of(one)?)));
        all.extend(known.map(|(target, value)| {
            let labels = vec![("target", target.to_string())];
            Sample { name, help, labels, value }
        }));
    }
    all
}
