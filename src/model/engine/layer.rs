//! The forward pass of one layer.

use super::Layer;
use super::pass::{Pass, STRETCH};
use super::tape::{LayerTape, Scratch};
use crate::compute::kernels::activation;
use crate::compute::kernels::gemm::gemms;
use crate::compute::kernels::norm::{Norm, Normed, add_layer_norm, add_residual};
use crate::compute::kernels::rotary::Rotation;
use crate::model::EncoderConfig;

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
