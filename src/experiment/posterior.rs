//! From the weights of a trained classifier to a posterior over them.

use super::{ExperimentError, Features};
use crate::data::TokenSet;
use crate::method::laplace::{FeatureRows, Head};
use crate::method::{FitInput, FitRecord, LastLayer, NetworkRows, PosteriorConfig, fit_wide};
use crate::model::{EncoderConfig, Parameters};
use crate::posterior::Posterior;
use crate::train::{ClassWeights, Gathered};

/// How the posterior of trained weights is made.
pub(super) struct Making<'a> {
    pub(super) config: &'a PosteriorConfig,
    pub(super) head: Head,
    /// What a row of each class counts, `[k]`.
    pub(super) class_weights: &'a [f64],
    /// What followed the training, where the method needs that.
    pub(super) gathered: Option<&'a Gathered>,
    /// Rows that the network was trained on, and others, where the method looks at their tokens.
    pub(super) tokens: Option<[&'a TokenSet; 2]>,
}

impl Making<'_> {
    /// Makes the posterior of a model, on the training features where the method looks at them.
    pub(super) fn run(
        &self,
        encoder: &EncoderConfig,
        parameters: &Parameters,
        train: &Features,
    ) -> Result<(Posterior, FitRecord), ExperimentError> {
        let last = LastLayer {
            weight_cd: parameters.get("classifier.weight"),
            bias_c: parameters.get("classifier.bias"),
            dropout: encoder.classifier_dropout,
        };
        let rows = FeatureRows {
            task: encoder.task,
            feature_nd: train.fitted(),
            labels: &train.labels,
            classes: encoder.labels.len(),
            class_weights: self.class_weights,
        };
        let Self { config, head, gathered, tokens, .. } = *self;
        if !config.feature_layers.is_empty() {
            return Ok(fit_wide(config, rows, last)?);
        }
        let link = config.link;
        let network = tokens.map(|[train, held_out]| NetworkRows {
            config: encoder,
            parameters,
            train,
            held_out,
        });
        let mut input = FitInput { last, rows, head, link, converged: None, gathered, network };
        Ok(config.approach().run(&mut input)?)
    }
}

/// What a row of each class counts, `[k]`.
pub(super) fn weights_of_classes(weights: ClassWeights, counts: &[u64]) -> Vec<f64> {
    weights.of(counts).into_iter().map(f64::from).collect()
}
