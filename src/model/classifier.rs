//! The forward pass on packed batches.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::architecture::Segments;
use super::layout::{AffineNames, LayerNames};
use super::{EncoderConfig, Engine, Parameters, Pooling};
use crate::compute::ops::{
    self, Attending, Dropout, activate, add_layer_norm, attention, dropout, embed, linear,
    row_linear,
};
use crate::compute::{Noise, Packed};

/// Where the noise of a training step comes from. Prediction has none.
#[derive(Clone, Copy, Debug)]
pub struct DropoutSource {
    /// The noise of the run.
    pub noise: Noise,
    /// The forward pass it belongs to, counted over the whole run.
    pub step: u64,
}

/// Passes with dropout as in training, whose noise is named by the text: a text has the same passes
/// alone and in any batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutPasses {
    pub samples: usize,
    /// How many of the top layers have dropout, and what comes behind them; 0 = all layers, and the
    /// embeddings.
    pub layers: usize,
    /// Where the noise comes from.
    pub noise: Noise,
}

/// Asked before each of several passes: whether anybody still waits for them.
pub type StillWanted<'a> = &'a (dyn Fn() -> bool + Sync);

/// What the encoder makes of each sequence of a batch.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// The feature φ that enters the last linear layer, `[b, d]`.
    pub feature_bd: Tensor,
    /// What enters each of the last layers, as the mean over the tokens, side by side: `[b, e]`.
    pub input_be: Vec<f32>,
    /// What enters the layer that was asked for, `[p, d]`.
    pub below_pd: Option<Tensor>,
}

/// An encoder with its head, over parameters that it shares with whoever trains them.
#[derive(Clone, Debug)]
pub struct Classifier {
    config: EncoderConfig,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    pooler: (Tensor, Tensor),
    last: (Tensor, Tensor),
    engine: Option<Arc<Engine>>,
}

#[derive(Clone, Debug)]
struct Embeddings {
    word_vd: Tensor,
    position: Tensor,
    segment: Option<Tensor>,
    norm_2d: Tensor,
}

/// Weights and biases of one encoder layer.
#[derive(Clone, Debug)]
struct Layer {
    qkv: (Tensor, Tensor),
    output: (Tensor, Tensor),
    attention_norm_2d: Tensor,
    inner: (Tensor, Tensor),
    outer: (Tensor, Tensor),
    norm_2d: Tensor,
}

/// The dropout places of one pass, numbered in the order of the forward pass.
struct Places<'a> {
    source: Option<&'a DropoutSource>,
    next: u32,
}

impl Places<'_> {
    fn draw(&mut self, rate: f64) -> Option<Dropout> {
        let place = self.next;
        self.next += 1;
        self.source.map(|source| Dropout::new(&source.noise, source.step, place, rate))
    }
}

impl Classifier {
    /// A classifier for weights that do not change any more: on the CPU they are packed once.
    pub fn packed(config: &EncoderConfig, parameters: &Parameters) -> Result<Self> {
        let engine = Engine::new(config, parameters)?.map(Arc::new);
        Ok(Self { engine, ..Self::new(config, parameters) })
    }

    /// The layers from `first` on and what comes behind them, packed, with weights of their own; below them
    /// they have those of `mean`, with which they share all that is not theirs.
    pub fn packed_above(
        config: &EncoderConfig,
        mean: &Parameters,
        own: &Parameters,
        first: usize,
    ) -> Result<Self> {
        let engine = Engine::above(config, own, first)?.map(Arc::new);
        let plain = Self::new(config, own);
        // What is packed is not kept twice.
        let layers = if engine.is_some() { Self::new(config, mean).layers } else { plain.layers };
        Ok(Self { engine, layers, ..plain })
    }

    /// A classifier over these tensors, which are shared and not copied, in plain operations.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Self {
        let get = |name: &str| parameters.get(name).clone();
        let affine = |names: &AffineNames| (get(&names.weight), get(&names.bias));
        let layer = |index: usize| {
            let names = LayerNames::of(index);
            Layer {
                qkv: affine(&names.qkv),
                output: affine(&names.output),
                attention_norm_2d: get(&names.attention_norm),
                inner: affine(&names.inner),
                outer: affine(&names.outer),
                norm_2d: get(&names.norm),
            }
        };
        let segments = config.architecture.segments != Segments::Absent;
        Self {
            config: config.clone(),
            embeddings: Embeddings {
                word_vd: get("embeddings.word"),
                position: get("embeddings.position"),
                segment: segments.then(|| get("embeddings.type")),
                norm_2d: get("embeddings.norm"),
            },
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            pooler: affine(&AffineNames::of("pooler")),
            last: affine(&AffineNames::of("classifier")),
            engine: None,
        }
    }

    /// The config it was built from.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Weight `[c, d]` and bias `[c]` of the last linear layer.
    pub fn last_layer(&self) -> (&Tensor, &Tensor) {
        (&self.last.0, &self.last.1)
    }

    /// The last hidden state of every token: `[p, d]`.
    pub fn hidden(&self, batch: &Packed) -> Result<Tensor> {
        match &self.engine {
            Some(engine) => engine.hidden(batch),
            None => self.encode(batch, &mut Places { source: None, next: 0 }, &batch.places()),
        }
    }

    /// The feature φ that enters the last linear layer, without noise: `[b, d]`.
    pub fn features(&self, batch: &Packed) -> Result<Tensor> {
        Ok(self.trunk(batch, 0)?.feature_bd)
    }

    /// The feature φ, and what enters each of the last `inputs` layers, as the mean over the tokens.
    pub fn trunk(&self, batch: &Packed, inputs: usize) -> Result<Trunk> {
        self.trunk_above(batch, inputs, None)
    }

    /// The same, and what enters the layer `first`, where one is named.
    pub fn trunk_above(
        &self,
        batch: &Packed,
        inputs: usize,
        first: Option<usize>,
    ) -> Result<Trunk> {
        let inputs = inputs.min(self.layers.len());
        let below_pd;
        let (pooled_bd, input_be) = match &self.engine {
            Some(engine) => {
                let mut below = Vec::new();
                let kept = first.map(|first| (first, &mut below));
                let both = engine.pooled_above(batch, inputs, kept)?;
                let shape = (batch.tokens(), self.config.hidden_size);
                let tensor = || Tensor::from_vec(below, shape, both.0.device());
                below_pd = first.map(|_| tensor()).transpose()?;
                both
            }
            None => {
                let mut places = Places { source: None, next: 0 };
                let mut states = self.states(batch, &mut places, &batch.places())?;
                below_pd = first.map(|first| states[first].clone());
                let last_pd = states.pop().expect("the embeddings come first");
                let means = states[states.len() - inputs..].iter();
                let means = means.map(|x_pd| ops::mean_token(x_pd, batch));
                let means = means.collect::<Result<Vec<_>>>()?;
                let input_be = match inputs {
                    0 => Vec::new(),
                    _ => Tensor::cat(&means, 1)?.flatten_all()?.to_vec1::<f32>()?,
                };
                (self.pool(&last_pd, batch)?, input_be)
            }
        };
        let mut places = Places { source: None, next: 0 };
        Ok(Trunk { feature_bd: self.feature(&pooled_bd, batch, &mut places)?, input_be, below_pd })
    }

    /// Logits `[b, c]`, without noise, from what enters the layer `first`, `[p, d]`: the lowest one of
    /// [`Self::packed_above`].
    pub fn logits_from(&self, below_pd: &Tensor, first: usize, batch: &Packed) -> Result<Tensor> {
        let mut noise = Places { source: None, next: 0 };
        let pooled_bd = match &self.engine {
            Some(engine) => {
                engine.pooled_from(batch, &below_pd.flatten_all()?.to_vec1::<f32>()?)?
            }
            None => {
                let (mut x_pd, places) = (below_pd.clone(), batch.places());
                for layer in &self.layers[first..] {
                    x_pd = layer.forward(&x_pd, &self.config, batch, &mut noise, &places)?;
                }
                self.pool(&x_pd, batch)?
            }
        };
        self.feature_logits(&self.feature(&pooled_bd, batch, &mut noise)?)
    }

    /// What enters the last linear layer in each of several passes with dropout, that on the feature
    /// included: `[b, samples, d]`. Layers without dropout are computed once.
    pub fn sampled(&self, batch: &Packed, sampling: &DropoutPasses) -> Result<Tensor> {
        let samples = self.sampled_while(batch, sampling, &|| true)?;
        Ok(samples.expect("they are wanted to the end"))
    }

    /// The same, but `None` if they were not wanted any more before the last pass.
    pub fn sampled_while(
        &self,
        batch: &Packed,
        sampling: &DropoutPasses,
        wanted: StillWanted<'_>,
    ) -> Result<Option<Tensor>> {
        let batch = batch.by_text();
        let count = self.layers.len();
        let first = if sampling.layers == 0 { 0 } else { count.saturating_sub(sampling.layers) };
        let step = |sample| DropoutSource { noise: sampling.noise, step: sample as u64 };
        let sources: Vec<DropoutSource> = (0..sampling.samples).map(step).collect();
        let pooled = match &self.engine {
            Some(engine) => engine.sampled(&batch, first, &sources, wanted)?,
            None => self.sampled_plainly(&batch, first, &sources, wanted)?,
        };
        let Some(pooled) = pooled else { return Ok(None) };
        let after = 1 + 3 * count as u32;
        let features = sources.iter().zip(pooled).map(|(source, pooled_bd)| {
            let mut places = Places { source: Some(source), next: after };
            self.dropped_feature(&pooled_bd, &batch, &mut places)
        });
        Tensor::stack(&features.collect::<Result<Vec<_>>>()?, 1).map(Some)
    }

    fn sampled_plainly(
        &self,
        batch: &Packed,
        first: usize,
        sources: &[DropoutSource],
        wanted: StillWanted<'_>,
    ) -> Result<Option<Vec<Tensor>>> {
        let places = batch.places();
        let mut below = None;
        if first > 0 {
            let mut noise = Places { source: None, next: 0 };
            below = Some(self.states(batch, &mut noise, &places)?.swap_remove(first));
        }
        let pooled = sources.iter().map(|source| {
            if !wanted() {
                return Ok(None);
            }
            let mut noise = Places { source: Some(source), next: 1 + 3 * first as u32 };
            let Some(mut x_pd) = below.clone() else {
                noise.next = 0;
                return self.pool(&self.encode(batch, &mut noise, &places)?, batch).map(Some);
            };
            for layer in &self.layers[first..] {
                x_pd = layer.forward(&x_pd, &self.config, batch, &mut noise, &places)?;
            }
            self.pool(&x_pd, batch).map(Some)
        });
        pooled.collect()
    }

    /// What enters each layer, and what leaves the last, without noise: `[p, d]` each.
    pub fn hidden_states(&self, batch: &Packed) -> Result<Vec<Tensor>> {
        self.states(batch, &mut Places { source: None, next: 0 }, &batch.places())
    }

    /// The weights `[h, s, t]` with which the tokens of one sequence attend to each other in a layer,
    /// given what enters it, `[s, d]`.
    pub fn attention_weights(&self, layer: usize, x_sd: &Tensor) -> Result<Tensor> {
        let (weight, bias) = &self.layers[layer].qkv;
        let heads = self.config.num_attention_heads;
        ops::attention_weights(&linear(x_sd, weight, bias)?, Attending::plain(heads))
    }

    /// Logits `[b, c]`; with a source of noise, as in training.
    pub fn logits(&self, batch: &Packed, source: Option<&DropoutSource>) -> Result<Tensor> {
        self.feature_logits(&self.training_feature(batch, source)?)
    }

    /// What enters the last linear layer, `[b, d]`; with a source of noise, as in training.
    pub fn training_feature(
        &self,
        batch: &Packed,
        source: Option<&DropoutSource>,
    ) -> Result<Tensor> {
        let hidden_pd = self.encode(batch, &mut Places { source, next: 0 }, &batch.places())?;
        self.head_feature(&self.pool(&hidden_pd, batch)?, batch, source)
    }

    /// The same of pooled hidden states `[b, d]`.
    pub fn head_feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        source: Option<&DropoutSource>,
    ) -> Result<Tensor> {
        let mut places = Places { source, next: 1 + 3 * self.layers.len() as u32 };
        self.dropped_feature(pooled_bd, batch, &mut places)
    }

    /// Logits `[b, c]` of what enters the last linear layer.
    pub fn feature_logits(&self, feature_bd: &Tensor) -> Result<Tensor> {
        row_linear(feature_bd, &self.last.0, &self.last.1)
    }

    /// The feature behind its dropout.
    fn dropped_feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        places: &mut Places<'_>,
    ) -> Result<Tensor> {
        let feature_bd = self.feature(pooled_bd, batch, places)?;
        let noise = places.draw(self.config.classifier_dropout);
        dropout(&feature_bd, &ops::sequence_places(batch), noise)
    }

    fn pool(&self, hidden_pd: &Tensor, batch: &Packed) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::Mean | Pooling::Normalised => ops::mean_token(hidden_pd, batch),
            Pooling::Cls | Pooling::Auto => ops::first_token(hidden_pd, batch),
        }
    }

    fn feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        places: &mut Places<'_>,
    ) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::Auto => {}
            Pooling::Normalised => return ops::normalise(pooled_bd),
            Pooling::Mean | Pooling::Cls => return Ok(pooled_bd.clone()),
        }
        let mut first_bd = pooled_bd.clone();
        let head = self.config.architecture.head;
        if head.dropout_first {
            let noise = places.draw(self.config.classifier_dropout);
            first_bd = dropout(&first_bd, &ops::sequence_places(batch), noise)?;
        }
        head.activation.apply(&row_linear(&first_bd, &self.pooler.0, &self.pooler.1)?)
    }

    fn encode(
        &self,
        batch: &Packed,
        noise: &mut Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Tensor> {
        let mut states = self.states(batch, noise, places)?;
        Ok(states.pop().expect("the embeddings come first"))
    }

    /// What enters each layer, and what leaves the last: `[p, d]` each.
    fn states(
        &self,
        batch: &Packed,
        noise: &mut Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Vec<Tensor>> {
        let config = &self.config;
        let first = config.first_position() as u32;
        let positions: Vec<u32> = batch.positions().map(|position| position + first).collect();
        let word_pd = embed(&self.embeddings.word_vd, batch.ids())?;
        let place_pd = embed(&self.embeddings.position, &positions)?;
        let with_segment_pd = match &self.embeddings.segment {
            Some(segment) => (word_pd + embed(segment, batch.type_ids())?)?,
            None => word_pd,
        };
        let sum_pd = (with_segment_pd + place_pd)?;
        let x_pd = add_layer_norm(&sum_pd, None, &self.embeddings.norm_2d, config.layer_norm_eps)?;
        let x_pd = dropout(&x_pd, places, noise.draw(config.hidden_dropout_prob))?;
        let mut states = vec![x_pd];
        for (index, layer) in self.layers.iter().enumerate() {
            let x_pd = layer.forward(&states[index], config, batch, noise, places)?;
            states.push(x_pd);
        }
        Ok(states)
    }
}

impl Layer {
    fn forward(
        &self,
        x_pd: &Tensor,
        config: &EncoderConfig,
        batch: &Packed,
        noise: &mut Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Tensor> {
        let heads = config.num_attention_heads;
        let qkv_pe = linear(x_pd, &self.qkv.0, &self.qkv.1)?;
        let on_weights = noise.draw(config.attention_probs_dropout_prob);
        let mixed_pd = attention(&qkv_pe, batch, Attending::plain(heads), on_weights)?;
        let mixed_pd = linear(&mixed_pd, &self.output.0, &self.output.1)?;
        let on_output = noise.draw(config.attention_output_dropout());
        let mixed_pd = dropout(&mixed_pd, places, on_output)?;
        let epsilon = config.layer_norm_eps;
        let x_pd = add_layer_norm(&mixed_pd, Some(x_pd), &self.attention_norm_2d, epsilon)?;

        let inner_pf = linear(&x_pd, &self.inner.0, &self.inner.1)?;
        let inner_pf = activate(&inner_pf, config.hidden_act)?;
        let outer_pd = linear(&inner_pf, &self.outer.0, &self.outer.1)?;
        let outer_pd = dropout(&outer_pd, places, noise.draw(config.hidden_dropout_prob))?;
        add_layer_norm(&outer_pd, Some(&x_pd), &self.norm_2d, epsilon)
    }
}
