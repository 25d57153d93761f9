//! A look inside the model every some steps: weights, gradients, attention and hidden states.

use candle_core::{Device, Result, Tensor};

use super::{Gradients, Job};
use crate::compute::{Packed, fetch};
use crate::model::{Classifier, Parameters, Specification, transformers_view};

/// Validation rows of the fixed batch that attention, hidden states and confidence come from.
const PROBE_ROWS: usize = 8;
/// Tokens of a row that are looked at: the plain operation makes all weights of a layer at once.
const PROBE_TOKENS: usize = 512;
/// Attention whose entropy is below this share of ln(tokens) looks at next to nothing but one token.
const COLLAPSED: f64 = 0.05;
/// A global gradient norm outside these says that training stands still or falls apart.
const VANISHING: f64 = 1e-7;
const EXPLODING: f64 = 1e3;

/// One layer on the probe batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerView {
    /// Mean entropy of the attention over heads and tokens, in nats.
    pub entropy: f64,
    /// The mean of ln(tokens), which even attention would have.
    pub most_entropy: f64,
    /// Mean of what leaves the layer.
    pub mean: f64,
    pub deviation: f64,
    /// Attention of the first head on the first sequence, `[s, t]`.
    pub attention_st: Vec<f32>,
    /// Tokens of that sequence.
    pub length: usize,
}

/// What was seen after a step.
#[derive(Debug)]
pub struct Inspection<'a> {
    pub step: u64,
    /// One view a layer, from the lowest.
    pub layers: Vec<LayerView>,
    /// The probability of the predicted class on the probe batch.
    pub confidence: Vec<f64>,
    specifications: &'a [Specification],
    parameters: &'a Parameters,
    gradients: &'a Gradients,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(
        step: u64,
        job: &Job<'_>,
        specifications: &'a [Specification],
        parameters: &'a Parameters,
        gradients: &'a Gradients,
    ) -> Result<Self> {
        let classifier = Classifier::new(job.encoder, &parameters.detached());
        let rows = 0..job.validation.len().min(PROBE_ROWS);
        let mut sums = vec![Sums::default(); job.encoder.num_hidden_layers];
        let mut confidence = Vec::new();
        for row in rows {
            let mut sequence = job.validation.sequence(row);
            sequence.ids.truncate(PROBE_TOKENS);
            sequence.type_ids.truncate(PROBE_TOKENS);
            let batch = Packed::new([sequence]);
            let states = classifier.hidden_states(&batch)?;
            for (layer, sums) in sums.iter_mut().enumerate() {
                let weight_hst = classifier.attention_weights(layer, &states[layer])?;
                sums.attention(&weight_hst)?;
                sums.hidden(&states[layer + 1])?;
            }
            let logits = fetch::<f32>(&classifier.logits(&batch, None)?)?;
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
            confidence.push(1.0 / total);
        }
        let layers = sums.into_iter().map(Sums::view).collect();
        Ok(Self { step, layers, confidence, specifications, parameters, gradients })
    }

    /// Calls `each` with the name in transformers, the values and the gradient of every tensor that is
    /// trained.
    pub fn tensors(&self, mut each: impl FnMut(&str, &[f32], &[f32])) -> Result<()> {
        for one in self.specifications.iter().filter(|one| one.used) {
            let gradient = self.gradients.get(&one.name);
            let gradient = Tensor::from_slice(gradient, one.shape.as_slice(), &Device::Cpu)?;
            let weights = self.parameters.get(&one.name).to_device(&Device::Cpu)?;
            let pairs = transformers_view(one, &weights)?.into_iter();
            for ((name, weight), (_, gradient)) in pairs.zip(transformers_view(one, &gradient)?) {
                let weight = weight.flatten_all()?.to_vec1::<f32>()?;
                each(&name, &weight, &gradient.flatten_all()?.to_vec1::<f32>()?);
            }
        }
        Ok(())
    }

    /// Layers whose attention has collapsed.
    pub(super) fn collapsed(&self) -> Vec<usize> {
        let low = |(_, view): &(usize, &LayerView)| view.entropy < COLLAPSED * view.most_entropy;
        self.layers.iter().enumerate().filter(low).map(|(layer, _)| layer).collect()
    }
}

/// What is wrong with a global gradient norm, if anything.
pub(super) fn suspicious(norm: f64) -> Option<&'static str> {
    if norm < VANISHING {
        Some("vanishes")
    } else if norm > EXPLODING {
        Some("explodes")
    } else {
        None
    }
}

#[derive(Clone, Debug, Default)]
struct Sums {
    entropy: f64,
    lines: f64,
    logarithms: f64,
    sequences: f64,
    hidden: f64,
    squares: f64,
    values: f64,
    first: Option<(Vec<f32>, usize)>,
}

impl Sums {
    fn attention(&mut self, weight_hst: &Tensor) -> Result<()> {
        let (heads, length, _) = weight_hst.dims3()?;
        let weights = fetch::<f32>(weight_hst)?;
        let terms = weights.iter().filter(|&&weight| weight > 0.0);
        self.entropy -= terms.map(|&w| f64::from(w) * f64::from(w).ln()).sum::<f64>();
        self.lines += (heads * length) as f64;
        self.logarithms += (length as f64).ln();
        self.sequences += 1.0;
        if self.first.is_none() {
            self.first = Some((weights[..length * length].to_vec(), length));
        }
        Ok(())
    }

    fn hidden(&mut self, x_sd: &Tensor) -> Result<()> {
        for value in fetch::<f32>(x_sd)? {
            let value = f64::from(value);
            self.hidden += value;
            self.squares += value * value;
            self.values += 1.0;
        }
        Ok(())
    }

    fn view(self) -> LayerView {
        let mean = self.hidden / self.values;
        let (attention_st, length) = self.first.unwrap_or_default();
        LayerView {
            entropy: self.entropy / self.lines,
            most_entropy: self.logarithms / self.sequences,
            mean,
            deviation: (self.squares / self.values - mean * mean).max(0.0).sqrt(),
            attention_st,
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_attention_has_the_most_entropy_and_attention_to_one_token_has_none() {
        let mut even = Sums::default();
        even.attention(&Tensor::full(0.25f32, (2, 4, 4), &Device::Cpu).unwrap()).unwrap();
        even.hidden(&Tensor::new(&[[1f32, 3.0]], &Device::Cpu).unwrap()).unwrap();
        let view = even.view();
        assert!(
            (view.entropy - 4f64.ln()).abs() < 1e-6 && view.entropy <= view.most_entropy + 1e-6
        );
        assert_eq!((view.mean, view.deviation, view.length), (2.0, 1.0, 4));
        let mut one = Sums::default();
        let eye = Tensor::eye(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        one.attention(&eye.unsqueeze(0).unwrap()).unwrap();
        assert!(one.view().entropy < COLLAPSED * 3f64.ln());
    }

    #[test]
    fn only_norms_far_from_all_others_are_suspicious() {
        assert_eq!([1e-9, 0.5, 2e3].map(suspicious), [Some("vanishes"), None, Some("explodes")]);
    }
}
