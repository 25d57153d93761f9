//! The section `[posterior]`.

use serde::{Deserialize, Serialize};

use crate::posterior::{LinkChoice, MOST_SAMPLES, Passes};

/// How the posterior is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The point estimate that training ends with.
    Map,
    /// Last-layer Laplace approximation.
    #[default]
    Laplace,
    /// Dropout at prediction time: on the feature in closed form, or in several passes.
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
    /// Passes with dropout for `mc_dropout`; 0 = one pass, in closed form on the feature.
    pub num_samples: usize,
    /// How many of the top layers have dropout in those passes; 0 = all, and the embeddings.
    pub stochastic_layers: usize,
}

impl PosteriorConfig {
    /// The passes of its method, where it has several.
    pub fn passes(&self) -> Option<Passes> {
        let sampled = self.method == Method::McDropout && self.num_samples > 0;
        let passes = Passes { samples: self.num_samples, layers: self.stochastic_layers };
        sampled.then_some(passes)
    }

    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if self.num_samples == 1 || self.num_samples > MOST_SAMPLES {
            return Err(format!(
                "`posterior.num_samples` is {}: 0 (closed form) or 2 to {MOST_SAMPLES} is possible",
                self.num_samples
            ));
        }
        if self.num_samples > 0 && self.method != Method::McDropout {
            return Err(format!(
                "`posterior.num_samples` is for the method mc_dropout, and {} is answered in one \
                 pass: leave it out",
                self.method.name()
            ));
        }
        if self.stochastic_layers > 0 && self.num_samples == 0 {
            return Err(
                "`posterior.stochastic_layers` needs passes: give `posterior.num_samples` \
                        a value, such as 10"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
