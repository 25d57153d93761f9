//! A prediction as bytes, for other processes with the same model. Numbers come back to the last bit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Prediction, Predictor};
use crate::calibrate::{Judgement, Ood, PredictionSet, Reason};
use crate::posterior::{LogitCovariance, LogitDistribution, Predictive};

/// What is written; a version whose fields are others does not read it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    label: usize,
    confidence: f64,
    probability_c: Vec<f64>,
    total: f64,
    aleatoric: Option<f64>,
    epistemic: Option<f64>,
    logits: Logits,
    set: Option<(Vec<usize>, f64, usize)>,
    ood: Option<(f64, f64, bool)>,
    reasons: Option<Vec<Reason>>,
    num_tokens: usize,
    truncated: bool,
    uniform: f64,
}

#[derive(Serialize, Deserialize)]
enum Logits {
    Point(Vec<f64>),
    Difference(Vec<f64>, f64),
    Root(Vec<f64>, Vec<f64>),
    Diagonal(Vec<f64>, Vec<f64>),
    /// Without the basis, which the model has.
    Shared(Vec<f64>, Vec<f64>),
    Samples(Vec<f64>),
}

impl Predictor {
    /// A prediction of this model as bytes.
    pub fn write_down(&self, prediction: &Prediction) -> Vec<u8> {
        let Prediction { label, confidence, predictive, logits, judgement, .. } =
            prediction.clone();
        let &Prediction { num_tokens, truncated, uniform, .. } = prediction;
        let Predictive { probability_c, total, aleatoric, epistemic } = predictive;
        let Judgement { set, ood, reasons } = judgement;
        let logits = match logits {
            LogitDistribution::Point(mean_c) => Logits::Point(mean_c),
            LogitDistribution::Samples { logit_mc, classes: _ } => Logits::Samples(logit_mc),
            LogitDistribution::Gaussian { mean_c, covariance } => match covariance {
                LogitCovariance::Difference(variance) => Logits::Difference(mean_c, variance),
                LogitCovariance::Root(root_cj) => Logits::Root(mean_c, root_cj),
                LogitCovariance::Diagonal(variance_c) => Logits::Diagonal(mean_c, variance_c),
                LogitCovariance::Shared { basis: _, variance_j } => {
                    Logits::Shared(mean_c, variance_j)
                }
            },
        };
        let written = Written {
            label,
            confidence,
            probability_c,
            total,
            aleatoric,
            epistemic,
            logits,
            set: set.map(|set| (set.classes, set.coverage, set.calibration_size)),
            ood: ood.map(|ood| (ood.score, ood.p_value, ood.is_ood)),
            reasons,
            num_tokens,
            truncated,
            uniform,
        };
        serde_json::to_vec(&written).expect("numbers and names")
    }

    /// A prediction that was written down under this model; `None` if these bytes are none.
    pub fn read_back(&self, bytes: &[u8]) -> Option<Prediction> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        let classes = self.labels().len();
        let set = written.set.map(|(classes, coverage, calibration_size)| PredictionSet {
            classes,
            coverage,
            calibration_size,
        });
        let named = set.iter().flat_map(|set| set.classes.iter().copied()).chain([written.label]);
        let last = named.max()?;
        if written.probability_c.len() != classes || last >= classes {
            return None;
        }
        Some(Prediction {
            label: written.label,
            confidence: written.confidence,
            predictive: Predictive {
                probability_c: written.probability_c,
                total: written.total,
                aleatoric: written.aleatoric,
                epistemic: written.epistemic,
            },
            logits: self.logits_of(written.logits)?,
            judgement: Judgement {
                set,
                ood: written.ood.map(|(score, p_value, is_ood)| Ood { score, p_value, is_ood }),
                reasons: written.reasons,
            },
            num_tokens: written.num_tokens,
            truncated: written.truncated,
            uniform: written.uniform,
        })
    }

    fn logits_of(&self, written: Logits) -> Option<LogitDistribution> {
        let classes = self.labels().len();
        let whole = |values: &[f64]| !values.is_empty() && values.len().is_multiple_of(classes);
        let (mean_c, covariance) = match written {
            Logits::Point(mean_c) => {
                return (mean_c.len() == classes).then_some(LogitDistribution::Point(mean_c));
            }
            Logits::Samples(logit_mc) => {
                let whole = whole(&logit_mc);
                return whole.then_some(LogitDistribution::Samples { logit_mc, classes });
            }
            Logits::Difference(mean_c, variance) if classes == 2 => {
                (mean_c, LogitCovariance::Difference(variance))
            }
            Logits::Root(mean_c, root_cj) if whole(&root_cj) => {
                (mean_c, LogitCovariance::Root(root_cj))
            }
            Logits::Diagonal(mean_c, variance_c) if variance_c.len() == classes => {
                (mean_c, LogitCovariance::Diagonal(variance_c))
            }
            Logits::Shared(mean_c, variance_j) => {
                let basis = self.posterior.basis()?;
                (basis.width() == variance_j.len()).then_some(())?;
                (mean_c, LogitCovariance::Shared { basis: Arc::clone(basis), variance_j })
            }
            Logits::Difference(..) | Logits::Root(..) | Logits::Diagonal(..) => return None,
        };
        let whole = mean_c.len() == classes;
        whole.then_some(LogitDistribution::Gaussian { mean_c, covariance })
    }
}
