//! One prediction in the form that the wire has too.

use serde_json::{Map, Value, json};

use crate::calibrate::{Judgement, Ood, PredictionSet};
use crate::predict::{Prediction, Predictor};
use crate::store::sha256;

/// Makes the objects of one model.
pub struct Objects<'a> {
    predictor: &'a Predictor,
    version: String,
}

impl<'a> Objects<'a> {
    /// For this model.
    pub fn new(predictor: &'a Predictor) -> Self {
        let files = &predictor.artifact().manifest.files;
        let all: Vec<u8> = files.values().flat_map(|hash| hash.bytes()).collect();
        Self { predictor, version: format!("sha256:{}", &sha256(&all)[..16]) }
    }

    /// A prediction as an object. What the model cannot know is `null`.
    pub fn of(&self, text: &str, pair: Option<&str>, prediction: &Prediction) -> Value {
        let labels = self.predictor.labels();
        let predictive = &prediction.predictive;
        let label = &labels[prediction.label];
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| {
            object.insert(key.to_owned(), value);
        };
        put("text", json!(text));
        if let Some(pair) = pair {
            put("text_pair", json!(pair));
        }
        put("label", json!(label));
        if labels.len() == 2 {
            put("sentiment", json!(label));
        }
        put("confidence", json!(prediction.confidence));
        put("uncertainty", json!(predictive.total));
        let by_label = labels.iter().zip(&predictive.probability_c);
        let probabilities: Map<String, Value> =
            by_label.map(|(label, p)| (label.clone(), json!(p))).collect();
        put("probabilities", Value::Object(probabilities));
        put(
            "uncertainty_details",
            json!({
                "total": predictive.total,
                "aleatoric": predictive.aleatoric,
                "epistemic": predictive.epistemic,
                "unit": "nats",
                "normalized": predictive.total / (labels.len() as f64).ln(),
                "confidence_interval": null,
                "num_samples": self.predictor.artifact().uncertainty.passes.map(|one| one.samples),
                "method": self.predictor.artifact().manifest.method,
            }),
        );
        let Judgement { set, ood, reasons } = &prediction.judgement;
        put("prediction_set", set.as_ref().map_or(Value::Null, |set| self.set(set)));
        put("ood", ood.as_ref().map_or(Value::Null, ood_object));
        put("decision", json!(decision(&prediction.judgement)));
        put("abstain_reasons", json!(reasons));
        put("logits", json!(prediction.logits.mean()));
        put("num_tokens", json!(prediction.num_tokens));
        put("truncated", json!(prediction.truncated));
        put("model", json!(self.predictor.artifact().manifest.name));
        put("model_version", json!(self.version));
        Value::Object(object)
    }

    fn set(&self, set: &PredictionSet) -> Value {
        let labels = self.predictor.labels();
        let labels: Vec<&String> = set.classes.iter().map(|&class| &labels[class]).collect();
        json!({
            "labels": labels,
            "coverage": set.coverage,
            "calibration_size": set.calibration_size,
        })
    }
}

fn ood_object(ood: &Ood) -> Value {
    json!({ "score": ood.score, "p_value": ood.p_value, "is_ood": ood.is_ood })
}

/// `accept` or `abstain`; `None` where nothing is decided.
pub fn decision(judgement: &Judgement) -> Option<&'static str> {
    let accepted = judgement.reasons.as_ref().map(Vec::is_empty);
    accepted.map(|accepted| if accepted { "accept" } else { "abstain" })
}
