//! A Laplace approximation over low-rank adapters of the top layers, after training: Yang, Robeyns, Wang and
//! Aitchison, "Bayesian low-rank adaptation for large language models" (ICLR 2024), with adapters that begin, and
//! stay on average, at zero: the mean is the network as it was trained.
//!
//! | paper | here |
//! |---|---|
//! | W + B A, r | `adapter_rank`; one factor are the singular vectors of W with the r largest singular values, the other one varies (the paper trains both) |
//! | H, the generalised Gauss-Newton matrix | over training rows, without dropout; its columns for the most probable classes of a row as they are, one drawn for all others |
//! | Kronecker factors | of the gradients of whole rows (`curvature::Factors`): tokens that share a weight are summed first |
//! | δ, the prior's precision | of each weight by the evidence, MacKay's fixed point γ / ‖θ*‖², where θ* is the part of W along its adapter; then all times the factor that is best on held-out rows |
//! | predictive | samples through the top layers; the paper linearises, which takes a Jacobian of all classes for each text |
//!
//! The last layer, whose rows are few, varies as a whole, biases and norms not at all. A factor that is large takes the
//! samples back to the network as it was, so the held-out rows decide how much of this there is.

mod adapters;
mod curvature;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

use self::adapters::{Adapter, Gaussian, draw};
use self::curvature::{Gradients, factors};
use super::ivon::{check_layers, of_all};
use super::{Approach, FitInput, FitRecord, Method, Needs, NetworkRows};
use crate::compute::{Noise, Sequence};
use crate::model::{EncoderConfig, Networks, Sampling, Wanted, features, specifications};
use crate::posterior::{
    DRAWS_SEED, LogitDistribution, MOST_SAMPLES, OwnDoubt, Passes, Posterior, Spread, TopLayers,
};

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraLaplace {
    /// Samples of the weights that each text is read by.
    pub num_samples: usize,
    /// How many of the top layers have a distribution over their weights; 0 = all.
    pub stochastic_layers: usize,
    /// Rank of the adapters of these layers' weights.
    pub adapter_rank: usize,
    /// Training rows, evenly spread, that the curvature is computed on, one after another; 0 = all.
    pub curvature_rows: usize,
}

impl Default for LoraLaplace {
    fn default() -> Self {
        Self { num_samples: 10, stochastic_layers: 1, adapter_rank: 4, curvature_rows: 1000 }
    }
}

const MOST_RANK: usize = 64;
/// Held-out rows that choose the factor of the prior, and the factors that are tried.
const CHOOSING: usize = 500;
const TRIED: [f64; 6] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5];

impl Approach for LoraLaplace {
    fn needs(&self) -> Needs {
        let (samples, layers) = (self.num_samples, self.stochastic_layers);
        let passes = Some(Passes::TopLayers { samples, layers });
        Needs { passes, network_rows: true, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !(2..=MOST_SAMPLES).contains(&self.num_samples) {
            let found = self.num_samples;
            return Err(format!("`posterior.num_samples` is {found}; use 2 to {MOST_SAMPLES}"));
        }
        if !(1..=MOST_RANK).contains(&self.adapter_rank) {
            let found = self.adapter_rank;
            return Err(format!("`posterior.adapter_rank` is {found}; use 1 to {MOST_RANK}"));
        }
        Ok(())
    }

    fn check_encoder(&self, encoder: &EncoderConfig) -> std::result::Result<(), String> {
        check_layers(self.stochastic_layers, encoder)
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let Some(network) = input.network else {
            bail!("lora_laplace needs a whole network, and the texts that it was trained on")
        };
        let all = network.config.layer_weights();
        let layers = of_all(self.stochastic_layers, all);
        let (adapters, gaussians) = self.fit(&network, all - layers, input.rows.class_weights)?;
        let top = |factor: f64| TopLayers {
            samples: self.num_samples,
            layers,
            all,
            deviations: draw(&adapters, &gaussians, factor, self.num_samples),
        };
        let mut best: Option<(f64, Posterior)> = None;
        for factor in TRIED {
            let spread = Spread::TopLayers(Arc::new(top(factor)));
            let posterior = input.around_last_layer(spread);
            let nll = held_out_nll(&network, &posterior)?;
            tracing::debug!("prior precision times {factor}: held-out nll {nll}");
            // Of two that are alike the narrower one.
            if best.as_ref().is_none_or(|(least, _)| nll <= *least) {
                best = Some((nll, posterior));
            }
        }
        let (_, posterior) = best.expect("factors are tried");
        let rows = rows_of(network.train.len(), self.curvature_rows).len();
        let record = input.record(Method::LoraLaplace);
        Ok((posterior, FitRecord { prior_by_held_out_rows: true, rows, ..record }))
    }

    fn describe(posterior: &Posterior, fit: &FitRecord) -> String {
        let top = posterior.top_layers().map(TopLayers::words).unwrap_or_default();
        let spread = match posterior.own_doubt() {
            OwnDoubt::Known => "what the samples disagree by is the epistemic uncertainty",
            OwnDoubt::LeftOut | OwnDoubt::Absent => "the logits of the samples are averaged",
        };
        format!(
            "Laplace approximation over low-rank adapters of the top layers and over the last layer, fitted after \
             training on {} rows (Yang et al., 2024); held-out rows chose how wide the prior is, and {spread}. {top}",
            fit.rows
        )
    }
}

/// So many of `rows`, evenly spread; 0 for all.
fn rows_of(rows: usize, most: usize) -> Vec<usize> {
    let count = if most == 0 { rows } else { most.min(rows) };
    (0..count).map(|place| place * rows / count).collect()
}

type Fitted = (BTreeMap<String, Adapter>, BTreeMap<String, Gaussian>);

impl LoraLaplace {
    /// The adapters of the layers whose weights have the numbers from `lowest` on, and their posterior.
    fn fit(
        &self,
        network: &NetworkRows<'_>,
        lowest: usize,
        class_weights: &[f64],
    ) -> Result<Fitted> {
        let NetworkRows { config, parameters, train, .. } = *network;
        let mut gradients = Gradients::new(config, parameters, lowest)?;
        let all = specifications(config);
        let used = |name: &str| all.iter().any(|one| one.used && one.name == name);
        let adapters = Adapter::all(gradients.parameters(), used, lowest, self.adapter_rank)?;
        let rows = rows_of(train.len(), self.curvature_rows);
        if rows.is_empty() {
            bail!("lora_laplace needs training rows")
        }
        let stands_for = train.len() as f64 / rows.len() as f64;
        let text = |&row: &usize| -> (Sequence, f64) {
            let weight = class_weights[train.labels()[row] as usize];
            (train.sequence(row), stands_for * weight)
        };
        let noise = Noise::new(DRAWS_SEED);
        let mut found = factors(&mut gradients, &adapters, rows.iter().map(text), &noise)?;
        let gaussian = |(name, adapter): (&String, &Adapter)| {
            let own = found.remove(name).expect("every adapter has factors");
            let own = Gaussian::new(adapter, own);
            tracing::debug!(
                "{name}: prior precision {:.3e}, {:.1} effective parameters",
                own.prior_precision,
                own.effective_parameters
            );
            (name.clone(), own)
        };
        let gaussians = adapters.iter().map(gaussian).collect();
        Ok((adapters, gaussians))
    }
}

/// Mean −ln p(label) of held-out rows under a posterior, at the temperature that suits them.
fn held_out_nll(network: &NetworkRows<'_>, posterior: &Posterior) -> Result<f64> {
    let NetworkRows { config, parameters, held_out, .. } = *network;
    let rows = held_out.some(&rows_of(held_out.len(), CHOOSING));
    if rows.is_empty() {
        return Ok(0.0);
    }
    let networks = posterior.drawn(Networks::packed(config, parameters, &[])?, parameters)?;
    let wanted = Wanted { inputs: 0, sampling: Some(Sampling::TopLayers) };
    let sequence = |row| rows.sequence(row);
    let found = features(&networks, &rows.lengths(), &sequence, &wanted, &mut |_| {})?;
    let logits = posterior.logits(&found.sample_nsd)?;
    let nll = |temperature: f64| -> f64 {
        let mut scaled = posterior.clone();
        scaled.scaling.temperature = temperature;
        let both = logits.iter().zip(rows.labels());
        let of_row = |(one, &label): (&LogitDistribution, &u32)| {
            -scaled.predictive(one).probability_c[label as usize].max(f64::MIN_POSITIVE).ln()
        };
        both.map(of_row).sum::<f64>() / rows.len() as f64
    };
    // From 1/4 to 4.
    let tried = (-8..=8).map(|step| nll(2f64.powf(f64::from(step) / 4.0)));
    Ok(tried.fold(f64::INFINITY, f64::min))
}
