//! What stands between the last layer and the probabilities, in words.

use super::Card;
use super::numbers::{code, share};
use crate::calibrate::conformal::{Bounds, Score};
use crate::calibrate::{Limits, SMALL};
use crate::method::FitRecord;

/// What becomes of classes that have too few rows for a threshold of their own.
fn few_rows(bounds: &Bounds) -> String {
    let (all, target) = (bounds.bound_c.len(), share(1.0 - bounds.alpha));
    match (bounds.always(), bounds.pooled) {
        (0, 0) => String::new(),
        (0, pooled) => format!("; at {target}, {pooled} of {all} classes share a threshold"),
        (always, _) => format!("; at {target}, {always} of {all} classes are in every set"),
    }
}

impl Card<'_> {
    /// The posterior and what was fitted after it.
    pub(super) fn posterior(&self) -> String {
        let mut text = self.distribution();
        if !self.source.artifact.manifest.fit.class_weights.is_none() {
            text.push_str(
                " Rows of rare classes counted more where it was fitted: the model answers as if all classes \
                 were equally frequent.",
            );
        }
        text.push_str("\n\n");
        text.push_str(&self.scaling());
        let calibration = self.calibration();
        if !calibration.is_empty() {
            text.push_str(&format!("\n\n{calibration}"));
        }
        let manifest = &self.source.artifact.manifest;
        for (precision, certificate) in &manifest.certificates {
            let recalibrated = match manifest.recalibrated {
                Some(_) => ", before temperature, sets and limits were fitted anew",
                None => "",
            };
            text.push_str(&format!("\n\nIn {precision}: {}{recalibrated}.", certificate.words()));
        }
        if !manifest.precision.is_f32() {
            text.push_str(&format!(
                "\n\nThe weights are stored in {}; temperature, prediction sets, novelty and limits were fitted at it.",
                manifest.precision
            ));
        }
        text.push('\n');
        text
    }

    fn distribution(&self) -> String {
        let artifact = &self.source.artifact;
        let prior_by_held_out_rows = self.prior_by_held_out_rows();
        let fit = FitRecord { prior_by_held_out_rows, ..artifact.manifest.fit.clone() };
        let mut text = fit.method.describe(&artifact.posterior, &fit);
        if artifact.posterior.wide.is_some() {
            text.push_str(&format!(
                " The layer that predicts reads the means of hidden states {} beside the feature; the last \
                 linear layer, which other tools use, reads the feature alone and is a stand-in.",
                artifact.posterior.states().words()
            ));
        }
        text
    }

    fn scaling(&self) -> String {
        let posterior = &self.source.artifact.posterior;
        let scaling = &posterior.scaling;
        let has_covariance = posterior.has_covariance();
        let vector = if scaling.vector.is_some() {
            "Each class has its own factor and offset; then logits "
        } else {
            "Logits "
        };
        let spread = match (has_covariance, scaling.scale) {
            (true, 0.0) => {
                "; the probabilities do not use the variance of the logits, because it did not \
                 improve the likelihood of those rows"
            }
            (_, _) => "",
        };
        let scale = match (has_covariance, scaling.scale) {
            (false, _) | (true, 0.0 | 1.0) => String::new(),
            (true, scale) => format!(" and their variance is multiplied by {scale:.3}"),
        };
        let unknown = self.origin_unknown();
        let rows = match self.source.recalibrated_by() {
            Some((data, _)) if unknown => format!(
                "rows of {}, of which it is unknown whether the model was trained on them",
                code(&data)
            ),
            Some((data, _)) => {
                format!("rows of {}, which the model was not trained on", code(&data))
            }
            None if self.crossed() && unknown => {
                "rows scored by a last layer that had not seen them, of which it is unknown whether the encoder was \
                 trained on them"
                    .to_owned()
            }
            None if self.crossed() => {
                "rows scored by a last layer that had not seen them".to_owned()
            }
            None if unknown => {
                "rows of which it is unknown whether the model was trained on them".to_owned()
            }
            None => "rows that the model was not trained on".to_owned(),
        };
        if !posterior.is_scaled() {
            let config = self.source.artifact.manifest.calibration.as_ref();
            return match config.is_some_and(|config| config.temperature) {
                true => format!(
                    "The temperature stays at 1, because {rows} gave no reason to change \
                     it{spread}."
                ),
                false => format!("No temperature was fitted{spread}."),
            };
        }
        format!(
            "{vector}are divided by a temperature of {:.3}{scale}, fitted on {rows}{spread}. The temperature is not part of the weights.",
            scaling.temperature
        )
    }

    /// Whether sets keep their promise only nearly, as far as is known.
    fn approximate(&self) -> bool {
        if self.origin_unknown() {
            return true;
        }
        match self.source.recalibrated_by() {
            Some((_, rows)) => rows < SMALL,
            None => self.crossed() || self.few_rows(),
        }
    }

    fn calibration(&self) -> String {
        let calibration = &self.source.artifact.calibration;
        let mut parts = Vec::new();
        if let Some(conformal) = &calibration.conformal {
            let method = match conformal.score {
                Score::Lac if conformal.by_class => "with one threshold per class",
                Score::Lac => "with the smallest average size",
                Score::Aps => "by cumulative probability (APS)",
                Score::Raps { .. } => "by regularised cumulative probability (RAPS)",
            };
            let coverage: Vec<String> =
                calibration.alphas.iter().map(|alpha| share(1.0 - alpha)).collect();
            // Cross-fitted scores keep the promise only approximately.
            let how = if self.approximate() { "about" } else { "at least" };
            let few: String = calibration
                .alphas
                .iter()
                .map(|&alpha| few_rows(&conformal.bounds(alpha)))
                .collect();
            parts.push(format!(
                "Prediction sets, {method}, are calibrated to contain the correct class in {how} {} \
                 of cases{few}; you can request any other coverage.",
                coverage.join(" or ")
            ));
        }
        let rows = match self.source.recalibrated_by() {
            Some((data, _)) => format!("the rows of {}", code(&data)),
            None if self.crossed() => "held-out (cross-fitted) rows".to_owned(),
            None if self.origin_unknown() => "the rows that calibrate it".to_owned(),
            None => "rows that were not used for training".to_owned(),
        };
        if calibration.novelty.is_some() {
            let before = match self.source.artifact.reference {
                Some(_) => {
                    " It also looks at what the encoder made of a text before it was fine-tuned, which takes \
                     one more forward pass."
                }
                None => "",
            };
            parts.push(format!("Novelty is reported as a p-value relative to {rows}.{before}"));
        }
        if let Some(limits) = &calibration.limits {
            let Limits { min_confidence, max_epistemic, ood_p, max_set_size } = limits;
            let reasons = [
                min_confidence.map(|least| format!("below a confidence of {least:.4}")),
                max_epistemic.map(|most| format!("above an epistemic uncertainty of {most}")),
                ood_p.map(|p| format!("where the p-value is at most {}", code(&p.to_string()))),
                max_set_size.map(|most| format!("where the set is empty or has more than {most}")),
            ];
            let reasons: Vec<String> = reasons.into_iter().flatten().collect();
            if !reasons.is_empty() {
                parts.push(format!("It abstains {}.", reasons.join(" or ")));
            }
            if let Some(risk) = calibration.risk {
                let which = match min_confidence {
                    Some(_) => "Of the predictions with that confidence or more,",
                    None => "Of all predictions, whatever their confidence,",
                };
                let proof = match self.origin_unknown() {
                    true => "with 95 % certainty, if it was trained on none of the rows that calibrate it"
                        .to_owned(),
                    false => format!("as {rows} prove (with 95 % certainty)"),
                };
                parts.push(format!("{which} at most {} are wrong, {proof}.", share(risk)));
            }
        }
        parts.join(" ")
    }
}
