//! How many steps, and the learning rate of each.

use std::f64::consts::PI;

use super::{SchedulerType, TrainConfig};

/// The plan of a run, in optimizer steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Forward passes an epoch.
    pub batches_per_epoch: usize,
    /// Forward passes per optimizer step.
    pub accumulation: usize,
    /// Optimizer steps an epoch; the last of an epoch may have fewer forward passes.
    pub steps_per_epoch: u64,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps between two evaluations.
    pub eval_every: u64,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub save_every: u64,
    /// Steps between two looks inside the model; 0 for none.
    pub inspect_every: u64,
    scheduler: SchedulerType,
    cycles: u64,
    power: f64,
    /// `lr_end` as a share of the peak.
    end: f64,
    /// Steps of the descent of `warmup_stable_decay`.
    decay: u64,
}

/// Steps in which `inverse_sqrt` without warm-up falls to 1 / √2.
const DEFAULT_TIMESCALE: f64 = 10_000.0;

impl Plan {
    /// The plan for this many training rows.
    pub fn new(config: &TrainConfig, rows: usize) -> Self {
        let batches_per_epoch = rows.div_ceil(config.per_device_train_batch_size);
        let steps_per_epoch = batches_per_epoch.div_ceil(config.gradient_accumulation_steps) as u64;
        let by_epochs = (config.num_train_epochs * steps_per_epoch as f64).ceil() as u64;
        let steps = if config.max_steps > 0 { config.max_steps } else { by_epochs }.max(1);
        let of = |value: f64, whole: u64| {
            if value < 1.0 { (value * whole as f64).round() as u64 } else { value as u64 }
        };
        let warmup = match config.lr_scheduler_type {
            SchedulerType::Constant => 0,
            _ => of(config.warmup_steps, steps).min(steps),
        };
        Self {
            batches_per_epoch,
            accumulation: config.gradient_accumulation_steps,
            steps_per_epoch,
            steps,
            warmup,
            eval_every: config.eval_steps.of(steps_per_epoch),
            log_every: config.logging_steps.of(steps_per_epoch),
            save_every: config.save_steps.of(steps_per_epoch),
            inspect_every: config.histogram_steps,
            scheduler: config.lr_scheduler_type,
            cycles: config.lr_num_cycles,
            power: config.lr_power,
            end: config.lr_end / config.learning_rate,
            decay: of(config.lr_decay_steps, steps).min(steps - warmup),
        }
    }

    /// The share of the peak learning rate at a step, counted from 0: up linearly over the warm-up,
    /// then as transformers computes it for that step. In the warm-up transformers is one step behind:
    /// its first step has the rate 0 and changes nothing.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let (warmup, steps) = (self.warmup as f64, self.steps.max(self.warmup + 1) as f64);
        let done = ((step as f64 - warmup) / (steps - warmup)).min(1.0);
        let cosine = |share: f64| (0.5 * (1.0 + (PI * share).cos())).max(0.0);
        match self.scheduler {
            SchedulerType::Linear => ((steps - step as f64) / (steps - warmup)).max(0.0),
            SchedulerType::Cosine => cosine(done),
            SchedulerType::CosineWithRestarts if done >= 1.0 => 0.0,
            SchedulerType::CosineWithRestarts => cosine((self.cycles as f64 * done).fract()),
            SchedulerType::Polynomial => {
                (1.0 - self.end) * (1.0 - done).powf(self.power) + self.end
            }
            SchedulerType::Constant | SchedulerType::ConstantWithWarmup => 1.0,
            SchedulerType::InverseSqrt => {
                let scale = if self.warmup > 0 { warmup } else { DEFAULT_TIMESCALE };
                1.0 / ((step as f64 + scale - warmup) / scale).sqrt()
            }
            SchedulerType::WarmupStableDecay => {
                let descent = self.steps - self.decay;
                if step < descent {
                    return 1.0;
                }
                cosine(((step - descent) as f64 / self.decay.max(1) as f64).min(1.0))
            }
        }
    }

    /// Epochs and forward passes of the next one that are over after this many finished steps.
    pub fn position(&self, finished: u64) -> (u64, usize) {
        let inside = finished % self.steps_per_epoch;
        (finished / self.steps_per_epoch, inside as usize * self.accumulation)
    }

    /// Whether a line of the log is written after this many finished steps; the first always.
    pub fn logs_after(&self, finished: u64) -> bool {
        finished == 1 || finished.is_multiple_of(self.log_every)
    }

    /// Whether there is a look inside after this many finished steps; the first always, if any.
    pub fn inspects_after(&self, finished: u64) -> bool {
        self.inspect_every > 0 && (finished == 1 || finished.is_multiple_of(self.inspect_every))
    }

    /// Whether the model is evaluated after this many finished steps.
    pub fn evaluates_after(&self, finished: u64) -> bool {
        finished == self.steps || finished.is_multiple_of(self.eval_every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Steps;

    #[test]
    fn the_rate_rises_over_the_warm_up_and_falls_to_the_last_step() {
        let config = TrainConfig { max_steps: 10, warmup_steps: 0.2, ..TrainConfig::default() };
        let plan = Plan::new(&config, 100);
        let rates: Vec<f64> = (0..11).map(|step| plan.rate(step)).collect();
        assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
        assert_eq!(rates[9..], [1.0 / 8.0, 0.0]);
        assert!(rates[2..].windows(2).all(|pair| pair[0] > pair[1]));
    }

    /// `tests/python/golden_schedules.py` made the numbers with transformers; 1e-12 is the rounding of
    /// a sum in another order.
    #[test]
    fn every_schedule_is_that_of_transformers() {
        #[derive(serde::Deserialize)]
        struct Case {
            scheduler: SchedulerType,
            steps: u64,
            warmup: u64,
            cycles: u64,
            power: f64,
            decay: u64,
            /// At each step from 0 to the last, and one more.
            rates: Vec<f64>,
        }
        let cases = include_str!("../../tests/fixtures/schedules.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() >= 16);
        for case in cases {
            let config = TrainConfig {
                lr_scheduler_type: case.scheduler,
                max_steps: case.steps,
                warmup_steps: case.warmup as f64,
                lr_num_cycles: case.cycles,
                lr_power: case.power,
                lr_decay_steps: case.decay as f64,
                learning_rate: 1e-3,
                lr_end: 1e-5,
                ..TrainConfig::default()
            };
            let plan = Plan::new(&config, 1000);
            for step in 0..=case.steps {
                // The warm-up is one step ahead.
                let theirs = if step < plan.warmup { step + 1 } else { step };
                let (found, expected) = (plan.rate(step), case.rates[theirs as usize]);
                let what = (case.scheduler, case.warmup, step);
                assert!((found - expected).abs() < 1e-12, "{what:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn shares_count_steps_of_the_epoch_and_of_the_run() {
        let config = TrainConfig {
            num_train_epochs: 2.0,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 2,
            eval_steps: Steps::Share(0.25),
            ..TrainConfig::default()
        };
        let plan = Plan::new(&config, 1000);
        assert_eq!((plan.batches_per_epoch, plan.steps_per_epoch, plan.steps), (125, 63, 126));
        assert_eq!((plan.warmup, plan.eval_every), (8, 16));
        assert!(plan.evaluates_after(16) && plan.evaluates_after(126) && !plan.evaluates_after(17));
    }
}
