//! From a trained classifier to one with a posterior, a temperature and a scale.

use serde::Serialize;

use super::{ExperimentError, Features};
use crate::artifact::Artifact;
use crate::calibrate::{Corrections, Doubt, ScalingFit, fit_scaling};
use crate::method::laplace::{Evidence, FeatureRows, Head};
use crate::method::{Fitted, LastLayer, Method, PosteriorConfig, Recipe};
use crate::posterior::OwnDoubt;
use crate::train::{ClassWeights, Gathered};

/// What was fitted after training.
#[derive(Clone, Debug, Serialize)]
pub struct PosteriorReport {
    pub method: Method,
    /// Training rows that it looked at.
    pub rows: usize,
    /// How the prior was chosen, for methods that choose one.
    pub evidence: Option<Evidence>,
    /// Whether its prior was chosen by held-out rows, and not by the evidence.
    pub prior_by_held_out_rows: bool,
    /// Whether each class has a factor and an offset of its own.
    pub vector: bool,
    /// What logits are divided by; absent when none was fitted.
    pub temperature: Option<f64>,
    /// Why the rows do not say which temperature is right, where they do not; it is then 1 or more.
    pub temperature_doubt: Option<Doubt>,
    /// Whether the best scale is the largest that was tried; it is then left out.
    pub scale_at_bound: bool,
    /// What the covariance is multiplied by; absent without a covariance, or when none was fitted.
    pub scale: Option<f64>,
    /// How much less mean NLL the best scale above zero has than the temperature alone, in nats.
    pub scale_gain: Option<f64>,
    /// Standard error of that.
    pub scale_gain_error: Option<f64>,
    /// Rows that temperature and scale were fitted on.
    pub temperature_rows: usize,
}

impl PosteriorReport {
    /// What a person should know before trusting the fit.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(evidence) = self.evidence.filter(|evidence| !evidence.converged) {
            warnings.push(format!(
                "the prior precision did not converge (its value is {:.3e}); the training rows may \
                 all be classified correctly, so that they say nothing about it",
                evidence.prior_precision
            ));
        }
        if let Some(doubt) = self.temperature_doubt {
            let rows = self.temperature_rows;
            let stays =
                format!("so the temperature stays at {:.3}", self.temperature.unwrap_or(1.0));
            warnings.push(match doubt {
                Doubt::AllRight => format!(
                    "the model classifies all {rows} temperature rows correctly, which says \
                     nothing about how confident it should be, {stays}; add more data, or harder \
                     examples"
                ),
                Doubt::OneClass => format!(
                    "the {rows} temperature rows all belong to one class, {stays}; add more data"
                ),
                Doubt::AtBound => format!(
                    "the {rows} temperature rows contradict the model or say too little, {stays}; \
                     add more data"
                ),
            });
        }
        if self.scale_at_bound {
            warnings.push(
                "the scale of the variance reaches its bound, so the variance is not used: its \
                 rows say too little"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// How the posterior of trained weights is made.
pub(super) struct Making<'a> {
    pub(super) config: &'a PosteriorConfig,
    pub(super) head: Head,
    /// What a row of each class counts, `[k]`.
    pub(super) class_weights: &'a [f64],
    /// What followed the training, where the method needs that.
    pub(super) gathered: Option<&'a Gathered>,
}

impl Making<'_> {
    /// Makes the posterior of a model, on the training features where the method looks at them.
    pub(super) fn run(
        &self,
        artifact: &Artifact,
        train: &Features,
    ) -> Result<Fitted, ExperimentError> {
        let parameters = &artifact.parameters;
        let last = LastLayer {
            weight_cd: parameters.get("classifier.weight"),
            bias_c: parameters.get("classifier.bias"),
            dropout: artifact.encoder.classifier_dropout,
        };
        let rows = FeatureRows {
            feature_nd: &train.feature_nd,
            labels: &train.labels,
            classes: artifact.manifest.labels.len(),
            class_weights: self.class_weights,
        };
        let Self { head, gathered, .. } = *self;
        let mut recipe = Recipe { last, rows, head, converged: None, gathered };
        Ok(self.config.approach().run(&mut recipe)?)
    }
}

/// What a row of each class counts, `[k]`.
pub(super) fn weights_of_classes(weights: ClassWeights, counts: &[u64]) -> Vec<f64> {
    weights.of(counts).into_iter().map(f64::from).collect()
}

/// Fits T and s to a posterior on rows that it has not seen, and leaves both in the artifact.
pub(super) fn install(
    artifact: &mut Artifact,
    config: &PosteriorConfig,
    fitted: Fitted,
    rows: usize,
    temperature: Option<(&Features, Corrections)>,
) -> Result<PosteriorReport, ExperimentError> {
    let link = fitted.posterior.uncertainty(config.link).link;
    let found = match temperature {
        Some((features, corrections)) => {
            let logits = fitted.posterior.logits(features.read())?;
            fit_scaling(&logits, &features.labels, &link, corrections)
        }
        None => None,
    };
    let temperature_rows = temperature.map_or(0, |(features, _)| features.len());
    install_scaled(artifact, config, fitted, rows, (found, temperature_rows))
}

/// The same with T and s that were found on so many rows.
pub(super) fn install_scaled(
    artifact: &mut Artifact,
    config: &PosteriorConfig,
    fitted: Fitted,
    rows: usize,
    (found, temperature_rows): (Option<ScalingFit>, usize),
) -> Result<PosteriorReport, ExperimentError> {
    let Fitted { posterior, evidence } = fitted;
    let mut uncertainty = posterior.uncertainty(config.link);
    if let Some(ScalingFit { scaling, .. }) = &found {
        uncertainty.scaling = scaling.clone();
    }
    let (mean_cd, mean_c) = posterior.mean();
    artifact.parameters = artifact.parameters.with_last_layer(mean_cd, mean_c)?;
    artifact.uncertainty = uncertainty;
    artifact.manifest.method = config.name();
    artifact.manifest.link = config.link;
    artifact.manifest.evidence = evidence;
    let scaled = found.as_ref().filter(|_| artifact.uncertainty.own_doubt() != OwnDoubt::Absent);
    Ok(PosteriorReport {
        method: config.name(),
        rows,
        evidence,
        prior_by_held_out_rows: false,
        vector: found.as_ref().is_some_and(|fit| fit.scaling.vector.is_some()),
        temperature: found.as_ref().map(|fit| fit.scaling.temperature),
        temperature_doubt: found.as_ref().and_then(|fit| fit.plain.doubt),
        scale_at_bound: found.as_ref().is_some_and(|fit| fit.scale_at_bound),
        scale: scaled.map(|fit| fit.scaling.scale),
        scale_gain: scaled.map(|fit| fit.gain),
        scale_gain_error: scaled.map(|fit| fit.standard_error),
        temperature_rows,
    })
}
