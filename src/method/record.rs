//! What is told about a fit: the manifest keeps it, reports show it, and the words about a model are made from
//! it.

use serde::{Deserialize, Serialize};

use super::{Evidence, Method};
use crate::calibrate::{Doubt, ScaleRule, ScalingFit};
use crate::posterior::{LinkChoice, OwnDoubt, Posterior};
use crate::train::ClassWeights;

/// The model that another was distilled from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherRecord {
    /// Name of its experiment.
    pub name: String,
    pub method: Method,
    /// Passes for each text.
    pub passes: usize,
    /// SHA-256 over the hashes of the files that change its predictions.
    pub sha256: String,
}

/// How a posterior was made and scaled. Of folders of earlier versions only method, link, class weights and
/// evidence are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitRecord {
    pub method: Method,
    /// How probabilities of more than two classes come from it.
    #[serde(default)]
    pub link: LinkChoice,
    /// What rows of different classes count where the last layer is fitted.
    #[serde(default, skip_serializing_if = "ClassWeights::is_none")]
    pub class_weights: ClassWeights,
    /// How the prior was chosen, for methods that choose one.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// Whether its prior was chosen by held-out rows, and not by the evidence.
    #[serde(default)]
    pub prior_by_held_out_rows: bool,
    /// Whether the encoder was fine-tuned by the method's own loss.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joint: bool,
    /// Whether the last layer is the trained one, since the one that the method fits was worse on held-out rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub head_kept: bool,
    /// What it was distilled from, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecord>,
    /// Training rows that it looked at.
    #[serde(default)]
    pub rows: usize,
    /// Whether each class has a factor and an offset of its own.
    #[serde(default)]
    pub vector: bool,
    /// What logits are divided by; absent when none was fitted.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// What the mean logits are divided by where a program does not use their variance; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_temperature: Option<f64>,
    /// Why the rows do not say which temperature is right, where they do not; it is then 1 or more.
    #[serde(default)]
    pub temperature_doubt: Option<Doubt>,
    /// How the scale was chosen.
    #[serde(default, skip_serializing_if = "ScaleRule::is_default")]
    pub scale_rule: ScaleRule,
    /// Whether the rows do not say how large the scale should be: the largest that was tried was the best, and
    /// the variance is left out, or did no harm, and the scale is 1.
    #[serde(default)]
    pub scale_at_bound: bool,
    /// What the covariance is multiplied by; absent without a covariance, or when none was fitted.
    #[serde(default)]
    pub scale: Option<f64>,
    /// How much less mean NLL the best scale above zero, or the one that is used, has than the temperature
    /// alone, in nats.
    #[serde(default)]
    pub scale_gain: Option<f64>,
    /// Standard error of that.
    #[serde(default)]
    pub scale_gain_error: Option<f64>,
    /// Rows that temperature and scale were fitted on.
    #[serde(default)]
    pub temperature_rows: usize,
}

/// A prior precision above this holds the weights at zero. Rows that are all right drive it down instead.
const UNINFORMATIVE: f64 = 1e4;

impl FitRecord {
    /// Before anything is known but the method.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            link: LinkChoice::default(),
            class_weights: ClassWeights::None,
            evidence: None,
            prior_by_held_out_rows: false,
            joint: false,
            head_kept: false,
            teacher: None,
            rows: 0,
            vector: false,
            temperature: None,
            point_temperature: None,
            temperature_doubt: None,
            scale_rule: ScaleRule::default(),
            scale_at_bound: false,
            scale: None,
            scale_gain: None,
            scale_gain_error: None,
            temperature_rows: 0,
        }
    }

    /// With the temperature and scale that were found for a posterior, on so many rows.
    pub fn scaled(
        self,
        posterior: &Posterior,
        found: Option<&ScalingFit>,
        temperature_rows: usize,
    ) -> Self {
        let varies = found.filter(|_| posterior.own_doubt() != OwnDoubt::Absent);
        Self {
            vector: found.is_some_and(|fit| fit.scaling.vector.is_some()),
            temperature: found.map(|fit| fit.scaling.temperature),
            point_temperature: varies
                .filter(|fit| fit.scaling.scale > 0.0)
                .map(|fit| fit.plain.temperature),
            temperature_doubt: found.and_then(|fit| fit.plain.doubt),
            scale_rule: varies.map_or_else(ScaleRule::default, |fit| fit.rule),
            scale_at_bound: found.is_some_and(|fit| fit.scale_at_bound),
            scale: varies.map(|fit| fit.scaling.scale),
            scale_gain: varies.map(|fit| fit.gain),
            scale_gain_error: varies.map(|fit| fit.standard_error),
            temperature_rows,
            ..self
        }
    }

    /// What a person should know before trusting the fit.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(evidence) = self.evidence.filter(|evidence| !evidence.converged) {
            let why = match evidence.prior_precision > UNINFORMATIVE {
                true => {
                    "the features say little about the labels; train for longer, or choose another encoder"
                }
                false => {
                    "all training rows are already classified correctly; add more training rows"
                }
            };
            warnings.push(format!(
                "the prior precision did not converge (last value {:.3e}), perhaps because {why}",
                evidence.prior_precision
            ));
        }
        if let Some(doubt) = self.temperature_doubt {
            let rows = self.temperature_rows;
            let stays = format!("so the temperature is {:.3}", self.temperature.unwrap_or(1.0));
            warnings.push(match doubt {
                Doubt::AllRight => format!(
                    "the model classifies all {rows} temperature rows correctly, which does not \
                     show whether it is too confident, {stays}; add more data, or harder examples"
                ),
                Doubt::OneClass => format!(
                    "the {rows} temperature rows all belong to one class, {stays}; add more data"
                ),
                Doubt::AtBound => format!(
                    "the {rows} temperature rows contradict the model or say too little, {stays}; \
                     add more data"
                ),
            });
        }
        if self.scale_at_bound {
            warnings.push(match self.scale_rule {
                ScaleRule::Gain | ScaleRule::Fixed(_) => {
                    "the scale of the variance reaches its bound, so the variance is not used: its \
                     rows say too little"
                        .to_owned()
                }
                ScaleRule::Largest => {
                    "no scale of the variance that was tried harms the held-out rows, so they do not \
                     limit it; the variance is used as the posterior has it (scale 1)"
                        .to_owned()
                }
            });
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<FitRecord, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_record_of_an_earlier_version_is_read_and_its_method_must_be_there() {
        let old = json!({ "method": "laplace", "link": "mf2", "evidence": null });
        let expected = FitRecord { link: LinkChoice::Mf2, ..FitRecord::new(Method::Laplace) };
        assert_eq!(read(old).unwrap(), expected);
        assert_eq!(read(json!({ "method": "map" })).unwrap(), FitRecord::new(Method::Map));
        assert!(read(json!({ "link": "qmc" })).unwrap_err().contains("method"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let record = FitRecord {
            class_weights: ClassWeights::Balanced,
            prior_by_held_out_rows: true,
            rows: 7,
            temperature: Some(1.3),
            temperature_doubt: Some(Doubt::AllRight),
            scale: Some(0.0),
            ..FitRecord::new(Method::Swag)
        };
        assert_eq!(read(serde_json::to_value(&record).unwrap()).unwrap(), record);
    }
}
