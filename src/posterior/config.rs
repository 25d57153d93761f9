//! The section `[posterior]`.

use serde::{Deserialize, Serialize};

/// How the posterior is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The point estimate that training ends with.
    #[default]
    Map,
}

/// The posterior's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PosteriorConfig {
    /// How the posterior is made.
    pub method: Method,
}
