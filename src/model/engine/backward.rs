//! The backward pass, layer by layer from the last.

use std::mem::take;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::convolution::add_of_input;
use super::layer_backward::Work;
use super::pass::{LayerPasses, recomputed};
use super::{Engine, GradientMap, Tape, TrainingPass, with_values};
use crate::compute::Packed;
use crate::compute::kernels::gemm::{PackedMatrix, add_transposed_gemm};
use crate::compute::kernels::norm::{
    Normed, add, add_column_sums, layer_norm_backward, scale_and_shift,
};
use crate::compute::ops::Dropout;
use crate::model::layout::{AffineNames, LAST_NORM, LayerNames};
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
        let last = self.read(batch);
        let passes = LayerPasses::new(self, batch, source, &last, tape);
        self.clear_table(&mut tape.scratch.related);
        tape.scratch.sides.set_precision(self.precision);
        if let Some(norm) = &self.last_norm {
            norm_backward(&mut gradient, &tape.last, norm, LAST_NORM, gradients, config);
        }
        for index in (frozen..self.depth()).rev() {
            let pass = passes.pass(index, true);
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
                    self.enter(index, saved, &passes.all, embeddings, &mut x, &mut scratch.branch);
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
        passes.end(tape);
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

/// Adds the lines of `part` to these lines of `whole`.
pub(super) fn add_to_lines(whole: &mut [f32], lines: &[usize], width: usize, part: &[f32]) {
    for (&line, part) in lines.iter().zip(part.chunks_exact(width)) {
        add(&mut whole[line * width..(line + 1) * width], part);
    }
}
