//! One prediction in the form of the wire, and of a JSONL file.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Forwarded, Prediction, Predictor};
use crate::calibrate::{Judgement, Reason};
use crate::method::Method;

/// The share of the posterior that `confidence_interval` holds.
const LEVEL: f64 = 0.9;

/// How many probabilities `samples` holds.
pub const SAMPLES: usize = 64;

/// A prediction. Values that the model cannot provide are `null`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Prediction)]
pub struct PredictionObject {
    /// Names this prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_id: Option<String>,
    /// The text as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The second text of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// The most probable label.
    #[schema(examples("positive"))]
    pub label: String,
    /// Same as `label`, for models with two labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<String>,
    /// Its probability: the posterior's mean, calibrated.
    #[schema(minimum = 0, maximum = 1, examples(0.93))]
    pub confidence: f64,
    /// Entropy of the prediction in nats; `null` if not requested.
    #[schema(minimum = 0, examples(0.254))]
    pub uncertainty: Option<f64>,
    /// Probability by label.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub probabilities: Map<String, Value>,
    /// The sources of the uncertainty; `null` if not requested.
    pub uncertainty_details: Option<Details>,
    /// The prediction set.
    pub prediction_set: Option<Set>,
    /// How unlike the training data the text is.
    pub ood: Option<Ood>,
    /// Whether the prediction can be used without a person: `accept` or `abstain`.
    #[schema(examples("accept"))]
    pub decision: Option<&'static str>,
    /// Reasons for abstaining: `epistemic`, `confidence`, `ood`, `set_size`.
    #[schema(value_type = Option<Vec<String>>)]
    pub abstain_reasons: Option<Vec<Reason>>,
    /// What another server said, where the model abstains and its texts may be forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
    /// Probabilities by label, in the order of the model's labels, under equally likely posterior
    /// samples; absent if not requested, `null` if the model has no posterior or does not use its
    /// variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<f64>>>)]
    pub samples: Option<Option<Vec<Vec<f64>>>>,
    /// Mean logits before temperature scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub logits: Option<Vec<f64>>,
    /// Number of tokens the model processed.
    pub num_tokens: usize,
    /// Whether the text was longer and was truncated.
    pub truncated: bool,
    /// Whether the response came from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// The model's name.
    pub model: String,
    /// A hash of everything that affects its predictions.
    pub model_version: String,
    /// Time from the arrival of the request to this response, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_time_ms: Option<f64>,
}

/// The sources of the uncertainty, in nats.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Details {
    /// Entropy of the prediction: aleatoric + epistemic.
    pub total: f64,
    /// The uncertainty that would remain if the weights were known; `null` if the model has no
    /// posterior or does not use its variance.
    pub aleatoric: Option<f64>,
    /// The uncertainty due to not knowing the weights; `null` in the same cases.
    pub epistemic: Option<f64>,
    /// The unit.
    #[schema(examples("nats"))]
    pub unit: &'static str,
    /// `total` divided by the maximum entropy (a uniform prediction).
    pub normalized: f64,
    /// Central interval of the label's probability under the posterior; `null` in the same cases.
    #[schema(value_type = Option<Vec<f64>>)]
    pub confidence_interval: Option<[f64; 2]>,
    /// The share of the posterior in that interval.
    pub level: f64,
    /// Number of forward passes sampled; `null` for a closed-form posterior.
    pub num_samples: Option<usize>,
    /// How the posterior was made.
    #[schema(value_type = String, examples("laplace"))]
    pub method: Method,
    /// The seed of the samples.
    pub seed: u64,
}

/// A prediction set.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Set {
    /// Its labels, the most probable first.
    pub labels: Vec<String>,
    /// Target coverage: the share of texts whose set contains the correct label, at least.
    pub coverage: f64,
    /// Number of held-out rows that the guarantee is based on.
    pub calibration_size: usize,
}

/// How unlike the training data a text is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = OutOfDistribution)]
pub struct Ood {
    /// The novelty score; higher means more unusual.
    pub score: f64,
    /// Fraction of in-distribution texts that are at least as unusual.
    pub p_value: f64,
    /// Whether the p-value is at or below the threshold.
    pub is_ood: bool,
}

/// What of a prediction is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Presentation {
    /// Uncertainty and its sources.
    pub uncertainty: bool,
    /// Only so many labels, the most probable first.
    pub top_k: Option<usize>,
    /// Probabilities under equally likely logits.
    pub samples: bool,
    pub logits: bool,
    /// The seed that was asked for.
    pub seed: u64,
}

impl Default for Presentation {
    fn default() -> Self {
        Self { uncertainty: true, top_k: None, samples: false, logits: false, seed: 0 }
    }
}

impl Predictor {
    /// A prediction as an object without text, id and time.
    pub fn object(&self, prediction: &Prediction, shown: &Presentation) -> PredictionObject {
        let labels = self.labels();
        let label = labels[prediction.label].clone();
        let predictive = &prediction.predictive;
        let posterior = &self.artifact().posterior;
        let details = || Details {
            total: predictive.total,
            aleatoric: predictive.aleatoric,
            epistemic: predictive.epistemic,
            unit: "nats",
            normalized: predictive.total / self.task().largest_uncertainty(labels.len()),
            confidence_interval: posterior.interval(&prediction.logits, prediction.label, LEVEL),
            level: LEVEL,
            num_samples: prediction.logits.passes(),
            method: self.artifact().manifest.fit.method,
            seed: shown.seed,
        };
        let samples = || {
            let points = posterior.points(&prediction.logits, SAMPLES)?;
            Some(points.chunks_exact(labels.len()).map(<[f64]>::to_vec).collect())
        };
        let Judgement { set, ood, reasons } = &prediction.judgement;
        PredictionObject {
            prediction_id: None,
            text: None,
            text_pair: None,
            sentiment: (labels.len() == 2).then(|| label.clone()),
            label,
            confidence: prediction.confidence,
            uncertainty: shown.uncertainty.then_some(predictive.total),
            probabilities: self.probabilities(&predictive.probability_c, shown.top_k),
            uncertainty_details: shown.uncertainty.then(details),
            prediction_set: set.as_ref().map(|set| Set {
                labels: set.classes.iter().map(|&class| labels[class].clone()).collect(),
                coverage: set.coverage,
                calibration_size: set.calibration_size,
            }),
            ood: ood.map(|ood| Ood { score: ood.score, p_value: ood.p_value, is_ood: ood.is_ood }),
            decision: decision(&prediction.judgement),
            abstain_reasons: reasons.clone(),
            forwarded: None,
            samples: shown.samples.then(samples),
            logits: shown.logits.then(|| prediction.logits.mean().into_owned()),
            num_tokens: prediction.num_tokens,
            truncated: prediction.truncated,
            cached: None,
            model: self.artifact().manifest.name.clone(),
            model_version: self.version().to_owned(),
            processing_time_ms: None,
        }
    }

    /// By label; all in the model's order, or the first few by falling probability.
    fn probabilities(&self, probability_c: &[f64], top_k: Option<usize>) -> Map<String, Value> {
        let mut classes: Vec<usize> = (0..probability_c.len()).collect();
        if let Some(top_k) = top_k {
            classes.sort_by(|&a, &b| probability_c[b].total_cmp(&probability_c[a]));
            classes.truncate(top_k);
        }
        let labels = self.labels();
        classes.into_iter().map(|c| (labels[c].clone(), probability_c[c].into())).collect()
    }
}

/// `accept` or `abstain`; `None` where nothing is decided.
pub fn decision(judgement: &Judgement) -> Option<&'static str> {
    let accepted = judgement.reasons.as_ref().map(Vec::is_empty);
    accepted.map(|accepted| if accepted { "accept" } else { "abstain" })
}
