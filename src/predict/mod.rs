//! Texts in, predictive distributions out: the one path that evaluation, the command line and the
//! server use.

use std::borrow::Cow;
use std::path::Path;

use candle_core::Device;
use rayon::prelude::*;

use crate::artifact::{self, Artifact, ArtifactError};
use crate::calibrate::novelty::{self, Evidence, Novelty};
use crate::calibrate::{Asked, Judgement};
use crate::compute::{Packed, Sequence};
use crate::data::{Encoded, TokenizerError, clean};
use crate::metrics::argmax;
use crate::model::{Classifier, ModelError, Sampling};
use crate::posterior::{LogitDistribution, Passes, Posterior, Predictive};
use crate::train::{Wanted, features};

/// A text, or a pair of texts.
pub type Text<'a> = (&'a str, Option<&'a str>);

/// What is predicted for one text.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The most probable class.
    pub label: usize,
    /// Its probability.
    pub confidence: f64,
    /// All probabilities and the uncertainty.
    pub predictive: Predictive,
    /// The distribution over logits, before the temperature.
    pub logits: LogitDistribution,
    /// Prediction set, novelty and decision.
    pub judgement: Judgement,
    /// Tokens that the encoder saw.
    pub num_tokens: usize,
    /// Whether the text was longer than that.
    pub truncated: bool,
}

/// Why nothing was predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A text without content.
    #[error("text {0} is empty")]
    Empty(usize),
    /// A pair for an encoder that knows no second segment.
    #[error("text {0} is a pair, and this encoder's tokenizer knows single texts only")]
    Segment(usize),
    /// Tokenisation failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A model that is ready to predict. Prediction changes nothing.
#[derive(Clone, Debug)]
pub struct Predictor {
    artifact: Artifact,
    classifier: Classifier,
    posterior: Posterior,
    usual: Asked,
}

impl Predictor {
    /// From what a model folder holds.
    pub fn new(artifact: Artifact) -> candle_core::Result<Self> {
        let classifier = Classifier::packed(&artifact.encoder, &artifact.parameters)?;
        let posterior = Posterior::new(&artifact.parameters, &artifact.uncertainty);
        let usual = artifact.calibration.usual();
        Ok(Self { artifact, classifier, posterior, usual })
    }

    /// Loads a model folder.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ArtifactError> {
        let artifact = artifact::load(folder, device)?;
        Ok(Self::new(artifact).map_err(ModelError::from)?)
    }

    /// The model folder's content.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Class names by label.
    pub fn labels(&self) -> &[String] {
        &self.artifact.manifest.labels
    }

    /// The logits before the temperature and the predictive distribution of each sequence of one
    /// batch that is tokenised already.
    pub fn predict_batch(
        &self,
        batch: &Packed,
    ) -> candle_core::Result<Vec<(LogitDistribution, Predictive)>> {
        self.distributions(&self.features(batch)?)
    }

    /// What the posterior reads of one batch: the features φ, `[b, d]`, or those of each pass,
    /// `[b, samples, d]`.
    pub fn features(&self, batch: &Packed) -> candle_core::Result<Vec<f32>> {
        let features = match self.sampling() {
            Some(sampling) => self.classifier.sampled(batch, &sampling)?,
            None => self.classifier.features(batch)?,
        };
        features.flatten_all()?.to_vec1()
    }

    /// From what the posterior reads of n texts to logits and probabilities; each text by itself.
    pub fn distributions(
        &self,
        feature_nd: &[f32],
    ) -> candle_core::Result<Vec<(LogitDistribution, Predictive)>> {
        let logits = self.posterior.logits(feature_nd)?.into_par_iter();
        let uncertainty = &self.artifact.uncertainty;
        Ok(logits
            .map(|one| {
                let predictive = uncertainty.predictive(&one);
                (one, predictive)
            })
            .collect())
    }

    /// One prediction for each text, in their order. `progress` is told the rows that are done.
    pub fn predict(
        &self,
        texts: &[Text<'_>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Prediction>, PredictError> {
        let cleaned: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> =
            texts.iter().map(|&(text, pair)| (clean(text), pair.map(clean))).collect();
        if let Some(place) = cleaned.iter().position(|(text, _)| text.is_empty()) {
            return Err(PredictError::Empty(place + 1));
        }
        let cleaned: Vec<Text<'_>> =
            cleaned.iter().map(|(text, pair)| (&**text, pair.as_deref())).collect();
        let preprocessing = &self.artifact.manifest.preprocessing;
        let encoded = self.artifact.tokenizer.encode(
            &cleaned,
            preprocessing.max_length,
            preprocessing.truncation,
        )?;
        let segments = self.artifact.encoder.type_vocab_size as u32;
        let outside = |one: &Encoded| one.type_ids.iter().any(|&id| id >= segments);
        if let Some(place) = encoded.iter().position(outside) {
            return Err(PredictError::Segment(place + 1));
        }
        let lengths: Vec<u32> = encoded.iter().map(|one| one.ids.len() as u32).collect();
        let sequence = |row: usize| Sequence {
            ids: encoded[row].ids.clone(),
            type_ids: encoded[row].type_ids.clone(),
            row: row as u64,
        };
        let wanted = Wanted { inputs: self.inputs(), sampling: self.sampling() };
        let rows = features(&self.classifier, &lengths, &sequence, &wanted, progress)?;
        let distributions = self.distributions(rows.read())?.into_iter();
        let vectors = novelty::vectors(&rows, lengths.len());
        // No texts have no width.
        let lines = vectors.chunks_exact((vectors.len() / lengths.len().max(1)).max(1));
        let predictions = distributions.zip(encoded).zip(lines);
        let predictions = predictions.map(|(((logits, predictive), encoded), novelty_e)| {
            let label = argmax(&predictive.probability_c);
            Prediction {
                label,
                confidence: predictive.probability_c[label],
                judgement: self.judge(&encoded, novelty_e, &logits, &predictive),
                predictive,
                logits,
                num_tokens: encoded.ids.len(),
                truncated: encoded.full_length as usize > encoded.ids.len(),
            }
        });
        Ok(predictions.collect())
    }

    fn judge(
        &self,
        encoded: &Encoded,
        novelty_e: &[f32],
        logits: &LogitDistribution,
        predictive: &Predictive,
    ) -> Judgement {
        let Artifact { calibration, uncertainty, .. } = &self.artifact;
        let uniform = calibration.uniform(&encoded.ids, &encoded.type_ids);
        let logit_c = &logits.mean();
        let temperature = uncertainty.scaling.temperature;
        let evidence = Evidence { novelty_e, logit_c, temperature, predictive };
        calibration.judge(&evidence, uniform, &self.usual)
    }

    /// The passes with dropout, for a posterior that has several.
    fn sampling(&self) -> Option<Sampling> {
        self.artifact.uncertainty.passes.map(Passes::usual)
    }

    /// How many of the last layers' inputs novelty looks at.
    fn inputs(&self) -> usize {
        self.artifact.calibration.novelty.as_ref().map_or(0, Novelty::inputs)
    }
}
