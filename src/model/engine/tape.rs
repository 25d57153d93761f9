//! What a forward pass leaves for the backward pass.

use super::convolution::ConvolutionTape;
use super::relative::Related;
use crate::compute::Precision;
use crate::compute::kernels::gemm::PackedMatrix;
use crate::compute::kernels::norm::Normed;
use crate::compute::kernels::rotary::Rotation;

/// The activations of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerTape {
    /// The layer's input, `[p, d]`.
    pub x: Vec<f32>,
    /// The lines that are computed of what enters the attention, `[m, d]`, where that is not all of them.
    pub chosen: Vec<f32>,
    /// Queries, `[m, d]`.
    pub query: Vec<f32>,
    /// Keys beside values, `[p, 2d]`.
    pub key_value: Vec<f32>,
    /// The heads' results side by side, `[m, d]`.
    pub mixed: Vec<f32>,
    /// Logarithms of the sums of attention weights, `[m, heads]`.
    pub log_sums: Vec<f32>,
    /// Of the norm of the attention: behind it `[m, d]`, before it `[p, d]`.
    pub attention: Normed,
    /// Of the norm of the feed-forward block, where it stands before, `[m, d]`.
    pub feed_forward: Normed,
    /// What enters the non-linearity, `[m, f]` or `[m, 2f]`; of one stretch of tokens where it is computed again.
    pub inner: Vec<f32>,
}

impl LayerTape {
    fn bytes(&self) -> usize {
        let all = [
            &self.x,
            &self.chosen,
            &self.query,
            &self.key_value,
            &self.mixed,
            &self.log_sums,
            &self.attention.values,
            &self.attention.inverse,
            &self.feed_forward.values,
            &self.feed_forward.inverse,
            &self.inner,
        ];
        all.iter().map(|values| values.capacity() * size_of::<f32>()).sum()
    }
}

/// The activations of one pass, kept between steps so that their memory is used again.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// The norm after the embeddings, then the second norm of each layer, where it stands behind: what the
    /// next one starts from is a scale and a shift away.
    pub(super) normed: Vec<Normed>,
    /// The norm behind all layers, where norms stand before the blocks.
    pub(super) last: Normed,
    /// The convolution behind the first layer, and its norm.
    pub(super) convolution: ConvolutionTape,
    pub(super) convolved: Normed,
    /// By layer. A layer that is computed again keeps nothing here but its input, where no norm saves that.
    pub(super) layers: Vec<LayerTape>,
    /// What a layer is computed again into.
    pub(super) again: LayerTape,
    /// By the design's θ; they are as long as the longest text so far.
    pub(super) rotations: Vec<Rotation>,
    /// Memory of the pass that nothing reads later.
    pub(super) scratch: Scratch,
}

/// Buffers without meaning between two calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub normed: Vec<f32>,
    pub branch: Vec<f32>,
    pub wide: Vec<f32>,
    /// What enters the attention, where a norm stands before it, `[p, d]`.
    pub entering: Vec<f32>,
    /// The sum of the residuals where norms stand before the blocks, or its gradient.
    pub residual: Vec<f32>,
    /// What leaves a gate, `[m, f]`.
    pub gated: Vec<f32>,
    /// What enters the first layer, or leaves the last; a gradient of all tokens on the way back.
    pub input: Vec<f32>,
    /// Means over the tokens of what enters the last layers, `[b, inputs · d]`.
    pub means: Vec<f32>,
    pub related: Related,
    /// Of the products with the weights of layers on the way back.
    pub sides: RightSides,
    /// Of those in f32: with the maps of the embeddings, of the convolution and of relative tables.
    pub sides_f32: RightSides,
}

/// The right sides of the products of one backward pass, packed in turn.
#[derive(Clone, Debug, Default)]
pub(super) struct RightSides {
    /// A weight.
    pub weight: PackedMatrix,
    /// What was multiplied with it.
    pub panels: PackedMatrix,
}

impl RightSides {
    /// Takes its numbers at a precision from now on.
    pub(super) fn set_precision(&mut self, precision: Precision) {
        if self.weight.precision() != precision {
            let [weight, panels] = [(); 2].map(|()| PackedMatrix::new(precision));
            *self = Self { weight, panels };
        }
    }

    fn bytes(&self) -> usize {
        self.weight.bytes() + self.panels.bytes()
    }
}

impl Tape {
    /// For an encoder of so many layers.
    pub(super) fn make_room(&mut self, layers: usize) {
        self.normed.resize(layers + 1, Normed::default());
        self.layers.resize(layers, LayerTape::default());
    }

    /// Bytes held for activations and for what a pass needs beside them.
    pub fn bytes(&self) -> usize {
        let Scratch {
            normed,
            branch,
            wide,
            entering,
            residual,
            gated,
            input,
            means,
            related,
            sides,
            sides_f32,
        } = &self.scratch;
        let scratch = [normed, branch, wide, entering, residual, gated, input, means];
        let normed = self.normed.iter().chain([&self.last, &self.convolved]);
        let normed = normed.flat_map(|one| [&one.values, &one.inverse]);
        let values: usize = scratch.into_iter().chain(normed).map(Vec::capacity).sum();
        let layers: usize = self.layers.iter().map(LayerTape::bytes).sum();
        let tables: usize = self.rotations.iter().map(Rotation::bytes).sum();
        let other = related.bytes() + self.convolution.bytes() + sides.bytes() + sides_f32.bytes();
        values * size_of::<f32>() + layers + self.again.bytes() + other + tables
    }
}
