//! From logits that are too sure to probabilities that can be acted on.

mod bracket;
mod config;
pub mod conformal;
mod cross_fit;
mod decision;
pub mod drift;
mod file;
mod fit;
mod fit_novelty;
mod judge;
mod levels;
pub mod novelty;
mod risk;
mod scale_rule;
mod scaling;
mod temperature;
mod vector;

pub use config::CalibrationConfig;
pub use cross_fit::{FOLDS, Fold, SMALL, folds, out_of_fold};
pub use decision::{Answer, Limits, Reason};
pub use fit::{CalibrationSummary, Cuts, Material, Others, SetPromise, fit};
pub use judge::{Asked, Judgement, Ood, PredictionSet};
pub use levels::RiskLevels;
pub use scale_rule::ScaleRule;
pub use scaling::{Corrections, ScalingFit, fit_scaling};
pub use temperature::{Doubt, Fit, calibrated_nll, fit_temperature, fit_weighted};
pub use vector::{ROWS_A_CLASS, fit_vector};

use conformal::Conformal;
use novelty::Novelty;

/// What is known of a model beyond its probabilities. Nothing, for a model that was not calibrated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    pub conformal: Option<Conformal>,
    /// Shares of misses that were asked for; the first is that of a plain prediction.
    pub alphas: Vec<f64>,
    pub novelty: Option<Novelty>,
    /// What an answer must meet; `None` where nothing is decided.
    pub limits: Option<Limits>,
    /// At most this share of the answers that the least confidence accepts is wrong, as held-out rows
    /// have proved with 95 % certainty.
    pub risk: Option<f64>,
}
