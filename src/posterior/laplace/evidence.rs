//! The prior precision, by the evidence: MacKay's fixed point.

use candle_core::Result;

/// What one prior precision leads to.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// γ, the effective number of parameters.
    pub effective_parameters: f64,
    /// ‖W*‖².
    pub squared_norm: f64,
    /// ln p(labels | δ) by Laplace's approximation.
    pub evidence: f64,
}

/// Where the fixed point stopped.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// δ, the precision of the Gaussian prior of every weight.
    pub prior_precision: f64,
    /// γ, the number of parameters that the data determine.
    pub effective_parameters: f64,
    /// ln p(labels | δ) by Laplace's approximation, in nats.
    pub log_evidence: f64,
    /// Refits of the head.
    pub rounds: usize,
    /// Whether ln δ came to rest inside its bounds.
    pub converged: bool,
}

/// ln δ has come to rest when a round changes it by less.
const PRECISION: f64 = 1e-3;
const ROUNDS: usize = 100;
const BOUNDS: [f64; 2] = [1e-8, 1e8];

/// δ ← γ / ‖W*(δ)‖² from δ = 1, until it rests. `fit` refits the head at a δ. The δ that is given
/// is the one of the last refit, so that mean, covariance and prior belong together.
pub fn fixed_point(mut fit: impl FnMut(f64) -> Result<Round>) -> Result<Evidence> {
    let mut prior_precision = 1.0;
    let mut rounds = 0;
    loop {
        let round = fit(prior_precision)?;
        rounds += 1;
        let next = round.effective_parameters / round.squared_norm;
        let inside = next > BOUNDS[0] && next < BOUNDS[1];
        let converged = inside && (next / prior_precision).ln().abs() < PRECISION;
        if converged || !inside || rounds == ROUNDS {
            return Ok(Evidence {
                prior_precision,
                effective_parameters: round.effective_parameters,
                log_evidence: round.evidence,
                rounds,
                converged,
            });
        }
        prior_precision = next;
    }
}
