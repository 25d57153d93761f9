//! The encoder on the CPU in f32: the layers of [`super::Classifier`] over the kernels of
//! `compute::kernels`, with a backward pass of its own.
//!
//! The whole layer is one step, not a chain of graph nodes: Candle's backward pass clears and adds a
//! tensor of its own for every gradient, and keeps every activation until the whole graph goes. When
//! only the first token of each sequence is read, the last layer computes queries and everything
//! after attention for those tokens alone; the rest of its outputs would not be used.

mod backward;
mod forward;
mod tape;
#[cfg(test)]
mod tests;

pub use tape::Tape;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};

use super::architecture::Segments;
use super::layout::{AffineNames, LayerNames};
use super::{DropoutSource, EncoderConfig, Parameters};
use crate::compute::Packed;
use crate::compute::kernels::attention::Span;
use crate::compute::kernels::gemm::{PackedMatrix, Start, Target};
use crate::compute::kernels::noise::Factors;
use crate::compute::ops::Dropout;

/// Gradients by our parameter names.
pub type GradientMap = BTreeMap<String, Vec<f32>>;

/// An affine map, packed for products.
#[derive(Clone, Debug, Default)]
struct Affine {
    weight: PackedMatrix,
    bias: Vec<f32>,
}

impl Affine {
    /// The product with this map's weight that makes `c`.
    fn target<'a>(&'a self, c: &'a mut [f32]) -> Target<'a> {
        Target { b: &self.weight, start: Start::Bias(&self.bias), c }
    }
}

/// One layer, packed. Query is apart from key and value, since the last layer may ask for fewer
/// queries than it has tokens.
#[derive(Clone, Debug, Default)]
struct Layer {
    query: Affine,
    key_value: Affine,
    output: Affine,
    attention_norm: Vec<f32>,
    inner: Affine,
    outer: Affine,
    norm: Vec<f32>,
}

/// A packed copy of an encoder's weights.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EncoderConfig,
    /// The lowest layer that it has.
    first: usize,
    /// In the order of [`Self::lookups`].
    tables: Vec<Tensor>,
    norm: Vec<f32>,
    layers: Vec<Layer>,
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

/// The dropout places of one pass, numbered as [`super::Classifier`] numbers them.
#[derive(Clone, Copy, Debug)]
struct Noises<'a> {
    source: Option<&'a DropoutSource>,
    attention: f64,
    attention_output: f64,
    hidden: f64,
}

impl<'a> Noises<'a> {
    fn new(config: &EncoderConfig, source: Option<&'a DropoutSource>) -> Self {
        Self {
            source,
            attention: config.attention_probs_dropout_prob,
            attention_output: config.attention_output_dropout(),
            hidden: config.hidden_dropout_prob,
        }
    }

    fn at(&self, place: u32, rate: f64) -> Option<Factors> {
        let source = self.source?;
        Dropout::new(&source.noise, source.step, place, rate).factors()
    }

    fn embeddings(&self) -> Option<Factors> {
        self.at(0, self.hidden)
    }

    /// On attention weights, after attention, and after the feed-forward block.
    fn layer(&self, index: usize) -> [Option<Factors>; 3] {
        let first = 1 + 3 * index as u32;
        [
            self.at(first, self.attention),
            self.at(first + 1, self.attention_output),
            self.at(first + 2, self.hidden),
        ]
    }
}

impl Engine {
    /// Packs the weights; nothing where they are not f32 on the CPU.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Result<Option<Self>> {
        Self::above(config, parameters, 0)
    }

    /// Of the layers from `first` on alone.
    pub fn above(
        config: &EncoderConfig,
        parameters: &Parameters,
        first: usize,
    ) -> Result<Option<Self>> {
        let fits = |tensor: &Tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32;
        if !parameters.iter().all(|(_, tensor)| fits(tensor)) {
            return Ok(None);
        }
        let tables = tables(config).map(|name| parameters.get(name).clone());
        let mut engine = Self {
            config: config.clone(),
            first,
            tables: tables.collect(),
            norm: Vec::new(),
            layers: vec![Layer::default(); config.num_hidden_layers],
            spare: Arc::default(),
        };
        engine.update(parameters)?;
        Ok(Some(engine))
    }

    /// Packs the weights as they are now, into the memory that is there.
    pub fn update(&mut self, parameters: &Parameters) -> Result<()> {
        let width = self.config.hidden_size;
        self.norm = with_values(parameters.get("embeddings.norm"), <[f32]>::to_vec)?;
        for (index, layer) in self.layers.iter_mut().enumerate().skip(self.first) {
            let names = LayerNames::of(index);
            let pack =
                |affine: &mut Affine, own: &AffineNames, lines: Range<usize>| -> Result<()> {
                    let weight = parameters.get(&own.weight);
                    let inner = weight.dim(1)?;
                    let part = lines.start * inner..lines.end * inner;
                    with_values(weight, |w| affine.weight.take_transposed(&w[part], inner))?;
                    affine.bias = with_values(parameters.get(&own.bias), |b| b[lines].to_vec())?;
                    Ok(())
                };
            pack(&mut layer.query, &names.qkv, 0..width)?;
            pack(&mut layer.key_value, &names.qkv, width..3 * width)?;
            pack(&mut layer.output, &names.output, 0..width)?;
            pack(&mut layer.inner, &names.inner, 0..self.config.intermediate_size)?;
            pack(&mut layer.outer, &names.outer, 0..width)?;
            let norm = |name: &str| with_values(parameters.get(name), <[f32]>::to_vec);
            layer.attention_norm = norm(&names.attention_norm)?;
            layer.norm = norm(&names.norm)?;
        }
        Ok(())
    }

    /// The tokens that the last layer computes for the pooled vectors.
    fn read(&self, batch: &Packed) -> Scope {
        if self.config.pooling.is_mean() { Scope::all(batch) } else { Scope::first(batch) }
    }

    /// Ids, positions and segments, each with its table's name in [`GradientMap`].
    fn lookups(&self, batch: &Packed) -> impl Iterator<Item = (&'static str, Vec<u32>)> {
        let first = self.config.first_position() as u32;
        tables(&self.config).map(move |table| {
            let lines = match table {
                WORD => batch.ids().to_vec(),
                POSITION => batch.positions().map(|place| place + first).collect(),
                _ => batch.type_ids().to_vec(),
            };
            (table, lines)
        })
    }
}

const WORD: &str = "embeddings.word";
const POSITION: &str = "embeddings.position";
const SEGMENT: &str = "embeddings.type";

/// The tables whose lines are added up for a token.
fn tables(config: &EncoderConfig) -> impl Iterator<Item = &'static str> + use<> {
    let segment = (config.architecture.segments != Segments::Absent).then_some(SEGMENT);
    [WORD, POSITION].into_iter().chain(segment)
}

/// Hands the values of a contiguous f32 tensor on the CPU to `f`, without a copy.
fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => bail!("a parameter is contiguous f32 on the CPU"),
    }
}
