//! The forward pass.

use std::mem::take;
use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use super::layer::norm;
use super::pass::{LayerPasses, recomputed};
use super::{Engine, Scope, Tape, TrainingPass};
use crate::compute::Packed;
use crate::compute::kernels::norm::{add_layer_norm, mean_line};
use crate::compute::ops::Dropout;
use crate::model::places::Places;
use crate::model::{DropoutSource, StillWanted};

/// Tokens that pass through all layers together: their activations stay in the last-level cache.
const PART: usize = 1024;

/// What a forward pass is for.
#[derive(Clone, Copy)]
enum Use {
    Train {
        checkpointing: usize,
    },
    /// A prediction, and the means of what enters the last layers.
    Predict {
        inputs: usize,
    },
}

impl Engine {
    /// The last hidden state of every token: `[p, d]`.
    pub fn hidden(&self, batch: &Packed) -> Result<Tensor> {
        let scope = Scope::all(batch);
        let mut tape = Tape::default();
        rayon::scope(|_| self.encode(batch, None, &scope, &mut tape, Use::Predict { inputs: 0 }))?;
        let shape = (batch.tokens(), self.config.hidden_size);
        Tensor::from_slice(&tape.scratch.input, shape, &Device::Cpu)
    }

    /// The pooled hidden state of every sequence, `[b, d]`: its first token's, or the mean. Beside it
    /// the means over the tokens of what enters each of the last `inputs` layers, `[b, inputs · d]`.
    pub fn pooled(&self, batch: &Packed, inputs: usize) -> Result<(Tensor, Vec<f32>)> {
        self.pooled_above(batch, inputs, None)
    }

    /// The same. What enters layer `kept.0`, `[p, d]`, is put into `kept.1`.
    pub fn pooled_above(
        &self,
        batch: &Packed,
        inputs: usize,
        kept: Option<(usize, &mut Vec<f32>)>,
    ) -> Result<(Tensor, Vec<f32>)> {
        // Inside the pool from here on, so that its threads need not be woken for every operation.
        rayon::scope(|_| self.pooled_by_parts(batch, inputs, kept))
    }

    fn pooled_by_parts(
        &self,
        batch: &Packed,
        inputs: usize,
        mut kept: Option<(usize, &mut Vec<f32>)>,
    ) -> Result<(Tensor, Vec<f32>)> {
        let mut tape = self.spare_tape();
        let mut parts = Vec::new();
        let mut means = Vec::with_capacity(batch.len() * inputs * self.config.hidden_size);
        let purpose = Use::Predict { inputs };
        for part in batch.parts(PART) {
            let last = self.read(&part);
            self.start(&part, None, &mut tape, purpose)?;
            let mut from = 0;
            if let Some((first, below)) = &mut kept {
                self.run(0..*first, &part, None, &last, &mut tape, purpose);
                below.extend_from_slice(&tape.scratch.input);
                from = *first;
            }
            self.run(from..self.depth(), &part, None, &last, &mut tape, purpose);
            parts.push(self.pool(&part, &tape.scratch.input)?);
            means.append(&mut tape.scratch.means);
        }
        self.keep_spare(tape);
        let pooled = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0)? };
        Ok((pooled, means))
    }

    /// The pooled hidden state of every sequence, `[b, d]`, from what enters the lowest layer that this engine
    /// has, `[p, d]`.
    pub fn pooled_from(&self, batch: &Packed, below: &[f32]) -> Result<Tensor> {
        rayon::scope(|_| {
            let mut tape = self.spare_tape();
            tape.make_room(self.depth());
            let (mut parts, mut start) = (Vec::new(), 0);
            for part in batch.parts(PART) {
                let end = start + part.tokens() * self.config.hidden_size;
                tape.scratch.input.clear();
                tape.scratch.input.extend_from_slice(&below[start..end]);
                let (layers, last) = (self.first..self.depth(), self.read(&part));
                self.run(layers, &part, None, &last, &mut tape, Use::Predict { inputs: 0 });
                parts.push(self.pool(&part, &tape.scratch.input)?);
                start = end;
            }
            self.keep_spare(tape);
            if parts.len() == 1 { Ok(parts.remove(0)) } else { Tensor::cat(&parts, 0) }
        })
    }

    /// Memory of an earlier pass, where nobody else has taken it.
    fn spare_tape(&self) -> Tape {
        self.spare.lock().map_or_else(|_| Tape::default(), |mut spare| take(&mut spare))
    }

    fn keep_spare(&self, tape: Tape) {
        if let Ok(mut spare) = self.spare.lock() {
            *spare = tape;
        }
    }

    /// The pooled hidden states of passes with dropout in the layers from `first` on, one for each
    /// source of noise: `[b, d]` each. The layers before it are computed once, without noise; where
    /// there are none, the embeddings have dropout too. `None` if they were not wanted any more before
    /// the last pass.
    pub fn sampled(
        &self,
        batch: &Packed,
        first: usize,
        sources: &[DropoutSource],
        wanted: StillWanted<'_>,
    ) -> Result<Option<Vec<Tensor>>> {
        rayon::scope(|_| {
            let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); sources.len()];
            let mut tape = Tape::default();
            for part in batch.parts(PART) {
                if !self.sample_part(&part, first, (sources, wanted), &mut tape, &mut parts)? {
                    return Ok(None);
                }
            }
            parts.iter().map(|parts| Tensor::cat(parts, 0)).collect::<Result<_>>().map(Some)
        })
    }

    /// False if it was not wanted to its end.
    fn sample_part(
        &self,
        part: &Packed,
        first: usize,
        (sources, wanted): (&[DropoutSource], StillWanted<'_>),
        tape: &mut Tape,
        pooled: &mut [Vec<Tensor>],
    ) -> Result<bool> {
        let (last, whole) = (self.read(part), Use::Predict { inputs: 0 });
        let mut below = Vec::new();
        if first > 0 {
            self.start(part, None, tape, whole)?;
            self.run(0..first, part, None, &last, tape, whole);
            below.clone_from(&tape.scratch.input);
        }
        for (source, pooled) in sources.iter().zip(pooled) {
            if !wanted() {
                return Ok(false);
            }
            if first > 0 {
                tape.scratch.input.clone_from(&below);
            } else {
                self.start(part, Some(source), tape, whole)?;
            }
            self.run(first..self.depth(), part, Some(source), &last, tape, whole);
            pooled.push(self.pool(part, &tape.scratch.input)?);
        }
        Ok(true)
    }

    /// The same with noise; the tape keeps what the backward pass reads.
    pub fn pooled_with_tape(&self, pass: &TrainingPass<'_>, tape: &mut Tape) -> Result<Tensor> {
        let TrainingPass { batch, source, checkpointing, .. } = *pass;
        let last = self.read(batch);
        rayon::scope(|_| self.encode(batch, source, &last, tape, Use::Train { checkpointing }))?;
        self.pool(batch, &tape.scratch.input)
    }

    fn pool(&self, batch: &Packed, x: &[f32]) -> Result<Tensor> {
        let width = self.config.hidden_size;
        if self.config.reads_all_tokens() {
            let x = Tensor::from_slice(x, (batch.tokens(), width), &Device::Cpu)?;
            return crate::compute::ops::mean_token(&x, batch);
        }
        Tensor::from_slice(x, (batch.len(), width), &Device::Cpu)
    }

    /// Leaves the hidden states of the last layer, computed for `last` only, in the scratch's
    /// `input`.
    fn encode(
        &self,
        batch: &Packed,
        source: Option<&DropoutSource>,
        last: &Scope,
        tape: &mut Tape,
        purpose: Use,
    ) -> Result<()> {
        self.start(batch, source, tape, purpose)?;
        self.run(0..self.depth(), batch, source, last, tape, purpose);
        Ok(())
    }

    /// Leaves what enters the first layer in the scratch's `input`.
    fn start(
        &self,
        batch: &Packed,
        source: Option<&DropoutSource>,
        tape: &mut Tape,
        purpose: Use,
    ) -> Result<()> {
        let noise = Places::new(&self.config, source).embeddings().and_then(Dropout::factors);
        tape.make_room(self.depth());
        let kept = matches!(purpose, Use::Train { .. }).then_some(&mut tape.normed[0]);
        let (x, branch) = (&mut tape.scratch.input, &mut tape.scratch.branch);
        self.embed(batch, &Scope::all(batch), noise, kept, x, branch)
    }

    /// From what enters the first of these layers, in the scratch's `input`, to what leaves the last
    /// of them, which takes its place.
    fn run(
        &self,
        layers: Range<usize>,
        batch: &Packed,
        source: Option<&DropoutSource>,
        last: &Scope,
        tape: &mut Tape,
        purpose: Use,
    ) {
        let passes = LayerPasses::new(self, batch, source, last, tape);
        let (training, inputs, passes) = match purpose {
            Use::Train { .. } => (true, 0, passes),
            Use::Predict { inputs } => (false, inputs.min(self.depth()), passes.at(self.precision)),
        };
        let Range { start, end } = layers;
        let mut x = take(&mut tape.scratch.input);
        let width = self.config.hidden_size;
        tape.scratch.means.resize(batch.len() * inputs * width, 0.0);
        for index in start..end {
            if let Some(place) = (index + inputs).checked_sub(self.depth()) {
                let means = tape.scratch.means.chunks_exact_mut(inputs * width);
                for ((start, end), means) in batch.sequences().zip(means) {
                    let mean = &mut means[place * width..(place + 1) * width];
                    mean_line(&x[start * width..end * width], mean);
                }
            }
            let keep = matches!(purpose, Use::Train { checkpointing }
                if !recomputed(index, checkpointing));
            let pass = passes.pass(index, keep);
            // Buffers of its own for a layer that computes few tokens: those of the others would be shortened, and
            // filled with zeros again for the next part.
            let apart = pass.keep || (!training && pass.scope.chosen.is_some());
            // Where norms stand before the blocks, none saves what a layer starts from.
            let keep_input = apart || (training && pass.pre_norm());
            let own = if keep_input { &mut tape.layers[index] } else { &mut tape.again };
            let mut y = take(&mut own.x);
            let own = if apart { &mut tape.layers[index] } else { &mut tape.again };
            let out = (training && !pass.pre_norm()).then_some(&mut tape.normed[index + 1]);
            self.layer(index).forward(&x, &pass, own, out, &mut tape.scratch, &mut y);
            if let Some(convolution) = self.convolution.as_ref().filter(|_| index == 0) {
                let saved = training.then_some(&mut tape.convolved);
                let own = &mut tape.convolution;
                convolution.forward(&x, batch, &pass, own, saved, &mut y);
            }
            std::mem::swap(&mut x, &mut y);
            // `y` is the layer's input now.
            let own = if keep_input { &mut tape.layers[index] } else { &mut tape.again };
            own.x = y;
        }
        let ends = start < end && end == self.depth();
        if let Some(last_norm) = self.last_norm.as_ref().filter(|_| ends) {
            let kept = training.then_some(&mut tape.last);
            add_layer_norm(&mut x, None, norm(&self.config, last_norm), None, kept);
        }
        passes.end(tape);
        tape.scratch.input = x;
    }
}
