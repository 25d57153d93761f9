//! The Laplace approximation as a method.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{Evidence, Laplace};
use crate::method::{Approach, Fitted, Needs, Recipe, Told, tensors};
use crate::numbers::grouped;
use crate::posterior::{Covariance, LinkChoice, OwnDoubt, Posterior};

/// It has no keys of its own: the evidence, or held-out rows, choose its prior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

impl Approach for Settings {
    fn needs(&self) -> Needs {
        Needs { training_features: true, ..Needs::default() }
    }

    fn run(&self, recipe: &mut Recipe<'_>) -> Result<Fitted> {
        let Laplace { mean_kd, covariance, evidence } = match recipe.converged.take() {
            Some(found) => found,
            None => super::fit(&recipe.rows, &recipe.last.flat()?, recipe.head)?,
        };
        let (mean_cd, mean_c) = tensors(&mean_kd, recipe.rows.classes)?;
        let posterior = Posterior::LastLayer { mean_cd, mean_c, covariance };
        Ok(Fitted { posterior, evidence: Some(evidence) })
    }

    fn describe(told: &Told<'_>) -> String {
        let form = match &told.uncertainty.covariance {
            Covariance::Kronecker(_) => "with a covariance of two Kronecker factors",
            _ => "with its full covariance",
        };
        let chosen = if told.prior_by_held_out_rows {
            "was chosen on held-out rows"
        } else {
            "was chosen by maximising the marginal likelihood (evidence)"
        };
        let prior = |evidence: &Evidence| {
            format!(
                " Its prior precision, {:.3}, {chosen}; the data determine about \
                 {} of the layer's {} weights.",
                evidence.prior_precision,
                grouped(evidence.effective_parameters.round() as usize),
                grouped(told.weights),
            )
        };
        let link = match (told.classes, told.uncertainty.link.choice) {
            _ if told.uncertainty.own_doubt() == OwnDoubt::LeftOut => {
                "Probabilities are those of its mean alone"
            }
            (2, _) => "Probabilities of two classes follow from it exactly",
            (_, LinkChoice::Qmc) => "Probabilities are averages over a fixed set of logit samples",
            (_, _) => "Probabilities follow from it by a mean-field formula",
        };
        format!(
            "A Laplace approximation of the last linear layer, {form}: a Gaussian around the best \
             weights, as wide as the training rows leave them uncertain (Daxberger et al., \
             2021).{} {link}; each text needs one forward pass.",
            told.evidence.map(prior).unwrap_or_default()
        )
    }
}
