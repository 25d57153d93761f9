//! The tests of the traffic: fed with every prediction and every label, begun anew with every model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::feedback::ModelMark;
use super::model::Loaded;
use crate::calibrate::drift::{Feature, FeatureState, LabelMonitor, Monitor, Watched};
use crate::predict::Prediction;

/// The test of labels, in metrics and reports.
pub const LABELS: &str = "feedback";

/// All tests of the model in service.
pub struct Drift {
    /// The mean number of requests between false alarms, at least.
    run_length: f64,
    state: Mutex<Option<State>>,
}

struct State {
    model: Arc<str>,
    mark: ModelMark,
    began: SystemTime,
    monitor: Monitor,
    labels: Option<LabelMonitor>,
    alarms: Vec<(&'static str, SystemTime)>,
}

/// How the tests of a model stand.
pub struct DriftState {
    pub began: SystemTime,
    pub features: Vec<FeatureState>,
    /// Statistic, labels, and the number of the one that alarmed.
    pub labels: Option<(f64, u64, Option<u64>)>,
    /// Predictions that were left out.
    pub skipped: u64,
    /// c.
    pub threshold: f64,
    alarms: Vec<(&'static str, SystemTime)>,
}

impl DriftState {
    /// When a test alarmed.
    pub fn alarmed(&self, test: &str) -> Option<SystemTime> {
        self.alarms.iter().find(|(other, _)| *other == test).map(|(_, at)| *at)
    }
}

impl State {
    fn new(name: &Arc<str>, model: &Loaded, run_length: f64) -> Self {
        let artifact = model.predictor.artifact();
        let (own, calibration) = (artifact.drift.as_ref(), &artifact.calibration);
        Self {
            model: Arc::clone(name),
            mark: model.mark,
            began: SystemTime::now(),
            monitor: Monitor::new(own, calibration, run_length),
            labels: LabelMonitor::new(own, calibration, run_length),
            alarms: Vec::new(),
        }
    }

    fn alarm(&mut self, test: &'static str, number: u64, what: &str) {
        tracing::warn!(
            model = &*self.model,
            test,
            number,
            "drift: {what} no longer look like the calibration rows; see /drift, and `bayes recalibrate` where labels \
             are at hand"
        );
        self.alarms.push((test, SystemTime::now()));
    }
}

impl Drift {
    pub fn new(run_length: f64) -> Self {
        Self { run_length, state: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another model is in service: its tests begin.
    pub fn begin(&self, name: &Arc<str>, model: &Loaded) {
        let artifact = model.predictor.artifact();
        if artifact.drift.is_none() && artifact.manifest.is_saved() {
            tracing::info!(
                model = &**name,
                precision = %model.predictor.precision(),
                "this model has no reference for drift of confidence, length and labels at this precision: a model of \
                 an earlier version has none, one with `calibration.precisions` has one for f32 alone, and `bayes \
                 quantize` writes none; `bayes fit` and `bayes recalibrate` write one"
            );
        }
        let new = State::new(name, model, self.run_length);
        *self.lock() = Some(new);
    }

    /// A prediction was made. One of a model that is no longer in service changes nothing.
    pub fn predicted(&self, model: &Loaded, prediction: &Prediction) {
        let watched = Watched {
            confidence: prediction.confidence,
            epistemic: prediction.predictive.epistemic,
            tokens: prediction.num_tokens,
            label: prediction.label,
            ood: prediction.judgement.ood.map(|ood| ood.score),
        };
        let mut state = self.lock();
        let Some(state) = state.as_mut().filter(|state| state.mark == model.mark) else { return };
        for own in state.monitor.see(&watched) {
            let all = state.monitor.states();
            let number = all.iter().find(|one| own == one.feature).and_then(|one| one.alarm);
            state.alarm(own.name(), number.unwrap_or_default(), what(own));
        }
    }

    /// A label came for a prediction of this model, whose nonconformity score is that.
    pub fn told(&self, mark: ModelMark, score: f64) {
        let mut state = self.lock();
        let Some(state) = state.as_mut().filter(|state| state.mark == mark) else { return };
        if let Some(labels) = &mut state.labels
            && labels.see(score)
        {
            let number = labels.detector().alarm().unwrap_or_default();
            state.alarm(LABELS, number, "labels and what is predicted for them");
        }
    }

    /// How the tests of this model stand; `None` where others have begun.
    pub fn state(&self, model: &Loaded) -> Option<DriftState> {
        let state = self.lock();
        let state = state.as_ref().filter(|state| state.mark == model.mark)?;
        let features = state.monitor.states();
        let labels = state.labels.as_ref().map(|labels| {
            let detector = labels.detector();
            (detector.statistic(), detector.seen(), detector.alarm())
        });
        let tests = features.len() + usize::from(labels.is_some());
        Some(DriftState {
            began: state.began,
            threshold: tests as f64 * self.run_length,
            features,
            labels,
            skipped: state.monitor.skipped(),
            alarms: state.alarms.clone(),
        })
    }
}

fn what(feature: Feature) -> &'static str {
    match feature {
        Feature::Confidence => "the confidences of predictions",
        Feature::Epistemic => "the epistemic uncertainties of predictions",
        Feature::Tokens => "the lengths of texts",
        Feature::Label => "the predicted labels",
        Feature::Ood => "the novelty scores of texts",
    }
}
