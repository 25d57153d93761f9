//! What stands between the posterior and the link.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::store::{TensorFile, Tensors};

/// How logits are corrected on rows that training has not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// T: logits are divided by it.
    pub temperature: f64,
    /// s: the covariance of the logits is multiplied by it; 0 leaves it out.
    pub scale: f64,
    /// What comes before both, if there is one.
    pub vector: Option<Arc<VectorScaling>>,
}

/// μ ↦ w ∘ μ + b: a factor and an offset for each class. Guo, Pleiss, Sun and Weinberger, "On calibration
/// of modern neural networks" (ICML 2017), section 4.2. Two classes share one factor, since only
/// the difference of their logits is known: u ↦ a u + b, as in Platt scaling.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorScaling {
    /// w, `[c]`.
    pub weight_c: Vec<f64>,
    /// b, `[c]`.
    pub bias_c: Vec<f64>,
}

impl VectorScaling {
    /// That of a file, if there is one. Two classes have one factor.
    fn read(file: &TensorFile<'_>, classes: usize) -> Result<Option<Self>, String> {
        if !file.has("vector.weight") {
            return Ok(None);
        }
        let weight_c = file.finite_f64("vector.weight", classes)?;
        if classes == 2 && weight_c[0] != weight_c[1] {
            return Err("`vector.weight` has two factors for two classes".to_owned());
        }
        Ok(Some(Self { weight_c, bias_c: file.finite_f64("vector.bias", classes)? }))
    }

    /// w ∘ μ + b.
    pub fn apply(&self, logit_c: &[f64]) -> Vec<f64> {
        let lines = logit_c.iter().zip(&self.weight_c).zip(&self.bias_c);
        lines.map(|((logit, weight), bias)| weight * logit + bias).collect()
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self { temperature: 1.0, scale: 1.0, vector: None }
    }
}

/// What a number of a file may be: a thousand times beyond the bounds of every fit.
const TEMPERATURES: RangeInclusive<f64> = 1e-5..=1e5;
const SCALES: RangeInclusive<f64> = 0.0..=1e9;
const MOST_VECTOR: f64 = 1e6;

impl Scaling {
    /// Puts its tensors into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        tensors.put_f64("temperature", &[self.temperature]);
        tensors.put_f64("scale", &[self.scale]);
        if let Some(vector) = &self.vector {
            tensors.put_f64("vector.weight", &vector.weight_c);
            tensors.put_f64("vector.bias", &vector.bias_c);
        }
    }

    /// That of a file, for so many classes. Folders of the first version hold a temperature only.
    pub fn read(file: &TensorFile<'_>, classes: usize) -> Result<Self, String> {
        let number = |name: &str| Ok::<f64, String>(file.finite_f64(name, 1)?[0]);
        let scaling = Self {
            temperature: number("temperature")?,
            scale: if file.has("scale") { number("scale")? } else { 1.0 },
            vector: VectorScaling::read(file, classes)?.map(Arc::new),
        };
        scaling.check()?;
        Ok(scaling)
    }

    /// The first number that no fit gives, as a message: with it probabilities would not be numbers.
    fn check(&self) -> Result<(), String> {
        let refused = |name: &str, value: f64| {
            Err(format!("`{name}` is {value:e}, which no calibration gives"))
        };
        if !TEMPERATURES.contains(&self.temperature) {
            return refused("temperature", self.temperature);
        }
        if !SCALES.contains(&self.scale) {
            return refused("scale", self.scale);
        }
        let Some(vector) = &self.vector else { return Ok(()) };
        let beyond = |value: &&f64| value.is_nan() || value.abs() > MOST_VECTOR;
        for (name, values) in [("vector.weight", &vector.weight_c), ("vector.bias", &vector.bias_c)]
        {
            if let Some(&value) = values.iter().find(beyond) {
                return refused(name, value);
            }
        }
        Ok(())
    }

    /// Whether the covariance of the logits has any part in the probabilities.
    pub fn uses_variance(&self) -> bool {
        self.scale > 0.0
    }

    /// The logits behind the vector scaling.
    pub(super) fn moved<'a>(&self, logit_c: &'a [f64]) -> Cow<'a, [f64]> {
        match &self.vector {
            Some(vector) => Cow::Owned(vector.apply(logit_c)),
            None => Cow::Borrowed(logit_c),
        }
    }

    /// What deviations are multiplied by, besides w: √s / T.
    pub(super) fn factor(&self) -> f64 {
        self.scale.sqrt() / self.temperature
    }

    /// The logits behind both.
    pub fn divided(&self, logit_c: &[f64]) -> Vec<f64> {
        self.moved(logit_c).iter().map(|logit| logit / self.temperature).collect()
    }

    /// w of one class.
    pub(super) fn stretch(&self, class: usize) -> f64 {
        self.vector.as_ref().map_or(1.0, |vector| vector.weight_c[class])
    }

    /// w times the lines of deviations `[c, j]`.
    pub(super) fn stretch_lines(&self, value_cj: &mut [f64], classes: usize) {
        if let Some(vector) = &self.vector {
            let width = value_cj.len() / classes;
            for (line, weight) in value_cj.chunks_exact_mut(width).zip(&vector.weight_c) {
                line.iter_mut().for_each(|value| *value *= weight);
            }
        }
    }
}
