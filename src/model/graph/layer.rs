//! One layer in plain operations.

use candle_core::{Result, Tensor};

use super::Affine;
use crate::compute::ops::{Attending, OnBatch};
use crate::model::layout::{AffineNames, LayerNames};
use crate::model::places::LayerPlaces;
use crate::model::{EncoderConfig, Parameters};

/// Weights and biases of one encoder layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    qkv: Affine,
    /// Maps of its own to relative keys and queries.
    relative: [Option<Affine>; 2],
    output: Affine,
    attention_norm: Option<Tensor>,
    inner: Affine,
    outer: Affine,
    norm: Tensor,
}

/// What a layer reads beside its input.
pub(super) struct Inputs<'a> {
    /// As which layer it runs.
    pub index: usize,
    pub config: &'a EncoderConfig,
    pub on: &'a OnBatch<'a>,
    pub noise: LayerPlaces,
    pub attending: Attending<'a>,
}

impl Layer {
    /// That of these weights.
    pub fn new(config: &EncoderConfig, parameters: &Parameters, weights: usize) -> Self {
        let get = |name: &str| parameters.get(name).clone();
        let affine = |names: &AffineNames| Affine::of(parameters, names);
        let names = LayerNames::of(config, weights);
        Self {
            qkv: affine(&names.qkv),
            relative: names.relative.each_ref().map(|names| names.as_ref().map(affine)),
            output: affine(&names.output),
            attention_norm: names.attention_norm.as_deref().map(get),
            inner: affine(&names.inner),
            outer: affine(&names.outer),
            norm: get(&names.norm),
        }
    }

    /// Relative keys (0) or queries (1) of the rows of a table, `[r, d]`, by a map of their own or by that of
    /// the content.
    pub fn project(&self, place: usize, table_rd: &Tensor, on: &OnBatch<'_>) -> Result<Tensor> {
        if let Some(own) = &self.relative[place] {
            return own.apply(on, table_rd);
        }
        let width = table_rd.dim(1)?;
        let lines = |all: &Tensor| all.narrow(0, width * (1 - place), width);
        let bias = self.qkv.bias.as_ref().map(lines).transpose()?;
        on.linear(table_rd, &lines(&self.qkv.weight)?, bias.as_ref())
    }

    /// Query, key and value beside one another, `[p, 3d]`, as the attention of this layer takes them.
    pub fn qkv(
        &self,
        index: usize,
        x_pd: &Tensor,
        config: &EncoderConfig,
        on: &OnBatch<'_>,
    ) -> Result<Tensor> {
        let qkv_pe = match &self.attention_norm {
            Some(norm) if config.design.block.pre_norm => {
                let normed_pd = on.add_layer_norm(x_pd, None, norm, config.layer_norm_eps)?;
                self.qkv.apply_in_layer(on, &normed_pd)?
            }
            _ => self.qkv.apply_in_layer(on, x_pd)?,
        };
        match config.design.attention.theta(index) {
            Some(theta) => on.rotate(&qkv_pe, config.num_attention_heads, theta),
            None => Ok(qkv_pe),
        }
    }

    /// What it makes of its input, `[p, d]`.
    pub fn forward(&self, x_pd: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor> {
        let Inputs { index, config, on, noise, attending } = *inputs;
        let qkv_pe = self.qkv(index, x_pd, config, on)?;
        let mixed_pd = on.attention(&qkv_pe, attending, noise.weights)?;
        let mixed_pd = self.output.apply_in_layer(on, &mixed_pd)?;
        let mixed_pd = on.drop_tokens(&mixed_pd, noise.attention)?;
        let epsilon = config.layer_norm_eps;
        if config.design.block.pre_norm {
            let x_pd = on.add(x_pd, &mixed_pd)?;
            let normed_pd = on.add_layer_norm(&x_pd, None, &self.norm, epsilon)?;
            return on.add(&x_pd, &self.feed_forward(&normed_pd, inputs)?);
        }
        let norm = self.attention_norm.as_ref();
        let norm = norm.expect("a norm that stands behind the attention is in every layer");
        let x_pd = on.add_layer_norm(&mixed_pd, Some(x_pd), norm, epsilon)?;
        let outer_pd = self.feed_forward(&x_pd, inputs)?;
        on.add_layer_norm(&outer_pd, Some(&x_pd), &self.norm, epsilon)
    }

    fn feed_forward(&self, x_pd: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor> {
        let Inputs { config, on, noise, .. } = *inputs;
        let inner_pf = self.inner.apply_in_layer(on, x_pd)?;
        let inner_pf = match config.design.block.gated {
            true => on.drop_tokens(&on.gate(&inner_pf, config.hidden_act)?, noise.inner)?,
            false => on.activate(&inner_pf, config.hidden_act)?,
        };
        on.drop_tokens(&self.outer.apply_in_layer(on, &inner_pf)?, noise.feed_forward)
    }
}
