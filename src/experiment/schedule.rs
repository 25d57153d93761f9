//! Batch and epochs where the config leaves them to the data.

use super::Experiment;
use crate::train::{Plan, Recipe, SchedulerType, TrainConfig};

/// Fills in what is 0: the batch from the number of rows, the epochs from rows and classes.
pub(super) fn fill_in(config: &mut TrainConfig, rows: usize, classes: usize) {
    if config.per_device_train_batch_size == 0 {
        // The optimizer's own work a step is that of about a hundred short texts.
        config.per_device_train_batch_size = 32;
    }
    if config.num_train_epochs == 0.0 {
        config.num_train_epochs = epochs(rows, classes);
    }
}

/// A line that says so where `train.max_steps` ends a run of so many rows before the epochs that a person wrote
/// do, or after them; `config` is what is used.
pub(super) fn overruled_epochs(
    written: &Experiment,
    config: &TrainConfig,
    rows: usize,
) -> Option<String> {
    let epochs = written.train.num_train_epochs;
    let by_steps = config.recipe != Recipe::Head && config.max_steps > 0;
    let by_epochs = written.written.contains("train.num_train_epochs") && epochs > 0.0;
    let plan = Plan::new(&TrainConfig { max_steps: 0, ..config.clone() }, rows);
    (by_steps && by_epochs && plan.steps != config.max_steps).then(|| {
        let made = config.max_steps as f64 / plan.steps_per_epoch as f64;
        format!(
            "`train.max_steps` = {} is {made:.2} epochs, so `train.num_train_epochs` = {epochs} \
             has no effect",
            config.max_steps
        )
    })
}

/// A line that says so where a warm-up of so many steps is longer than a run of so many rows.
pub(super) fn long_warmup(config: &TrainConfig, rows: usize) -> Option<String> {
    let constant = config.lr_scheduler_type == SchedulerType::Constant;
    let steps = Plan::new(config, rows).steps;
    let is_long = config.warmup_steps > steps as f64;
    (config.recipe != Recipe::Head && !constant && is_long).then(|| {
        format!(
            "`train.warmup_steps` = {} is more than the {steps} steps of the run, so the warm-up is cut to \
             these, and the learning rate only rises; use fewer, or a share of the steps such as 0.06",
            config.warmup_steps
        )
    })
}

/// Enough steps to see each class often: from 5 epochs for few rows a class down to 2.
fn epochs(rows: usize, classes: usize) -> f64 {
    match rows / classes.max(1) {
        ..100 => 5.0,
        100..1000 => 4.0,
        1000..5000 => 3.0,
        _ => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_that_is_longer_than_the_run_is_said() {
        let said = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
            let written = Experiment::parse("", "test", &settings).unwrap();
            // 16 rows a step, 3 epochs: 30 steps.
            long_warmup(&written.train, 160)
        };
        for long in ["train.warmup_steps=31", "train.warmup_steps=1000"] {
            assert!(said(&[long]).unwrap().contains("more than the 30 steps"), "{long}");
        }
        for quiet in [
            &["train.warmup_steps=30"][..],
            &["train.warmup_steps=0.9"],
            &["train.warmup_steps=100", "train.max_steps=100"],
            &["train.warmup_steps=100", "train.lr_scheduler_type=constant"],
        ] {
            assert_eq!(said(quiet), None, "{quiet:?}");
        }
    }

    #[test]
    fn steps_that_are_not_those_of_the_epochs_are_said_where_both_were_written() {
        let said = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
            let written = Experiment::parse("", "test", &settings).unwrap();
            // 16 rows a step: 10 steps an epoch.
            overruled_epochs(&written, &written.train, 160)
        };
        let (epochs, fewer, more) =
            ("train.num_train_epochs=2", "train.max_steps=5", "train.max_steps=25");
        assert_eq!(
            said(&[epochs, fewer]).unwrap(),
            "`train.max_steps` = 5 is 0.50 epochs, so `train.num_train_epochs` = 2 has no effect"
        );
        assert!(said(&[epochs, more]).unwrap().contains("is 2.50 epochs"));
        for quiet in [
            &[epochs, "train.max_steps=20"][..],
            &[epochs],
            &[fewer],
            &["train.num_train_epochs=0", fewer],
        ] {
            assert_eq!(said(quiet), None, "{quiet:?}");
        }
    }
}
