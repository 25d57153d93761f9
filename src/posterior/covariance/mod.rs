//! The covariance of the last layer in the form that predicts: f32, one text at a time, so that a
//! text's logits are the same bits in any batch.
//!
//! A form has a file here, with its mathematics and its tensors in `bayes/posterior.safetensors`.

mod classwise;
mod common;
mod dropout;
mod kronecker;
mod learned;
mod low_rank;
mod triangle;

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::Tensor;

pub use self::classwise::Classwise;
pub use self::common::Common;
pub use self::dropout::Dropout;
pub use self::kronecker::Kronecker;
pub use self::learned::{LEAST_VARIANCE, Learned};
pub use self::low_rank::LowRank;
pub use self::triangle::{Difference, Full, Root};
use super::logits::{Basis, LogitCovariance};
use crate::store::{TensorFile, Tensors};

/// How far the weights of the last layer may be from their mean. A feature of width d has a one
/// behind it for the bias: φ̃, of width D = d + 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Covariance {
    /// Not at all: method `map`.
    Zero,
    /// Two classes: of the difference of their weights.
    Difference(Difference),
    /// More classes, all of it.
    Full(Full),
    Kronecker(Kronecker),
    /// Of dropout on the feature.
    Dropout(Dropout),
    /// A diagonal and a few directions.
    LowRank(LowRank),
    /// The same for each class by itself.
    Classwise(Classwise),
    /// The same for all classes, which are independent.
    Common(Common),
    /// An output of the network.
    Learned(Learned),
}

/// What a form of the covariance does.
trait Form {
    /// The width of the draws that a link needs; two classes need none.
    fn directions(&self) -> usize;

    /// The covariance of the logits at a feature `[d]`.
    fn at(&self, feature_d: &[f32]) -> LogitCovariance;

    /// Becomes the covariance for features as they are, where it was fitted on φ̃ times `scale_d`, `[D]`.
    fn unscale(&mut self, scale_d: &[f64]);

    /// Puts its tensors into a file.
    fn put(&self, tensors: &mut Tensors);

    /// Itself, where its tensors are in the file. The error names what is wrong with them.
    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String>
    where
        Self: Sized;
}

impl Covariance {
    fn form(&self) -> Option<&dyn Form> {
        match self {
            Self::Zero => None,
            Self::Difference(one) => Some(one),
            Self::Full(one) => Some(one),
            Self::Kronecker(one) => Some(one),
            Self::Dropout(one) => Some(one),
            Self::LowRank(one) => Some(one),
            Self::Classwise(one) => Some(one),
            Self::Common(one) => Some(one),
            Self::Learned(one) => Some(one),
        }
    }

    /// The one whose tensors are in the file. `weight_cd` is the mean of the last layer's weight.
    pub fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Self, String> {
        let forms = [
            Difference::read(file, weight_cd)?.map(Self::Difference),
            Full::read(file, weight_cd)?.map(Self::Full),
            Kronecker::read(file, weight_cd)?.map(Self::Kronecker),
            Dropout::read(file, weight_cd)?.map(Self::Dropout),
            LowRank::read(file, weight_cd)?.map(Self::LowRank),
            Classwise::read(file, weight_cd)?.map(Self::Classwise),
            Common::read(file, weight_cd)?.map(Self::Common),
            Learned::read(file, weight_cd)?.map(Self::Learned),
        ];
        Ok(forms.into_iter().flatten().next().unwrap_or(Self::Zero))
    }

    /// Puts its tensors into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        if let Some(form) = self.form() {
            form.put(tensors);
        }
    }

    /// The width of the draws that a link needs; two classes need none.
    pub fn directions(&self) -> usize {
        self.form().map_or(0, Form::directions)
    }

    /// The columns that the covariances of all texts are made of, where they share them.
    pub fn basis(&self) -> Option<&Arc<Basis>> {
        match self {
            Self::Kronecker(one) => Some(&one.basis),
            Self::Dropout(one) => Some(&one.basis),
            Self::Zero
            | Self::Difference(_)
            | Self::Full(_)
            | Self::LowRank(_)
            | Self::Classwise(_)
            | Self::Common(_)
            | Self::Learned(_) => None,
        }
    }

    /// The covariance for features as they are, where this one was fitted on φ̃ times `scale_d`, `[D]`.
    pub fn of_unscaled(mut self, scale_d: &[f64]) -> Self {
        match &mut self {
            Self::Zero => {}
            Self::Difference(one) => one.unscale(scale_d),
            Self::Full(one) => one.unscale(scale_d),
            Self::Kronecker(one) => one.unscale(scale_d),
            Self::Dropout(one) => one.unscale(scale_d),
            Self::LowRank(one) => one.unscale(scale_d),
            Self::Classwise(one) => one.unscale(scale_d),
            Self::Common(one) => one.unscale(scale_d),
            Self::Learned(one) => one.unscale(scale_d),
        }
        self
    }

    /// The covariance of the logits at a feature `[d]`; `None` for none.
    pub fn at(&self, feature_d: &[f32]) -> Option<LogitCovariance> {
        Some(self.form()?.at(feature_d))
    }
}

/// Variances of weights, `[c, D]`, none of them below 0.
fn read_variances(
    file: &TensorFile<'_>,
    name: &str,
    (classes, width): (usize, usize),
) -> Result<Vec<f32>, String> {
    let variance_ki = file.matrix(name, Some(classes), width)?;
    match variance_ki.iter().any(|variance| *variance < 0.0) {
        true => Err(format!("`{name}` holds a variance below 0")),
        false => Ok(variance_ki),
    }
}

/// Directions in which weights vary together, as many for each class: `[r c, D]`.
fn read_directions(
    file: &TensorFile<'_>,
    name: &str,
    (classes, width): (usize, usize),
) -> Result<Vec<f32>, String> {
    let direction_ji = file.matrix(name, None, width)?;
    match direction_ji.len().is_multiple_of(classes * width) {
        true => Ok(direction_ji),
        false => Err(format!("the rows of `{name}` do not fit {classes} classes")),
    }
}

fn with_bias(feature_d: &[f32]) -> Vec<f32> {
    feature_d.iter().copied().chain([1.0]).collect()
}

/// Columns are weights, of one output or of one contrast after another: each times the scale of its feature.
fn unscale_columns(values: &mut [f32], scale_d: &[f64]) {
    for (value, scale) in values.iter_mut().zip(scale_d.iter().cycle()) {
        *value = (f64::from(*value) * scale) as f32;
    }
}

/// `c` and `D` of the last layer's weight `[c, d]`.
fn sizes(weight_cd: &Tensor) -> Result<(usize, usize), String> {
    let (classes, d) = weight_cd.dims2().map_err(|error| error.to_string())?;
    Ok((classes, d + 1))
}
