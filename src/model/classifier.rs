//! The forward pass on packed batches.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::architecture::{AttentionKind, Disentangled};
use super::layout::{
    AffineNames, CONVOLUTION_NORM, EMBEDDING_NORM, HEAD_NORM, LAST_NORM, LayerNames, POSITION,
    RELATIVE, RELATIVE_NORM, SEGMENT, WORD, convolution_names, pooler_names, projection_names,
};
use super::places::{LayerPlaces, Places, row_places};
use super::{EncoderConfig, Engine, Parameters, Pooling};
use crate::compute::ops::{
    self, Attending, Relative, activate, add_layer_norm, attention, convolve, dropout, embed, gate,
    linear, row_linear,
};
use crate::compute::{Noise, Packed, RelativeRows};

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
    /// The table that all layers project, and its norm.
    table: Option<(Tensor, Option<Tensor>)>,
    /// By the numbers of their weights.
    layers: Vec<Layer>,
    /// Behind the first layer, with its norm.
    convolution: Option<(Affine, Tensor)>,
    /// What all layers add to scores by distance.
    relative: Option<Relative>,
    /// Behind all layers, where norms stand before the blocks.
    last_norm: Option<Tensor>,
    pooler: Affine,
    head_norm: Option<Tensor>,
    last: (Tensor, Tensor),
    engine: Option<Arc<Engine>>,
}

/// Weight and bias of a linear layer.
#[derive(Clone, Debug)]
struct Affine {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Affine {
    fn of(parameters: &Parameters, names: &AffineNames) -> Self {
        let get = |name: &String| parameters.get(name).clone();
        Self { weight: get(&names.weight), bias: names.bias.as_ref().map(get) }
    }

    fn apply(&self, x_pd: &Tensor) -> Result<Tensor> {
        linear(x_pd, &self.weight, self.bias.as_ref())
    }
}

#[derive(Clone, Debug)]
struct Embeddings {
    word: Tensor,
    position: Option<Tensor>,
    segment: Option<Tensor>,
    norm: Tensor,
    projection: Option<Affine>,
}

/// Weights and biases of one encoder layer.
#[derive(Clone, Debug)]
struct Layer {
    qkv: Affine,
    /// Maps of its own to relative keys and queries.
    relative: [Option<Affine>; 2],
    output: Affine,
    attention_norm: Option<Tensor>,
    inner: Affine,
    outer: Affine,
    norm: Tensor,
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
        let affine = |names: &AffineNames| Affine::of(parameters, names);
        let layer = |weights: usize| {
            let names = LayerNames::of(config, weights);
            Layer {
                qkv: affine(&names.qkv),
                relative: names.relative.each_ref().map(|names| names.as_ref().map(affine)),
                output: affine(&names.output),
                attention_norm: names.attention_norm.as_deref().map(get),
                inner: affine(&names.inner),
                outer: affine(&names.outer),
                norm: get(&names.norm),
            }
        };
        let design = &config.design;
        Self {
            config: config.clone(),
            embeddings: Embeddings {
                word: get(WORD),
                position: design.positions.map(|_| get(POSITION)),
                segment: design.segments.then(|| get(SEGMENT)),
                norm: get(EMBEDDING_NORM),
                projection: design.projection.map(|own| affine(&projection_names(own))),
            },
            table: parameters
                .find(RELATIVE)
                .map(|table| (table.clone(), parameters.find(RELATIVE_NORM).cloned())),
            layers: (0..config.layer_weights()).map(layer).collect(),
            convolution: design
                .convolution
                .map(|_| (affine(&convolution_names()), get(CONVOLUTION_NORM))),
            relative: design
                .attention
                .rows(config.longest_sequence())
                .map(|rows| Relative::Bias { table_rh: get(RELATIVE), rows: Arc::new(rows) }),
            last_norm: design.block.pre_norm.then(|| get(LAST_NORM)),
            pooler: affine(&pooler_names(config)),
            head_norm: config.architecture.head.norm.map(|_| get(HEAD_NORM)),
            last: (get("classifier.weight"), get("classifier.bias")),
            engine: None,
        }
    }

    /// The weights of a layer.
    fn layer(&self, index: usize) -> &Layer {
        &self.layers[self.config.weights_of(index)]
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
            None => self.encode(batch, &self.noise(None), &batch.places()),
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
        let inputs = inputs.min(self.config.num_hidden_layers);
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
                let mut states = self.states(batch, &self.noise(None), &batch.places())?;
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
        let feature_bd = self.feature(&pooled_bd, batch, &self.noise(None))?;
        Ok(Trunk { feature_bd, input_be, below_pd })
    }

    /// Logits `[b, c]`, without noise, from what enters the layer `first`, `[p, d]`: the lowest one of
    /// [`Self::packed_above`].
    pub fn logits_from(&self, below_pd: &Tensor, first: usize, batch: &Packed) -> Result<Tensor> {
        let noise = self.noise(None);
        let pooled_bd = match &self.engine {
            Some(engine) => {
                engine.pooled_from(batch, &below_pd.flatten_all()?.to_vec1::<f32>()?)?
            }
            None => {
                let x_pd = self.layers_from(first, below_pd, batch, &noise, &batch.places())?;
                self.pool(&x_pd, batch)?
            }
        };
        self.feature_logits(&self.feature(&pooled_bd, batch, &noise)?)
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
        let count = self.config.num_hidden_layers;
        let first = if sampling.layers == 0 { 0 } else { count.saturating_sub(sampling.layers) };
        let step = |sample| DropoutSource { noise: sampling.noise, step: sample as u64 };
        let sources: Vec<DropoutSource> = (0..sampling.samples).map(step).collect();
        let pooled = match &self.engine {
            Some(engine) => engine.sampled(&batch, first, &sources, wanted)?,
            None => self.sampled_plainly(&batch, first, &sources, wanted)?,
        };
        let Some(pooled) = pooled else { return Ok(None) };
        let features = sources.iter().zip(pooled).map(|(source, pooled_bd)| {
            self.dropped_feature(&pooled_bd, &batch, &self.noise(Some(source)))
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
            below = Some(self.states(batch, &self.noise(None), &places)?.swap_remove(first));
        }
        let pooled = sources.iter().map(|source| {
            if !wanted() {
                return Ok(None);
            }
            let noise = self.noise(Some(source));
            let x_pd = match &below {
                Some(below_pd) => self.layers_from(first, below_pd, batch, &noise, &places)?,
                None => self.encode(batch, &noise, &places)?,
            };
            self.pool(&x_pd, batch).map(Some)
        });
        pooled.collect()
    }

    /// What enters each layer, and what leaves the last, without noise: `[p, d]` each.
    pub fn hidden_states(&self, batch: &Packed) -> Result<Vec<Tensor>> {
        self.states(batch, &self.noise(None), &batch.places())
    }

    /// The weights `[h, s, t]` with which the tokens of one sequence attend to each other in a layer,
    /// given what enters it, `[s, d]`.
    pub fn attention_weights(&self, layer: usize, x_sd: &Tensor) -> Result<Tensor> {
        let places: Vec<u32> = (0..x_sd.dim(0)? as u32).collect();
        let qkv_se = self.layer(layer).qkv(layer, x_sd, &self.config, &places)?;
        let relative = self.relative(layer, x_sd.dim(0)?, &LayerPlaces::default())?;
        ops::attention_weights(&qkv_se, self.attending(layer, relative.as_ref()))
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
        let hidden_pd = self.encode(batch, &self.noise(source), &batch.places())?;
        self.head_feature(&self.pool(&hidden_pd, batch)?, batch, source)
    }

    /// The same of pooled hidden states `[b, d]`.
    pub fn head_feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        source: Option<&DropoutSource>,
    ) -> Result<Tensor> {
        self.dropped_feature(pooled_bd, batch, &self.noise(source))
    }

    /// Logits `[b, c]` of what enters the last linear layer.
    pub fn feature_logits(&self, feature_bd: &Tensor) -> Result<Tensor> {
        row_linear(feature_bd, &self.last.0, &self.last.1)
    }

    fn noise<'a>(&'a self, source: Option<&'a DropoutSource>) -> Places<'a> {
        Places::new(&self.config, source)
    }

    /// The feature behind its dropout.
    fn dropped_feature(
        &self,
        pooled_bd: &Tensor,
        batch: &Packed,
        noise: &Places<'_>,
    ) -> Result<Tensor> {
        let feature_bd = self.feature(pooled_bd, batch, noise)?;
        let [_, before_last] = noise.head();
        dropout(&feature_bd, &ops::sequence_places(batch), before_last)
    }

    fn pool(&self, hidden_pd: &Tensor, batch: &Packed) -> Result<Tensor> {
        match self.config.reads_all_tokens() {
            true => ops::mean_token(hidden_pd, batch),
            false => ops::first_token(hidden_pd, batch),
        }
    }

    fn feature(&self, pooled_bd: &Tensor, batch: &Packed, noise: &Places<'_>) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::Auto => {}
            Pooling::Normalised => return ops::normalise(pooled_bd),
            Pooling::Mean | Pooling::Cls => return Ok(pooled_bd.clone()),
        }
        let [before_dense, _] = noise.head();
        let pooled_bd = dropout(pooled_bd, &ops::sequence_places(batch), before_dense)?;
        let dense_bd = match &self.pooler {
            Affine { weight, bias: Some(bias) } => row_linear(&pooled_bd, weight, bias)?,
            Affine { weight, bias: None } => {
                let none = Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?;
                row_linear(&pooled_bd, weight, &none)?
            }
        };
        let feature_bd = self.config.design.head.activation.apply(&dense_bd)?;
        match &self.head_norm {
            Some(norm) => add_layer_norm(&feature_bd, None, norm, self.config.layer_norm_eps),
            None => Ok(feature_bd),
        }
    }

    fn encode(&self, batch: &Packed, noise: &Places<'_>, places: &[(u64, u32)]) -> Result<Tensor> {
        let mut states = self.states(batch, noise, places)?;
        Ok(states.pop().expect("the embeddings come first"))
    }

    /// What enters each layer, and what leaves the last: `[p, d]` each.
    fn states(
        &self,
        batch: &Packed,
        noise: &Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Vec<Tensor>> {
        let mut states = vec![self.embed(batch, noise, places)?];
        for index in 0..self.config.num_hidden_layers {
            states.push(self.run(index, &states[index], batch, noise, places)?);
        }
        Ok(states)
    }

    /// From what enters layer `first` to what leaves the last.
    fn layers_from(
        &self,
        first: usize,
        below_pd: &Tensor,
        batch: &Packed,
        noise: &Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Tensor> {
        (first..self.config.num_hidden_layers)
            .try_fold(below_pd.clone(), |x_pd, index| self.run(index, &x_pd, batch, noise, places))
    }

    /// What a layer makes of its input, and behind the last one the norm that follows all layers.
    fn run(
        &self,
        index: usize,
        x_pd: &Tensor,
        batch: &Packed,
        noise: &Places<'_>,
        places: &[(u64, u32)],
    ) -> Result<Tensor> {
        let (config, noise) = (&self.config, noise.layer(index));
        let longest = batch.sequences().map(|(start, end)| end - start).max().unwrap_or(0);
        let relative = self.relative(index, longest, &noise)?;
        let attending = self.attending(index, relative.as_ref());
        let inputs = Inputs { index, config, batch, places, noise, attending };
        let mut y_pd = self.layer(index).forward(x_pd, &inputs)?;
        if index == 0 {
            y_pd = self.convolved(x_pd, y_pd, batch, &noise, places)?;
        }
        match &self.last_norm {
            Some(norm) if index + 1 == config.num_hidden_layers => {
                add_layer_norm(&y_pd, None, norm, config.layer_norm_eps)
            }
            _ => Ok(y_pd),
        }
    }

    /// How tokens attend to each other.
    fn attending<'a>(&self, layer: usize, relative: Option<&'a Relative>) -> Attending<'a> {
        let window = self.config.design.attention.window(layer);
        Attending { heads: self.config.num_attention_heads, window, relative }
    }

    /// What the scores of a layer have beside the products of queries and keys, for sequences of at most
    /// `longest` tokens.
    fn relative(
        &self,
        index: usize,
        longest: usize,
        noise: &LayerPlaces,
    ) -> Result<Option<Relative>> {
        let AttentionKind::Disentangled(own) = self.config.design.attention else {
            return Ok(self.relative.clone());
        };
        let Disentangled { keys, queries, terms, span, .. } = own;
        let mut both = [None, None];
        if let Some((table_rd, norm)) = &self.table {
            let table_rd = match norm {
                Some(norm) => add_layer_norm(table_rd, None, norm, self.config.layer_norm_eps)?,
                None => table_rd.clone(),
            };
            let table_rd = dropout(&table_rd, &row_places(span.rows()), noise.relative)?;
            for (place, wanted) in [keys, queries].into_iter().enumerate() {
                if wanted {
                    both[place] = Some(self.layer(index).project(place, &table_rd)?);
                }
            }
        }
        let rows = Arc::new(RelativeRows::new(longest, |distance| span.row(distance)));
        let [key_rd, query_rd] = both;
        let own = ops::Disentangled { key_rd, query_rd, terms, rows };
        Ok(Some(Relative::Disentangled(own)))
    }

    /// The result of the first layer with the convolution of what enters it.
    fn convolved(
        &self,
        x_pd: &Tensor,
        y_pd: Tensor,
        batch: &Packed,
        noise: &LayerPlaces,
        places: &[(u64, u32)],
    ) -> Result<Tensor> {
        let (Some((Affine { weight, bias: Some(bias) }, norm)), Some(own)) =
            (&self.convolution, self.config.design.convolution)
        else {
            return Ok(y_pd);
        };
        let sum_pd = convolve(x_pd, weight, bias, batch, own.groups)?;
        let active_pd = activate(&dropout(&sum_pd, places, noise.convolution)?, own.activation)?;
        add_layer_norm(&active_pd, Some(&y_pd), norm, self.config.layer_norm_eps)
    }

    fn embed(&self, batch: &Packed, noise: &Places<'_>, places: &[(u64, u32)]) -> Result<Tensor> {
        let (config, embeddings) = (&self.config, &self.embeddings);
        let mut x_pe = embed(&embeddings.word, batch.ids())?;
        if let Some(segment) = &embeddings.segment {
            x_pe = (x_pe + embed(segment, batch.type_ids())?)?;
        }
        if let Some(position) = &embeddings.position {
            x_pe = (x_pe + embed(position, &config.position_rows(batch))?)?;
        }
        let before_norm = config.design.projection.is_some_and(|own| own.before_norm);
        let project = |x_pe: Tensor, here: bool| match &embeddings.projection {
            Some(projection) if here => projection.apply(&x_pe),
            _ => Ok(x_pe),
        };
        let x_pe = project(x_pe, before_norm)?;
        let x_pe = add_layer_norm(&x_pe, None, &embeddings.norm, config.layer_norm_eps)?;
        let x_pe = dropout(&x_pe, places, noise.embeddings())?;
        project(x_pe, !before_norm)
    }
}

/// What a layer reads beside its input.
struct Inputs<'a> {
    /// As which layer it runs.
    index: usize,
    config: &'a EncoderConfig,
    batch: &'a Packed,
    /// (row, position) of each token.
    places: &'a [(u64, u32)],
    noise: LayerPlaces,
    attending: Attending<'a>,
}

impl Layer {
    /// Relative keys (0) or queries (1) of the rows of a table, `[r, d]`, by a map of their own or by that of
    /// the content.
    fn project(&self, place: usize, table_rd: &Tensor) -> Result<Tensor> {
        if let Some(own) = &self.relative[place] {
            return own.apply(table_rd);
        }
        let width = table_rd.dim(1)?;
        let lines = |all: &Tensor| all.narrow(0, width * (1 - place), width);
        let bias = self.qkv.bias.as_ref().map(lines).transpose()?;
        linear(table_rd, &lines(&self.qkv.weight)?, bias.as_ref())
    }

    /// Query, key and value beside one another, `[p, 3d]`, as the attention of this layer takes them.
    fn qkv(
        &self,
        index: usize,
        x_pd: &Tensor,
        config: &EncoderConfig,
        places: &[u32],
    ) -> Result<Tensor> {
        let qkv_pe = match &self.attention_norm {
            Some(norm) if config.design.block.pre_norm => {
                self.qkv.apply(&add_layer_norm(x_pd, None, norm, config.layer_norm_eps)?)?
            }
            _ => self.qkv.apply(x_pd)?,
        };
        match config.design.attention.theta(index) {
            Some(theta) => ops::rotate(&qkv_pe, places, config.num_attention_heads, theta),
            None => Ok(qkv_pe),
        }
    }

    fn forward(&self, x_pd: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor> {
        let Inputs { index, config, batch, places, noise, attending } = *inputs;
        let in_text: Vec<u32> = batch.positions().collect();
        let qkv_pe = self.qkv(index, x_pd, config, &in_text)?;
        let mixed_pd = attention(&qkv_pe, batch, attending, noise.weights)?;
        let mixed_pd = dropout(&self.output.apply(&mixed_pd)?, places, noise.attention)?;
        let epsilon = config.layer_norm_eps;
        if config.design.block.pre_norm {
            let x_pd = (x_pd + mixed_pd)?;
            let normed_pd = add_layer_norm(&x_pd, None, &self.norm, epsilon)?;
            return x_pd + self.feed_forward(&normed_pd, inputs)?;
        }
        let norm = self.attention_norm.as_ref();
        let norm = norm.expect("a norm that stands behind the attention is in every layer");
        let x_pd = add_layer_norm(&mixed_pd, Some(x_pd), norm, epsilon)?;
        let outer_pd = self.feed_forward(&x_pd, inputs)?;
        add_layer_norm(&outer_pd, Some(&x_pd), &self.norm, epsilon)
    }

    fn feed_forward(&self, x_pd: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor> {
        let Inputs { config, places, noise, .. } = *inputs;
        let inner_pf = self.inner.apply(x_pd)?;
        let inner_pf = match config.design.block.gated {
            true => dropout(&gate(&inner_pf, config.hidden_act)?, places, noise.inner)?,
            false => activate(&inner_pf, config.hidden_act)?,
        };
        dropout(&self.outer.apply(&inner_pf)?, places, noise.feed_forward)
    }
}
