//! What enters the first layer, and the way back from there.

use std::mem::take;

use candle_core::Result;

use super::backward::{add_weights, entry, norm_backward, take_weight};
use super::layer::norm;
use super::tape::{RightSides, Scratch};
use super::{Affine, Engine, GradientMap, Scope, Tape, with_values};
use crate::compute::Packed;
use crate::compute::kernels::embedding::{add_rows, add_rows_backward};
use crate::compute::kernels::gemm::{Start, gemm};
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::norm::{
    LineDropout, Normed, add_layer_norm, drop_in_place, drop_lines, scale_and_shift,
};
use crate::model::layout::{EMBEDDING_NORM, POSITION, SEGMENT, WORD, projection_names};
use crate::model::{EncoderConfig, Parameters};

impl Engine {
    /// Ids, positions and segments, each with its table's name in [`GradientMap`].
    pub(super) fn lookups(&self, batch: &Packed) -> impl Iterator<Item = (&'static str, Vec<u32>)> {
        tables(&self.config).map(|table| {
            let lines = match table {
                WORD => batch.ids().to_vec(),
                POSITION => self.config.position_rows(batch),
                _ => batch.type_ids().to_vec(),
            };
            (table, lines)
        })
    }

    /// The sums of the lines of the tables, `[p, e]`.
    pub(super) fn look_up(&self, batch: &Packed, x: &mut Vec<f32>) -> Result<()> {
        let width = self.config.embedding_width();
        x.clear();
        x.resize(batch.tokens() * width, 0.0);
        for (table, (_, ids)) in self.tables.iter().zip(self.lookups(batch)) {
            with_values(table, |table| add_rows(x, table, &ids, width))?;
        }
        Ok(())
    }

    /// The projection of the embeddings, if it stands here.
    pub(super) fn projection(&self, before_norm: bool) -> Option<&Affine> {
        let own = self.config.design.projection?;
        self.projection.as_ref().filter(|_| own.before_norm == before_norm)
    }

    pub(super) fn embed(
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

    pub(super) fn embed_backward(
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
        let (names, Scratch { branch, sides_f32, .. }) = (projection_names(own), scratch);
        let RightSides { weight, panels } = sides_f32;
        add_weights(parameters, gradients, &names, gradient, x, 0, panels)?;
        take_weight(parameters, &names, 0..self.config.hidden_size, weight)?;
        branch.resize(x.len(), 0.0);
        gemm(gradient, weight, Start::Zero, None, branch);
        std::mem::swap(gradient, branch);
        Ok(())
    }
}

/// The tables whose lines are added up for a token.
pub(super) fn tables(config: &EncoderConfig) -> impl Iterator<Item = &'static str> + use<> {
    let position = config.design.positions.map(|_| POSITION);
    let segment = config.design.segments.then_some(SEGMENT);
    [WORD].into_iter().chain(position).chain(segment)
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
