//! The encoder with its head on packed batches: by the CPU engine where there is one, and as a graph elsewhere.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::graph::{Affine, Graph, Segments};
use super::layout::{HEAD_NORM, pooler_names};
use super::places::Places;
use super::{EncoderConfig, Engine, Parameters, Pooling};
use crate::compute::ops::{self, OnBatch};
use crate::compute::{Backend, Noise, Packed, Precision, fetch};

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
    graph: Graph,
    pooler: Affine,
    head_norm: Option<Tensor>,
    last: (Tensor, Tensor),
    engine: Option<Arc<Engine>>,
    backend: Backend,
    /// Of the products of layers.
    precision: Precision,
}

impl Classifier {
    /// A classifier for weights that do not change any more: on the CPU they are packed once.
    pub fn packed(config: &EncoderConfig, parameters: &Parameters) -> Result<Self> {
        Self::packed_at(Precision::F32, config, parameters)
    }

    /// The same, whose layers multiply at a precision that this CPU has instructions for. What is only looked up is as
    /// [`Parameters::rounded`] leaves it.
    pub fn packed_at(
        precision: Precision,
        config: &EncoderConfig,
        parameters: &Parameters,
    ) -> Result<Self> {
        let engine = Engine::above(config, parameters, 0, precision)?.map(Arc::new);
        Ok(Self { engine, precision, ..Self::new(config, parameters) })
    }

    /// The layers from `first` on and what comes behind them, packed, with weights of their own; below them
    /// they have those of `mean`, with which they share all that is not theirs.
    pub fn packed_above(
        config: &EncoderConfig,
        mean: &Parameters,
        own: &Parameters,
        first: usize,
        precision: Precision,
    ) -> Result<Self> {
        let engine = Engine::above(config, own, first, precision)?.map(Arc::new);
        let plain = Self::new(config, own);
        // What is packed is not kept twice.
        let graph = match engine.is_some() {
            true => plain.graph.with_layers(Graph::new(config, mean)),
            false => plain.graph,
        };
        Ok(Self { engine, graph, precision, ..plain })
    }

    /// A classifier over these tensors, which are shared and not copied, as a graph: in plain operations, or in those of
    /// the device engine.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Self {
        let get = |name: &str| parameters.get(name).clone();
        Self {
            graph: Graph::new(config, parameters),
            pooler: Affine::of(parameters, &pooler_names(config)),
            head_norm: config.architecture.head.norm.map(|_| get(HEAD_NORM)),
            last: (get("classifier.weight"), get("classifier.bias")),
            engine: None,
            backend: parameters.backend().clone(),
            precision: Precision::F32,
        }
    }

    /// The same, whose layers multiply at a precision in the device engine.
    pub fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    fn on<'a>(&self, batch: &'a Packed) -> Result<OnBatch<'a>> {
        OnBatch::new(batch, &self.backend, self.precision)
    }

    /// This last layer behind the trunk of another, which has the same weights.
    pub fn on_trunk_of(self, other: &Self) -> Self {
        let Self { graph, last, .. } = self;
        let mut shared = other.graph.clone();
        shared.config = graph.config;
        Self { graph: shared, last, ..other.clone() }
    }

    /// Whether its packed weights are those of another, in memory once.
    #[cfg(test)]
    pub fn has_engine_of(&self, other: &Self) -> bool {
        let both = self.engine.as_ref().zip(other.engine.as_ref());
        both.is_some_and(|(own, others)| Arc::ptr_eq(own, others))
    }

    /// The config it was built from.
    pub fn config(&self) -> &EncoderConfig {
        &self.graph.config
    }

    /// Where it computes.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Weight `[c, d]` and bias `[c]` of the last linear layer.
    pub fn last_layer(&self) -> (&Tensor, &Tensor) {
        (&self.last.0, &self.last.1)
    }

    /// The last hidden state of every token: `[p, d]`.
    pub fn hidden(&self, batch: &Packed) -> Result<Tensor> {
        match &self.engine {
            Some(engine) => engine.hidden(batch),
            None => self.graph.encode(&self.on(batch)?, &self.noise(None)),
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
        let inputs = inputs.min(self.graph.config.num_hidden_layers);
        let on = self.on(batch)?;
        let below_pd;
        let (pooled_bd, input_be) = match &self.engine {
            Some(engine) => {
                let mut below = Vec::new();
                let kept = first.map(|first| (first, &mut below));
                let both = engine.pooled_above(batch, inputs, kept)?;
                let shape = (batch.tokens(), self.graph.config.hidden_size);
                let tensor = || Tensor::from_vec(below, shape, both.0.device());
                below_pd = first.map(|_| tensor()).transpose()?;
                both
            }
            None => {
                let mut states = self.graph.states(&on, &self.noise(None))?;
                below_pd = first.map(|first| states[first].clone());
                let last_pd = states.pop().expect("the embeddings come first");
                let means = states[states.len() - inputs..].iter();
                let means = means.map(|x_pd| on.mean_token(x_pd));
                let means = means.collect::<Result<Vec<_>>>()?;
                let input_be = match inputs {
                    0 => Vec::new(),
                    _ => fetch(&Tensor::cat(&means, 1)?)?,
                };
                (self.pool(&last_pd, &on)?, input_be)
            }
        };
        let feature_bd = self.feature(&pooled_bd, &on, &self.noise(None))?;
        Ok(Trunk { feature_bd, input_be, below_pd })
    }

    /// Logits `[b, c]`, without noise, from what enters the layer `first`, `[p, d]`: the lowest one of
    /// [`Self::packed_above`].
    pub fn logits_from(&self, below_pd: &Tensor, first: usize, batch: &Packed) -> Result<Tensor> {
        let (on, noise) = (self.on(batch)?, self.noise(None));
        let pooled_bd = match &self.engine {
            Some(engine) => {
                engine.pooled_from(batch, &below_pd.flatten_all()?.to_vec1::<f32>()?)?
            }
            None => self.pool(&self.graph.layers_from(first, below_pd, &on, &noise)?, &on)?,
        };
        self.feature_logits(&self.feature(&pooled_bd, &on, &noise)?)
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
        let on = self.on(&batch)?;
        let count = self.graph.config.num_hidden_layers;
        let first = if sampling.layers == 0 { 0 } else { count.saturating_sub(sampling.layers) };
        let step = |sample| DropoutSource { noise: sampling.noise, step: sample as u64 };
        let sources: Vec<DropoutSource> = (0..sampling.samples).map(step).collect();
        let pooled = match &self.engine {
            Some(engine) => engine.sampled(&batch, first, &sources, wanted)?,
            None => self.sampled_as_graph(&on, first, &sources, wanted)?,
        };
        let Some(pooled) = pooled else { return Ok(None) };
        let features = sources.iter().zip(pooled).map(|(source, pooled_bd)| {
            self.dropped_feature(&pooled_bd, &on, &self.noise(Some(source)))
        });
        Tensor::stack(&features.collect::<Result<Vec<_>>>()?, 1).map(Some)
    }

    fn sampled_as_graph(
        &self,
        on: &OnBatch<'_>,
        first: usize,
        sources: &[DropoutSource],
        wanted: StillWanted<'_>,
    ) -> Result<Option<Vec<Tensor>>> {
        let mut below = None;
        if first > 0 {
            below = Some(self.graph.states(on, &self.noise(None))?.swap_remove(first));
        }
        let pooled = sources.iter().map(|source| {
            if !wanted() {
                return Ok(None);
            }
            let noise = self.noise(Some(source));
            let x_pd = match &below {
                Some(below_pd) => self.graph.layers_from(first, below_pd, on, &noise)?,
                None => self.graph.encode(on, &noise)?,
            };
            self.pool(&x_pd, on).map(Some)
        });
        pooled.collect()
    }

    /// What enters each layer, and what leaves the last, without noise: `[p, d]` each.
    pub fn hidden_states(&self, batch: &Packed) -> Result<Vec<Tensor>> {
        self.graph.states(&self.on(batch)?, &self.noise(None))
    }

    /// The weights `[h, s, t]` with which the tokens of one sequence attend to each other in a layer,
    /// given what enters it, `[s, d]`.
    pub fn attention_weights(&self, layer: usize, x_sd: &Tensor) -> Result<Tensor> {
        self.graph.attention_weights(layer, x_sd)
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
        let (on, noise) = (self.on(batch)?, self.noise(source));
        let hidden_pd = self.graph.encode(&on, &noise)?;
        self.dropped_feature(&self.pool(&hidden_pd, &on)?, &on, &noise)
    }

    /// A pass for training in the device engine, of which every n-th layer is computed again in the backward pass; none
    /// where that is 0.
    pub fn segments<'a>(
        &'a self,
        batch: &'a Packed,
        source: &'a DropoutSource,
        every: usize,
    ) -> Result<Segments<'a>> {
        Segments::new(&self.graph, self.on(batch)?, self.noise(Some(source)), every)
    }

    /// What enters the last linear layer behind such a pass, `[b, d]`.
    pub fn segments_feature(&self, pass: &Segments<'_>, source: &DropoutSource) -> Result<Tensor> {
        let pooled_bd = self.pool(pass.hidden(), pass.on())?;
        self.dropped_feature(&pooled_bd, pass.on(), &self.noise(Some(source)))
    }

    /// The same of pooled hidden states `[b, d]`.
    pub fn head_feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        source: Option<&DropoutSource>,
    ) -> Result<Tensor> {
        self.dropped_feature(pooled_bd, &self.on(batch)?, &self.noise(source))
    }

    /// Logits `[b, c]` of what enters the last linear layer.
    pub fn feature_logits(&self, feature_bd: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.last_layer();
        match self.backend {
            Backend::Cpu => ops::row_linear(feature_bd, weight, bias),
            Backend::Device(_) => {
                ops::device::linear(feature_bd, weight, Some(bias), feature_bd.dtype())
            }
        }
    }

    fn noise<'a>(&'a self, source: Option<&'a DropoutSource>) -> Places<'a> {
        Places::new(&self.graph.config, source)
    }

    /// The feature behind its dropout.
    fn dropped_feature(
        &self,
        pooled_bd: &Tensor,
        on: &OnBatch<'_>,
        noise: &Places<'_>,
    ) -> Result<Tensor> {
        let feature_bd = self.feature(pooled_bd, on, noise)?;
        let [_, before_last] = noise.head();
        on.drop_sequences(&feature_bd, before_last)
    }

    fn pool(&self, hidden_pd: &Tensor, on: &OnBatch<'_>) -> Result<Tensor> {
        match self.graph.config.reads_all_tokens() {
            true => on.mean_token(hidden_pd),
            false => on.first_token(hidden_pd),
        }
    }

    fn feature(&self, pooled_bd: &Tensor, on: &OnBatch<'_>, noise: &Places<'_>) -> Result<Tensor> {
        match self.graph.config.pooling {
            Pooling::Auto => {}
            Pooling::Normalised => return ops::normalise(pooled_bd),
            Pooling::Mean | Pooling::Cls => return Ok(pooled_bd.clone()),
        }
        let [before_dense, _] = noise.head();
        let pooled_bd = on.drop_sequences(pooled_bd, before_dense)?;
        let dense_bd = match &self.pooler {
            Affine { weight, bias: Some(bias) } => on.row_linear(&pooled_bd, weight, bias)?,
            Affine { weight, bias: None } => {
                let none = Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?;
                on.row_linear(&pooled_bd, weight, &none)?
            }
        };
        let feature_bd = self.graph.config.design.head.activation.apply(&dense_bd)?;
        match &self.head_norm {
            Some(norm) => {
                on.add_layer_norm(&feature_bd, None, norm, self.graph.config.layer_norm_eps)
            }
            None => Ok(feature_bd),
        }
    }
}
