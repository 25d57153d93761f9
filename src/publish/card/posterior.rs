//! What stands between the last layer and the probabilities, in words.

use super::Card;
use super::numbers::{code, share};
use crate::calibrate::Limits;
use crate::calibrate::conformal::Score;
use crate::numbers::grouped;
use crate::posterior::{Covariance, LinkChoice, Passes};

impl Card<'_> {
    /// The posterior and what was fitted after it.
    pub(super) fn posterior(&self) -> String {
        let mut text = self.distribution();
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
        let uncertainty = &artifact.uncertainty;
        if let Some(Passes { samples, .. }) = uncertainty.passes {
            return format!(
                "Dropout stays on at prediction time: a text is read {samples} times with other units \
                 left out, and the spread of the answers is the model's doubt about itself (Gal and \
                 Ghahramani, 2016)."
            );
        }
        let classes = artifact.manifest.labels.len();
        let form = match &uncertainty.covariance {
            Covariance::Zero => {
                return "A point estimate: the weights are taken for known, and no part of the \
                        uncertainty is the model's own."
                    .to_owned();
            }
            Covariance::Dropout(_) => {
                return "Dropout before the last layer, in closed form: the mean and the covariance of \
                        the logits over all ways to leave units out, in one pass."
                    .to_owned();
            }
            Covariance::Difference(_) | Covariance::Full { .. } => "with its full covariance",
            Covariance::Kronecker(_) => "with a covariance of two Kronecker factors",
        };
        let chosen = if self.prior_by_held_out_rows() {
            "was chosen by held-out rows"
        } else {
            "was chosen by the evidence"
        };
        let prior = match &artifact.manifest.evidence {
            Some(evidence) => format!(
                " Its prior precision, {:.3}, {chosen}; the data determine about \
                 {} of the layer's {} weights.",
                evidence.prior_precision,
                grouped(evidence.effective_parameters.round() as usize),
                grouped(classes * (artifact.encoder.hidden_size + 1)),
            ),
            None => String::new(),
        };
        let link = match (classes, uncertainty.link.choice) {
            (2, _) => "Probabilities of two classes follow from it exactly",
            (_, LinkChoice::Qmc) => "Probabilities are means over fixed draws of the logits",
            (_, _) => "Probabilities follow from it by a mean-field formula",
        };
        format!(
            "A Laplace approximation of the last linear layer, {form}: a Gaussian around its best \
             weights, as wide as the training rows leave them open (Daxberger et al., 2021).{prior} \
             {link}; a text is read once."
        )
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
