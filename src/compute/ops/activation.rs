//! The non-linearity of the feed-forward block.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// Named as transformers' `hidden_act` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x), with the exact error function.
    #[default]
    Gelu,
    /// The tanh approximation of GELU.
    #[serde(alias = "gelu_pytorch_tanh")]
    GeluNew,
    /// max(x, 0).
    Relu,
}

/// Applies it element by element.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluNew => x.gelu(),
        Activation::Relu => x.relu(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu] {
            assert_gradients(&[sample(&[3, 5], 1)], |x| activate(&x[0], activation));
        }
    }
}
