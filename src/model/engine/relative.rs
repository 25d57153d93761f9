//! What attention has beside the products of queries and keys: relative keys and queries, projected from one
//! table that all layers read.

use candle_core::Result;

use super::backward::{add_weights, entry, norm_backward, take_weight};
use super::layer::norm;
use super::pass::Pass;
use super::tape::{RightSides, Scratch};
use super::{Affine, Engine, GradientMap, Layer, both_lines, with_values};
use crate::compute::kernels::attention::{
    Disentangled as Spread, Relative, RelativeGradient, RelativeProjections,
};
use crate::compute::kernels::gemm::{Start, gemm, gemms};
use crate::compute::kernels::norm::{
    LineDropout, Normed, add, add_layer_norm, drop_in_place, drop_lines,
};
use crate::compute::{Packed, RelativeRows};
use crate::model::architecture::{AttentionKind, Disentangled};
use crate::model::layout::{AffineNames, LayerNames, RELATIVE, RELATIVE_NORM};
use crate::model::places::row_places;
use crate::model::{EncoderConfig, Parameters};

/// The table of an encoder as its weights are now; without rows where no layer reads any.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Behind the norm, where there is one: `[r, d]`.
    rows: Vec<f32>,
    norm: Option<Vec<f32>>,
    normed: Normed,
    /// Where the noise of each row is drawn.
    places: Vec<(u64, u32)>,
}

/// What a layer makes of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerTable {
    /// To relative keys.
    keys: Option<Affine>,
    /// To relative queries, where that is not the map of the content.
    queries: Option<Affine>,
    /// Of the table without noise.
    projections: RelativeProjections,
}

/// The rows that the distances of a batch have.
#[derive(Debug)]
pub(super) struct Distances {
    own: Disentangled,
    rows: RelativeRows,
}

/// Memory for the table in one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Related {
    spread: Memory,
    gradient: RelativeGradient,
    /// Gradients of relative keys and queries, `[r, d]` each.
    of: [Vec<f32>; 2],
    /// That of the table in one layer, and in all of them.
    of_rows: Vec<f32>,
    of_table: Vec<f32>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    /// The rows of the table with the noise of a layer.
    rows: Vec<f32>,
    keys: Vec<f32>,
    queries: Vec<f32>,
    projections: RelativeProjections,
    by_distance: Spread,
}

impl Related {
    pub(super) fn bytes(&self) -> usize {
        let Self { spread, gradient, of: [keys, queries], of_rows, of_table } = self;
        let all = [&spread.rows, &spread.keys, &spread.queries, keys, queries, of_rows, of_table];
        let values: usize = all.into_iter().map(Vec::capacity).sum();
        let spread = spread.projections.bytes() + spread.by_distance.bytes();
        values * size_of::<f32>() + spread + gradient.bytes()
    }

    /// What attention reads, where [`Layer::relate`] has made it, and the gradient of that.
    pub(super) fn relative<'a>(
        &'a mut self,
        pass: &Pass<'a>,
    ) -> (Option<Relative<'a>>, &'a mut RelativeGradient) {
        let relative = match pass.distances {
            Some(_) => Some(Relative::Disentangled(&self.spread.by_distance)),
            None => pass.relative.map(|own| Relative::Bias(&own.bias)),
        };
        (relative, &mut self.gradient)
    }
}

impl Table {
    pub(super) fn take(&mut self, config: &EncoderConfig, parameters: &Parameters) -> Result<()> {
        let AttentionKind::Disentangled(_) = config.design.attention else { return Ok(()) };
        let Some(table) = parameters.find(RELATIVE) else { return Ok(()) };
        self.rows = with_values(table, <[f32]>::to_vec)?;
        self.places = row_places(table.dim(0)?);
        self.norm = parameters.find(RELATIVE_NORM).map(both_lines).transpose()?;
        if let Some(own) = &self.norm {
            let saved = Some(&mut self.normed);
            add_layer_norm(&mut self.rows, None, norm(config, own), None, saved);
        }
        Ok(())
    }
}

impl Engine {
    /// The rows of the distances of a batch, where attention asks for them.
    pub(super) fn distances(&self, batch: &Packed) -> Option<Distances> {
        let AttentionKind::Disentangled(own) = self.config.design.attention else { return None };
        let longest = batch.sequences().map(|(start, end)| end - start).max().unwrap_or(0);
        let rows = RelativeRows::new(longest, |distance| own.span.row(distance));
        Some(Distances { own, rows })
    }

    /// Adds the gradients of the table and of its norm, when those of all layers are there.
    pub(super) fn table_backward(&self, related: &mut Related, gradients: &mut GradientMap) {
        if self.table.rows.is_empty() {
            return;
        }
        let (of_table, config) = (&mut related.of_table, &self.config);
        if let Some(own) = &self.table.norm {
            norm_backward(of_table, &self.table.normed, own, RELATIVE_NORM, gradients, config);
        }
        add(entry(gradients, RELATIVE, of_table.len()), of_table);
    }

    /// The gradient of the table is zero.
    pub(super) fn clear_table(&self, related: &mut Related) {
        related.of_table.clear();
        related.of_table.resize(self.table.rows.len(), 0.0);
    }
}

impl Layer {
    /// Packs the maps of the table, and what they make of it.
    pub(super) fn take_table(
        &mut self,
        config: &EncoderConfig,
        parameters: &Parameters,
        names: &LayerNames,
        table: &Table,
    ) -> Result<()> {
        let AttentionKind::Disentangled(own) = config.design.attention else { return Ok(()) };
        let width = config.hidden_size;
        let own_map = |map: &mut Option<Affine>, names: &AffineNames, first: usize| {
            map.get_or_insert_default().pack(parameters, names, first..first + width)
        };
        let LayerTable { keys, queries, .. } = &mut self.table;
        if own.keys {
            match &names.relative[0] {
                Some(names) => own_map(keys, names, 0)?,
                None => own_map(keys, &names.qkv, width)?,
            }
        }
        if let Some(names) = &names.relative[1] {
            own_map(queries, names, 0)?;
        }
        let (mut keys, mut queries) = (Vec::new(), Vec::new());
        let both = self.project(&own, &table.rows, &mut keys, &mut queries);
        let heads = config.num_attention_heads;
        self.table.projections.take(both, width, heads, own.terms);
        Ok(())
    }

    /// Relative keys and queries of some rows, of those that there are.
    fn project<'a>(
        &self,
        own: &Disentangled,
        rows: &[f32],
        keys: &'a mut Vec<f32>,
        queries: &'a mut Vec<f32>,
    ) -> [Option<&'a [f32]>; 2] {
        let map = |map: &Affine, into: &mut Vec<f32>| {
            into.resize(rows.len(), 0.0);
            gemms(rows, None, [map.target(into)]);
        };
        let LayerTable { keys: key_map, queries: query_map, .. } = &self.table;
        if let Some(own) = key_map {
            map(own, keys);
        }
        if own.queries {
            map(query_map.as_ref().unwrap_or(&self.query), queries);
        }
        [key_map.as_ref().map(|_| &keys[..]), own.queries.then_some(&queries[..])]
    }

    /// Makes ready what the attention of a pass reads; `backward` says whether it is for the way back.
    pub(super) fn relate(&self, pass: &Pass<'_>, related: &mut Related, backward: bool) {
        let Some(Distances { own, rows }) = pass.distances else { return };
        let memory = &mut related.spread;
        let mut projections = &self.table.projections;
        if let Some(dropout) = pass.table_dropout() {
            drop_lines(&pass.table.rows, pass.config.hidden_size, dropout, &mut memory.rows);
            let (keys, queries) = (&mut memory.keys, &mut memory.queries);
            let both = self.project(own, &memory.rows, keys, queries);
            let (width, heads) = (pass.config.hidden_size, pass.config.num_attention_heads);
            memory.projections.take(both, width, heads, own.terms);
            projections = &memory.projections;
        }
        memory.by_distance.take(projections, rows, backward);
    }
}

impl<'a> Pass<'a> {
    /// The noise of the table in this layer.
    fn table_dropout(&self) -> Option<LineDropout<'a>> {
        let places = &self.table.places[..];
        let factors = self.noise.relative.filter(|_| !places.is_empty())?;
        Some(LineDropout { factors, places })
    }
}

/// The gradients of a layer's maps and of the table, from what the backward pass of its attention has summed by
/// distance.
pub(super) fn relative_backward(
    pass: &Pass<'_>,
    parameters: &Parameters,
    names: &LayerNames,
    scratch: &mut Scratch,
    gradients: &mut GradientMap,
) -> Result<()> {
    let Some(Distances { own, rows: distances }) = pass.distances else { return Ok(()) };
    let (width, Scratch { related, sides_f32, .. }) = (pass.config.hidden_size, scratch);
    let RightSides { weight, panels } = sides_f32;
    let Related { spread, gradient, of, of_rows, of_table } = related;
    let dropout = pass.table_dropout();
    let rows = if dropout.is_some() { &spread.rows } else { &pass.table.rows };
    if rows.is_empty() {
        return Ok(());
    }
    for of in of.iter_mut().chain([&mut *of_rows]) {
        of.clear();
        of.resize(rows.len(), 0.0);
    }
    let attention = pass.attention(Some(Relative::Disentangled(&spread.by_distance)));
    let [of_keys, of_queries] = of;
    gradient.add_to_projections(&attention, distances, [of_keys, of_queries]);
    for (place, (of, wanted)) in of.iter().zip([own.keys, own.queries]).enumerate() {
        if !wanted {
            continue;
        }
        // By that of the content, whose lines are those of queries and then those of keys.
        let (names, first) = match &names.relative[place] {
            Some(names) => (names, 0),
            None => (&names.qkv, width * (1 - place)),
        };
        add_weights(parameters, gradients, names, of, rows, first, panels)?;
        take_weight(parameters, names, first..first + width, weight)?;
        gemm(of, weight, Start::Result, None, of_rows);
    }
    if let Some(dropout) = dropout {
        drop_in_place(of_rows, width, dropout);
    }
    add(of_table, of_rows);
    Ok(())
}
