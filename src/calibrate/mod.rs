//! From logits that are too sure to probabilities that can be acted on.

mod scaling;
mod temperature;

use serde::{Deserialize, Serialize};

pub use scaling::{ScalingFit, fit_scaling};
pub use temperature::{Fit, fit_temperature};

/// The section `[calibration]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Whether a temperature is fitted on rows that were not trained on.
    pub temperature: bool,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self { temperature: true }
    }
}
