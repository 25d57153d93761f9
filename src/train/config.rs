//! The section `[train]`: keys spelled as in transformers' `TrainingArguments`.

use serde::{Deserialize, Serialize};

use super::{ClassWeights, Steps, TrainError};
use crate::compute::{Backend, Precision};
use crate::model::{EncoderConfig, is_above, weights_number};

/// What to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The encoder and the last layer together.
    #[default]
    Full,
    /// Only the last layer: the encoder is frozen, its features are computed once, and the last
    /// layer is fitted on them to convergence.
    Head,
    /// `head` first, then `full` from there if its estimated time is within `max_time`; the better
    /// one on held-out rows is kept.
    Auto,
}

/// How the learning rate changes after the warm-up, named and computed as in transformers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// Down in a line to 0.
    #[default]
    Linear,
    /// Down along half a cosine to 0.
    Cosine,
    /// `lr_num_cycles` times down along half a cosine, each time from the peak.
    CosineWithRestarts,
    /// Down along a power, `lr_power`, to `lr_end`.
    Polynomial,
    /// The peak from the first step on, without warm-up.
    Constant,
    /// The peak.
    ConstantWithWarmup,
    /// Down as one over the root of the step.
    InverseSqrt,
    /// The peak, then down along half a cosine over the last `lr_decay_steps`.
    WarmupStableDecay,
}

/// The training loop's settings. Where a default differs from transformers', the comment says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// What to train.
    pub recipe: Recipe,
    /// A model of several passes that `posterior.method` = `distil` learns from: a folder, or a Hub
    /// id; empty for none.
    pub teacher: String,
    /// Epochs; a fraction is allowed, and with 0 the number of rows and classes determines it.
    pub num_train_epochs: f64,
    /// Number of optimizer steps, instead of epochs; 0 uses the epochs.
    pub max_steps: u64,
    /// Rows per forward pass (transformers: 8); 0 takes 32.
    pub per_device_train_batch_size: usize,
    /// Forward passes per optimizer step.
    pub gradient_accumulation_steps: usize,
    /// The peak of the schedule.
    pub learning_rate: f64,
    /// The peak for the last linear layer; 0 takes `learning_rate`. A new head whose weights hardly
    /// move caps the logits, and the encoder drives its feature to the cap: two clusters of
    /// confidence that no temperature can correct.
    pub head_learning_rate: f64,
    /// Decoupled decay of weights, not of biases and norms (transformers: 0).
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub adam_beta1: f64,
    /// Decay of the second moment.
    pub adam_beta2: f64,
    /// Added to the root of the second moment.
    pub adam_epsilon: f64,
    /// The gradient's global norm is clipped to this; 0 switches it off.
    pub max_grad_norm: f64,
    /// How the learning rate changes after the warm-up.
    pub lr_scheduler_type: SchedulerType,
    /// Restarts of `cosine_with_restarts`, the first descent included.
    pub lr_num_cycles: u64,
    /// The power of `polynomial`; 1 is a line.
    pub lr_power: f64,
    /// The learning rate that `polynomial` ends with.
    pub lr_end: f64,
    /// The descent of `warmup_stable_decay`: a number of steps, or a share of all steps below 1.
    pub lr_decay_steps: f64,
    /// The learning rate of a layer is this times that of the layer above it; the embeddings count as
    /// the lowest layer, and 1 gives all the same.
    pub layer_lr_decay: f64,
    /// Number of lowest layers that are not trained, together with the embeddings below them; 0
    /// trains all.
    pub frozen_layers: usize,
    /// Linear warm-up: a number of steps, or a share of all steps below 1 (transformers: 0).
    pub warmup_steps: f64,
    /// Steps between two lines of the log, or a share of an epoch: `1.0` is once (transformers: 500).
    pub logging_steps: Steps,
    /// Steps between two evaluations, or a share of an epoch: `1.0` is once.
    pub eval_steps: Steps,
    /// Steps between two checkpoints, or a share of an epoch. The end is always saved.
    pub save_steps: Steps,
    /// Number of newest checkpoints to keep; 0 keeps all (transformers: all).
    pub save_total_limit: usize,
    /// Steps between two records of the model's internals (histograms, attention, hidden states); 0
    /// for none.
    pub histogram_steps: u64,
    /// Whether event files for TensorBoard are written.
    pub tensorboard: bool,
    /// Seconds after which training ends with an evaluation, counted over all processes of the run;
    /// 0 switches it off. With the recipe `auto`, fine-tuning is skipped if its estimated time is
    /// longer.
    pub max_time: f64,
    /// Whether a step whose loss or gradient is not finite is skipped; otherwise it ends the run.
    pub skip_nonfinite: bool,
    /// Probability mass that the target spreads evenly over all classes.
    pub label_smoothing_factor: f64,
    /// Recompute the activations of every nth layer in the backward pass: less memory for more
    /// time, and the same gradients; 0 = off.
    pub activation_checkpointing: usize,
    /// Whether products with the weights of the encoder's layers, forward and backward, read 16 bits;
    /// weights, moments and sums stay f32. On the CPU it needs AVX512-BF16.
    pub bf16: bool,
    /// Weights of the classes in the loss, and in the fit of the last layer.
    pub class_weights: ClassWeights,
    /// Evaluations without a better calibrated NLL of the validation rows after which training stops; 0 switches it off.
    pub early_stopping_patience: u64,
    /// Minimum improvement, in nats.
    pub early_stopping_threshold: f64,
    /// Decay of the average of the weights, min(d, (1 + t) / (10 + t)); 0 switches it off. Averaged and plain weights are
    /// both evaluated, and the better ones are kept.
    pub ema_decay: f64,
    /// Whether the report compares the model with a linear bag-of-words baseline fitted on the
    /// training rows.
    pub baseline: bool,
    /// Seed of all randomness of the run.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            recipe: Recipe::Full,
            teacher: String::new(),
            num_train_epochs: 3.0,
            max_steps: 0,
            per_device_train_batch_size: 16,
            gradient_accumulation_steps: 1,
            learning_rate: 5e-5,
            head_learning_rate: 0.0,
            weight_decay: 0.01,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            lr_scheduler_type: SchedulerType::Linear,
            lr_num_cycles: 1,
            lr_power: 1.0,
            lr_end: 1e-7,
            lr_decay_steps: 0.1,
            layer_lr_decay: 1.0,
            frozen_layers: 0,
            warmup_steps: 0.06,
            logging_steps: Steps::Number(10),
            eval_steps: Steps::Share(0.25),
            save_steps: Steps::Number(500),
            save_total_limit: 3,
            histogram_steps: 100,
            tensorboard: true,
            max_time: 0.0,
            skip_nonfinite: false,
            label_smoothing_factor: 0.0,
            activation_checkpointing: 0,
            bf16: false,
            class_weights: ClassWeights::None,
            early_stopping_patience: 0,
            early_stopping_threshold: 0.0,
            ema_decay: 0.0,
            baseline: true,
            seed: 42,
        }
    }
}

/// 0 for what stands below all layers, then the number of the layer from 1, and beyond all layers for the head.
fn height(name: &str) -> usize {
    if name.starts_with("embeddings.") || name.starts_with("relative.") {
        return 0;
    }
    weights_number(name).map_or(usize::MAX, |number| number + 1)
}

impl TrainConfig {
    /// What the learning rate of a parameter is multiplied with, in an encoder of so many layers with weights of
    /// their own.
    pub(super) fn rate_factor(&self, name: &str, layers: usize) -> f64 {
        if name.starts_with("classifier.") && self.head_learning_rate > 0.0 {
            return self.head_learning_rate / self.learning_rate;
        }
        let below = layers.saturating_sub(height(name));
        self.layer_lr_decay.powi(i32::try_from(below).unwrap_or(i32::MAX))
    }

    /// Whether a parameter is left as it is.
    pub(super) fn freezes(&self, name: &str, encoder: &EncoderConfig) -> bool {
        self.frozen_layers > 0 && !is_above(name, encoder.weights_of(self.frozen_layers))
    }

    /// Of the products in the layers.
    pub fn precision(&self) -> Precision {
        if self.bf16 { Precision::Bf16 } else { Precision::F32 }
    }

    /// Refuses a precision that fine-tuning on this device does not have.
    ///
    /// # Errors
    /// Which instructions this CPU lacks.
    pub fn check_device(&self, backend: &Backend) -> Result<(), TrainError> {
        if !self.bf16 || self.recipe == Recipe::Head || !backend.is_cpu() {
            return Ok(());
        }
        self.precision().check().map_err(TrainError::Bf16Cpu)
    }

    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let whole_or_share = |value: f64| share(value) || (positive(value) && value.fract() == 0.0);
        let below = match self.lr_scheduler_type {
            SchedulerType::Polynomial => self.learning_rate,
            // Nothing else ends with it.
            _ => f64::INFINITY,
        };
        let rules = [
            (
                "num_train_epochs",
                self.num_train_epochs >= 0.0 && self.num_train_epochs.is_finite(),
                "0 (determined by the data) or more",
            ),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps > 0, "at least 1"),
            ("learning_rate", positive(self.learning_rate), "greater than 0"),
            (
                "head_learning_rate",
                self.head_learning_rate >= 0.0 && self.head_learning_rate.is_finite(),
                "0 (the same as for the other layers) or more",
            ),
            (
                "weight_decay",
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "0 or more",
            ),
            ("adam_beta1", share(self.adam_beta1), "from 0 to below 1"),
            ("adam_beta2", share(self.adam_beta2), "from 0 to below 1"),
            ("adam_epsilon", positive(self.adam_epsilon), "greater than 0"),
            ("lr_num_cycles", self.lr_num_cycles > 0, "at least 1"),
            ("lr_power", positive(self.lr_power), "greater than 0"),
            (
                "lr_end",
                (0.0..below).contains(&self.lr_end),
                "0 or more, and below `train.learning_rate`",
            ),
            (
                "lr_decay_steps",
                whole_or_share(self.lr_decay_steps),
                "a whole number of steps, or a fraction below 1",
            ),
            (
                "layer_lr_decay",
                self.layer_lr_decay > 0.0 && self.layer_lr_decay <= 1.0,
                "above 0, and at most 1",
            ),
            ("max_time", self.max_time >= 0.0, "0 (off) or a number of seconds"),
            ("max_grad_norm", self.max_grad_norm >= 0.0, "0 (off) or more"),
            (
                "warmup_steps",
                whole_or_share(self.warmup_steps),
                "a whole number of steps, or a fraction below 1",
            ),
            ("logging_steps", self.logging_steps.holds(), Steps::RULE),
            ("eval_steps", self.eval_steps.holds(), Steps::RULE),
            ("save_steps", self.save_steps.holds(), Steps::RULE),
            ("label_smoothing_factor", share(self.label_smoothing_factor), "from 0 to below 1"),
            ("early_stopping_threshold", self.early_stopping_threshold >= 0.0, "0 or more"),
            ("ema_decay", share(self.ema_decay), "0 (off) or a number below 1"),
        ];
        match rules.iter().find(|(_, holds, _)| !holds) {
            Some((key, _, rule)) => Err(format!("`train.{key}` must be {rule}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_last_rate_of_a_schedule_that_ends_with_it_is_below_the_first() {
        let check = |lr_scheduler_type, learning_rate| {
            TrainConfig { lr_scheduler_type, learning_rate, ..TrainConfig::default() }.check()
        };
        assert_eq!(check(SchedulerType::Linear, 1e-9), Ok(()));
        assert_eq!(check(SchedulerType::Polynomial, 1e-5), Ok(()));
        assert!(check(SchedulerType::Polynomial, 1e-9).unwrap_err().contains("`train.lr_end`"));
        let below = TrainConfig { lr_end: -1.0, ..TrainConfig::default() };
        assert!(below.check().unwrap_err().contains("`train.lr_end`"));
    }

    #[test]
    fn layers_learn_the_slower_the_lower_and_frozen_ones_not_at_all() {
        let config =
            TrainConfig { layer_lr_decay: 0.5, frozen_layers: 1, ..TrainConfig::default() };
        let factor = |name| config.rate_factor(name, 2);
        assert_eq!(factor("embeddings.word"), 0.25);
        assert_eq!(factor("layer.0000.attention.qkv.weight"), 0.5);
        assert_eq!(factor("layer.0001.attention.norm"), 1.0);
        assert_eq!((factor("pooler.weight"), factor("classifier.bias")), (1.0, 1.0));
        let frozen = ["embeddings.norm", "layer.0000.feed_forward.norm"];
        let encoder = encoder(r#"{ "model_type": "bert" }"#);
        assert!(frozen.iter().all(|name| config.freezes(name, &encoder)));
        let trained = ["layer.0001.feed_forward.norm", "pooler.bias", "last.norm"];
        assert!(trained.iter().all(|name| !config.freezes(name, &encoder)));
        assert!(!TrainConfig::default().freezes("embeddings.norm", &encoder));
    }

    #[test]
    fn bf16_is_refused_where_the_cpu_lacks_it_and_something_is_fine_tuned() {
        let check = |bf16, recipe| {
            let config = TrainConfig { bf16, recipe, ..TrainConfig::default() };
            config.check_device(&Backend::Cpu).map_err(|error| error.to_string())
        };
        let lacking =
            Precision::Bf16.check().map_err(|why| format!("`train.bf16` is true, but {why}"));
        for recipe in [Recipe::Full, Recipe::Auto] {
            assert_eq!(check(true, recipe), lacking);
            check(false, recipe).unwrap();
        }
        check(true, Recipe::Head).unwrap();
    }

    #[test]
    fn of_layers_with_the_same_weights_those_below_a_border_are_frozen() {
        let encoder = encoder(r#"{ "model_type": "albert", "num_hidden_groups": 2 }"#);
        let borders: Vec<usize> = (0..=12).filter(|&layer| encoder.divides_at(layer)).collect();
        assert_eq!(borders, [0, 6, 12]);
        let config = TrainConfig { frozen_layers: 6, ..TrainConfig::default() };
        assert!(config.freezes("layer.0000.feed_forward.norm", &encoder));
        assert!(!config.freezes("layer.0001.feed_forward.norm", &encoder));
    }

    fn encoder(file: &str) -> EncoderConfig {
        EncoderConfig::from_bytes(Path::new("config.json"), file.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_above_all_layers_is_never_frozen() {
        let (all, encoder) = (12, encoder(r#"{ "model_type": "bert" }"#));
        let config = TrainConfig { frozen_layers: all, ..TrainConfig::default() };
        assert!(config.freezes("layer.0011.attention.norm", &encoder));
        assert!(!config.freezes("pooler.weight", &encoder));
    }
}
