//! Keys that a person wrote and that change nothing in a run.

use std::collections::{BTreeMap, BTreeSet};

use super::Experiment;
use super::keys::flat;
use crate::calibrate::novelty::NoveltyMethod;
use crate::data::{DataConfig, Parts};
use crate::model::EncoderConfig;
use crate::posterior::Passes;
use crate::train::{Recipe, SchedulerType};

/// Keys of `[train]` that a fit of the last layer alone reads.
pub(super) const OF_HEAD: [&str; 4] =
    ["train.recipe", "train.seed", "train.baseline", "train.class_weights"];

/// What decides which keys have no effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// What is trained, or was kept.
    recipe: Recipe,
    /// Whether the recipe decided on fine-tuning, by the time that it takes.
    timed: bool,
    /// Whether all rows but those of the test train the last layer, and calibrate it.
    crossed: bool,
    /// Whether the data have a validation split.
    own_validation: bool,
    /// Whether they have a test split.
    own_test: bool,
    /// Whether no novelty score is fitted.
    no_novelty: bool,
    /// Whether novelty does not compare features with those of training rows.
    no_distance: bool,
    /// How the learning rate changes.
    scheduler: SchedulerType,
    /// Whether training never stops early.
    patient: bool,
    /// Why no link turns logits into probabilities.
    no_link: Option<&'static str>,
    /// Whether no prediction sets are made.
    no_sets: bool,
    /// Whether nobody but the labels says what rows should be answered.
    no_teacher: bool,
    /// Whether the posterior has no variance that could be scaled.
    no_variance: bool,
    /// Whether all layers that are trained have the same learning rate, whatever it falls by from one to the next.
    one_rate: bool,
    /// Keys of the method that say nothing beside its others, and why.
    of_method: &'static [(&'static str, &'static str)],
}

/// Of a posterior without variance.
const IS_MAP: &str = "`posterior.method` is map, which has no distribution over the logits";

impl Use {
    pub(super) fn new(
        experiment: &Experiment,
        parts: &Parts,
        crossed: bool,
        classes: usize,
    ) -> Self {
        Self {
            crossed,
            own_validation: !crossed && parts.validation.split != "train",
            own_test: parts.test.split != "train",
            ..Self::of_config(experiment, classes)
        }
    }

    /// As far as the data have no say.
    fn of_config(experiment: &Experiment, classes: usize) -> Self {
        let Experiment { train, posterior, calibration, .. } = experiment;
        let recipe = train.recipe;
        let no_link = if !posterior.approach().has_variance() {
            Some(IS_MAP)
        } else {
            match posterior.approach().needs().passes {
                Some(Passes::Dropout { .. }) => {
                    Some("probabilities are means over the passes (`posterior.num_samples`)")
                }
                Some(Passes::TopLayers { .. }) => {
                    Some("probabilities are means over samples of the top layers")
                }
                Some(Passes::Members(_)) => Some("probabilities are means over the networks"),
                None => (classes == 2).then_some("probabilities of two classes are exact"),
            }
        };
        Self {
            recipe,
            timed: recipe == Recipe::Auto,
            crossed: false,
            own_validation: false,
            own_test: false,
            no_novelty: calibration.novelty == NoveltyMethod::None,
            no_distance: !calibration.novelty.is_distance(),
            scheduler: train.lr_scheduler_type,
            patient: train.early_stopping_patience == 0,
            no_link,
            no_sets: calibration.conformal_alpha.is_empty(),
            no_teacher: !posterior.approach().needs().teacher,
            no_variance: !posterior.approach().has_variance(),
            one_rate: false,
            of_method: posterior.approach().without_effect(),
        }
    }

    /// The same, now that the encoder is known.
    pub(super) fn of_encoder(self, experiment: &Experiment, encoder: &EncoderConfig) -> Self {
        let frozen = experiment.train.frozen_layers;
        let below = encoder.weights_of(frozen);
        Self { one_rate: frozen > 0 && below + 1 >= encoder.layer_weights(), ..self }
    }

    /// The same for a run in which this was kept.
    pub(super) fn kept(self, recipe: Recipe) -> Self {
        Self { recipe, ..self }
    }

    /// Why a key has no effect.
    fn reason(&self, key: &str) -> Option<&'static str> {
        let head = self.recipe == Recipe::Head;
        let crossed = "every row outside the test split trains and calibrates the last layer";
        match key {
            "data.validation_limit" if self.crossed => Some(crossed),
            "data.validation_fraction" | "data.calibration_fraction" => {
                if self.own_validation {
                    Some("the data have a validation split")
                } else {
                    (self.crossed && head).then_some(crossed)
                }
            }
            "calibration.ood_p" if self.no_novelty => Some("`calibration.novelty` is none"),
            "calibration.novelty_by_length" if self.no_distance => {
                Some("`calibration.novelty` compares no features with those of training rows")
            }
            "train.max_time" if self.timed => None,
            "data.test_fraction" if self.own_test => Some("the data have a test split"),
            "data.unlabelled" | "train.teacher" if self.no_teacher => {
                Some("`posterior.method` is not distil, so only the labels are learned from")
            }
            "train.label_smoothing_factor" if !self.no_teacher => {
                Some("the teacher's probabilities are learned (`train.teacher`)")
            }
            "posterior.link" => self.no_link,
            "calibration.scale" if self.no_variance => Some(IS_MAP),
            "calibration.conformal_method" if self.no_sets => {
                Some("`calibration.conformal_alpha` is empty, so there are no sets")
            }
            _ if head && key.starts_with("train.") && !OF_HEAD.contains(&key) => {
                Some("only the last layer is fitted")
            }
            "train.layer_lr_decay" if self.one_rate => {
                Some("`train.frozen_layers` leaves at most the top layer to train")
            }
            "train.early_stopping_threshold" if self.patient => {
                Some("`train.early_stopping_patience` is 0")
            }
            "train.warmup_steps" if self.scheduler == SchedulerType::Constant => {
                Some("`train.lr_scheduler_type` is constant")
            }
            "train.lr_num_cycles" if self.scheduler != SchedulerType::CosineWithRestarts => {
                Some("`train.lr_scheduler_type` is not cosine_with_restarts")
            }
            "train.lr_power" | "train.lr_end" if self.scheduler != SchedulerType::Polynomial => {
                Some("`train.lr_scheduler_type` is not polynomial")
            }
            "train.lr_decay_steps" if self.scheduler != SchedulerType::WarmupStableDecay => {
                Some("`train.lr_scheduler_type` is not warmup_stable_decay")
            }
            _ => {
                let name = key.strip_prefix("posterior.")?;
                self.of_method.iter().find(|(own, _)| *own == name).map(|(_, why)| *why)
            }
        }
    }

    /// All keys without effect, for what is kept of the config with the model.
    pub(super) fn unused(&self, experiment: &Experiment) -> BTreeSet<String> {
        flat(experiment).into_keys().filter(|key| self.reason(key).is_some()).collect()
    }

    /// Gives the division of the rows its usual values where it has no say.
    pub(super) fn clear(&self, data: &mut DataConfig) {
        let usual = DataConfig::default();
        let unused = |key| self.reason(key).is_some();
        if unused("data.validation_limit") {
            data.validation_limit = usual.validation_limit;
        }
        if unused("data.validation_fraction") {
            data.validation_fraction = usual.validation_fraction;
            data.calibration_fraction = usual.calibration_fraction;
        }
        if unused("data.test_fraction") {
            data.test_fraction = usual.test_fraction;
        }
    }

    /// A line that names the keys that were written with another value than the usual one, and have no
    /// effect.
    pub(super) fn warning(&self, written: &Experiment) -> Option<String> {
        let (own, usual) = (flat(written), flat(&Experiment::default()));
        let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for key in written.written.iter().filter(|key| own.get(*key) != usual.get(*key)) {
            if let Some(reason) = self.reason(key) {
                by_reason.entry(reason).or_default().push(format!("`{key}`"));
            }
        }
        for key in written.gave_way.intersection(&written.written) {
            let reason = match key.as_str() {
                "model.init" => "sizes of a new encoder are given",
                _ => "an encoder is given (`--init` or `model.init`), which has its own",
            };
            by_reason.entry(reason).or_default().push(format!("`{key}`"));
        }
        said(by_reason)
    }
}

/// The same of the keys that `bayes fit` was given, where they have no effect on any method that has them.
pub(super) fn of_fit(chosen: &[Experiment], keys: &[&str], classes: usize) -> Option<String> {
    let usual = flat(&Experiment::default());
    let methods: Vec<_> =
        chosen.iter().map(|one| (flat(one), Use::of_config(one, classes))).collect();
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let keys: BTreeSet<&str> = keys.iter().copied().collect();
    for key in keys.iter().filter(|key| !key.starts_with("data.")) {
        let having = methods.iter().filter(|(own, _)| own.get(*key) != usual.get(*key));
        let reasons: Option<Vec<&str>> = having.map(|(_, way)| way.reason(key)).collect();
        if let Some(reason) = reasons.and_then(|reasons| reasons.first().copied()) {
            by_reason.entry(reason).or_default().push(format!("`{key}`"));
        }
    }
    said(by_reason)
}

fn said(by_reason: BTreeMap<&str, Vec<String>>) -> Option<String> {
    let clause = |(reason, keys): (&str, Vec<String>)| match keys.as_slice() {
        [one] => format!("{one} has no effect because {reason}"),
        all => format!("{} have no effect because {reason}", all.join(", ")),
    };
    let clauses: Vec<String> = by_reason.into_iter().map(clause).collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

#[cfg(test)]
mod tests;
