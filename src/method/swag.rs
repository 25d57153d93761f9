//! SWAG: Maddox, Garipov, Izmailov, Vetrov and Wilson, "A simple baseline for Bayesian uncertainty in deep
//! learning" (NeurIPS 2019), algorithm 1: a Gaussian fitted to the weights that training passes through.
//!
//! | paper | here |
//! |---|---|
//! | η, the learning rate while weights are collected | `swa_rate` of the peak, from `swa_start` of the steps on |
//! | θ_SWA, their mean | over all weights, and the weights of the model |
//! | Σ_diag = mean θ² − θ_SWA² | Welford's sum of squares over n: the difference of means cancels in f32 |
//! | D̂, the last K of θ_i − θ_SWA, with the mean as it was then | `swag_rank` of them |
//! | θ̃ = θ_SWA + (1/√2) Σ_diag^½ z₁ + (1/√(2 (K − 1))) D̂ z₂ | the last layer alone, in closed form: no samples, one pass |
//!
//! The paper collects once an epoch; a fine-tuning of few epochs collects 2 K times, evenly.

use std::collections::BTreeMap;

use candle_core::{Result, Var, bail};
use serde::{Deserialize, Serialize};

use super::{Approach, FitInput, FitRecord, FollowedRun, Method, Needs};
use crate::model::Parameters;
use crate::posterior::{Covariance, LowRank, Posterior, Spread};
use crate::train::{Follower, Gathered, Plan};

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swag {
    /// Share of the steps after which weights are collected, at a constant learning rate.
    pub swa_start: f64,
    /// That learning rate, as a fraction of the peak.
    pub swa_rate: f64,
    /// How many of the last deviations from the mean make up the covariance, besides its diagonal.
    pub swag_rank: usize,
}

impl Default for Swag {
    fn default() -> Self {
        Self { swa_start: 0.5, swa_rate: 0.5, swag_rank: 20 }
    }
}

/// The most deviations that are kept.
const MOST_RANK: usize = 100;
/// The tensors that the posterior is about: weight and bias.
const LAST: [&str; 2] = ["classifier.weight", "classifier.bias"];

impl Approach for Swag {
    fn needs(&self) -> Needs {
        Needs { trajectory: true, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !(0.0..1.0).contains(&self.swa_start) {
            return Err(format!(
                "`posterior.swa_start` is {}; use a number from 0 to below 1",
                self.swa_start
            ));
        }
        if !(self.swa_rate > 0.0 && self.swa_rate <= 1.0) {
            return Err(format!(
                "`posterior.swa_rate` is {}; use a number above 0 and at most 1",
                self.swa_rate
            ));
        }
        if !(2..=MOST_RANK).contains(&self.swag_rank) {
            let rank = self.swag_rank;
            return Err(format!("`posterior.swag_rank` is {rank}; use 2 to {MOST_RANK}"));
        }
        Ok(())
    }

    fn follower(
        &self,
        plan: &Plan,
        _: &FollowedRun,
    ) -> std::result::Result<Option<Box<dyn Follower>>, String> {
        let start = (self.swa_start * plan.steps as f64).round() as u64;
        let every = ((plan.steps - start) / (2 * self.swag_rank as u64)).max(1);
        if plan.steps - start < 2 {
            return Err(format!(
                "swag collects weights from step {start} on, but the run has only {} steps; raise \
                 `train.num_train_epochs`, or lower `posterior.swa_start`",
                plan.steps
            ));
        }
        Ok(Some(Box::new(Trajectory { own: *self, start, every, gathered: Gathered::new() })))
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let Some(gathered) = input.gathered else {
            bail!("swag needs the weights of a training run")
        };
        let collected = collected(gathered);
        if collected < 2 {
            bail!(
                "the run ended before swag had collected two sets of weights; lower \
                 `posterior.swa_start`, or raise `train.max_time`"
            )
        }
        let rank = collected.min(self.swag_rank);
        let (classes, width) = input.last.weight_cd.dims2()?;
        // Weight and, last in each line, bias: [c, D].
        let lines = |name: &dyn Fn(&str) -> String, factor: f64| -> Vec<f32> {
            let [weight, bias] = LAST.map(|last| &gathered[&name(last)]);
            let both = weight.chunks_exact(width).zip(bias);
            let values = both.flat_map(|(line, bias)| line.iter().chain([bias]));
            values.map(|&value| (factor * f64::from(value)) as f32).collect()
        };
        let along = (2.0 * (rank as f64 - 1.0)).sqrt().recip();
        let direction_rki =
            (0..rank).flat_map(|slot| lines(&|last| deviation(slot, last), along)).collect();
        let variance_ki = lines(&squares, 0.5 / collected as f64);
        let covariance = Covariance::LowRank(LowRank { variance_ki, direction_rki, classes });
        let posterior = input.around_last_layer(Spread::LastLayer(covariance));
        Ok((posterior, input.record(Method::Swag)))
    }

    fn describe(_: &Posterior, _: &FitRecord) -> String {
        "SWAG over the last linear layer: the weights are the mean of those at the end of \
         fine-tuning, and the last layer has a Gaussian around them whose width is how much they \
         varied (Maddox et al., 2019). Each text needs one forward pass."
            .to_owned()
    }
}

/// Collects weights while a run goes on.
#[derive(Debug)]
struct Trajectory {
    own: Swag,
    /// The steps before the first that counts.
    start: u64,
    /// Steps from one set of weights to the next.
    every: u64,
    /// The count; the mean of each tensor; of the last layer the sum of squares and the last deviations.
    gathered: Gathered,
}

const COUNT: &str = "count";

fn mean(name: &str) -> String {
    format!("mean.{name}")
}

fn squares(name: &str) -> String {
    format!("squares.{name}")
}

fn deviation(slot: usize, name: &str) -> String {
    format!("deviation.{slot}.{name}")
}

/// Sets of weights that were collected.
fn collected(gathered: &Gathered) -> usize {
    gathered.get(COUNT).map_or(0, |count| count[0] as usize)
}

impl Follower for Trajectory {
    fn rate(&self, plan: &Plan, step: u64) -> f64 {
        if step < self.start.max(plan.warmup) { plan.rate(step) } else { self.own.swa_rate }
    }

    fn follow(&mut self, steps: u64, weights: &BTreeMap<String, Var>) -> Result<()> {
        if steps <= self.start || !(steps - self.start).is_multiple_of(self.every) {
            return Ok(());
        }
        let before = collected(&self.gathered);
        let count = before as f32 + 1.0;
        for (name, weight) in weights {
            let now: Vec<f32> = weight.flatten_all()?.to_vec1()?;
            let zeros = || vec![0.0; now.len()];
            let means = self.gathered.entry(mean(name)).or_insert_with(zeros);
            let is_last = LAST.contains(&name.as_str());
            let earlier = if is_last { means.clone() } else { Vec::new() };
            for (mean, now) in means.iter_mut().zip(&now) {
                *mean += (now - *mean) / count;
            }
            if is_last {
                let away: Vec<f32> =
                    now.iter().zip(&*means).map(|(now, mean)| now - mean).collect();
                let sums = self.gathered.entry(squares(name)).or_insert_with(zeros);
                for (((sum, now), earlier), away) in
                    sums.iter_mut().zip(&now).zip(&earlier).zip(&away)
                {
                    *sum += (now - earlier) * away;
                }
                self.gathered.insert(deviation(before % self.own.swag_rank, name), away);
            }
        }
        self.gathered.insert(COUNT.to_owned(), vec![count]);
        Ok(())
    }

    fn gathered(&self) -> &Gathered {
        &self.gathered
    }

    fn resume(&mut self, gathered: Gathered) {
        self.gathered = gathered;
    }

    fn weights(&self, last: &Parameters) -> Result<Option<Parameters>> {
        if collected(&self.gathered) == 0 {
            return Ok(None);
        }
        let means = self.gathered.iter().filter_map(|(name, values)| {
            Some((name.strip_prefix("mean.")?.to_owned(), values.clone()))
        });
        last.with_values(&means.collect()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::compute::{Backend, Noise, Purpose};
    use crate::method::laplace::{FeatureRows, Head};
    use crate::method::{LastLayer, PosteriorConfig};
    use crate::posterior::{LinkChoice, LogitCovariance};
    use crate::task::Task;
    use crate::train::TrainConfig;

    /// The covariance written out as in the paper, ½ (Σ_diag + D̂ D̂ᵀ / (K − 1)), over all weights of the last
    /// layer, against the one of the logits; the mean and the two-pass variance in f64.
    #[test]
    fn it_is_what_the_paper_says() {
        let (classes, d, steps, rank) = (3, 2, 12, 4);
        let swag = Swag { swa_start: 0.5, swag_rank: rank, ..Swag::default() };
        let config = TrainConfig { max_steps: steps, ..TrainConfig::default() };
        let plan = Plan::new(&config, 10);
        let mut follower = swag.follower(&plan, &FollowedRun::default()).unwrap().unwrap();
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        let mut seen: Vec<Vec<f64>> = Vec::new();
        let var = |values: &[f32], shape: &[usize]| {
            Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
        };
        for step in 1..=steps {
            let weight: Vec<f32> = (0..classes * d).map(|_| stream.normal() as f32 + 5.0).collect();
            let bias: Vec<f32> = (0..classes).map(|_| stream.normal() as f32).collect();
            let weights = BTreeMap::from([
                (LAST[0].to_owned(), var(&weight, &[classes, d])),
                (LAST[1].to_owned(), var(&bias, &[classes])),
                ("other".to_owned(), var(&[step as f32], &[1])),
            ]);
            follower.follow(step, &weights).unwrap();
            if step > steps / 2 {
                let lines = weight.chunks_exact(d).zip(&bias);
                let line = lines.flat_map(|(line, bias)| line.iter().chain([bias]));
                seen.push(line.map(|&value| f64::from(value)).collect());
            }
        }
        let n = seen.len() as f64;
        let entries = classes * (d + 1);
        let mean_of = |rows: &[Vec<f64>], i: usize| {
            rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64
        };
        let mut dense = vec![vec![0.0; entries]; entries];
        for (i, line) in dense.iter_mut().enumerate() {
            let mean = mean_of(&seen, i);
            line[i] += 0.5 * seen.iter().map(|row| (row[i] - mean).powi(2)).sum::<f64>() / n;
        }
        for last in seen.len() - rank..seen.len() {
            let away = |i: usize| seen[last][i] - mean_of(&seen[..=last], i);
            for (i, line) in dense.iter_mut().enumerate() {
                for (j, value) in line.iter_mut().enumerate() {
                    *value += 0.5 * away(i) * away(j) / (rank as f64 - 1.0);
                }
            }
        }

        let zeros =
            |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        let names = [(LAST[0], vec![classes, d]), (LAST[1], vec![classes]), ("other", vec![1])];
        let blank = names.map(|(name, shape)| (name.to_owned(), zeros(&shape)));
        let mean =
            follower.weights(&Parameters::from_map(blank.into(), &Backend::Cpu)).unwrap().unwrap();
        let [other] = mean.get("other").to_vec1::<f32>().unwrap()[..] else { panic!("one value") };
        assert!((other - 9.5).abs() < 1e-5, "the mean of 7 to 12 is {other}");
        let last =
            LastLayer { weight_cd: mean.get(LAST[0]), bias_c: mean.get(LAST[1]), dropout: 0.0 };
        let rows = FeatureRows {
            task: Task::SingleLabel,
            feature_nd: &[],
            labels: &[],
            classes,
            class_weights: &[],
        };
        let gathered = Some(follower.gathered());
        let (head, link) = (Head::Refit, LinkChoice::default());
        let mut input =
            FitInput { last, rows, head, link, converged: None, gathered, network: None };
        let Spread::LastLayer(covariance) = swag.run(&mut input).unwrap().0.spread else {
            panic!("it is one pass")
        };
        let feature_d = [0.7f32, -1.3];
        let x = [0.7, -1.3, 1.0];
        let Some(LogitCovariance::Root(root)) = covariance.at(&feature_d) else { panic!("a root") };
        let width = root.len() / classes;
        for k in 0..classes {
            for l in 0..classes {
                let line = |c: usize| &root[c * width..(c + 1) * width];
                let found: f64 = line(k).iter().zip(line(l)).map(|(a, b)| a * b).sum();
                let mut expected = 0.0;
                for i in 0..=d {
                    for j in 0..=d {
                        expected += x[i] * x[j] * dense[k * (d + 1) + i][l * (d + 1) + j];
                    }
                }
                assert!(
                    (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_rate_stays_while_weights_are_collected_and_a_short_run_is_refused() {
        let plan =
            |steps| Plan::new(&TrainConfig { max_steps: steps, ..TrainConfig::default() }, 100);
        let swag = Swag::default();
        let long = plan(100);
        let follower = swag.follower(&long, &FollowedRun::default()).unwrap().unwrap();
        assert_eq!(follower.rate(&long, 20), long.rate(20));
        assert_eq!([50, 75, 99].map(|step| follower.rate(&long, step)), [0.5; 3]);
        assert!(
            swag.follower(&plan(2), &FollowedRun::default())
                .unwrap_err()
                .contains("`posterior.swa_start`")
        );
        let config = PosteriorConfig::from(Method::Swag);
        assert!(config.check().is_ok());
        for wrong in [
            Swag { swa_start: 1.0, ..swag },
            Swag { swa_rate: 0.0, ..swag },
            Swag { swag_rank: 1, ..swag },
            Swag { swa_start: f64::NAN, ..swag },
        ] {
            assert!(wrong.check().unwrap_err().starts_with("`posterior.swa"), "{wrong:?}");
        }
    }
}
