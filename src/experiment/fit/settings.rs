//! What is fitted: each method with its settings.

use super::{Experiment, ExperimentError, FitJob};
use crate::artifact::Artifact;
use crate::calibrate::CalibrationConfig;
use crate::data::{DataConfig, some};
use crate::method::laplace::Head;
use crate::method::{Method, Needs, PosteriorConfig};
use crate::model::ModelConfig;
use crate::train::TrainConfig;

/// Keys of `[data]` that divide the rows of a fit.
const OF_ROWS: [&str; 4] = [
    "data.validation_fraction",
    "data.calibration_fraction",
    "data.test_fraction",
    "data.ood_label",
];

/// Sets those of [`OF_ROWS`] that are among the settings.
pub(super) fn divide_as_set(job: &FitJob, data: &mut DataConfig) -> Result<(), ExperimentError> {
    let of_rows = |setting: &&String| {
        setting.split_once('=').is_some_and(|(key, _)| OF_ROWS.contains(&key.trim()))
    };
    let settings: Vec<String> = job.settings.iter().filter(of_rows).cloned().collect();
    let Experiment { data: set, written, .. } = Experiment::parse("", "`--set`", &settings)?;
    let is_set = |key: &str| written.contains(key);
    if is_set("data.validation_fraction") {
        data.validation_fraction = set.validation_fraction;
    }
    if is_set("data.calibration_fraction") {
        data.calibration_fraction = set.calibration_fraction;
    }
    if is_set("data.test_fraction") {
        data.test_fraction = set.test_fraction;
    }
    if is_set("data.ood_label") {
        data.ood_label = set.ood_label;
    }
    Ok(())
}

/// For each method the keys that were set, as far as they concern it, over those that the model was made with.
pub(super) fn settings(
    job: &FitJob,
    source: &Artifact,
) -> Result<Vec<Experiment>, ExperimentError> {
    let refuse = |place: String, message: String| ExperimentError::Config { place, message };
    let own = source.manifest.precision;
    if !own.is_f32() {
        let message = format!(
            "`{}` is stored in {own}, and `bayes fit` computes in f32; give the model that it was made from",
            job.model.display()
        );
        return Err(refuse("`--model`".to_owned(), message));
    }
    if let Some(count) = source.networks() {
        let message = format!(
            "`{}` is an ensemble of {count} networks, and `bayes fit` gives a posterior to one; give \
             a model of one network, such as one trained with `posterior.method=map`",
            job.model.display()
        );
        return Err(refuse("`--model`".to_owned(), message));
    }
    if source.manifest.zero_shot.is_some() && job.methods.iter().any(|&one| one != Method::Map) {
        let message =
            "labels that you name have no last layer of their own, so only `map` fits them: its \
                       temperature, prediction sets, novelty and limits; remove the flag"
                .to_owned();
        return Err(refuse("`--method`".to_owned(), message));
    }
    let key = |setting: &String| setting.split('=').next().unwrap_or_default().trim().to_owned();
    let own = |key: &str| ["posterior.", "calibration."].iter().any(|own| key.starts_with(own));
    for setting in &job.settings {
        let key = key(setting);
        if key == "posterior.method" {
            let method = setting.split_once('=').map_or("", |(_, method)| method.trim());
            let message = format!("`bayes fit` takes methods by a flag; use `--method {method}`");
            return Err(refuse(format!("`--set {setting}`"), message));
        }
        if !own(&key) && !OF_ROWS.contains(&key.as_str()) {
            let message = format!(
                "`bayes fit` takes only keys of [posterior] and [calibration], and of [data] {}; choose the data \
                 with `--dataset`, and say with the data options how they are read",
                some(OF_ROWS.iter().copied())
            );
            return Err(refuse(format!("`--set {setting}`"), message));
        }
        let reads =
            |method: &&Method| key.strip_prefix("posterior.").is_some_and(|key| method.reads(key));
        let whose = Method::ALL.iter().find(reads);
        if let Some(whose) = whose.filter(|_| !job.methods.iter().any(|own| reads(&own))) {
            let message =
                format!("it applies to the method `{0}`; add `{0}` to `--method`", whose.name());
            return Err(refuse(format!("`--set {key}`"), message));
        }
    }
    let of_method = |&method: &Method| {
        let usual = PosteriorConfig { link: source.manifest.fit.link, ..method.into() };
        let needs = usual.approach().needs();
        refuse_training(method, needs)?;
        let feature_layers =
            if needs.hidden_states { source.posterior.states() } else { usual.feature_layers };
        let base = Experiment {
            posterior: PosteriorConfig { feature_layers, ..usual },
            calibration: CalibrationConfig {
                // Those of another machine, perhaps.
                precisions: Vec::new(),
                ..source.manifest.calibration.clone().unwrap_or_default()
            },
            train: TrainConfig {
                class_weights: source.manifest.fit.class_weights,
                ..TrainConfig::default()
            },
            // It begins with what is there.
            model: ModelConfig {
                init: Some(job.model.display().to_string()),
                ..ModelConfig::default()
            },
            ..Experiment::default()
        };
        let others = |setting: &&String| {
            let key = key(setting);
            let known = |method: &Method, key: &str| method.reads(key);
            !OF_ROWS.contains(&key.as_str())
                && key.strip_prefix("posterior.").is_none_or(|key| {
                    known(&method, key) || !Method::ALL.iter().any(|other| known(other, key))
                })
        };
        let settings: Vec<String> = job.settings.iter().filter(others).cloned().collect();
        let mut chosen = Experiment::parse(&base.to_toml(), "`--set`", &settings)?;
        refuse_training(method, chosen.posterior.approach().needs())?;
        if chosen.calibration.novelty_reference && source.reference.is_none() {
            if job.settings.iter().any(|one| key(one) == "calibration.novelty_reference") {
                let message = format!(
                    "`{}` does not hold the encoder as it was before fine-tuning; train it with \
                     `--set calibration.novelty_reference=true`, which keeps it",
                    job.model.display()
                );
                return Err(refuse("`--set calibration.novelty_reference`".to_owned(), message));
            }
            // A recipe that kept the encoder as it was has nothing to add.
            chosen.calibration.novelty_reference = false;
        }
        Ok(chosen)
    };
    let chosen = job.methods.iter().map(of_method).collect::<Result<Vec<_>, _>>()?;
    check_head(job, &chosen)?;
    Ok(chosen)
}

/// Refuses to keep a last layer that no method moves, or that one replaces.
fn check_head(job: &FitJob, chosen: &[Experiment]) -> Result<(), ExperimentError> {
    let own = chosen.iter().find(|one| one.posterior.has_own_layer());
    if let Some(own) = own.filter(|_| job.head == Head::Keep) {
        return Err(ExperimentError::Config {
            place: "`--keep-head`".to_owned(),
            message: format!(
                "`{0}` predicts with a layer of its own, which is fitted to the rows; remove the flag, or \
                 take `{0}` from `--method`",
                own.posterior.name().name()
            ),
        });
    }
    if job.head == Head::Keep && !chosen.iter().any(moves_head) {
        return Err(ExperimentError::Config {
            place: "`--keep-head`".to_owned(),
            message: format!(
                "it has no effect with {}, which never changes the last layer; remove the flag",
                job.methods
                    .iter()
                    .map(|method| format!("`{}`", method.name()))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        });
    }
    Ok(())
}

/// Whether the method fits the last layer anew: on the features of the training rows.
pub(super) fn moves_head(chosen: &Experiment) -> bool {
    chosen.posterior.reads_training_rows()
}

/// Refuses a method that trains.
fn refuse_training(method: Method, needs: Needs) -> Result<(), ExperimentError> {
    if !needs.shapes_training() {
        return Ok(());
    }
    let what = match needs.runs {
        _ if needs.teacher => {
            "trains a network on what a teacher says, and `bayes fit` trains none"
        }
        _ if needs.objective => "would fine-tune the encoder, and `bayes fit` does not",
        1 => "collects weights during fine-tuning, and `bayes fit` does not fine-tune",
        _ => "trains several networks, and `bayes fit` trains none",
    };
    let message =
        format!("`{0}` {what}; use `bayes train --set posterior.method={0}`", method.name());
    Err(ExperimentError::Config { place: "`--method`".to_owned(), message })
}
