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
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    /// max(x, 0).
    Relu,
    /// x σ(x).
    #[serde(alias = "swish")]
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// As TensorBoard's graph names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "Gelu",
            Self::GeluNew => "GeluNew",
            Self::Relu => "Relu",
            Self::Silu => "Silu",
            Self::Tanh => "Tanh",
        }
    }
}

/// Applies it element by element.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluNew => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}

/// act(a) ∘ b: `[p, f]`, of a beside b, `[p, 2f]`.
pub fn gate(ab_pf: &Tensor, activation: Activation) -> Result<Tensor> {
    let wide = ab_pf.dim(1)? / 2;
    let a_pf = ab_pf.narrow(1, 0, wide)?.contiguous()?;
    activate(&a_pf, activation)? * ab_pf.narrow(1, wide, wide)?
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{assert_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for activation in [
            Activation::Gelu,
            Activation::GeluNew,
            Activation::Relu,
            Activation::Silu,
            Activation::Tanh,
        ] {
            assert_gradients(&[sample(&[3, 5], 1)], |x| activate(&x[0], activation));
            assert_gradients(&[sample(&[3, 6], 2)], |x| gate(&x[0], activation));
        }
    }
}
