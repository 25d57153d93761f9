//! The backward pass of one layer.

use std::mem::take;
use std::ops::Range;

use candle_core::Result;

use super::backward::{add_to_lines, add_weights, entry, norm_backward, take_weight};
use super::pass::{Pass, STRETCH};
use super::relative::relative_backward;
use super::tape::{LayerTape, RightSides, Scratch};
use super::{GradientMap, Layer};
use crate::compute::kernels::activation;
use crate::compute::kernels::gemm::{Start, gemm, gemms};
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::norm::{
    LineDropout, Normed, add_residual, drop_lines, scale_and_shift,
};
use crate::compute::kernels::rotary::Rotation;
use crate::model::Parameters;
use crate::model::layout::{LayerNames, RELATIVE};

/// The backward pass of one layer.
pub(super) struct Work<'a> {
    pub layer: &'a Layer,
    pub names: LayerNames,
    pub pass: &'a Pass<'a>,
    pub parameters: &'a Parameters,
    /// Whether what enters the non-linearity must be computed again.
    pub again: bool,
    /// Whether what all layers share has a gradient: not if some of them are frozen.
    pub whole: bool,
}

impl Work<'_> {
    /// From the gradient of the layer's result, `[m, d]`, to that of what the feed-forward block is added to,
    /// in place. `scratch.normed` holds what enters the block; `out` is the norm behind it.
    pub fn feed_forward(
        &self,
        out: &Normed,
        tape: &mut LayerTape,
        scratch: &mut Scratch,
        gradient: &mut [f32],
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let (layer, config) = (self.layer, self.pass.config);
        let (width, wide) = (config.hidden_size, layer.inner.weight.columns());
        let pre_norm = self.pass.pre_norm();
        if !pre_norm {
            norm_backward(gradient, out, &layer.norm, &self.names.norm, gradients, config);
        }
        let Scratch { normed, branch, wide: slope, residual, sides, .. } = scratch;
        let RightSides { weight, panels } = sides;
        // The gradient of what enters the block, where a norm stands before it.
        residual.resize(if pre_norm { gradient.len() } else { 0 }, 0.0);
        for (stretch, gradient) in gradient.chunks_mut(STRETCH * width).enumerate() {
            let lines = stretch * STRETCH..stretch * STRETCH + gradient.len() / width;
            let part = lines.start * width..lines.end * width;
            let normed = &normed[part.clone()];
            let inner = if self.again {
                tape.inner.resize(lines.len() * wide, 0.0);
                let inner = &mut tape.inner[..];
                gemms(normed, None, [layer.inner.target(inner)]);
                inner
            } else {
                &mut tape.inner[lines.start * wide..lines.end * wide]
            };
            let noise = self.pass.noise.feed_forward;
            let branch = self.branch(gradient, noise, lines.clone(), branch);
            slope.resize(lines.len() * config.intermediate_size, 0.0);
            take_weight(self.parameters, &self.names.outer, 0..width, weight)?;
            gemm(branch, weight, Start::Zero, None, slope);
            // What enters the second product, and the gradient of what leaves the first.
            let (active, of_inner) = if config.design.block.gated {
                self.pass.drop_gated(slope, lines.start);
                activation::gate_backward(config.hidden_act, wide / 2, inner, slope);
                self.pass.drop_gated(slope, lines.start);
                (&slope[..], &*inner)
            } else {
                activation::backward(config.hidden_act, inner, slope);
                (&*inner, &slope[..])
            };
            add_weights(self.parameters, gradients, &self.names.outer, branch, active, 0, panels)?;
            add_weights(
                self.parameters,
                gradients,
                &self.names.inner,
                of_inner,
                normed,
                0,
                panels,
            )?;
            take_weight(self.parameters, &self.names.inner, 0..wide, weight)?;
            let (start, into) = match pre_norm {
                true => (Start::Zero, &mut residual[part]),
                false => (Start::Result, gradient),
            };
            gemm(of_inner, weight, start, None, into);
        }
        if pre_norm {
            let (saved, name) = (&tape.feed_forward, &self.names.norm);
            norm_backward(residual, saved, &layer.norm, name, gradients, config);
            add_residual(gradient, residual, width, None);
        }
        Ok(())
    }

    /// From there to the gradient of the layer's input, `[p, d]`, in place.
    pub fn attention(
        &self,
        tape: &mut LayerTape,
        scratch: &mut Scratch,
        gradient: &mut Vec<f32>,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let (layer, pass) = (self.layer, self.pass);
        let (config, width) = (pass.config, pass.config.hidden_size);
        let (norm, norm_name) = (&layer.attention_norm, self.names.attention_norm.as_deref());
        let size = pass.scope.places.len() * width;
        if let Some(name) = norm_name.filter(|_| !pass.pre_norm()) {
            // `gradient` becomes that of the input by way of the residual.
            norm_backward(gradient, &tape.attention, norm, name, gradients, config);
        }
        let Scratch { normed, branch, wide, entering, residual, related, sides, .. } = scratch;
        let RightSides { weight, panels } = sides;
        normed.resize(size, 0.0);
        take_weight(self.parameters, &self.names.output, 0..width, weight)?;
        let stretches = gradient.chunks(STRETCH * width).zip(tape.mixed.chunks(STRETCH * width));
        for ((stretch, (gradient, mixed)), of_mixed) in
            stretches.enumerate().zip(normed.chunks_mut(STRETCH * width))
        {
            let lines = stretch * STRETCH..stretch * STRETCH + gradient.len() / width;
            let branch = self.branch(gradient, pass.noise.attention, lines, branch);
            add_weights(self.parameters, gradients, &self.names.output, branch, mixed, 0, panels)?;
            gemm(branch, weight, Start::Zero, None, of_mixed);
        }
        wide.resize(size + tape.key_value.len(), 0.0);
        let (query, key_value) = wide.split_at_mut(size);
        layer.relate(pass, related, true);
        let (relative, of_relative) = related.relative(pass);
        pass.attention(relative).backward(
            &tape.query,
            &tape.key_value,
            &tape.mixed,
            &tape.log_sums,
            normed,
            query,
            key_value,
            of_relative,
        );
        pass.turn(Rotation::turn_back, query, key_value);
        if let Some(own) = pass.relative.filter(|_| self.whole) {
            let size = self.parameters.get(RELATIVE).elem_count();
            let into = entry(gradients, RELATIVE, size);
            of_relative.add_to_bias(config.num_attention_heads, &own.rows, into);
        }
        let before = norm_name.filter(|_| pass.pre_norm());
        let entering = match before {
            Some(_) => {
                scale_and_shift(&tape.attention.values, norm, entering);
                &*entering
            }
            None => &tape.x,
        };
        let chosen = if pass.scope.chosen.is_some() { &tape.chosen } else { entering };
        add_weights(self.parameters, gradients, &self.names.qkv, query, chosen, 0, panels)?;
        add_weights(
            self.parameters,
            gradients,
            &self.names.qkv,
            key_value,
            entering,
            width,
            panels,
        )?;
        // Where norms stand before the blocks, the residual passes by that norm.
        let mut start = Start::Result;
        if pass.pre_norm() {
            std::mem::swap(gradient, residual);
            gradient.resize(size, 0.0);
            start = Start::Zero;
        }
        take_weight(self.parameters, &self.names.qkv, 0..width, weight)?;
        gemm(query, weight, start, None, gradient);
        take_weight(self.parameters, &self.names.qkv, width..3 * width, weight)?;
        match &pass.scope.chosen {
            None => gemm(key_value, weight, Start::Result, None, gradient),
            Some(chosen) => {
                let mut whole = take(&mut scratch.input);
                whole.resize(tape.x.len(), 0.0);
                gemm(key_value, weight, Start::Zero, None, &mut whole);
                add_to_lines(&mut whole, chosen, width, gradient);
                scratch.input = std::mem::replace(gradient, whole);
            }
        }
        if let Some(name) = before {
            norm_backward(gradient, &tape.attention, norm, name, gradients, config);
        }
        if pass.pre_norm() {
            match &pass.scope.chosen {
                None => add_residual(gradient, residual, width, None),
                Some(chosen) => add_to_lines(gradient, chosen, width, residual),
            }
        }
        relative_backward(pass, self.parameters, &self.names, scratch, gradients)
    }

    /// The gradient before dropout of some lines.
    fn branch<'a>(
        &self,
        gradient: &'a [f32],
        noise: Option<Factors>,
        lines: Range<usize>,
        into: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        match noise {
            Some(factors) => {
                let dropout = LineDropout { factors, places: &self.pass.scope.places[lines] };
                drop_lines(gradient, self.pass.config.hidden_size, dropout, into);
                into
            }
            None => gradient,
        }
    }
}
