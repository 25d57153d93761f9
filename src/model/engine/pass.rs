//! What the layers of one pass read beside their input.

use std::mem::take;

use super::relative::{Distances, Table};
use super::{Engine, LayerNoise, Scope, Tape};
use crate::compute::kernels::attention::{Attention, Relative};
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::norm::{LineDropout, drop_in_place};
use crate::compute::kernels::rotary::{Lines, Rotation};
use crate::compute::{Packed, Precision};
use crate::model::places::Places;
use crate::model::{DropoutSource, EncoderConfig};

/// Tokens that pass through the feed-forward block together where its inside is not kept, a multiple
/// of the blocks in which sums over tokens are taken, so that no bit depends on it.
pub(super) const STRETCH: usize = 768;

/// How the layers are computed in one pass over a batch, and what they share in it.
pub(super) struct LayerPasses<'a> {
    engine: &'a Engine,
    places: Places<'a>,
    distances: Option<Distances>,
    /// The tables of the design's θ.
    rotations: Vec<Rotation>,
    /// What all layers compute but the last, and what that one does.
    pub all: Scope,
    last: &'a Scope,
    /// Of the products of attention.
    precision: Precision,
}

impl<'a> LayerPasses<'a> {
    /// With the tables that the tape has kept, long enough for the batch; [`Self::end`] gives them back.
    pub fn new(
        engine: &'a Engine,
        batch: &Packed,
        source: Option<&'a DropoutSource>,
        last: &'a Scope,
        tape: &mut Tape,
    ) -> Self {
        let config = &engine.config;
        let mut rotations = take(&mut tape.rotations);
        if let Some(rotary) = config.design.attention.rotary() {
            if rotations.is_empty() {
                let wide = config.hidden_size / config.num_attention_heads;
                rotations.extend(rotary.thetas.iter().map(|&theta| Rotation::new(theta, wide)));
            }
            let longest = batch.sequences().map(|(start, end)| end - start).max().unwrap_or(0);
            rotations.iter_mut().for_each(|rotation| rotation.reach(longest));
        }
        Self {
            engine,
            places: Places::new(config, source),
            distances: engine.distances(batch),
            rotations,
            all: Scope::all(batch),
            last,
            precision: Precision::F32,
        }
    }

    /// With attention at a precision, for predictions: a backward pass makes its weights again in f32.
    pub fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// How a layer is computed; `keep` says whether its tape is read later.
    pub fn pass(&self, index: usize, keep: bool) -> Pass<'_> {
        let Self { engine, places, distances, rotations, all, last, precision } = self;
        let config = &engine.config;
        let rotary = config.design.attention.rotary();
        let rotation =
            rotary.map(|rotary| (&rotations[rotary.layers[index].theta], &all.places[..]));
        Pass {
            config,
            scope: if index + 1 == engine.depth() { last } else { all },
            noise: places.layer(index).into(),
            window: config.design.attention.window(index),
            rotation,
            table: &engine.table,
            distances: distances.as_ref(),
            relative: engine.relative.as_ref(),
            precision: *precision,
            keep,
        }
    }

    pub fn end(self, tape: &mut Tape) {
        tape.rotations = self.rotations;
    }
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
    /// Of the products of attention.
    pub precision: Precision,
    /// Whether the layer's tape is read later.
    pub keep: bool,
}

impl Pass<'_> {
    pub fn dropout(&self, noise: Option<Factors>) -> Option<LineDropout<'_>> {
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
            precision: self.precision,
        }
    }
}

/// Whether a layer keeps only what the next one starts from, and the rest is computed again.
pub(super) fn recomputed(index: usize, every: usize) -> bool {
    every > 0 && index.is_multiple_of(every)
}
