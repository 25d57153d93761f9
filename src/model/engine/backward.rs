//! The backward pass, layer by layer from the last.

use std::mem::take;

use candle_core::{Result, Tensor};

use super::forward::{Pass, recomputed};
use super::tape::{LayerTape, Scratch};
use super::{Engine, GradientMap, Layer, Noises, Scope, Tape, TrainingPass, with_values};
use crate::compute::Packed;
use crate::compute::kernels::activation;
use crate::compute::kernels::embedding::add_rows_backward;
use crate::compute::kernels::norm::{
    LineDropout, add, add_column_sums, drop_lines, layer_norm_backward, scale_and_shift,
};
use crate::compute::kernels::product::{Panels, Start, add_transposed_product, product};
use crate::model::{Parameters, Pooling};

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
        let TrainingPass { batch, source, checkpointing } = *pass;
        let noises = Noises::new(&self.config, source);
        let (all, last) = (Scope::all(batch), self.read(batch));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let pass = Pass {
                config: &self.config,
                scope: if index + 1 == self.layers.len() { &last } else { &all },
                noises: noises.layer(index),
                keep: true,
            };
            let mut own = if recomputed(index, checkpointing) {
                let x = take(&mut tape.layers[index].x);
                let mut again = take(&mut tape.again);
                let mut y = take(&mut again.x);
                layer.forward(&x, &pass, &mut again, &mut tape.scratch, &mut y);
                again.x = x;
                tape.layers[index].x = y;
                again
            } else {
                take(&mut tape.layers[index])
            };
            let work = Work { layer, index, pass: &pass, parameters };
            work.backward(&mut own, &mut tape.scratch, &mut gradient, gradients)?;
            if recomputed(index, checkpointing) {
                tape.again = own;
            } else {
                tape.layers[index] = own;
            }
        }
        self.embed_backward(batch, &all, &noises, tape, &mut gradient, gradients)?;
        tape.scratch.input = gradient;
        Ok(())
    }

    /// From pooled vectors to the lines that were computed.
    fn unpool(&self, batch: &Packed, pooled_gradient: &Tensor) -> Result<Vec<f32>> {
        let pooled = pooled_gradient.flatten_all()?.to_vec1::<f32>()?;
        if self.config.pooling != Pooling::Mean {
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
        layer_norm_backward(gradient, &tape.embeddings, &self.norm, into);
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
    index: usize,
    pass: &'a Pass<'a>,
    parameters: &'a Parameters,
}

impl Work<'_> {
    /// From the gradient of the layer's result, `[m, d]`, to that of its input, `[p, d]`, in place.
    fn backward(
        &self,
        tape: &mut LayerTape,
        scratch: &mut Scratch,
        gradient: &mut Vec<f32>,
        gradients: &mut GradientMap,
    ) -> Result<()> {
        let (layer, pass) = (self.layer, self.pass);
        let width = pass.config.hidden_size;
        let lines = pass.scope.places.len();

        let panels = &mut scratch.panels;
        // Feed-forward block: `gradient` becomes that of the first norm's result.
        let into = self.entry(gradients, "feed_forward.norm", 2 * width);
        layer_norm_backward(gradient, &tape.out, &layer.norm, into);
        let branch = self.branch(gradient, 2, &mut scratch.branch);
        scratch.wide.resize(tape.inner.len(), 0.0);
        self.product("feed_forward.outer", branch, Start::Zero, &mut scratch.wide, 0, panels)?;
        activation::backward(pass.config.hidden_act, &mut tape.inner, &mut scratch.wide);
        self.weights(gradients, "feed_forward.outer", branch, &tape.inner, 0, panels);
        scale_and_shift(&tape.attention.values, &layer.attention_norm, &mut scratch.normed);
        self.weights(gradients, "feed_forward.inner", &scratch.wide, &scratch.normed, 0, panels);
        self.product("feed_forward.inner", &scratch.wide, Start::Result, gradient, 0, panels)?;

        // Attention: `gradient` becomes that of the input by way of the residual.
        let into = self.entry(gradients, "attention.norm", 2 * width);
        layer_norm_backward(gradient, &tape.attention, &layer.attention_norm, into);
        let branch = self.branch(gradient, 1, &mut scratch.branch);
        self.weights(gradients, "attention.output", branch, &tape.mixed, 0, panels);
        scratch.normed.resize(lines * width, 0.0);
        self.product("attention.output", branch, Start::Zero, &mut scratch.normed, 0, panels)?;
        scratch.wide.resize(lines * width + tape.key_value.len(), 0.0);
        let (query, key_value) = scratch.wide.split_at_mut(lines * width);
        pass.attention().backward(
            &tape.query,
            &tape.key_value,
            &tape.mixed,
            &tape.log_sums,
            &scratch.normed,
            query,
            key_value,
        );
        let chosen = if pass.scope.chosen.is_some() { &tape.chosen } else { &tape.x };
        self.weights(gradients, "attention.qkv", query, chosen, 0, panels);
        self.weights(gradients, "attention.qkv", key_value, &tape.x, width, panels);
        self.product("attention.qkv", query, Start::Result, gradient, 0, panels)?;
        let Some(chosen) = &pass.scope.chosen else {
            return self.product(
                "attention.qkv",
                key_value,
                Start::Result,
                gradient,
                width,
                panels,
            );
        };
        let mut whole = take(&mut scratch.input);
        whole.resize(tape.x.len(), 0.0);
        self.product("attention.qkv", key_value, Start::Zero, &mut whole, width, panels)?;
        for (&line, gradient) in chosen.iter().zip(gradient.chunks_exact(width)) {
            add(&mut whole[line * width..(line + 1) * width], gradient);
        }
        *gradient = whole;
        Ok(())
    }

    fn entry<'a>(&self, gradients: &'a mut GradientMap, name: &str, size: usize) -> &'a mut [f32] {
        entry(gradients, &format!("layer.{:04}.{name}", self.index), size)
    }

    /// The gradient before dropout.
    fn branch<'a>(&self, gradient: &'a [f32], noise: usize, into: &'a mut Vec<f32>) -> &'a [f32] {
        match self.pass.noises[noise] {
            Some(factors) => {
                let dropout = LineDropout { factors, places: &self.pass.scope.places };
                drop_lines(gradient, self.pass.config.hidden_size, dropout, into);
                into
            }
            None => gradient,
        }
    }

    /// `into += gradient · W`, where W is the lines of a weight from `first` on, as many as the
    /// gradient is wide.
    fn product(
        &self,
        name: &str,
        gradient: &[f32],
        start: Start<'_>,
        into: &mut [f32],
        first: usize,
        panels: &mut Panels,
    ) -> Result<()> {
        let weight = self.parameters.get(&format!("layer.{:04}.{name}.weight", self.index));
        let columns = weight.dim(1)?;
        let lines = into.len() / columns;
        let outputs = gradient.len() / lines;
        let part = first * columns..(first + outputs) * columns;
        with_values(weight, |weight| panels.take(&weight[part], columns))?;
        product(gradient, panels, start, None, into);
        Ok(())
    }

    /// Adds to the gradients of weight and bias from line `first` on: `gradientᵀ · x`, and the sum
    /// over the lines.
    fn weights(
        &self,
        gradients: &mut GradientMap,
        name: &str,
        gradient: &[f32],
        x: &[f32],
        first: usize,
        panels: &mut Panels,
    ) {
        let outputs = match name {
            "attention.qkv" => 3 * self.pass.config.hidden_size,
            "feed_forward.inner" => self.pass.config.intermediate_size,
            _ => self.pass.config.hidden_size,
        };
        let inputs = match name {
            "feed_forward.outer" => self.pass.config.intermediate_size,
            _ => self.pass.config.hidden_size,
        };
        let lines = x.len() / inputs;
        let own = gradient.len() / lines;
        let weight = self.entry(gradients, &format!("{name}.weight"), outputs * inputs);
        let weight = &mut weight[first * inputs..(first + own) * inputs];
        add_transposed_product(gradient, x, own, inputs, panels, weight);
        let bias = self.entry(gradients, &format!("{name}.bias"), outputs);
        add_column_sums(gradient, &mut bias[first..first + own]);
    }
}
