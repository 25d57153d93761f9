//! The point estimate: the weights that training ends with, taken for known.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{Approach, Fitted, Needs, Recipe, Told};
use crate::posterior::Covariance;

/// It has no keys of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Map {}

impl Approach for Map {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn has_variance(&self) -> bool {
        false
    }

    fn run(&self, recipe: &mut Recipe<'_>) -> Result<Fitted> {
        Ok(recipe.last.with(Covariance::Zero))
    }

    fn describe(_: &Told<'_>) -> String {
        "A point estimate: the weights are treated as known, so none of the uncertainty is \
         epistemic."
            .to_owned()
    }
}
