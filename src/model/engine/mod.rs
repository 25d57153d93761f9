//! The encoder on the CPU: the layers of [`super::Classifier`] over the kernels of
//! `compute::kernels`, with a backward pass of its own.
//!
//! The whole layer is one step, not a chain of graph nodes: Candle's backward pass clears and adds a
//! tensor of its own for every gradient, and keeps every activation until the whole graph goes. When
//! only the first token of each sequence is read, the last layer computes queries and everything
//! after attention for those tokens alone; the rest of its outputs would not be used.

mod backward;
mod convolution;
mod embeddings;
mod forward;
mod layer;
mod layer_backward;
mod pass;
mod relative;
mod tape;
#[cfg(test)]
mod tests;

pub use tape::Tape;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};

use self::convolution::Convolution;
use self::embeddings::tables;
use self::relative::{LayerTable, Table};
use super::layout::{
    AffineNames, EMBEDDING_NORM, LAST_NORM, LayerNames, RELATIVE, projection_names,
};
use super::places::LayerPlaces;
use super::{DropoutSource, EncoderConfig, Parameters};
use crate::compute::kernels::attention::{DistanceBias, Span};
use crate::compute::kernels::gemm::{PackedMatrix, Start, Target, gemms};
use crate::compute::kernels::noise::Factors;
use crate::compute::ops::Dropout;
use crate::compute::{Packed, Precision, RelativeRows};

/// Gradients by our parameter names.
pub type GradientMap = BTreeMap<String, Vec<f32>>;

/// An affine map, packed for products.
#[derive(Clone, Debug, Default)]
struct Affine {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Affine {
    fn new(precision: Precision) -> Self {
        Self { weight: PackedMatrix::new(precision), bias: None }
    }

    /// Packs some lines of the weight `[n, k]` and of the bias.
    fn pack(
        &mut self,
        parameters: &Parameters,
        names: &AffineNames,
        lines: Range<usize>,
    ) -> Result<()> {
        let weight = parameters.get(&names.weight);
        let inner = weight.dim(1)?;
        let part = lines.start * inner..lines.end * inner;
        with_values(weight, |w| self.weight.take_transposed(&w[part], inner))?;
        let bias = names.bias.as_ref();
        let bias = bias.map(|name| with_values(parameters.get(name), |b| b[lines].to_vec()));
        self.bias = bias.transpose()?;
        Ok(())
    }

    /// The product with this map's weight that makes `c`.
    fn target<'a>(&'a self, c: &'a mut [f32]) -> Target<'a> {
        let start = self.bias.as_deref().map_or(Start::Zero, Start::Bias);
        Target { b: &self.weight, start, c }
    }

    /// This map of each line of `x`, in its place; `spare` is memory for the result.
    fn replace(&self, x: &mut Vec<f32>, spare: &mut Vec<f32>) {
        spare.resize(x.len() / self.weight.inner() * self.weight.columns(), 0.0);
        gemms(x, None, [self.target(spare)]);
        std::mem::swap(x, spare);
    }
}

/// One layer, packed. Query is apart from key and value, since the last layer may ask for fewer
/// queries than it has tokens.
#[derive(Clone, Debug, Default)]
struct Layer {
    query: Affine,
    key_value: Affine,
    /// What it makes of the relative table.
    table: LayerTable,
    output: Affine,
    /// γ and β stacked, `[2, d]`, as all norms here; empty where there is none.
    attention_norm: Vec<f32>,
    inner: Affine,
    outer: Affine,
    norm: Vec<f32>,
}

impl Layer {
    /// One whose products of hidden states have a precision; what it makes of a relative table is f32.
    fn new(precision: Precision) -> Self {
        let affine = || Affine::new(precision);
        Self {
            query: affine(),
            key_value: affine(),
            output: affine(),
            inner: affine(),
            outer: affine(),
            ..Self::default()
        }
    }
}

/// A bias on scores by head and distance, and the row of its table that each distance reads.
#[derive(Clone, Debug)]
struct Relative {
    bias: DistanceBias,
    rows: RelativeRows,
}

/// A packed copy of an encoder's weights.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EncoderConfig,
    /// Of the products of layers, forward and backward.
    precision: Precision,
    /// The lowest layer that it has.
    first: usize,
    /// In the order of [`Self::lookups`].
    tables: Vec<Tensor>,
    norm: Vec<f32>,
    /// From the width of the embeddings to that of the layers.
    projection: Option<Affine>,
    /// The table that layers project.
    table: Table,
    /// What all layers add to scores by distance.
    relative: Option<Relative>,
    /// By the numbers of their weights.
    layers: Vec<Layer>,
    /// Behind the first layer.
    convolution: Option<Convolution>,
    /// Behind all layers, where norms stand before the blocks.
    last_norm: Option<Vec<f32>>,
    /// Memory of a forward pass for the next one.
    spare: Arc<Mutex<Tape>>,
}

/// What a forward pass for training and its backward pass both need to know.
#[derive(Clone, Copy, Debug)]
pub struct TrainingPass<'a> {
    pub batch: &'a Packed,
    /// The noise of the dropout; none without dropout.
    pub source: Option<&'a DropoutSource>,
    /// Every n-th layer keeps only what the next one starts from, and is computed again; 0 is off.
    pub checkpointing: usize,
    /// So many of the lowest layers, and the embeddings below them, get no gradients; 0 for none.
    pub frozen: usize,
}

/// Which tokens of a batch a layer computes, and the noise of one pass.
#[derive(Debug)]
struct Scope {
    spans: Vec<Span>,
    /// Lines of the tokens that are computed; all of them where there is none.
    chosen: Option<Vec<usize>>,
    /// (row, position) of each line that is computed.
    places: Vec<(u64, u32)>,
}

impl Scope {
    fn all(batch: &Packed) -> Self {
        let rows = batch.sequences().zip(batch.rows());
        let span = |((start, end), &row)| Span { queries: start..end, keys: start..end, row };
        Self { spans: rows.map(span).collect(), chosen: None, places: batch.places() }
    }

    /// The first token of each sequence.
    fn first(batch: &Packed) -> Self {
        let rows = batch.sequences().zip(batch.rows()).enumerate();
        let span = |(index, ((start, end), &row))| Span {
            queries: index..index + 1,
            keys: start..end,
            row,
        };
        Self {
            spans: rows.map(span).collect(),
            chosen: Some(batch.sequences().map(|(start, _)| start).collect()),
            places: batch.rows().iter().map(|&row| (row, 0)).collect(),
        }
    }
}

/// The noise of one layer, as the kernels take it.
#[derive(Clone, Copy, Debug)]
struct LayerNoise {
    /// On attention weights.
    weights: Option<Factors>,
    /// On the output of the attention.
    attention: Option<Factors>,
    /// Within a gated feed-forward block.
    inner: Option<Factors>,
    /// On the output of the feed-forward block.
    feed_forward: Option<Factors>,
    /// On the relative table.
    relative: Option<Factors>,
    /// On the convolution.
    convolution: Option<Factors>,
}

impl From<LayerPlaces> for LayerNoise {
    fn from(places: LayerPlaces) -> Self {
        let of = |place: Option<Dropout>| place.and_then(Dropout::factors);
        Self {
            weights: of(places.weights),
            attention: of(places.attention),
            inner: of(places.inner),
            feed_forward: of(places.feed_forward),
            relative: of(places.relative),
            convolution: of(places.convolution),
        }
    }
}

impl Engine {
    /// Packs the weights; nothing where they are not f32, or of the device engine.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Result<Option<Self>> {
        Self::above(config, parameters, 0, Precision::F32)
    }

    /// Of the layers from `first` on alone, whose products have a precision that this CPU has instructions for.
    /// There is a backward pass in f32 and in bf16: there both sides of each product are rounded as they are packed,
    /// and sums and gradients are f32, as in Micikevicius et al., "Mixed Precision Training" (2018), with the exponents
    /// of f32, so that no loss needs a scale.
    pub fn above(
        config: &EncoderConfig,
        parameters: &Parameters,
        first: usize,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let is_f32 = parameters.iter().all(|(_, tensor)| tensor.dtype() == DType::F32);
        if !parameters.backend().is_cpu() || !is_f32 {
            return Ok(None);
        }
        let tables = tables(config).map(|name| parameters.get(name).clone());
        let mut engine = Self {
            config: config.clone(),
            precision,
            first,
            tables: tables.collect(),
            norm: Vec::new(),
            projection: None,
            table: Table::default(),
            convolution: None,
            relative: config
                .design
                .attention
                .rows(config.longest_sequence())
                .map(|rows| Relative { bias: DistanceBias::default(), rows }),
            layers: vec![Layer::new(precision); config.layer_weights()],
            last_norm: None,
            spare: Arc::default(),
        };
        engine.update(parameters)?;
        Ok(Some(engine))
    }

    /// Packs the weights as they are now, into the memory that is there.
    pub fn update(&mut self, parameters: &Parameters) -> Result<()> {
        let config = &self.config;
        let norm = |name: &str| both_lines(parameters.get(name));
        self.norm = norm(EMBEDDING_NORM)?;
        if let Some(own) = config.design.projection {
            let names = projection_names(own);
            let projection = self.projection.get_or_insert_default();
            projection.pack(parameters, &names, 0..config.hidden_size)?;
        }
        self.table.take(config, parameters)?;
        // Copies of the top layers have none.
        if self.first == 0 {
            self.convolution = Convolution::new(config, parameters)?;
        }
        if let Some(Relative { bias, rows }) = &mut self.relative {
            let table = parameters.get(RELATIVE);
            with_values(table, |table| bias.take(table, config.num_attention_heads, rows))?;
        }
        let (width, first) = (config.hidden_size, config.lowest_weights(self.first));
        for (weights, layer) in self.layers.iter_mut().enumerate().skip(first) {
            let names = LayerNames::of(config, weights);
            layer.query.pack(parameters, &names.qkv, 0..width)?;
            layer.key_value.pack(parameters, &names.qkv, width..3 * width)?;
            layer.take_table(config, parameters, &names, &self.table)?;
            layer.output.pack(parameters, &names.output, 0..width)?;
            let inner = parameters.get(&names.inner.weight).dim(0)?;
            layer.inner.pack(parameters, &names.inner, 0..inner)?;
            layer.outer.pack(parameters, &names.outer, 0..width)?;
            layer.attention_norm = match &names.attention_norm {
                Some(name) => norm(name)?,
                None => Vec::new(),
            };
            layer.norm = norm(&names.norm)?;
        }
        self.last_norm = config.design.block.pre_norm.then(|| norm(LAST_NORM)).transpose()?;
        Ok(())
    }

    /// How many layers a text passes through.
    fn depth(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// The weights of a layer.
    fn layer(&self, index: usize) -> &Layer {
        &self.layers[self.config.weights_of(index)]
    }

    /// The tokens that the last layer computes for the pooled vectors.
    fn read(&self, batch: &Packed) -> Scope {
        if self.config.reads_all_tokens() { Scope::all(batch) } else { Scope::first(batch) }
    }
}

/// γ and β stacked; where there is no β, zeros.
fn both_lines(norm: &Tensor) -> Result<Vec<f32>> {
    let width = norm.dim(1)?;
    with_values(norm, |norm| {
        let mut both = norm.to_vec();
        both.resize(2 * width, 0.0);
        both
    })
}

/// Hands the values of a contiguous f32 tensor on the CPU to `f`, without a copy.
fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => bail!("a parameter is contiguous f32 on the CPU"),
    }
}
