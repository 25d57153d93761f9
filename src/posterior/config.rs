//! The section `[posterior]`.

use serde::{Deserialize, Serialize};

use super::LinkChoice;

/// How the posterior is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The point estimate that training ends with.
    Map,
    /// Last-layer Laplace approximation.
    #[default]
    Laplace,
    /// Dropout on the feature, in closed form.
    McDropout,
}

impl Method {
    /// As it is written in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Laplace => "laplace",
            Self::McDropout => "mc_dropout",
        }
    }
}

/// The posterior's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PosteriorConfig {
    /// How the posterior is made.
    pub method: Method,
    /// How probabilities of more than two classes come from a Gaussian over the logits; two classes
    /// are always exact.
    pub link: LinkChoice,
}
