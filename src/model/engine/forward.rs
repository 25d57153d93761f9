//! The forward pass.

use std::mem::take;
use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use super::relative::{Distances, Table};
use super::tape::{LayerTape, Scratch};
use super::{Engine, Layer, LayerNoise, Scope, Tape, TrainingPass};
use crate::compute::Packed;
use crate::compute::kernels::activation;
use crate::compute::kernels::attention::{Attention, Relative};
use crate::compute::kernels::gemm::gemms;
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::norm::{
    LineDropout, Norm, Normed, add_layer_norm, add_residual, drop_in_place, drop_lines, mean_line,
    scale_and_shift,
};
use crate::compute::kernels::rotary::{Lines, Rotation};
use crate::compute::ops::Dropout;
use crate::model::places::Places;
use crate::model::{DropoutSource, EncoderConfig, StillWanted};

/// Tokens that pass through all layers together: their activations stay in the last-level cache.
const PART: usize = 1024;

/// Tokens that pass through the feed-forward block together where its inside is not kept, a multiple
/// of the blocks in which sums over tokens are taken, so that no bit depends on it.
pub(super) const STRETCH: usize = 768;

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

/// How one layer is computed.
pub(super) struct Pass<'a> {
    pub config: &'a EncoderConfig,
    pub scope: &'a Scope,
    pub noise: LayerNoise,
    /// Places on each side that a token attends to; all where there is none.
    pub window: Option<usize>,
    /// What turns queries and keys, and where all keys stand.
    pub rotation: Option<(&'a Rotation, &'a [(u64, u32)])>,
    /// The relative table that layers project, and the distances of the batch, where attention asks for them.
    pub table: &'a Table,
    pub distances: Option<&'a Distances>,
    /// The bias by distance, where there is one.
    pub relative: Option<&'a super::Relative>,
    /// Whether the layer's tape is read later.
    pub keep: bool,
}

impl Pass<'_> {
    fn dropout(&self, noise: Option<Factors>) -> Option<LineDropout<'_>> {
        noise.map(|factors| LineDropout { factors, places: &self.scope.places })
    }

    /// Whether norms stand before the blocks.
    pub fn pre_norm(&self) -> bool {
        self.config.design.block.pre_norm
    }

    /// Dropout on the lines from `first` on of what leaves a gate.
    pub fn drop_gated(&self, gated: &mut [f32], first: usize) {
        if let Some(factors) = self.noise.inner {
            let dropout = LineDropout { factors, places: &self.scope.places[first..] };
            drop_in_place(gated, self.config.intermediate_size, dropout);
        }
    }

    /// Turns queries `[m, d]`, and keys beside values `[p, 2d]`, by their places where these are rotary; or
    /// their gradients back.
    pub fn turn(
        &self,
        turn: fn(&Rotation, &mut [f32], Lines<'_>),
        query: &mut [f32],
        key_value: &mut [f32],
    ) {
        let Some((rotation, places)) = self.rotation else { return };
        let width = self.config.hidden_size;
        turn(rotation, query, Lines { stride: width, width, places: &self.scope.places });
        turn(rotation, key_value, Lines { stride: 2 * width, width, places });
    }

    pub fn attention<'b>(&'b self, relative: Option<Relative<'b>>) -> Attention<'b> {
        Attention {
            spans: &self.scope.spans,
            heads: self.config.num_attention_heads,
            width: self.config.hidden_size,
            window: self.window,
            relative,
            dropout: self.noise.weights,
        }
    }
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
        let places = Places::new(&self.config, source);
        let distances = self.distances(batch);
        let all = Scope::all(batch);
        let rotations = self.rotations(batch, tape);
        let (training, inputs) = match purpose {
            Use::Train { .. } => (true, 0),
            Use::Predict { inputs } => (false, inputs.min(self.depth())),
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
            let pass = Pass {
                config: &self.config,
                scope: if index + 1 == self.depth() { last } else { &all },
                noise: places.layer(index).into(),
                window: self.config.design.attention.window(index),
                rotation: self.rotation(index, &rotations, &all),
                table: &self.table,
                distances: distances.as_ref(),
                relative: self.relative.as_ref(),
                keep: matches!(purpose, Use::Train { checkpointing }
                    if !recomputed(index, checkpointing)),
            };
            // Where norms stand before the blocks, none saves what a layer starts from.
            let keep_input = pass.keep || (training && pass.pre_norm());
            let own = if keep_input { &mut tape.layers[index] } else { &mut tape.again };
            let mut y = take(&mut own.x);
            let own = if pass.keep { &mut tape.layers[index] } else { &mut tape.again };
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
        tape.rotations = rotations;
        tape.scratch.input = x;
    }

    /// The tables of the design's θ, from the tape, long enough for a batch.
    pub(super) fn rotations(&self, batch: &Packed, tape: &mut Tape) -> Vec<Rotation> {
        let mut rotations = take(&mut tape.rotations);
        let Some(rotary) = self.config.design.attention.rotary() else { return rotations };
        if rotations.is_empty() {
            let wide = self.config.hidden_size / self.config.num_attention_heads;
            rotations.extend(rotary.thetas.iter().map(|&theta| Rotation::new(theta, wide)));
        }
        let longest = batch.sequences().map(|(start, end)| end - start).max().unwrap_or(0);
        rotations.iter_mut().for_each(|rotation| rotation.reach(longest));
        rotations
    }

    /// What turns the queries and keys of a layer.
    pub(super) fn rotation<'a>(
        &self,
        index: usize,
        rotations: &'a [Rotation],
        all: &'a Scope,
    ) -> Option<(&'a Rotation, &'a [(u64, u32)])> {
        let layer = self.config.design.attention.rotary()?.layers[index];
        Some((&rotations[layer.theta], &all.places))
    }

    fn embed(
        &self,
        batch: &Packed,
        scope: &Scope,
        noise: Option<Factors>,
        kept: Option<&mut Normed>,
        x: &mut Vec<f32>,
        dropped: &mut Vec<f32>,
    ) -> Result<()> {
        self.look_up(batch, x)?;
        if let Some(projection) = self.projection(true) {
            projection.replace(x, dropped);
        }
        add_layer_norm(x, None, norm(&self.config, &self.norm), None, kept);
        drop_embeddings(x, self.norm.len() / 2, scope, noise, dropped);
        if let Some(projection) = self.projection(false) {
            projection.replace(x, dropped);
        }
        Ok(())
    }

    /// What layer `index` starts from, to the bit, from what the norm before it saved: that of the convolution
    /// where there is one, or else one of the others.
    pub(super) fn enter(
        &self,
        index: usize,
        (normed, convolved): (&[Normed], &Normed),
        scope: &Scope,
        noise: Option<Factors>,
        x: &mut Vec<f32>,
        dropped: &mut Vec<f32>,
    ) {
        if let Some(own) = self.convolution.as_ref().filter(|_| index == 1) {
            return scale_and_shift(&convolved.values, &own.norm, x);
        }
        if let Some(before) = index.checked_sub(1) {
            return scale_and_shift(&normed[index].values, &self.layer(before).norm, x);
        }
        self.embedded(&normed[0], scope, noise, x, dropped);
        if let Some(projection) = self.projection(false) {
            projection.replace(x, dropped);
        }
    }

    /// What leaves the dropout of the embeddings, from what their norm saved.
    pub(super) fn embedded(
        &self,
        normed: &Normed,
        scope: &Scope,
        noise: Option<Factors>,
        x: &mut Vec<f32>,
        dropped: &mut Vec<f32>,
    ) {
        scale_and_shift(&normed.values, &self.norm, x);
        drop_embeddings(x, self.norm.len() / 2, scope, noise, dropped);
    }
}

/// The dropout after the embeddings; `dropped` is memory for its result.
fn drop_embeddings(
    x: &mut Vec<f32>,
    width: usize,
    scope: &Scope,
    noise: Option<Factors>,
    dropped: &mut Vec<f32>,
) {
    if let Some(factors) = noise {
        let dropout = LineDropout { factors, places: &scope.places };
        drop_lines(x, width, dropout, dropped);
        std::mem::swap(x, dropped);
    }
}

/// Whether a layer keeps only what the next one starts from, and the rest is computed again.
pub(super) fn recomputed(index: usize, every: usize) -> bool {
    every > 0 && index.is_multiple_of(every)
}

pub(super) fn norm<'a>(config: &EncoderConfig, gamma_beta: &'a [f32]) -> Norm<'a> {
    Norm { gamma_beta, epsilon: config.layer_norm_eps as f32 }
}

impl Layer {
    /// `x` is `[p, d]`; `y` becomes `[m, d]`, and `out` what its norm saves. The tape's buffers are
    /// used whether or not they are read later.
    pub(super) fn forward(
        &self,
        x: &[f32],
        pass: &Pass<'_>,
        tape: &mut LayerTape,
        out: Option<&mut Normed>,
        scratch: &mut Scratch,
        y: &mut Vec<f32>,
    ) {
        self.attend(x, pass, tape, scratch);
        let Scratch { normed, residual, gated, .. } = scratch;
        y.resize(normed.len(), 0.0);
        let (config, wide) = (pass.config, self.inner.weight.columns());
        let width = config.hidden_size;
        let lines = if pass.keep { pass.scope.places.len() } else { STRETCH };
        tape.inner.resize(pass.scope.places.len().min(lines) * wide, 0.0);
        let stretches = normed.chunks(lines * width).zip(y.chunks_mut(lines * width));
        for (stretch, (normed, y)) in stretches.enumerate() {
            let inner = &mut tape.inner[..normed.len() / width * wide];
            gemms(normed, None, [self.inner.target(inner)]);
            if config.design.block.gated {
                gated.resize(inner.len() / 2, 0.0);
                activation::gate(config.hidden_act, wide / 2, inner, gated);
                pass.drop_gated(gated, stretch * lines);
                gemms(gated, None, [self.outer.target(y)]);
            } else {
                let activate = activation::forward(config.hidden_act);
                gemms(inner, Some(activate), [self.outer.target(y)]);
            }
        }
        let dropout = pass.dropout(pass.noise.feed_forward);
        match pass.pre_norm() {
            true => add_residual(y, residual, width, dropout),
            false => add_layer_norm(y, Some(normed), norm(config, &self.norm), dropout, out),
        }
    }

    /// The first half of [`Self::forward`]: the scratch's `normed` becomes what enters the feed-forward block,
    /// and `residual` what its result is added to, where that is not the same.
    pub(super) fn attend(
        &self,
        x: &[f32],
        pass: &Pass<'_>,
        tape: &mut LayerTape,
        scratch: &mut Scratch,
    ) {
        let width = pass.config.hidden_size;
        let lines = pass.scope.places.len();
        let Scratch { normed, entering, residual, related, .. } = scratch;
        let attention_norm = norm(pass.config, &self.attention_norm);
        let entering = match pass.pre_norm() && !self.attention_norm.is_empty() {
            true => {
                entering.clear();
                entering.extend_from_slice(x);
                let kept = pass.keep.then_some(&mut tape.attention);
                add_layer_norm(entering, None, attention_norm, None, kept);
                &entering[..]
            }
            false => x,
        };
        let queries = match &pass.scope.chosen {
            Some(chosen) => {
                choose(entering, chosen, width, &mut tape.chosen);
                &tape.chosen[..]
            }
            None => entering,
        };
        tape.query.resize(lines * width, 0.0);
        tape.key_value.resize(2 * x.len(), 0.0);
        let (query, key_value) = (&self.query, &self.key_value);
        let query = query.target(&mut tape.query);
        let key_value = key_value.target(&mut tape.key_value);
        if pass.scope.chosen.is_some() {
            gemms(queries, None, [query]);
            gemms(entering, None, [key_value]);
        } else {
            gemms(entering, None, [query, key_value]);
        }
        pass.turn(Rotation::turn, &mut tape.query, &mut tape.key_value);
        tape.mixed.resize(lines * width, 0.0);
        tape.log_sums.resize(lines * pass.config.num_attention_heads, 0.0);
        self.relate(pass, related, false);
        let (relative, _) = related.relative(pass);
        let (mixed, log_sums) = (&mut tape.mixed, &mut tape.log_sums);
        pass.attention(relative).forward(&tape.query, &tape.key_value, mixed, log_sums);

        normed.resize(lines * width, 0.0);
        gemms(&tape.mixed, None, [self.output.target(normed)]);
        let dropout = pass.dropout(pass.noise.attention);
        if !pass.pre_norm() {
            let kept = pass.keep.then_some(&mut tape.attention);
            return add_layer_norm(normed, Some(queries), attention_norm, dropout, kept);
        }
        let before = match &pass.scope.chosen {
            Some(chosen) => {
                choose(x, chosen, width, residual);
                &residual[..]
            }
            None => x,
        };
        add_residual(normed, before, width, dropout);
        residual.clone_from(normed);
        let kept = pass.keep.then_some(&mut tape.feed_forward);
        add_layer_norm(normed, None, norm(pass.config, &self.norm), None, kept);
    }
}

/// Some lines of `x`.
pub(super) fn choose(x: &[f32], lines: &[usize], width: usize, chosen: &mut Vec<f32>) {
    chosen.clear();
    for &line in lines {
        chosen.extend_from_slice(&x[line * width..(line + 1) * width]);
    }
}
