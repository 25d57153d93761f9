//! The convolution behind the first layer, of what enters that layer.

use std::ops::Range;

use candle_core::Result;

use super::backward::{add_to_lines, entry, norm_backward};
use super::layer::{choose, norm};
use super::pass::Pass;
use super::tape::{RightSides, Scratch};
use super::{GradientMap, both_lines, with_values};
use crate::compute::Packed;
use crate::compute::kernels::activation;
use crate::compute::kernels::convolution::Window;
use crate::compute::kernels::gemm::{PackedMatrix, Start, add_transposed_gemm, gemm};
use crate::compute::kernels::norm::{
    LineDropout, Normed, add, add_column_sums, add_layer_norm, drop_in_place,
};
use crate::model::architecture::Convolution as Design;
use crate::model::layout::{CONVOLUTION_NORM, convolution_names};
use crate::model::{EncoderConfig, Parameters};

/// Its weights, packed.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    design: Design,
    width: usize,
    /// By groups.
    weights: Vec<PackedMatrix>,
    bias: Vec<f32>,
    pub norm: Vec<f32>,
}

/// What its backward pass reads, besides what its norm saves.
#[derive(Clone, Debug, Default)]
pub(super) struct ConvolutionTape {
    /// What enters the non-linearity, `[m, d]`.
    inner: Vec<f32>,
    /// Memory: the features of windows, and what a group makes of them.
    patches: Vec<f32>,
    part: Vec<f32>,
    whole: Vec<f32>,
}

impl ConvolutionTape {
    pub(super) fn bytes(&self) -> usize {
        let all = [&self.inner, &self.patches, &self.part, &self.whole];
        all.iter().map(|values| values.capacity() * size_of::<f32>()).sum()
    }
}

/// The sequence of each token.
fn sequences(batch: &Packed) -> Vec<Range<usize>> {
    let tokens = |(start, end): (usize, usize)| std::iter::repeat_n(start..end, end - start);
    batch.sequences().flat_map(tokens).collect()
}

impl Convolution {
    pub(super) fn new(config: &EncoderConfig, parameters: &Parameters) -> Result<Option<Self>> {
        let Some(design) = config.design.convolution else { return Ok(None) };
        let (names, width) = (convolution_names(), config.hidden_size);
        let weight = parameters.get(&names.weight);
        let inputs = weight.dim(1)?;
        let weights = with_values(weight, |weight| {
            let pack = |group: &[f32]| {
                let mut packed = PackedMatrix::default();
                packed.take_transposed(group, inputs);
                packed
            };
            weight.chunks_exact(weight.len() / design.groups).map(pack).collect()
        })?;
        let bias = names.bias.as_ref().expect("a convolution has a bias");
        let bias = with_values(parameters.get(bias), <[f32]>::to_vec)?;
        let norm = both_lines(parameters.get(CONVOLUTION_NORM))?;
        Ok(Some(Self { design, width, weights, bias, norm }))
    }

    fn window<'a>(&self, sequences: &'a [Range<usize>], group: usize) -> Window<'a> {
        let inputs = self.width / self.design.groups;
        let size = self.design.window;
        Window { sequences, width: self.width, first: group * inputs, inputs, size }
    }

    /// `y ← LN(y + act(drop(conv(x))))`: `x` is `[p, d]`, `y` the layer's result, `[m, d]`.
    pub(super) fn forward(
        &self,
        x: &[f32],
        batch: &Packed,
        pass: &Pass<'_>,
        tape: &mut ConvolutionTape,
        saved: Option<&mut Normed>,
        y: &mut Vec<f32>,
    ) {
        let (sequences, outputs) = (sequences(batch), self.width / self.design.groups);
        let ConvolutionTape { inner, patches, part, whole } = tape;
        whole.resize(x.len(), 0.0);
        part.resize(sequences.len() * outputs, 0.0);
        for (group, weight) in self.weights.iter().enumerate() {
            let columns = group * outputs..(group + 1) * outputs;
            self.window(&sequences, group).patches(x, patches);
            gemm(patches, weight, Start::Bias(&self.bias[columns.clone()]), None, part);
            let lines = whole.chunks_exact_mut(self.width).zip(part.chunks_exact(outputs));
            lines.for_each(|(line, part)| line[columns.clone()].copy_from_slice(part));
        }
        match &pass.scope.chosen {
            Some(chosen) => choose(whole, chosen, self.width, inner),
            None => std::mem::swap(inner, whole),
        }
        if let Some(dropout) = self.dropout(pass) {
            drop_in_place(inner, self.width, dropout);
        }
        let active = whole;
        active.clone_from(inner);
        activation::forward(self.design.activation)(active);
        add_layer_norm(active, Some(&y[..]), norm(pass.config, &self.norm), None, saved);
        std::mem::swap(active, y);
    }

    fn dropout<'a>(&self, pass: &'a Pass<'_>) -> Option<LineDropout<'a>> {
        let places = &pass.scope.places;
        pass.noise.convolution.map(|factors| LineDropout { factors, places })
    }

    /// From the gradient of the result, `[m, d]`, to that of the layer's, in place; gives that of `x` by way of
    /// the convolution, `[p, d]`.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the forward pass took, gave, and gradients"
    )]
    pub(super) fn backward(
        &self,
        x: &[f32],
        batch: &Packed,
        pass: &Pass<'_>,
        parameters: &Parameters,
        (tape, saved): (&mut ConvolutionTape, &Normed),
        scratch: &mut Scratch,
        gradient: &mut [f32],
        gradients: &mut GradientMap,
    ) -> Result<Vec<f32>> {
        let (sequences, width) = (sequences(batch), self.width);
        let outputs = width / self.design.groups;
        norm_backward(gradient, saved, &self.norm, CONVOLUTION_NORM, gradients, pass.config);
        let ConvolutionTape { inner, patches, part, whole } = tape;
        let mut own = gradient.to_vec();
        activation::backward(self.design.activation, inner, &mut own);
        if let Some(dropout) = self.dropout(pass) {
            drop_in_place(&mut own, width, dropout);
        }
        whole.clear();
        whole.resize(x.len(), 0.0);
        match &pass.scope.chosen {
            Some(chosen) => add_to_lines(whole, chosen, width, &own),
            None => std::mem::swap(whole, &mut own),
        }
        let names = convolution_names();
        let bias = names.bias.as_ref().expect("a convolution has a bias");
        add_column_sums(whole, entry(gradients, bias, width));
        let weight = parameters.get(&names.weight);
        let inputs = weight.dim(1)?;
        let into = entry(gradients, &names.weight, width * inputs);
        let mut of_x = vec![0.0; x.len()];
        part.resize(sequences.len() * outputs, 0.0);
        let RightSides { weight: transposed, panels } = &mut scratch.sides_f32;
        for (group, into) in into.chunks_exact_mut(outputs * inputs).enumerate() {
            let columns = group * outputs..(group + 1) * outputs;
            for (part, line) in part.chunks_exact_mut(outputs).zip(whole.chunks_exact(width)) {
                part.copy_from_slice(&line[columns.clone()]);
            }
            let window = self.window(&sequences, group);
            window.patches(x, patches);
            add_transposed_gemm(part, patches, outputs, inputs, panels, into);
            let lines = columns.start * inputs..columns.end * inputs;
            with_values(weight, |weight| transposed.take(&weight[lines], inputs))?;
            gemm(part, transposed, Start::Zero, None, patches);
            window.add_patches(patches, &mut of_x);
        }
        Ok(of_x)
    }
}

/// Adds the gradient of a layer's input that comes by way of the convolution.
pub(super) fn add_of_input(gradient: &mut [f32], of_x: Option<Vec<f32>>) {
    if let Some(of_x) = of_x {
        add(gradient, &of_x);
    }
}
