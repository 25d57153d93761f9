//! What is counted and timed while the server answers.

use std::sync::PoisonError;
use std::time::Duration;

use super::labels::{cache_labels, decided, of, reason_name, reload};
use super::{Metrics, Stage};
use crate::predict::{Prediction, Predictor, decision};
use crate::serve::problem::Problem;

impl Metrics {
    /// A model was taken into service under that name.
    pub fn set_model(&self, model: &str, predictor: &Predictor) {
        self.begin_model(model);
        let decides = predictor.usual().limits.is_some();
        let decisions = if decides { &["accept", "abstain"][..] } else { &["none"] };
        for label in predictor.labels() {
            for decision in decisions {
                drop(self.predictions.get_or_create(&decided(model, label, decision)));
            }
        }
        let method = predictor.artifact().manifest.fit.method.name();
        let labels = [
            ("name", model.to_owned()),
            ("version", predictor.version().to_owned()),
            ("method", method.to_owned()),
        ];
        let mut known = self.in_service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.insert(model.to_owned(), labels.clone()) {
            self.model.remove(&before);
        }
        self.model.get_or_create(&labels).set(1);
    }

    /// A model gave a prediction, so long after its request came.
    pub fn predicted(
        &self,
        model: &str,
        predictor: &Predictor,
        prediction: &Prediction,
        took: Duration,
    ) {
        let own = [("model", model.to_owned())];
        let label = &predictor.labels()[prediction.label];
        let judgement = &prediction.judgement;
        let decision = decision(judgement).unwrap_or("none");
        self.predictions.get_or_create(&decided(model, label, decision)).inc();
        self.duration.get_or_create(&own).observe(took.as_secs_f64());
        let passes = prediction.logits.passes().unwrap_or(1);
        self.passes.get_or_create(&own).observe(passes as f64);
        self.confidence.get_or_create(&own).observe(prediction.confidence);
        let predictive = &prediction.predictive;
        let kinds = [
            ("total", Some(predictive.total)),
            ("aleatoric", predictive.aleatoric),
            ("epistemic", predictive.epistemic),
        ];
        for (kind, nats) in kinds {
            if let Some(nats) = nats {
                self.uncertainty.get_or_create(&of(model, "kind", kind)).observe(nats);
            }
        }
        if let Some(set) = &judgement.set {
            self.set_size.get_or_create(&own).observe(set.classes.len() as f64);
        }
        if let Some(ood) = judgement.ood {
            self.ood_p_value.get_or_create(&own).observe(ood.p_value);
            self.ood.get_or_create(&own).inc_by(u64::from(ood.is_ood));
        }
        for reason in judgement.reasons.iter().flatten() {
            self.abstentions.get_or_create(&of(model, "reason", reason_name(*reason))).inc();
        }
        self.truncated.get_or_create(&own).inc_by(u64::from(prediction.truncated));
    }

    /// A text got no prediction of a model.
    pub fn failed(&self, model: &str, problem: &Problem) {
        self.errors.get_or_create(&of(model, "type", problem.suffix())).inc();
    }

    /// Texts of models with a shared encoder that it read, and those that needed no reading any more.
    pub fn encoder_read(&self, read: usize, shared: usize) {
        for (result, count) in [("read", read), ("shared", shared)] {
            self.encoder_texts.get_or_create(&[("result", result.to_owned())]).inc_by(count as u64);
        }
    }

    /// A request was refused.
    pub fn refused(&self, problem: &Problem) {
        self.rejected.get_or_create(&[("reason", problem.suffix().to_owned())]).inc();
    }

    pub fn cancelled(&self, stage: &'static str) {
        self.cancelled.get_or_create(&[("stage", stage.to_owned())]).inc();
    }

    /// How many clients have left at a stage.
    #[cfg(test)]
    pub fn cancelled_so_far(&self, stage: &str) -> u64 {
        self.cancelled.get_or_create(&[("stage", stage.to_owned())]).get()
    }

    /// A step took so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let name = match stage {
            Stage::Tokenize => "tokenize",
            Stage::Queue => "queue",
            Stage::Inference => "inference",
            Stage::Postprocess => "postprocess",
        };
        self.stages.get_or_create(&[("stage", name.to_owned())]).observe(took.as_secs_f64());
    }

    /// The cache of this process, or that of all replicas, had it or not.
    pub fn cache(&self, model: &str, tier: &'static str, result: &'static str) {
        self.cache_requests.get_or_create(&cache_labels(model, tier, result)).inc();
    }

    pub fn job_finished(&self, status: &'static str) {
        self.jobs_finished.get_or_create(&[("status", status.to_owned())]).inc();
    }

    /// A label came for a prediction of a model, which was right or not.
    pub fn told(&self, model: &str, correct: bool) {
        self.feedback.get_or_create(&of(model, "correct", &correct.to_string())).inc();
    }

    /// A text that the model abstained from was decided by another server, or was not.
    pub fn forwarded(&self, outcome: &'static str) {
        self.forwarded.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// A text left for another server, and the exchange took so long.
    pub fn exchanged(&self, took: Duration) {
        self.exchanges.observe(took.as_secs_f64());
    }

    /// A model, or the keys of all, were read again.
    pub fn reloaded(&self, model: &str, what: &'static str, outcome: &'static str) {
        self.reloads.get_or_create(&reload(model, what, outcome)).inc();
    }
}
