//! `bayes/posterior.safetensors`: what stands between the mean logits and the probabilities. The mean
//! itself is the last linear layer in `model.safetensors`, weight `[c, d]` and bias `[c]`.
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
//! | `dropout.rate` | f64 `[1]` | p: C = p/(1−p) Σ_i φ_i² W_i W_iᵀ over the columns of the weight |
//! | `passes.samples`, `passes.layers` | f64 `[1]` each | S passes with dropout in the top layers (0: in all, and on the embeddings); C is that of their logits, so no other covariance is there |
//! | `draws` | f32 `[64, j]` | ε: standard normal; each is used with both signs |
//!
//! Of the four covariances one is there, or none for method `map`. Helmert's contrasts are
//! `[c, c−1]`: column j has 1/√((j+1)(j+2)) in rows 0 to j and −(j+1)/√((j+1)(j+2)) in row j + 1. With more
//! than two classes the probabilities are the mean of softmax(μ/T ± √s/T · F ε) over the draws, where
//! F = U chol(YᵀY), Q_B diag(√v), or √(p/(1−p)) W diag(φ). Two classes need no draws:
//! E σ(u) for the Gaussian difference u.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::ArtifactError;
use super::files::File;
use crate::posterior::{
    Basis, Covariance, Draws, Dropout, Kronecker, Link, LinkChoice, MOST_SAMPLES, Passes, Root,
    Scaling, Uncertainty, VectorScaling,
};

/// No encoder has more layers.
const MOST_LAYERS: usize = 1000;

/// The file's bytes.
pub fn posterior_file(uncertainty: &Uncertainty, prior_precision: Option<f64>) -> Vec<u8> {
    let mut tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut numbers = |name, values: &[f64]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push((name, Dtype::F64, vec![values.len()], bytes));
    };
    let scaling = &uncertainty.scaling;
    numbers("temperature", &[scaling.temperature]);
    numbers("scale", &[scaling.scale]);
    if let Some(vector) = &scaling.vector {
        numbers("vector.weight", &vector.weight_c);
        numbers("vector.bias", &vector.bias_c);
    }
    if let Some(prior_precision) = prior_precision {
        numbers("prior_precision", &[prior_precision]);
    }
    if let Covariance::Dropout(dropout) = &uncertainty.covariance {
        numbers("dropout.rate", &[dropout.rate()]);
    }
    if let Some(passes) = uncertainty.passes {
        numbers("passes.samples", &[passes.samples as f64]);
        numbers("passes.layers", &[passes.layers as f64]);
    }
    let mut floats = |name, width: usize, values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push((name, Dtype::F32, vec![values.len() / width, width], bytes));
    };
    match &uncertainty.covariance {
        Covariance::Zero | Covariance::Dropout(_) => {}
        Covariance::Difference(root) => floats("difference.root", root.size, &root.values),
        Covariance::Full { root, .. } => floats("full.root", root.size, &root.values),
        Covariance::Kronecker(kronecker) => {
            let width = kronecker.feature_rows.len() / kronecker.width();
            floats("kronecker.features", width, &kronecker.feature_rows);
            floats("kronecker.variances", width, &kronecker.variance_ji);
            floats("kronecker.logits", kronecker.basis.width(), kronecker.basis.values());
        }
    }
    let draws = &uncertainty.link.draws;
    if draws.width() > 0 {
        floats("draws", draws.width(), draws.values());
    }
    let views = tensors.iter().map(|(name, kind, shape, bytes)| {
        let view = TensorView::new(*kind, shape.clone(), bytes);
        (*name, view.expect("the bytes were made from the shape"))
    });
    // One metadata entry: two would be written in the order of their hashes.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid")
}

/// Reads the file. `weight_cd` is the weight of the last linear layer.
pub fn read_posterior(
    File { path, bytes }: &File,
    weight_cd: &Tensor,
    choice: LinkChoice,
) -> Result<Uncertainty, ArtifactError> {
    let damaged = |message: String| ArtifactError::Posterior { path: path.clone(), message };
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let file = Content { tensors };
    let read = || -> Result<Uncertainty, String> {
        let (classes, d) = weight_cd.dims2().map_err(|error| error.to_string())?;
        // Folders of the first version hold a temperature only.
        let scale = if file.has("scale") { file.number("scale")? } else { 1.0 };
        let vector = file.vector(classes)?.map(Arc::new);
        let scaling = Scaling { temperature: file.number("temperature")?, scale, vector };
        scaling.check()?;
        let covariance = file.covariance(classes, d, weight_cd)?;
        let width = covariance.directions();
        let values = if width > 0 { file.floats("draws", None, width)? } else { Vec::new() };
        let draws = Arc::new(Draws::from_values(values, width));
        let passes = file.passes()?;
        if passes.is_some() && covariance != Covariance::Zero {
            return Err("passes and a covariance exclude each other".to_owned());
        }
        Ok(Uncertainty { covariance, passes, link: Link { choice, draws }, scaling })
    };
    read().map_err(damaged)
}

struct Content<'a> {
    tensors: SafeTensors<'a>,
}

impl Content<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        Ok(self.numbers(name, 1)?[0])
    }

    fn numbers(&self, name: &str, count: usize) -> Result<Vec<f64>, String> {
        let tensor = self.tensors.tensor(name).map_err(|error| error.to_string())?;
        let eight = tensor.data().chunks_exact(8);
        let values: Vec<f64> = eight
            .map(|eight| f64::from_le_bytes(eight.try_into().expect("a chunk has eight bytes")))
            .collect();
        let fits = tensor.dtype() == Dtype::F64 && tensor.shape() == [count];
        if fits && values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(format!("`{name}` is not f64 [{count}] of finite numbers"))
        }
    }

    fn passes(&self) -> Result<Option<Passes>, String> {
        if !self.has("passes.samples") {
            return Ok(None);
        }
        let whole = |name: &str, most: usize| -> Result<usize, String> {
            let value = self.number(name)?;
            let fits = value.fract() == 0.0 && (0.0..=most as f64).contains(&value);
            if fits { Ok(value as usize) } else { Err(format!("`{name}` is not 0 to {most}")) }
        };
        let samples = whole("passes.samples", MOST_SAMPLES)?;
        if samples == 0 {
            return Err("`passes.samples` is 0".to_owned());
        }
        Ok(Some(Passes { samples, layers: whole("passes.layers", MOST_LAYERS)? }))
    }

    /// Vector scaling, if there is any. Two classes have one factor.
    fn vector(&self, classes: usize) -> Result<Option<VectorScaling>, String> {
        if !self.has("vector.weight") {
            return Ok(None);
        }
        let weight_c = self.numbers("vector.weight", classes)?;
        if classes == 2 && weight_c[0] != weight_c[1] {
            return Err("`vector.weight` has two factors for two classes".to_owned());
        }
        Ok(Some(VectorScaling { weight_c, bias_c: self.numbers("vector.bias", classes)? }))
    }

    /// Values of a matrix with this shape; any number of rows but zero for `None`.
    fn floats(&self, name: &str, rows: Option<usize>, width: usize) -> Result<Vec<f32>, String> {
        let tensor = self.tensors.tensor(name).map_err(|error| error.to_string())?;
        let shape = tensor.shape();
        let fits = shape.len() == 2 && shape[1] == width && shape[0] > 0;
        if tensor.dtype() != Dtype::F32 || !fits || rows.is_some_and(|rows| rows != shape[0]) {
            let rows = rows.map_or("n".to_owned(), |rows| rows.to_string());
            return Err(format!("`{name}` is not f32 [{rows}, {width}]"));
        }
        let numbers = tensor.data().chunks_exact(4);
        let values: Vec<f32> = numbers
            .map(|four| f32::from_le_bytes(four.try_into().expect("a chunk has four bytes")))
            .collect();
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(format!("`{name}` holds a value that is not finite"))
        }
    }

    fn covariance(
        &self,
        classes: usize,
        d: usize,
        weight_cd: &Tensor,
    ) -> Result<Covariance, String> {
        let width = d + 1;
        if self.has("difference.root") {
            let values = self.floats("difference.root", Some(width), width)?;
            return Ok(Covariance::Difference(Root { values, size: width }));
        }
        if self.has("full.root") {
            let size = (classes - 1) * width;
            let values = self.floats("full.root", Some(size), size)?;
            return Ok(Covariance::Full { root: Root { values, size }, classes });
        }
        if self.has("kronecker.features") {
            let basis_cj = self.floats("kronecker.logits", Some(classes), classes - 1)?;
            return Ok(Covariance::Kronecker(Kronecker {
                feature_rows: self.floats("kronecker.features", Some(width), width)?,
                variance_ji: self.floats("kronecker.variances", Some(classes - 1), width)?,
                basis: Arc::new(Basis::new(basis_cj, classes - 1)),
            }));
        }
        if self.has("dropout.rate") {
            let rate = self.number("dropout.rate")?;
            if !(0.0..1.0).contains(&rate) {
                return Err("`dropout.rate` is not between 0 and 1".to_owned());
            }
            let dropout = Dropout::new(rate, weight_cd).map_err(|error| error.to_string())?;
            return Ok(Covariance::Dropout(dropout));
        }
        Ok(Covariance::Zero)
    }
}

#[cfg(test)]
mod tests;
