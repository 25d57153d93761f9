//! The backward pass, layer by layer from the last.

use std::mem::take;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::convolution::add_of_input;
use super::forward::{Pass, STRETCH, recomputed};
use super::relative::relative_backward;
use super::tape::{LayerTape, Scratch};
use super::{Engine, GradientMap, Layer, Scope, Tape, TrainingPass, with_values};
use crate::compute::Packed;
use crate::compute::kernels::activation;
use crate::compute::kernels::embedding::add_rows_backward;
use crate::compute::kernels::gemm::{PackedMatrix, Start, add_transposed_gemm, gemm, gemms};
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::norm::{
    LineDropout, Normed, add, add_column_sums, add_residual, drop_in_place, drop_lines,
    layer_norm_backward, scale_and_shift,
};
use crate::compute::kernels::rotary::Rotation;
use crate::compute::ops::Dropout;
use crate::model::layout::{
    AffineNames, EMBEDDING_NORM, LAST_NORM, LayerNames, RELATIVE, projection_names,
};
use crate::model::places::Places;
use crate::model::{EncoderConfig, Parameters};

impl Engine {
    /// Adds the gradients of all encoder parameters to `gradients`, given that of the pooled
    /// vectors, `[b, d]`. The pass is that of the forward pass; `parameters` are the weights that the
    /// engine was packed from.
    pub fn backward(
        &self,
        parameters: &Parameters,
        pass: &TrainingPass<'_>,
        tape: &mut Tape,
        pooled_gradient: &Tensor,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let gradient = self.unpool(pass.batch, pooled_gradient)?;
        rayon::scope(|_| self.backward_from(parameters, pass, tape, gradient, gradients))
    }

    fn backward_from(
        &self,
        parameters: &Parameters,
        pass: &TrainingPass<'_>,
        tape: &mut Tape,
        mut gradient: Vec<f32>,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let TrainingPass { batch, source, checkpointing, frozen } = *pass;
        let config = &self.config;
        let places = Places::new(config, source);
        let embeddings = places.embeddings().and_then(Dropout::factors);
        let (all, last) = (Scope::all(batch), self.read(batch));
        let rotations = self.rotations(batch, tape);
        let distances = self.distances(batch);
        self.clear_table(&mut tape.scratch.related);
        if let Some(norm) = &self.last_norm
            && frozen < self.depth()
        {
            norm_backward(&mut gradient, &tape.last, norm, LAST_NORM, gradients, config);
        }
        for index in (frozen..self.depth()).rev() {
            let pass = Pass {
                config,
                scope: if index + 1 == self.depth() { &last } else { &all },
                noise: places.layer(index).into(),
                window: config.design.attention.window(index),
                rotation: self.rotation(index, &rotations, &all),
                table: &self.table,
                distances: distances.as_ref(),
                relative: self.relative.as_ref(),
                keep: true,
            };
            let layer = self.layer(index);
            let again = recomputed(index, checkpointing);
            let mut own = take(if again { &mut tape.again } else { &mut tape.layers[index] });
            let Tape { normed, convolution, convolved, scratch, .. } = tape;
            if again {
                let mut x = take(&mut own.x);
                if pass.pre_norm() {
                    x = take(&mut tape.layers[index].x);
                } else {
                    let saved = (&normed[..], &*convolved);
                    self.enter(index, saved, &all, embeddings, &mut x, &mut scratch.branch);
                }
                layer.attend(&x, &pass, &mut own, scratch);
                own.x = x;
            } else {
                let (before, norm) = match pass.pre_norm() {
                    true => (&own.feed_forward, &layer.norm),
                    false => (&own.attention, &layer.attention_norm),
                };
                scale_and_shift(&before.values, norm, &mut scratch.normed);
            }
            let names = LayerNames::of(config, config.weights_of(index));
            let of_x = match self.convolution.as_ref().filter(|_| index == 0) {
                Some(own_convolution) => {
                    let saved = (convolution, &*convolved);
                    let gradient = &mut gradient[..];
                    Some(own_convolution.backward(
                        &own.x, batch, &pass, parameters, saved, scratch, gradient, gradients,
                    )?)
                }
                None => None,
            };
            let whole = frozen == 0;
            let work = Work { layer, names, pass: &pass, parameters, again, whole };
            work.feed_forward(&normed[index + 1], &mut own, scratch, &mut gradient, gradients)?;
            work.attention(&mut own, scratch, &mut gradient, gradients)?;
            add_of_input(&mut gradient, of_x);
            if again && pass.pre_norm() {
                tape.layers[index].x = take(&mut own.x);
            }
            *(if again { &mut tape.again } else { &mut tape.layers[index] }) = own;
        }
        tape.rotations = rotations;
        if frozen == 0 {
            self.embed_backward(parameters, batch, embeddings, tape, &mut gradient, gradients)?;
            self.table_backward(&mut tape.scratch.related, gradients);
        }
        tape.scratch.input = gradient;
        Ok(())
    }

    /// From pooled vectors to the lines that were computed.
    fn unpool(&self, batch: &Packed, pooled_gradient: &Tensor) -> Result<Vec<f32>> {
        let pooled = pooled_gradient.flatten_all()?.to_vec1::<f32>()?;
        if !self.config.reads_all_tokens() {
            return Ok(pooled);
        }
        let mut lines = Vec::with_capacity(batch.tokens() * self.config.hidden_size);
        for ((start, end), line) in batch.sequences().zip(pooled.chunks(self.config.hidden_size)) {
            let share = 1.0 / (end - start) as f32;
            for _ in start..end {
                lines.extend(line.iter().map(|value| value * share));
            }
        }
        Ok(lines)
    }

    fn embed_backward(
        &self,
        parameters: &Parameters,
        batch: &Packed,
        noise: Option<Factors>,
        tape: &mut Tape,
        gradient: &mut Vec<f32>,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let scope = Scope::all(batch);
        let Tape { normed, scratch, .. } = tape;
        let mut x = take(&mut scratch.entering);
        if self.projection(false).is_some() {
            self.embedded(&normed[0], &scope, noise, &mut x, &mut scratch.branch);
            self.project_backward(parameters, &x, scratch, gradient, gradients)?;
        }
        if let Some(factors) = noise {
            let dropout = LineDropout { factors, places: &scope.places };
            drop_in_place(gradient, self.norm.len() / 2, dropout);
        }
        let config = &self.config;
        norm_backward(gradient, &normed[0], &self.norm, EMBEDDING_NORM, gradients, config);
        if self.projection(true).is_some() {
            self.look_up(batch, &mut x)?;
            self.project_backward(parameters, &x, scratch, gradient, gradients)?;
        }
        scratch.entering = x;
        for (table, (name, ids)) in self.tables.iter().zip(self.lookups(batch)) {
            let into = entry(gradients, name, table.elem_count());
            add_rows_backward(gradient, &ids, config.embedding_width(), into);
        }
        Ok(())
    }

    /// From the gradient of the projection of `x`, `[p, e]`, to that of `x`.
    fn project_backward(
        &self,
        parameters: &Parameters,
        x: &[f32],
        scratch: &mut Scratch,
        gradient: &mut Vec<f32>,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let Some(own) = self.config.design.projection else { return Ok(()) };
        let (names, Scratch { branch, weight, panels, .. }) = (projection_names(own), scratch);
        add_weights(parameters, gradients, &names, gradient, x, 0, panels)?;
        take_weight(parameters, &names, 0..self.config.hidden_size, weight)?;
        branch.resize(x.len(), 0.0);
        gemm(gradient, weight, Start::Zero, None, branch);
        std::mem::swap(gradient, branch);
        Ok(())
    }
}

pub(super) fn entry<'a>(gradients: &'a mut GradientMap, name: &str, size: usize) -> &'a mut [f32] {
    if !gradients.contains_key(name) {
        gradients.insert(name.to_owned(), vec![0.0; size]);
    }
    gradients.get_mut(name).expect("it was inserted")
}

/// From the gradient of a norm's result to that of its input, in place.
pub(super) fn norm_backward(
    gradient: &mut [f32],
    saved: &Normed,
    gamma_beta: &[f32],
    name: &str,
    gradients: &mut GradientMap,
    config: &EncoderConfig,
) {
    let both = gamma_beta.len();
    if config.design.block.norm_bias {
        return layer_norm_backward(gradient, saved, gamma_beta, entry(gradients, name, both));
    }
    let mut sums = vec![0.0; both];
    layer_norm_backward(gradient, saved, gamma_beta, &mut sums);
    add(entry(gradients, name, both / 2), &sums[..both / 2]);
}

/// Packs some lines of a weight, `[n, k]` as it stands.
pub(super) fn take_weight(
    parameters: &Parameters,
    names: &AffineNames,
    lines: Range<usize>,
    panels: &mut PackedMatrix,
) -> Result<()> {
    let weight = parameters.get(&names.weight);
    let columns = weight.dim(1)?;
    let part = lines.start * columns..lines.end * columns;
    with_values(weight, |weight| panels.take(&weight[part], columns))
}

/// Adds to the gradients of weight and bias from line `first` on: `gradientᵀ · x`, and the sum over the
/// lines.
pub(super) fn add_weights(
    parameters: &Parameters,
    gradients: &mut GradientMap,
    names: &AffineNames,
    gradient: &[f32],
    x: &[f32],
    first: usize,
    panels: &mut PackedMatrix,
) -> Result<()> {
    let (outputs, inputs) = parameters.get(&names.weight).dims2()?;
    let own = gradient.len() / (x.len() / inputs);
    let weight = entry(gradients, &names.weight, outputs * inputs);
    let weight = &mut weight[first * inputs..(first + own) * inputs];
    add_transposed_gemm(gradient, x, own, inputs, panels, weight);
    if let Some(name) = &names.bias {
        let bias = entry(gradients, name, outputs);
        add_column_sums(gradient, &mut bias[first..first + own]);
    }
    Ok(())
}

/// The backward pass of one layer.
struct Work<'a> {
    layer: &'a Layer,
    names: LayerNames,
    pass: &'a Pass<'a>,
    parameters: &'a Parameters,
    /// Whether what enters the non-linearity must be computed again.
    again: bool,
    /// Whether what all layers share has a gradient: not if some of them are frozen.
    whole: bool,
}

impl Work<'_> {
    /// From the gradient of the layer's result, `[m, d]`, to that of what the feed-forward block is added to,
    /// in place. `scratch.normed` holds what enters the block; `out` is the norm behind it.
    fn feed_forward(
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
        let Scratch { normed, branch, wide: slope, residual, weight, panels, .. } = scratch;
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
            self.take_weight(&self.names.outer, 0..width, weight)?;
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
            self.weights(gradients, &self.names.outer, branch, active, 0, panels)?;
            self.weights(gradients, &self.names.inner, of_inner, normed, 0, panels)?;
            self.take_weight(&self.names.inner, 0..wide, weight)?;
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
    fn attention(
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
        let Scratch { normed, branch, wide, entering, residual, related, weight, panels, .. } =
            scratch;
        normed.resize(size, 0.0);
        self.take_weight(&self.names.output, 0..width, weight)?;
        let stretches = gradient.chunks(STRETCH * width).zip(tape.mixed.chunks(STRETCH * width));
        for ((stretch, (gradient, mixed)), of_mixed) in
            stretches.enumerate().zip(normed.chunks_mut(STRETCH * width))
        {
            let lines = stretch * STRETCH..stretch * STRETCH + gradient.len() / width;
            let branch = self.branch(gradient, pass.noise.attention, lines, branch);
            self.weights(gradients, &self.names.output, branch, mixed, 0, panels)?;
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
        self.weights(gradients, &self.names.qkv, query, chosen, 0, panels)?;
        self.weights(gradients, &self.names.qkv, key_value, entering, width, panels)?;
        // Where norms stand before the blocks, the residual passes by that norm.
        let mut start = Start::Result;
        if pass.pre_norm() {
            std::mem::swap(gradient, residual);
            gradient.resize(size, 0.0);
            start = Start::Zero;
        }
        self.take_weight(&self.names.qkv, 0..width, weight)?;
        gemm(query, weight, start, None, gradient);
        self.take_weight(&self.names.qkv, width..3 * width, weight)?;
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

    fn take_weight(
        &self,
        names: &AffineNames,
        lines: Range<usize>,
        panels: &mut PackedMatrix,
    ) -> Result<()> {
        take_weight(self.parameters, names, lines, panels)
    }

    fn weights(
        &self,
        gradients: &mut GradientMap,
        names: &AffineNames,
        gradient: &[f32],
        x: &[f32],
        first: usize,
        panels: &mut PackedMatrix,
    ) -> Result<()> {
        add_weights(self.parameters, gradients, names, gradient, x, first, panels)
    }
}

/// Adds the lines of `part` to these lines of `whole`.
pub(super) fn add_to_lines(whole: &mut [f32], lines: &[usize], width: usize, part: &[f32]) {
    for (&line, part) in lines.iter().zip(part.chunks_exact(width)) {
        add(&mut whole[line * width..(line + 1) * width], part);
    }
}
