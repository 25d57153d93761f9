//! The Laplace approximation as a method.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{Evidence, Laplace};
use crate::method::{Approach, FitInput, FitRecord, Method, Needs, tensors};
use crate::numbers::grouped;
use crate::posterior::{Covariance, LinkChoice, OwnDoubt, Posterior, Spread};

/// It has no keys of its own: the evidence, or held-out rows, choose its prior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

impl Approach for Settings {
    fn needs(&self) -> Needs {
        Needs { training_features: true, hidden_states: true, ..Needs::default() }
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let Laplace { mean_kd, covariance, evidence } = input.linear_head()?;
        let (mean_cd, mean_c) = tensors(&mean_kd, input.rows.classes)?;
        let spread = Spread::LastLayer(covariance);
        let posterior = Posterior::new(input.rows.task, mean_cd, mean_c, spread, input.link);
        let evidence = Some(evidence);
        Ok((posterior, FitRecord { evidence, ..input.record(Method::Laplace) }))
    }

    fn describe(posterior: &Posterior, fit: &FitRecord) -> String {
        let form = match &posterior.spread {
            Spread::LastLayer(Covariance::Kronecker(_)) => {
                "with a covariance of two Kronecker factors"
            }
            _ => "with its full covariance",
        };
        let chosen = if fit.prior_by_held_out_rows {
            "was chosen on held-out rows"
        } else {
            "was chosen by maximising the marginal likelihood (evidence)"
        };
        let prior = |evidence: Evidence| {
            format!(
                " Its prior precision, {:.3}, {chosen}; the data determine about \
                 {} of the layer's {} weights.",
                evidence.prior_precision,
                grouped(evidence.effective_parameters.round() as usize),
                grouped(posterior.weights()),
            )
        };
        let link = match (posterior.classes(), posterior.link.choice) {
            _ if posterior.own_doubt() == OwnDoubt::LeftOut => {
                "Probabilities are those of its mean alone"
            }
            (2, _) => "Probabilities of two classes follow from it exactly",
            (_, LinkChoice::Qmc) => "Probabilities are averages over a fixed set of logit samples",
            (_, _) => "Probabilities follow from it by a mean-field formula",
        };
        format!(
            "A Laplace approximation of the last linear layer, {form}: a Gaussian around the best \
             weights whose width reflects how uncertain the training rows leave them (Daxberger \
             et al., 2021).{} {link}; each text needs one forward pass.",
            fit.evidence.map(prior).unwrap_or_default()
        )
    }
}
