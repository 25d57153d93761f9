//! The backward pass, layer by layer from the last.

use std::mem::take;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::forward::{Pass, STRETCH, recomputed};
use super::tape::{LayerTape, Scratch};
use super::{Engine, GradientMap, Layer, Noises, Scope, Tape, TrainingPass, with_values};
use crate::compute::Packed;
use crate::compute::kernels::activation;
use crate::compute::kernels::embedding::add_rows_backward;
use crate::compute::kernels::gemm::{PackedMatrix, Start, add_transposed_gemm, gemm, gemms};
use crate::compute::kernels::norm::{
    LineDropout, Normed, add, add_column_sums, drop_lines, layer_norm_backward, scale_and_shift,
};
use crate::model::Parameters;
use crate::model::layout::{AffineNames, LayerNames};

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
        let noises = Noises::new(&self.config, source);
        let (all, last) = (Scope::all(batch), self.read(batch));
        for (index, layer) in self.layers.iter().enumerate().skip(frozen).rev() {
            let pass = Pass {
                config: &self.config,
                scope: if index + 1 == self.layers.len() { &last } else { &all },
                noises: noises.layer(index),
                keep: true,
            };
            let again = recomputed(index, checkpointing);
            let mut own = take(if again { &mut tape.again } else { &mut tape.layers[index] });
            let Tape { normed, scratch, .. } = tape;
            if again {
                let mut x = take(&mut own.x);
                self.enter(index, normed, &all, &noises, &mut x, &mut scratch.branch);
                layer.attend(&x, &pass, &mut own, &mut scratch.normed);
                own.x = x;
            } else {
                let before = &own.attention.values;
                scale_and_shift(before, &layer.attention_norm, &mut scratch.normed);
            }
            let names = LayerNames::of(index);
            let work = Work { layer, names, pass: &pass, parameters, again };
            work.feed_forward(&normed[index + 1], &mut own, scratch, &mut gradient, gradients)?;
            work.attention(&mut own, scratch, &mut gradient, gradients)?;
            *(if again { &mut tape.again } else { &mut tape.layers[index] }) = own;
        }
        if frozen == 0 {
            self.embed_backward(batch, &all, &noises, tape, &mut gradient, gradients)?;
        }
        tape.scratch.input = gradient;
        Ok(())
    }

    /// From pooled vectors to the lines that were computed.
    fn unpool(&self, batch: &Packed, pooled_gradient: &Tensor) -> Result<Vec<f32>> {
        let pooled = pooled_gradient.flatten_all()?.to_vec1::<f32>()?;
        if !self.config.pooling.is_mean() {
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
        batch: &Packed,
        scope: &Scope,
        noises: &Noises<'_>,
        tape: &mut Tape,
        gradient: &mut [f32],
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let width = self.config.hidden_size;
        if let Some(factors) = noises.embeddings() {
            let dropout = LineDropout { factors, places: &scope.places };
            drop_lines(gradient, width, dropout, &mut tape.scratch.branch);
            gradient.copy_from_slice(&tape.scratch.branch);
        }
        let into = entry(gradients, "embeddings.norm", self.norm.len());
        layer_norm_backward(gradient, &tape.normed[0], &self.norm, into);
        for (table, (name, ids)) in self.tables.iter().zip(self.lookups(batch)) {
            let into = entry(gradients, name, table.elem_count());
            add_rows_backward(gradient, &ids, width, into);
        }
        Ok(())
    }
}

fn entry<'a>(gradients: &'a mut GradientMap, name: &str, size: usize) -> &'a mut [f32] {
    if !gradients.contains_key(name) {
        gradients.insert(name.to_owned(), vec![0.0; size]);
    }
    gradients.get_mut(name).expect("it was inserted")
}

/// The backward pass of one layer.
struct Work<'a> {
    layer: &'a Layer,
    names: LayerNames,
    pass: &'a Pass<'a>,
    parameters: &'a Parameters,
    /// Whether what enters the non-linearity must be computed again.
    again: bool,
}

impl Work<'_> {
    /// From the gradient of the layer's result, `[m, d]`, to that of the first norm's result, in
    /// place. `scratch.normed` holds that result.
    fn feed_forward(
        &self,
        out: &Normed,
        tape: &mut LayerTape,
        scratch: &mut Scratch,
        gradient: &mut [f32],
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let (layer, config) = (self.layer, self.pass.config);
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let into = entry(gradients, &self.names.norm, 2 * width);
        layer_norm_backward(gradient, out, &layer.norm, into);
        let Scratch { normed, branch, wide: slope, weight, panels, .. } = scratch;
        for (stretch, gradient) in gradient.chunks_mut(STRETCH * width).enumerate() {
            let lines = stretch * STRETCH..stretch * STRETCH + gradient.len() / width;
            let normed = &normed[lines.start * width..lines.end * width];
            let inner = if self.again {
                tape.inner.resize(lines.len() * wide, 0.0);
                let inner = &mut tape.inner[..];
                gemms(normed, None, [layer.inner.target(inner)]);
                inner
            } else {
                &mut tape.inner[lines.start * wide..lines.end * wide]
            };
            let branch = self.branch(gradient, 2, lines, branch);
            slope.resize(inner.len(), 0.0);
            self.take_weight(&self.names.outer, 0..width, weight)?;
            gemm(branch, weight, Start::Zero, None, slope);
            activation::backward(config.hidden_act, inner, slope);
            self.weights(gradients, &self.names.outer, branch, inner, 0, panels)?;
            self.weights(gradients, &self.names.inner, slope, normed, 0, panels)?;
            self.take_weight(&self.names.inner, 0..wide, weight)?;
            gemm(slope, weight, Start::Result, None, gradient);
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
        let width = pass.config.hidden_size;
        let size = pass.scope.places.len() * width;
        // `gradient` becomes that of the input by way of the residual.
        let into = entry(gradients, &self.names.attention_norm, 2 * width);
        layer_norm_backward(gradient, &tape.attention, &layer.attention_norm, into);
        let Scratch { normed, branch, wide, weight, panels, relative, .. } = scratch;
        normed.resize(size, 0.0);
        self.take_weight(&self.names.output, 0..width, weight)?;
        let stretches = gradient.chunks(STRETCH * width).zip(tape.mixed.chunks(STRETCH * width));
        for ((stretch, (gradient, mixed)), of_mixed) in
            stretches.enumerate().zip(normed.chunks_mut(STRETCH * width))
        {
            let lines = stretch * STRETCH..stretch * STRETCH + gradient.len() / width;
            let branch = self.branch(gradient, 1, lines, branch);
            self.weights(gradients, &self.names.output, branch, mixed, 0, panels)?;
            gemm(branch, weight, Start::Zero, None, of_mixed);
        }
        wide.resize(size + tape.key_value.len(), 0.0);
        let (query, key_value) = wide.split_at_mut(size);
        pass.attention().backward(
            &tape.query,
            &tape.key_value,
            &tape.mixed,
            &tape.log_sums,
            normed,
            query,
            key_value,
            relative,
        );
        let chosen = if pass.scope.chosen.is_some() { &tape.chosen } else { &tape.x };
        self.weights(gradients, &self.names.qkv, query, chosen, 0, panels)?;
        self.weights(gradients, &self.names.qkv, key_value, &tape.x, width, panels)?;
        self.take_weight(&self.names.qkv, 0..width, weight)?;
        gemm(query, weight, Start::Result, None, gradient);
        self.take_weight(&self.names.qkv, width..3 * width, weight)?;
        let Some(chosen) = &pass.scope.chosen else {
            gemm(key_value, weight, Start::Result, None, gradient);
            return Ok(());
        };
        let mut whole = take(&mut scratch.input);
        whole.resize(tape.x.len(), 0.0);
        gemm(key_value, weight, Start::Zero, None, &mut whole);
        for (&line, gradient) in chosen.iter().zip(gradient.chunks_exact(width)) {
            add(&mut whole[line * width..(line + 1) * width], gradient);
        }
        *gradient = whole;
        Ok(())
    }

    /// The gradient before dropout of some lines.
    fn branch<'a>(
        &self,
        gradient: &'a [f32],
        noise: usize,
        lines: Range<usize>,
        into: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        match self.pass.noises[noise] {
            Some(factors) => {
                let dropout = LineDropout { factors, places: &self.pass.scope.places[lines] };
                drop_lines(gradient, self.pass.config.hidden_size, dropout, into);
                into
            }
            None => gradient,
        }
    }

    /// Packs some lines of a weight, `[n, k]` as it stands.
    fn take_weight(
        &self,
        names: &AffineNames,
        lines: Range<usize>,
        panels: &mut PackedMatrix,
    ) -> Result<()> {
        let weight = self.parameters.get(&names.weight);
        let columns = weight.dim(1)?;
        let part = lines.start * columns..lines.end * columns;
        with_values(weight, |weight| panels.take(&weight[part], columns))
    }

    /// Adds to the gradients of weight and bias from line `first` on: `gradientᵀ · x`, and the sum
    /// over the lines.
    fn weights(
        &self,
        gradients: &mut GradientMap,
        names: &AffineNames,
        gradient: &[f32],
        x: &[f32],
        first: usize,
        panels: &mut PackedMatrix,
    ) -> Result<()> {
        let (outputs, inputs) = self.parameters.get(&names.weight).dims2()?;
        let own = gradient.len() / (x.len() / inputs);
        let weight = entry(gradients, &names.weight, outputs * inputs);
        let weight = &mut weight[first * inputs..(first + own) * inputs];
        add_transposed_gemm(gradient, x, own, inputs, panels, weight);
        let bias = entry(gradients, &names.bias, outputs);
        add_column_sums(gradient, &mut bias[first..first + own]);
        Ok(())
    }
}
