//! What is fitted: each method with its settings.

use super::{Experiment, ExperimentError, FitJob};
use crate::artifact::Artifact;
use crate::method::laplace::Head;
use crate::method::{Method, PosteriorConfig};
use crate::train::TrainConfig;

/// For each method the keys that were set, as far as they concern it, over those that the model was made with.
pub(super) fn settings(
    job: &FitJob,
    source: &Artifact,
) -> Result<Vec<Experiment>, ExperimentError> {
    let refuse = |place: String, message: String| ExperimentError::Config { place, message };
    if let Some(count) = source.networks() {
        let message = format!(
            "`{}` is an ensemble of {count} networks, and `bayes fit` gives a posterior to one; give \
             a model of one network, such as one trained with `posterior.method=map`",
            job.model.display()
        );
        return Err(refuse("`--model`".to_owned(), message));
    }
    let key = |setting: &String| setting.split('=').next().unwrap_or_default().trim().to_owned();
    let own = |key: &str| ["posterior.", "calibration."].iter().any(|own| key.starts_with(own));
    for setting in &job.settings {
        let key = key(setting);
        if !own(&key) || key == "posterior.method" {
            let message = "`bayes fit` takes only keys of [posterior] and [calibration]; choose \
                           the method with `--method` and the data with `--dataset`";
            return Err(refuse(format!("`--set {setting}`"), message.to_owned()));
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
        let needs = PosteriorConfig::from(method).approach().needs();
        if needs.shapes_training() {
            let what = match needs.runs {
                _ if needs.teacher => {
                    "trains a network on what a teacher says, and `bayes fit` trains none"
                }
                1 => "collects weights during fine-tuning, and `bayes fit` does not fine-tune",
                _ => "trains several networks, and `bayes fit` trains none",
            };
            let message = format!(
                "`{0}` {what}; use `bayes train --set posterior.method={0}`",
                method.name()
            );
            return Err(refuse("`--method`".to_owned(), message));
        }
        let base = Experiment {
            posterior: PosteriorConfig { link: source.manifest.fit.link, ..method.into() },
            calibration: source.manifest.calibration.clone().unwrap_or_default(),
            train: TrainConfig {
                class_weights: source.manifest.fit.class_weights,
                ..TrainConfig::default()
            },
            ..Experiment::default()
        };
        let others = |setting: &&String| {
            let key = key(setting);
            let known = |method: &Method, key: &str| method.reads(key);
            key.strip_prefix("posterior.").is_none_or(|key| {
                known(&method, key) || !Method::ALL.iter().any(|other| known(other, key))
            })
        };
        let settings: Vec<String> = job.settings.iter().filter(others).cloned().collect();
        let chosen = Experiment::parse(&base.to_toml(), "`--set`", &settings)?;
        Ok(chosen)
    };
    let chosen = job.methods.iter().map(of_method).collect::<Result<Vec<_>, _>>()?;
    check_head(job, &chosen)?;
    Ok(chosen)
}

/// Refuses to keep a last layer that no method moves, or that one replaces.
fn check_head(job: &FitJob, chosen: &[Experiment]) -> Result<(), ExperimentError> {
    let own = chosen.iter().find(|one| one.posterior.approach().needs().own_layer);
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
    chosen.posterior.approach().needs().training_features
}
