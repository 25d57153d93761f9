//! The encoder as a graph of Candle: in plain operations, which the CPU engine is held against, and in those of the
//! device engine.

mod layer;
mod segments;

use std::sync::Arc;

use candle_core::{Result, Tensor};

use self::layer::{Inputs, Layer};
pub use self::segments::Segments;
use super::EncoderConfig;
use super::Parameters;
use super::architecture::{AttentionKind, Disentangled};
use super::layout::{
    AffineNames, CONVOLUTION_NORM, EMBEDDING_NORM, LAST_NORM, POSITION, RELATIVE, RELATIVE_NORM,
    SEGMENT, WORD, convolution_names, projection_names,
};
use super::places::{LayerPlaces, Places, row_places};
use crate::compute::ops::{self, Attending, OnBatch, Relative};
use crate::compute::{Backend, Packed, Precision, RelativeRows, Sequence};

/// The layers and what is around them, but for the head.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub config: EncoderConfig,
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
}

/// Weight and bias of a linear layer.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Affine {
    pub fn of(parameters: &Parameters, names: &AffineNames) -> Self {
        let get = |name: &String| parameters.get(name).clone();
        Self { weight: get(&names.weight), bias: names.bias.as_ref().map(get) }
    }

    pub fn apply(&self, on: &OnBatch<'_>, x_pd: &Tensor) -> Result<Tensor> {
        on.linear(x_pd, &self.weight, self.bias.as_ref())
    }

    /// The same at the precision of layers.
    fn apply_in_layer(&self, on: &OnBatch<'_>, x_pd: &Tensor) -> Result<Tensor> {
        on.layer_linear(x_pd, &self.weight, self.bias.as_ref())
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

impl Graph {
    /// Over these tensors, which are shared and not copied.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Self {
        let get = |name: &str| parameters.get(name).clone();
        let affine = |names: &AffineNames| Affine::of(parameters, names);
        let layer = |weights| Layer::new(config, parameters, weights);
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
        }
    }

    /// With the layers of another one of this shape.
    pub fn with_layers(self, of: Self) -> Self {
        Self { layers: of.layers, ..self }
    }

    /// The weights of a layer.
    fn layer(&self, index: usize) -> &Layer {
        &self.layers[self.config.weights_of(index)]
    }

    /// What leaves the last layer: `[p, d]`.
    pub fn encode(&self, on: &OnBatch<'_>, noise: &Places<'_>) -> Result<Tensor> {
        let mut states = self.states(on, noise)?;
        Ok(states.pop().expect("the embeddings come first"))
    }

    /// What enters each layer, and what leaves the last: `[p, d]` each.
    pub fn states(&self, on: &OnBatch<'_>, noise: &Places<'_>) -> Result<Vec<Tensor>> {
        let mut states = vec![self.embed(on, noise)?];
        for index in 0..self.config.num_hidden_layers {
            states.push(self.run(index, &states[index], on, noise)?);
        }
        Ok(states)
    }

    /// From what enters layer `first` to what leaves the last.
    pub fn layers_from(
        &self,
        first: usize,
        below_pd: &Tensor,
        on: &OnBatch<'_>,
        noise: &Places<'_>,
    ) -> Result<Tensor> {
        (first..self.config.num_hidden_layers)
            .try_fold(below_pd.clone(), |x_pd, index| self.run(index, &x_pd, on, noise))
    }

    /// The weights `[h, s, t]` with which the tokens of one sequence attend to each other in a layer,
    /// given what enters it, `[s, d]`: in plain operations, wherever the network computes.
    pub fn attention_weights(&self, layer: usize, x_sd: &Tensor) -> Result<Tensor> {
        let ids = vec![0; x_sd.dim(0)?];
        let batch = Packed::new([Sequence { ids, ..Sequence::default() }]);
        let on = OnBatch::new(&batch, &Backend::Cpu, Precision::F32)?;
        let qkv_se = self.layer(layer).qkv(layer, x_sd, &self.config, &on)?;
        let relative = self.relative(layer, &on, &LayerPlaces::default())?;
        ops::attention_weights(&qkv_se, self.attending(layer, relative.as_ref()))
    }

    /// What a layer makes of its input, and behind the last one the norm that follows all layers.
    fn run(
        &self,
        index: usize,
        x_pd: &Tensor,
        on: &OnBatch<'_>,
        noise: &Places<'_>,
    ) -> Result<Tensor> {
        let (config, noise) = (&self.config, noise.layer(index));
        let relative = self.relative(index, on, &noise)?;
        let attending = self.attending(index, relative.as_ref());
        let inputs = Inputs { index, config, on, noise, attending };
        let mut y_pd = self.layer(index).forward(x_pd, &inputs)?;
        if index == 0 {
            y_pd = self.convolved(x_pd, y_pd, on, &noise)?;
        }
        match &self.last_norm {
            Some(norm) if index + 1 == config.num_hidden_layers => {
                on.add_layer_norm(&y_pd, None, norm, config.layer_norm_eps)
            }
            _ => Ok(y_pd),
        }
    }

    /// How tokens attend to each other.
    fn attending<'a>(&self, layer: usize, relative: Option<&'a Relative>) -> Attending<'a> {
        let window = self.config.design.attention.window(layer);
        Attending { heads: self.config.num_attention_heads, window, relative }
    }

    /// What the scores of a layer have beside the products of queries and keys.
    fn relative(
        &self,
        index: usize,
        on: &OnBatch<'_>,
        noise: &LayerPlaces,
    ) -> Result<Option<Relative>> {
        let AttentionKind::Disentangled(own) = self.config.design.attention else {
            return Ok(self.relative.clone());
        };
        let Disentangled { keys, queries, terms, span, .. } = own;
        let mut both = [None, None];
        if let Some((table_rd, norm)) = &self.table {
            let table_rd = match norm {
                Some(norm) => {
                    on.add_layer_norm(table_rd, None, norm, self.config.layer_norm_eps)?
                }
                None => table_rd.clone(),
            };
            let table_rd = on.drop_lines(&table_rd, &row_places(span.rows()), noise.relative)?;
            for (place, wanted) in [keys, queries].into_iter().enumerate() {
                if wanted {
                    both[place] = Some(self.layer(index).project(place, &table_rd, on)?);
                }
            }
        }
        let longest = on.batch.sequences().map(|(start, end)| end - start).max().unwrap_or(0);
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
        on: &OnBatch<'_>,
        noise: &LayerPlaces,
    ) -> Result<Tensor> {
        let (Some((Affine { weight, bias: Some(bias) }, norm)), Some(own)) =
            (&self.convolution, self.config.design.convolution)
        else {
            return Ok(y_pd);
        };
        let sum_pd = on.convolve(x_pd, weight, bias, own.groups)?;
        let active_pd =
            on.activate(&on.drop_tokens(&sum_pd, noise.convolution)?, own.activation)?;
        on.add_layer_norm(&active_pd, Some(&y_pd), norm, self.config.layer_norm_eps)
    }

    fn embed(&self, on: &OnBatch<'_>, noise: &Places<'_>) -> Result<Tensor> {
        let (config, embeddings) = (&self.config, &self.embeddings);
        let mut x_pe = on.embed(&embeddings.word, on.batch.ids())?;
        if let Some(segment) = &embeddings.segment {
            x_pe = (x_pe + on.embed(segment, on.batch.type_ids())?)?;
        }
        if let Some(position) = &embeddings.position {
            x_pe = (x_pe + on.embed(position, &config.position_rows(on.batch))?)?;
        }
        let before_norm = config.design.projection.is_some_and(|own| own.before_norm);
        let project = |x_pe: Tensor, here: bool| match &embeddings.projection {
            Some(projection) if here => projection.apply(on, &x_pe),
            _ => Ok(x_pe),
        };
        let x_pe = project(x_pe, before_norm)?;
        let x_pe = on.add_layer_norm(&x_pe, None, &embeddings.norm, config.layer_norm_eps)?;
        let x_pe = on.drop_tokens(&x_pe, noise.embeddings())?;
        project(x_pe, !before_norm)
    }
}
