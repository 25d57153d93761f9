//! `bayes/posterior.safetensors`: what stands between the mean logits and the probabilities. The mean
//! itself is the last linear layer in `model.safetensors`, weight `[c, d]` and bias `[c]`; or, where there is
//! one, the layer on random Fourier features or on hidden states in this file, and then the one in
//! `model.safetensors` is a stand-in for tools that know no such features.
//!
//! With φ the feature that enters that layer, φ̃ = (φ, 1) of width D = d + 1, and C the covariance of
//! the logits of a text, up to a shift of all of them:
//!
//! | tensor | type, shape | meaning |
//! |---|---|---|
//! | `temperature` | f64 `[1]` | T: logits are divided by it |
//! | `scale` | f64 `[1]` | s: C is multiplied by s / T² |
//! | `vector.weight`, `vector.bias` | f64 `[c]` each | w and b: before T and s, logits μ become w ∘ μ + b, and C becomes diag(w) C diag(w) |
//! | `prior_precision` | f64 `[1]` | δ of the weights, where the evidence chose one |
//! | `difference.root` | f32 `[D, D]` | R: two classes, Var(μ₁ − μ₀) = ‖R φ̃‖² |
//! | `full.root` | f32 `[(c−1)D, (c−1)D]` | R: C = U YᵀY Uᵀ, column a of Y is R times φ̃ at place a·D, U Helmert's contrasts |
//! | `kronecker.features` | f32 `[D, D]` | Q_Aᵀ, an eigenvector a row; z = Q_Aᵀ φ̃ |
//! | `kronecker.variances` | f32 `[c−1, D]` | g: v_j = Σ_i g_ji z_i² |
//! | `kronecker.logits` | f32 `[c, c−1]` | Q_B: C = Q_B diag(v) Q_Bᵀ |
//! | `low_rank.variances` | f32 `[c, D]` | v: C_kl = δ_kl Σ_i φ̃_i² v_ki + Σ_r (E_r φ̃)_k (E_r φ̃)_l |
//! | `low_rank.directions` | f32 `[r c, D]` | E, one direction after another |
//! | `classwise.variances` | f32 `[c, D]` | v: C_kk = Σ_i φ̃_i² v_ki + Σ_r (E_kr φ̃)², and C_kl = 0 |
//! | `classwise.directions` | f32 `[c r, D]` | E, the directions of one class after another; absent for none |
//! | `common.root` | f32 `[D, D]` | R: C = ‖R φ̃‖² I |
//! | `learned.log_variances` | f32 `[c, D]` | a: C_kk = exp(a_kᵀ φ̃) + 10⁻⁴, and C_kl = 0 |
//! | `dropout.rate` | f64 `[1]` | p: C = p/(1−p) Σ_i φ_i² W_i W_iᵀ over the columns of the weight |
//! | `passes.samples`, `passes.layers` | f64 `[1]` each | S passes with dropout in the top layers (0: in all, and on the embeddings); C is that of their logits, so no other covariance is there |
//! | `members` | f64 `[1]` | M networks, whose logits are the points instead; those after the first are in `bayes/members` |
//! | `top.samples`, `top.layers` | f64 `[1]` each | S samples of the weights of the top layers and of what comes behind them, whose logits are the points |
//! | `top.variance.NAME` | f32 `[n]` | the parameter NAME (our name) is its mean in `model.safetensors` + √variance ∘ ε, ε drawn when the model is loaded |
//! | `top.drawn.NAME`, `top.down.NAME` or `top.up.NAME` | f32 `[S, n]`, `[r i]`, `[o r]` | or, for a weight `[o, i]`, its mean + B A: A `[r, i]` is `down` and each sample has a B `[o, r]`, or B is `up` and each has an A; without the two each has a whole `[o, i]` |
//! | `fourier.frequencies` | f32 `[r, d]` | F: the covariance and the mean below are those of a layer on Φ = √(2/r) cos(F x + b), r wide, in the place of φ; x is φ less its mean, over its standard deviation |
//! | `fourier.phases` | f32 `[1, r]` | b |
//! | `fourier.weight`, `fourier.bias` | f32 `[c, r]`, `[1, c]` | the mean of that layer |
//! | `fourier.length_scale` | f64 `[1]` | ℓ: F was drawn from N(0, 1/ℓ²) |
//! | `wide.states` | f64 `[n]` | numbers of hidden states: the layer that predicts reads their means over the tokens, in ascending order, then φ; e = (n + 1) d is what `fourier.frequencies` is then wide |
//! | `wide.weight`, `wide.bias` | f32 `[c, e]`, `[1, c]` | the mean of that layer, where no random Fourier features are between |
//! | `draws` | f32 `[64, j]` | ε: standard normal; each is used with both signs |
//!
//! Of the covariances one is there, or none for method `map`. Helmert's contrasts are
//! `[c, c−1]`: column j has 1/√((j+1)(j+2)) in rows 0 to j and −(j+1)/√((j+1)(j+2)) in row j + 1. With more
//! than two classes the probabilities are the mean of softmax(μ/T ± √s/T · F ε) over the draws, where
//! F = U chol(YᵀY), Q_B diag(√v), √(p/(1−p)) W diag(φ), or diag(√(v φ̃²)) with the columns E_r φ̃ behind it, or the root of a
//! diagonal C. Two classes need no draws:
//! E σ(u) for the Gaussian difference u.

use super::ArtifactError;
use super::files::File;
use crate::model::Parameters;
use crate::posterior::{LinkChoice, Posterior};
use crate::store::{TensorFile, Tensors};
use crate::task::Task;

pub fn posterior_file(posterior: &Posterior, prior_precision: Option<f64>) -> Vec<u8> {
    let mut tensors = Tensors::default();
    posterior.put(&mut tensors);
    if let Some(prior_precision) = prior_precision {
        tensors.put_f64("prior_precision", &[prior_precision]);
    }
    tensors.to_bytes()
}

/// Reads the file. The mean is the last linear layer of `parameters`.
pub fn read_posterior(
    File { path, bytes }: &File,
    parameters: &Parameters,
    task: Task,
    choice: LinkChoice,
) -> Result<Posterior, ArtifactError> {
    TensorFile::parse(bytes)
        .and_then(|file| Posterior::read(&file, parameters, task, choice))
        .map_err(|message| ArtifactError::Posterior { path: path.clone(), message })
}

#[cfg(test)]
mod tests;
