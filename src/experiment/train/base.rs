//! A model before its weights are trained.

use crate::artifact::{Artifact, Manifest, SpecialTokens};
use crate::calibrate::Calibration;
use crate::data::TextTokenizer;
use crate::model::{EncoderConfig, Parameters};
use crate::posterior::Posterior;

/// All of a model that is known before its weights are.
pub(super) struct Base {
    pub(super) encoder: EncoderConfig,
    pub(super) tokenizer: TextTokenizer,
    pub(super) special_tokens: SpecialTokens,
    pub(super) manifest: Manifest,
}

impl Base {
    /// The model with these weights: a point estimate that nothing was fitted to.
    pub(super) fn with(&self, parameters: &Parameters) -> Artifact {
        Artifact {
            encoder: self.encoder.clone(),
            parameters: parameters.clone(),
            tokenizer: self.tokenizer.clone(),
            special_tokens: self.special_tokens.clone(),
            posterior: Posterior::point(parameters),
            calibration: Calibration::default(),
            manifest: self.manifest.clone(),
        }
    }
}
