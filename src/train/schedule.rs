//! How many steps, and the learning rate of each.

use super::TrainConfig;

/// The plan of a run, in optimizer steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Forward passes an epoch.
    pub batches_per_epoch: usize,
    /// Forward passes an optimizer step.
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
}

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
        Self {
            batches_per_epoch,
            accumulation: config.gradient_accumulation_steps,
            steps_per_epoch,
            steps,
            warmup: of(config.warmup_steps, steps).min(steps),
            eval_every: of(config.eval_steps, steps_per_epoch).max(1),
            log_every: of(config.logging_steps, steps_per_epoch).max(1),
            save_every: of(config.save_steps, steps_per_epoch).max(1),
        }
    }

    /// The share of the peak learning rate at a step, counted from 0: up linearly over the warm-up,
    /// then down linearly, so that the step after the last would have 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        (self.steps - step.min(self.steps)) as f64 / (self.steps - self.warmup).max(1) as f64
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

    /// Whether the model is evaluated after this many finished steps.
    pub fn evaluates_after(&self, finished: u64) -> bool {
        finished == self.steps || finished.is_multiple_of(self.eval_every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_over_the_warm_up_and_falls_to_the_last_step() {
        let config = TrainConfig { max_steps: 10, warmup_steps: 0.2, ..TrainConfig::default() };
        let plan = Plan::new(&config, 100);
        let rates: Vec<f64> = (0..11).map(|step| plan.rate(step)).collect();
        assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
        assert_eq!(rates[9..], [1.0 / 8.0, 0.0]);
        assert!(rates[2..].windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn shares_count_steps_of_the_epoch_and_of_the_run() {
        let config = TrainConfig {
            num_train_epochs: 2.0,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 2,
            eval_steps: 0.25,
            ..TrainConfig::default()
        };
        let plan = Plan::new(&config, 1000);
        assert_eq!((plan.batches_per_epoch, plan.steps_per_epoch, plan.steps), (125, 63, 126));
        assert_eq!((plan.warmup, plan.eval_every), (8, 16));
        assert!(plan.evaluates_after(16) && plan.evaluates_after(126) && !plan.evaluates_after(17));
    }
}
