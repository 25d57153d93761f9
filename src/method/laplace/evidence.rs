//! The prior precision, by the evidence: MacKay's fixed point.

use candle_core::Result;

/// What one prior precision leads to.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// γ, the effective number of parameters.
    pub effective_parameters: f64,
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

const ROUNDS: usize = 100;
const BOUNDS: [f64; 2] = [1e-8, 1e8];
const REACH: f64 = 8.0;

/// How the prior precision is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prior {
    /// By the evidence, from this one on.
    Evidence(f64),
    Fixed(f64),
}

/// Fits under the prior that is given, or under the one that the evidence chooses, whose ln δ has come
/// to rest when a round changes it by less than `rest`.
pub fn choose(
    prior: Prior,
    rest: f64,
    mut fit: impl FnMut(f64) -> Result<Round>,
) -> Result<Evidence> {
    let prior_precision = match prior {
        Prior::Evidence(start) => return fixed_point(start, rest, fit),
        Prior::Fixed(prior_precision) => prior_precision,
    };
    let round = fit(prior_precision)?;
    Ok(Evidence {
        prior_precision,
        effective_parameters: round.effective_parameters,
        log_evidence: round.evidence,
        rounds: 1,
        converged: true,
    })
}

/// δ = γ / ‖W*(δ)‖², from `start` on: MacKay's update of ln δ, sped up by the secant through the last two
/// (Aitken's method) where that goes the same way and at most [`REACH`] times as far. `fit` refits
/// the head at a δ. The δ that is given is the one of the last refit, so that mean, covariance and
/// prior belong together.
fn fixed_point(
    start: f64,
    rest: f64,
    mut fit: impl FnMut(f64) -> Result<Round>,
) -> Result<Evidence> {
    let mut log_precision = start.ln();
    let mut before: Option<(f64, f64)> = None;
    let mut rounds = 0;
    loop {
        let prior_precision = log_precision.exp();
        let round = fit(prior_precision)?;
        rounds += 1;
        let update = (round.effective_parameters / round.squared_norm).ln() - log_precision;
        let next = log_precision + update;
        let inside = next > BOUNDS[0].ln() && next < BOUNDS[1].ln();
        let converged = inside && update.abs() < rest;
        if converged || !inside || rounds == ROUNDS {
            return Ok(Evidence {
                prior_precision,
                effective_parameters: round.effective_parameters,
                log_evidence: round.evidence,
                rounds,
                converged,
            });
        }
        let factor =
            before.map_or(1.0, |(place, former)| (log_precision - place) / (former - update));
        before = Some((log_precision, update));
        // A factor below one says that updates overshoot, a negative one that they grow.
        log_precision += update * if factor > 0.0 { factor.min(REACH) } else { 1.0 };
    }
}
