//! What stands between the last layer and the probabilities, in words.

use super::Card;
use super::numbers::{code, share};
use crate::calibrate::Limits;
use crate::calibrate::conformal::Score;
use crate::method::Told;
use crate::posterior::Covariance;

impl Card<'_> {
    /// The posterior and what was fitted after it.
    pub(super) fn posterior(&self) -> String {
        let mut text = self.distribution();
        if !self.source.artifact.manifest.class_weights.is_none() {
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
        text.push('\n');
        text
    }

    fn distribution(&self) -> String {
        let artifact = &self.source.artifact;
        let classes = artifact.manifest.labels.len();
        artifact.manifest.method.describe(&Told {
            uncertainty: &artifact.uncertainty,
            classes,
            weights: classes * (artifact.encoder.hidden_size + 1),
            evidence: artifact.manifest.evidence.as_ref(),
            prior_by_held_out_rows: self.prior_by_held_out_rows(),
        })
    }

    fn scaling(&self) -> String {
        let uncertainty = &self.source.artifact.uncertainty;
        let scaling = &uncertainty.scaling;
        let vector = if scaling.vector.is_some() {
            "Each class has a factor and an offset of its own; then logits "
        } else {
            "Logits "
        };
        let spread = match (&uncertainty.covariance, scaling.scale) {
            (Covariance::Zero, _) => "",
            (_, 0.0) => {
                "; the variance of the logits is left out of the probabilities, since it made those rows \
                 no more probable"
            }
            (_, _) => "",
        };
        let scale = match (&uncertainty.covariance, scaling.scale) {
            (Covariance::Zero, _) => String::new(),
            (_, scale) if scale == 0.0 || scale == 1.0 => String::new(),
            (_, scale) => format!(" and their variance is multiplied by {scale:.3}"),
        };
        let rows = if self.crossed() {
            "rows each of which was judged by a last layer that had not seen it"
        } else {
            "rows that the model was not trained on"
        };
        if scaling.temperature == 1.0 && scaling.vector.is_none() {
            let config = self.source.artifact.manifest.calibration.as_ref();
            return match config.is_some_and(|config| config.temperature) {
                true => format!(
                    "The temperature stays at 1, since {rows} gave no reason for another{spread}."
                ),
                false => format!("No temperature was fitted{spread}."),
            };
        }
        format!(
            "{vector}are divided by a temperature of {:.3}{scale}, fitted on {rows}{spread}. The temperature is not part of the weights.",
            scaling.temperature
        )
    }

    fn calibration(&self) -> String {
        let calibration = &self.source.artifact.calibration;
        let mut parts = Vec::new();
        if let Some(conformal) = &calibration.conformal {
            let method = match conformal.score {
                Score::Lac if conformal.by_class => "with a bound for each class",
                Score::Lac => "with the smallest average size",
                Score::Aps => "by cumulative probability (APS)",
                Score::Raps { .. } => "by regularised cumulative probability (RAPS)",
            };
            let coverage: Vec<String> =
                calibration.alphas.iter().map(|alpha| share(1.0 - alpha)).collect();
            parts.push(format!(
                "Prediction sets, {method}, hold the right class in at least {} of cases; any other \
                 coverage can be asked for.",
                coverage.join(" or ")
            ));
        }
        let rows = if self.crossed() {
            "rows that were judged without themselves"
        } else {
            "rows that were not trained on"
        };
        if calibration.novelty.is_some() {
            parts.push(format!("How strange a text is, is given as a p-value among {rows}."));
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
                    Some(_) => "Of the answers of that confidence or more",
                    None => "Of all answers, however sure,",
                };
                parts.push(format!(
                    "{which} at most {} are wrong, as {rows} have proved (95 % sure).",
                    share(risk)
                ));
            }
        }
        parts.join(" ")
    }
}
