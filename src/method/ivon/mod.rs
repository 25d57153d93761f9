//! IVON: Shen, Daheim, Cong, Nickl, Marconi, Bazan, Yokota, Gurevych, Cremers, Khan and Möllenhoff, "Variational
//! learning is effective for large deep networks" (ICML 2024), algorithm 1: a Gaussian over weights that training
//! itself finds, by an optimiser that costs about as much as Adam.
//!
//! | paper | here |
//! |---|---|
//! | q = N(m, diag σ²), σ² = 1 / (λ (h + δ)) | over the weights of the top layers and of what comes behind them |
//! | m, the mean | the weights of the model |
//! | h, the diagonal of the Hessian; h₀ | `hess.NAME`; `hess_init` |
//! | g, the momentum | `momentum.NAME` |
//! | λ, the effective sample size | `ess`; N, the training rows, for the posterior that the prior and the rows say |
//! | δ, the prior's precision over λ | `ivon_weight_decay` |
//! | α, β₁, β₂, ξ | `ivon_learning_rate`, `beta1`, `beta2`, `clip_radius` |
//!
//! Every weight is moved by one draw of q before the gradient of a step is taken (their experiments take one, too),
//! and moved back; the learning rate counts in units of 1 / (h₀ + δ), as in their code. The layers below are
//! trained by AdamW at the same moved weights, or stay (`train.frozen_layers`). `train.max_grad_norm`
//! and `train.weight_decay` are for those alone. The mean is that of the last step: h is of that step too.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::rule::{Rule, Values};
use super::{Approach, FitInput, FitRecord, FollowedRun, Method, Needs};
use crate::compute::{Noise, Purpose};
use crate::model::{EncoderConfig, Parameters, is_above};
use crate::numbers::counted;
use crate::posterior::{Deviation, MOST_SAMPLES, Passes, Posterior, Spread, TopLayers};
use crate::train::{Follower, Gathered, Gradients, Plan};

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ivon {
    /// Samples of the weights that each text is read by.
    pub num_samples: usize,
    /// How many of the top layers have a distribution over their weights; 0 = all.
    pub stochastic_layers: usize,
    /// Effective sample size, λ: the larger, the smaller the variances; 0 = the number of training rows.
    pub ess: f64,
    /// Where the diagonal of the Hessian begins, h₀: the larger, the smaller the variances.
    pub hess_init: f64,
    /// Peak learning rate of these layers, α: a step is α times the gradient while the Hessian is as it began.
    pub ivon_learning_rate: f64,
    /// Decay of the momentum.
    pub beta1: f64,
    /// Decay of the Hessian.
    pub beta2: f64,
    /// Weight decay δ of these layers: the prior's precision is this times `ess`.
    pub ivon_weight_decay: f64,
    /// No weight moves by more than this times the learning rate in a step; 0 = off.
    pub clip_radius: f64,
}

impl Default for Ivon {
    fn default() -> Self {
        Self {
            num_samples: 10,
            stochastic_layers: 1,
            ess: 0.0,
            hess_init: 1.0,
            ivon_learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99999,
            ivon_weight_decay: 1e-4,
            clip_radius: 0.0,
        }
    }
}

impl Approach for Ivon {
    fn needs(&self) -> Needs {
        let (samples, layers) = (self.num_samples, self.stochastic_layers);
        let passes = Some(Passes::TopLayers { samples, layers });
        Needs { passes, trajectory: true, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let or_zero = |value: f64| value == 0.0 || positive(value);
        if !(2..=MOST_SAMPLES).contains(&self.num_samples) {
            let found = self.num_samples;
            return Err(format!("`posterior.num_samples` is {found}; use 2 to {MOST_SAMPLES}"));
        }
        let rules = [
            ("ess", self.ess, or_zero(self.ess), "0 (the number of training rows) or more"),
            ("hess_init", self.hess_init, positive(self.hess_init), "a number above 0"),
            (
                "ivon_learning_rate",
                self.ivon_learning_rate,
                positive(self.ivon_learning_rate),
                "a number above 0",
            ),
            ("beta1", self.beta1, share(self.beta1), "a number from 0 to below 1"),
            ("beta2", self.beta2, share(self.beta2), "a number from 0 to below 1"),
            (
                "ivon_weight_decay",
                self.ivon_weight_decay,
                or_zero(self.ivon_weight_decay),
                "0 or more",
            ),
            ("clip_radius", self.clip_radius, or_zero(self.clip_radius), "0 (off) or more"),
        ];
        match rules.iter().find(|(_, _, holds, _)| !holds) {
            Some((key, value, _, rule)) => Err(format!("`posterior.{key}` is {value}; use {rule}")),
            None => Ok(()),
        }
    }

    fn check_encoder(&self, encoder: &EncoderConfig) -> std::result::Result<(), String> {
        check_layers(self.stochastic_layers, encoder)
    }

    fn follower(
        &self,
        _: &Plan,
        run: &FollowedRun,
    ) -> std::result::Result<Option<Box<dyn Follower>>, String> {
        let layers = of_all(self.stochastic_layers, run.layers);
        let trained = run.layers.saturating_sub(run.frozen_layers);
        if layers > trained {
            return Err(format!(
                "ivon trains the top {}, but `train.frozen_layers` leaves only {trained} to train; lower it, or \
                 `posterior.stochastic_layers`",
                counted(layers, "layer")
            ));
        }
        Ok(Some(Box::new(Variational::new(*self, run, layers))))
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let Some(gathered) = input.gathered else {
            bail!("ivon needs the variances that its training run finds")
        };
        let (Some(&[ess]), Some(&[layers]), Some(&[all])) =
            (value(gathered, ESS), value(gathered, LAYERS), value(gathered, ALL_LAYERS))
        else {
            bail!("the run ended before its first step")
        };
        let rule = self.rule(f64::from(ess), 1.0, 1.0);
        let variances = gathered.iter().filter_map(|(name, hess)| {
            let variance = hess.iter().map(|&hess| rule.variance(hess) as f32).collect();
            Some((name.strip_prefix(HESS)?.to_owned(), Deviation::Independent { variance }))
        });
        let top = TopLayers {
            samples: self.num_samples,
            layers: layers as usize,
            all: all as usize,
            deviations: variances.collect(),
        };
        let posterior = input.around_last_layer(Spread::TopLayers(Arc::new(top)));
        Ok((posterior, input.record(Method::Ivon)))
    }

    fn describe(posterior: &Posterior, _: &FitRecord) -> String {
        let top = posterior.top_layers().map(TopLayers::words).unwrap_or_default();
        format!(
            "Variational learning (IVON): while the top layers and the last layer were trained, the optimizer also \
             learnt how uncertain each of their weights is (Shen et al., 2024). {top}"
        )
    }
}

/// Layers that are asked for, of so many.
pub(super) fn of_all(asked: usize, layers: usize) -> usize {
    if asked == 0 { layers } else { asked }
}

/// Refuses more of the top layers than there are with weights of their own.
pub(super) fn check_layers(
    asked: usize,
    encoder: &EncoderConfig,
) -> std::result::Result<(), String> {
    let (layers, own) = (encoder.num_hidden_layers, encoder.layer_weights());
    if asked <= own {
        return Ok(());
    }
    let has = match layers == own {
        true => counted(layers, "layer"),
        false => format!("{}, with the weights of {own}", counted(layers, "layer")),
    };
    Err(format!("`posterior.stochastic_layers` is {asked}, but the encoder has {has}"))
}

impl Ivon {
    /// The rule of step t, from 1, at a share of the peak learning rate.
    fn rule(&self, ess: f64, steps: f64, share: f64) -> Rule {
        let Self { hess_init, beta1, beta2, ivon_weight_decay: weight_decay, clip_radius, .. } =
            *self;
        Rule {
            ess,
            weight_decay,
            beta1,
            beta2,
            clip_radius,
            rate: share * self.ivon_learning_rate * (hess_init + weight_decay),
            debias: 1.0 - beta1.powf(steps),
        }
    }
}

/// Trains the weights that it owns.
#[derive(Debug)]
struct Variational {
    own: Ivon,
    /// The number of the lowest layer that it owns.
    lowest: usize,
    noise: Noise,
    /// Steps, λ and layers; h and g of each parameter.
    gathered: Gathered,
    /// While weights are moved: their means, and what they are moved by.
    moved: BTreeMap<String, Moved>,
}

#[derive(Debug)]
struct Moved {
    mean: Vec<f32>,
    noise: Vec<f32>,
}

const ESS: &str = "ess";
const LAYERS: &str = "layers";
const ALL_LAYERS: &str = "all_layers";
const STEPS: &str = "steps";
const HESS: &str = "hess.";
const MOMENTUM: &str = "momentum.";

fn value<'a>(gathered: &'a Gathered, name: &str) -> Option<&'a [f32]> {
    gathered.get(name).map(Vec::as_slice)
}

impl Variational {
    fn new(own: Ivon, run: &FollowedRun, layers: usize) -> Self {
        let ess = if own.ess > 0.0 { own.ess } else { run.rows as f64 };
        let numbers =
            [(ESS, ess), (LAYERS, layers as f64), (ALL_LAYERS, run.layers as f64), (STEPS, 0.0)];
        let gathered =
            numbers.into_iter().map(|(name, value)| (name.to_owned(), vec![value as f32]));
        Self {
            own,
            lowest: run.layers - layers,
            noise: Noise::new(run.seed),
            gathered: gathered.collect(),
            moved: BTreeMap::new(),
        }
    }

    fn number(&self, name: &str) -> f64 {
        f64::from(self.gathered[name][0])
    }

    fn rule(&self, share: f64) -> Rule {
        self.own.rule(self.number(ESS), self.number(STEPS), share)
    }
}

impl Follower for Variational {
    fn owns(&self, name: &str) -> bool {
        is_above(name, self.lowest)
    }

    fn perturb(&mut self, step: u64, weights: &BTreeMap<String, Var>) -> Result<()> {
        let rule = self.rule(1.0);
        let own: Vec<_> = weights.iter().filter(|(name, _)| self.owns(name)).collect();
        for (name, weight) in &own {
            let size = weight.elem_count();
            for (kind, first) in [(HESS, self.own.hess_init as f32), (MOMENTUM, 0.0)] {
                let values = self.gathered.entry(format!("{kind}{name}"));
                let found = values.or_insert_with(|| vec![first; size]).len();
                if found != size {
                    bail!("`{kind}{name}` of the checkpoint has {found} values, not {size}")
                }
            }
        }
        let moved = |(place, (name, weight)): (u32, &(&String, &Var))| {
            let mean: Vec<f32> = weight.flatten_all()?.to_vec1()?;
            let mut stream = self.noise.stream(Purpose::Variational, step, place);
            let hess = &self.gathered[&format!("{HESS}{name}")];
            let draw = |&hess: &f32| (rule.variance(hess).sqrt() * stream.normal()) as f32;
            let noise: Vec<f32> = hess.iter().map(draw).collect();
            let there: Vec<f32> =
                mean.iter().zip(&noise).map(|(mean, noise)| mean + noise).collect();
            set(weight, there)?;
            Ok(((*name).clone(), Moved { mean, noise }))
        };
        let places: Vec<_> = (0..).zip(&own).collect();
        self.moved = places.into_par_iter().map(moved).collect::<Result<_>>()?;
        Ok(())
    }

    fn restore(&mut self, weights: &BTreeMap<String, Var>) -> Result<()> {
        let mut moved = self.moved.iter();
        moved.try_for_each(|(name, moved)| set(&weights[name], moved.mean.clone()))
    }

    fn update(
        &mut self,
        rate: f64,
        weights: &BTreeMap<String, Var>,
        gradients: &Gradients,
    ) -> Result<()> {
        let steps = self.number(STEPS) + 1.0;
        self.gathered.insert(STEPS.to_owned(), vec![steps as f32]);
        let rule = self.rule(rate);
        for (name, Moved { mut mean, noise }) in std::mem::take(&mut self.moved) {
            let take = |own: &mut Gathered, kind: &str| {
                own.remove(&format!("{kind}{name}")).expect("it is made before weights are moved")
            };
            let mut momentum = take(&mut self.gathered, MOMENTUM);
            let mut hess = take(&mut self.gathered, HESS);
            let gradient = gradients.get(&name);
            let own = mean.par_chunks_mut(BLOCK).zip(momentum.par_chunks_mut(BLOCK));
            let own = own.zip(hess.par_chunks_mut(BLOCK));
            let seen = noise.par_chunks(BLOCK).zip(gradient.par_chunks(BLOCK));
            own.zip(seen).for_each(|(((mean, momentum), hess), (noise, gradient))| {
                rule.step(Values { mean, momentum, hess }, noise, gradient);
            });
            set(&weights[&name], mean)?;
            self.gathered.insert(format!("{MOMENTUM}{name}"), momentum);
            self.gathered.insert(format!("{HESS}{name}"), hess);
        }
        Ok(())
    }

    fn follow(&mut self, _: u64, _: &BTreeMap<String, Var>) -> Result<()> {
        Ok(())
    }

    fn gathered(&self) -> &Gathered {
        &self.gathered
    }

    fn resume(&mut self, gathered: Gathered) {
        // What the config says holds for a run that begins.
        self.gathered.extend(gathered);
    }

    /// Those of the last step, which the variances belong to.
    fn weights(&self, last: &Parameters) -> Result<Option<Parameters>> {
        Ok(Some(last.clone()))
    }
}

/// Values that one thread updates at a time.
const BLOCK: usize = 1 << 14;

fn set(weight: &Var, values: Vec<f32>) -> Result<()> {
    weight.set(&Tensor::from_vec(values, weight.shape(), weight.device())?)
}
