//! The point estimate: the weights that training ends with, taken for known.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{Approach, FitInput, FitRecord, Method, Needs};
use crate::posterior::{Covariance, Posterior, Spread};

/// It has no keys of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Map {}

impl Approach for Map {
    fn needs(&self) -> Needs {
        Needs { hidden_states: true, ..Needs::default() }
    }

    fn has_variance(&self) -> bool {
        false
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let posterior = input.around_last_layer(Spread::LastLayer(Covariance::Zero));
        Ok((posterior, input.record(Method::Map)))
    }

    fn describe(_: &Posterior, _: &FitRecord) -> String {
        "A point estimate: the weights are treated as known, so none of the uncertainty is \
         epistemic."
            .to_owned()
    }
}
