//! Dropout at prediction time: Gal and Ghahramani, "Dropout as a Bayesian approximation" (ICML 2016), in
//! multiple forward passes; or on the last feature alone, in closed form ([`Dropout`]).

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Approach, FitInput, FitRecord, Method, Needs};
use crate::model::EncoderConfig;
use crate::numbers::counted;
use crate::posterior::{Covariance, Dropout, MOST_SAMPLES, OwnDoubt, Passes, Posterior, Spread};

/// Its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McDropout {
    /// Forward passes with dropout; 0 = one pass, in closed form on the feature.
    pub num_samples: usize,
    /// How many of the top layers have dropout in those passes; 0 = all, and the embeddings.
    pub stochastic_layers: usize,
}

impl Approach for McDropout {
    fn needs(&self) -> Needs {
        let (samples, layers) = (self.num_samples, self.stochastic_layers);
        let passes = Passes::Dropout { samples, layers };
        Needs { passes: (self.num_samples > 0).then_some(passes), ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.num_samples == 1 || self.num_samples > MOST_SAMPLES {
            return Err(format!(
                "`posterior.num_samples` is {}; use 0 (closed form) or 2 to {MOST_SAMPLES}",
                self.num_samples
            ));
        }
        if self.stochastic_layers > 0 && self.num_samples == 0 {
            return Err(
                "`posterior.stochastic_layers` needs forward passes; give `posterior.num_samples` \
                 a value, such as 10"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_encoder(&self, encoder: &EncoderConfig) -> std::result::Result<(), String> {
        let (asked, layers) = (self.stochastic_layers, encoder.num_hidden_layers);
        if asked > layers {
            return Err(format!(
                "`posterior.stochastic_layers` is {asked}, but the encoder has {}",
                counted(layers, "layer")
            ));
        }
        if self.num_samples == 0 && encoder.classifier_dropout == 0.0 {
            return Err(format!(
                "mc_dropout needs dropout before the last layer, but the model's config.json has \
                 none; give `{}` there a value, such as 0.1, or choose a different method",
                encoder.head_dropout_key()
            ));
        }
        if self.num_samples > 0 && !encoder.has_dropout(asked) {
            return Err(format!(
                "the forward passes of mc_dropout need dropout, but the encoder's config.json has \
                 none in the layers that they run; give `{}` there a value, such as 0.1, or choose \
                 a different method",
                encoder.layer_dropout_key()
            ));
        }
        Ok(())
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let last = &input.last;
        let spread = match self.needs().passes {
            Some(passes) => Spread::Passes(passes),
            None if last.dropout == 0.0 => bail!(
                "method `mc_dropout` needs dropout before the last layer, but this classifier has \
                 none"
            ),
            None => {
                let dropout = Dropout::new(last.dropout, last.weight_cd)?;
                Spread::LastLayer(Covariance::Dropout(dropout))
            }
        };
        Ok((input.around_last_layer(spread), input.record(Method::McDropout)))
    }

    fn describe(posterior: &Posterior, _: &FitRecord) -> String {
        match posterior.passes() {
            Some(passes) => format!(
                "Dropout stays active at prediction time: each text is read {} times with \
                 different units dropped, and {} (Gal and Ghahramani, 2016).",
                passes.count(),
                match posterior.own_doubt() {
                    OwnDoubt::Known => "the spread of the predictions is the epistemic uncertainty",
                    OwnDoubt::LeftOut | OwnDoubt::Absent => "the logits are averaged",
                }
            ),
            None => {
                "Dropout before the last layer, in closed form: the mean and the covariance of the \
                 logits over all dropout masks, in one forward pass."
                    .to_owned()
            }
        }
    }
}
