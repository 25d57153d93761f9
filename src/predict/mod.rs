//! Texts in, predictive distributions out: the one path that evaluation, the command line and the
//! server use.

mod batch;
mod forwarded;
mod kept;
mod load;
mod object;
mod pairs;
pub mod select;
mod shared;
pub mod stream;
mod trunk;

use std::borrow::Cow;
use std::sync::Arc;

pub use forwarded::Forwarded;
pub use load::Loading;
pub use object::{Details, Ood, PredictionObject, Presentation, SAMPLES, Set, decision};
pub use pairs::{PairError, Pairs};
use rayon::prelude::*;
pub use shared::SharedTrunk;
pub use trunk::{TrunkHash, TrunkRow};

use crate::artifact::Artifact;
use crate::calibrate::novelty::{self, Evidence, Novelty};
use crate::calibrate::{Asked, Judgement};
use crate::compute::{Packed, Precision, Sequence, fetch};
use crate::data::{Encoded, TokenizerError, clean, encode_clean, is_blank};
use crate::model::{Networks, Sampling, StillWanted, Trunk, TrunkRows, Wanted, features};
use crate::posterior::{LogitDistribution, Passes, Posterior, Predictive, Spread};
use crate::task::Task;

/// A text, or a pair of texts.
pub type Text<'a> = (&'a str, Option<&'a str>);

/// What is predicted for one text.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The class that is decided on: the most probable one.
    pub label: usize,
    pub confidence: f64,
    /// All probabilities and the uncertainty.
    pub predictive: Predictive,
    /// The distribution over logits, before the temperature.
    pub logits: LogitDistribution,
    /// Prediction set, novelty and decision.
    pub judgement: Judgement,
    /// The U that its set was made with.
    pub uniform: f64,
    /// Tokens that the encoder saw.
    pub num_tokens: usize,
    /// Whether the text was longer than that.
    pub truncated: bool,
}

/// What the model makes of one text, before anything is asked of it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The distribution over logits, before the temperature.
    pub logits: LogitDistribution,
    /// All probabilities and the uncertainty.
    pub predictive: Predictive,
    /// What novelty looks at.
    novelty_e: Vec<f32>,
}

impl Reading {
    fn is_finite(&self) -> bool {
        let Predictive { probability_c, total, aleatoric, epistemic } = &self.predictive;
        let parts = [Some(*total), *aleatoric, *epistemic].into_iter().flatten();
        probability_c.iter().copied().chain(parts).all(f64::is_finite)
            && self.logits.mean().iter().all(|logit| logit.is_finite())
    }
}

/// Why nothing was predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A text without content.
    #[error("text {0} is empty")]
    Empty(usize),
    /// A pair for an encoder that knows no second segment.
    #[error("text {0} is a pair, but this encoder's tokenizer supports only single texts")]
    Segment(usize),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model's weights overflow.
    #[error(
        "text {0}: the model's output is not a number because its weights or its posterior \
         overflow; the folder is damaged, or was trained with too large a learning rate"
    )]
    NotFinite(usize),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A model that is ready to predict. Prediction changes nothing.
#[derive(Clone, Debug)]
pub struct Predictor {
    artifact: Artifact,
    networks: Networks,
    precision: Precision,
    posterior: Posterior,
    usual: Asked,
    version: String,
    /// Where what the encoder makes of texts is kept for others.
    share: Option<shared::Share>,
}

impl Predictor {
    /// The model folder's content.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Of the products in its layers.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// A hash over all that changes a prediction: the files, as the manifest has them, how texts are
    /// prepared, and the precision.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What is asked of a prediction where nobody asks for anything else.
    pub fn usual(&self) -> &Asked {
        &self.usual
    }

    /// With prediction sets of another coverage. What is accepted stays as the model decides it.
    pub fn with_coverage(mut self, coverage: f64) -> Self {
        let conformal = self.artifact.calibration.conformal.as_ref();
        self.usual.bounds = conformal.map(|conformal| conformal.bounds(1.0 - coverage));
        self
    }

    /// What it is for.
    pub fn task(&self) -> Task {
        self.artifact.manifest.task
    }

    /// Class names by label.
    pub fn labels(&self) -> &[String] {
        &self.artifact.manifest.labels
    }

    /// Whether it reads pairs of texts.
    pub fn pairs(&self) -> Pairs {
        Pairs::of(&self.artifact)
    }

    fn linked(&self, logits: Vec<LogitDistribution>) -> Vec<(LogitDistribution, Predictive)> {
        let posterior = &self.artifact.posterior;
        let both = |one: LogitDistribution| {
            let predictive = posterior.predictive(&one);
            (one, predictive)
        };
        logits.into_par_iter().map(both).collect()
    }

    /// One prediction for each text, in their order. `progress` is told the rows that are done.
    pub fn predict(
        &self,
        texts: &[Text<'_>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Prediction>, PredictError> {
        Ok(self.predict_with_features(texts, progress)?.0)
    }

    /// The same, with what the encoder makes of the texts; of several networks the first one.
    fn predict_with_features(
        &self,
        texts: &[Text<'_>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Vec<Prediction>, Arc<TrunkRows>), PredictError> {
        let encoded = self.encode(texts)?;
        let lengths: Vec<u32> = encoded.iter().map(|one| one.ids.len() as u32).collect();
        let sequence = |row: usize| sequence(&encoded[row], row);
        let wanted = Wanted { inputs: self.inputs(), sampling: self.usual_passes() };
        let mut read = || features(&self.networks, &lengths, &sequence, &wanted, progress);
        let rows = match &self.share {
            Some(share) => share.rows(&encoded, (wanted.inputs, wanted.sampling), read)?,
            None => Arc::new(read()?),
        };
        let readings = self.readings(&self.posterior, &rows, encoded.len())?;
        let answer = |(encoded, reading)| self.answer(encoded, reading, &self.usual);
        let answers: Vec<Option<Prediction>> =
            encoded.par_iter().zip(readings).map(answer).collect();
        let finite =
            |(answer, place): (Option<_>, usize)| answer.ok_or(PredictError::NotFinite(place));
        let predictions = answers.into_iter().zip(1..).map(finite).collect::<Result<_, _>>()?;
        Ok((predictions, rows))
    }

    /// Cleans texts, where the model was trained on clean ones, and tokenises them, on all threads of the
    /// current pool.
    pub fn encode(&self, texts: &[Text<'_>]) -> Result<Vec<Encoded>, PredictError> {
        let preprocessing = &self.artifact.manifest.preprocessing;
        let cleaned: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> =
            texts.iter().map(|&(text, pair)| (clean(text), pair.map(clean))).collect();
        if let Some(place) = cleaned.iter().position(|(text, _)| is_blank(text)) {
            return Err(PredictError::Empty(place + 1));
        }
        let wanted: Vec<Text<'_>> = match preprocessing.clean {
            true => cleaned.iter().map(|(text, pair)| (&**text, pair.as_deref())).collect(),
            false => texts.to_vec(),
        };
        let encoded = encode_clean(
            &self.artifact.tokenizer,
            &wanted,
            preprocessing.max_length,
            preprocessing.truncation,
        )?;
        let segments = self.artifact.encoder.segments();
        let outside = |one: &Encoded| {
            segments.is_some_and(|rows| one.type_ids.iter().any(|&id| id as usize >= rows))
        };
        if let Some(place) = encoded.iter().position(outside) {
            return Err(PredictError::Segment(place + 1));
        }
        Ok(encoded)
    }

    /// Reads texts that are tokenised already as one batch: in one pass, or with these passes too where
    /// the posterior is one of passes with dropout; without them its weights are taken at their mean. All
    /// networks of an ensemble always read them. `None` if they were not wanted any more before the last
    /// pass.
    pub fn read(
        &self,
        batch: &[&Encoded],
        sampling: Option<Sampling>,
        wanted: StillWanted<'_>,
    ) -> candle_core::Result<Option<Vec<Reading>>> {
        rayon::scope(|_| self.read_inside(batch, sampling, wanted))
    }

    fn read_inside(
        &self,
        batch: &[&Encoded],
        sampling: Option<Sampling>,
        wanted: StillWanted<'_>,
    ) -> candle_core::Result<Option<Vec<Reading>>> {
        let sampling = match self.always_sampled() {
            true => self.usual_passes(),
            false => sampling.filter(|_| self.posterior.passes().is_some()),
        };
        let Some(rows) = self.trunk_rows(batch, self.inputs(), sampling, wanted)? else {
            return Ok(None);
        };
        self.readings(&self.posterior_under(sampling), &rows, batch.len()).map(Some)
    }

    /// What the networks make of texts, before the posterior reads it. `None` if they were not wanted any more.
    fn trunk_rows(
        &self,
        batch: &[&Encoded],
        inputs: usize,
        sampling: Option<Sampling>,
        wanted: StillWanted<'_>,
    ) -> candle_core::Result<Option<TrunkRows>> {
        let packed = Packed::new(batch.iter().map(|encoded| sequence(encoded, 0)));
        let trunk = self.networks.trunk(&packed, inputs, sampling)?;
        let mut sample_nsd = Vec::new();
        if let Some(sampling) = sampling {
            let samples = self.networks.sampled_while(&packed, &trunk, sampling, wanted)?;
            let Some(samples) = samples else { return Ok(None) };
            sample_nsd = fetch(&samples)?;
        }
        let Trunk { feature_bd, input_be, .. } = trunk;
        let feature_nd = fetch(&feature_bd)?;
        let reference_nd = self.networks.reference_means(&packed)?;
        Ok(Some(TrunkRows { feature_nd, input_ne: input_be, sample_nsd, reference_nd }))
    }

    /// The posterior under these passes; without them one of passes has its weights at their mean. A covariance is
    /// large: it is lent.
    fn posterior_under(&self, sampling: Option<Sampling>) -> Cow<'_, Posterior> {
        match (self.posterior.passes(), sampling) {
            (None, _) => Cow::Borrowed(&self.posterior),
            (Some(_), None) => Cow::Owned(self.posterior.at_mean()),
            (Some(passes), Some(sampling)) => self.posterior_of(passes, sampling),
        }
    }

    /// The posterior for as many passes as were taken.
    fn posterior_of(&self, passes: Passes, sampling: Sampling) -> Cow<'_, Posterior> {
        match passes.as_many_as(sampling) {
            other if other == passes => Cow::Borrowed(&self.posterior),
            other => Cow::Owned(self.posterior.with_spread(Spread::Passes(other))),
        }
    }

    /// The passes under a seed, so many or as many as the model has; `None` for a closed form. An ensemble has
    /// those that it has.
    pub fn passes(&self, samples: Option<usize>, seed: u64) -> Option<Sampling> {
        let passes = match (self.posterior.passes()?, samples) {
            (Passes::Dropout { layers, .. }, Some(samples)) => Passes::Dropout { samples, layers },
            (passes, _) => passes,
        };
        Some(passes.sampling(seed))
    }

    /// Whether an answer rests on several passes even where nobody asks for the uncertainty: each network of
    /// an ensemble, and each copy of the top layers, has a part in the label.
    pub fn always_sampled(&self) -> bool {
        matches!(self.posterior.passes(), Some(Passes::Members(_) | Passes::TopLayers { .. }))
    }

    /// Forward passes of an encoder that a text takes; those of the top layers alone count as the share of one that
    /// they are, rounded up.
    pub fn forward_passes(&self) -> usize {
        // A hypothesis for each label.
        if self.artifact.manifest.zero_shot.is_some() {
            return self.labels().len();
        }
        let before = usize::from(self.networks.has_reference());
        before
            + match self.posterior.passes() {
                None => 1,
                // One without dropout, for novelty.
                Some(Passes::Dropout { samples, .. }) => 1 + samples,
                Some(Passes::Members(count)) => count,
                Some(Passes::TopLayers { .. }) => {
                    self.posterior.top_layers().map_or(1, |top| top.cost().ceil() as usize)
                }
            }
    }

    /// What the model says of a text when this is asked; `None` if that is not a number.
    pub fn answer(&self, encoded: &Encoded, reading: Reading, asked: &Asked) -> Option<Prediction> {
        if !reading.is_finite() {
            return None;
        }
        let Reading { logits, predictive, novelty_e } = reading;
        let Artifact { calibration, posterior, .. } = &self.artifact;
        let uniform = calibration.uniform(&encoded.ids, &encoded.type_ids);
        let logit_c = &logits.mean();
        let temperature = posterior.scaling.temperature;
        let task = self.task();
        let evidence = Evidence {
            task,
            novelty_e: &novelty_e,
            tokens: encoded.ids.len() as u32,
            logit_c,
            temperature,
            predictive: &predictive,
        };
        let judgement = calibration.judge(&evidence, uniform, asked);
        if judgement.ood.is_some_and(|ood| !ood.score.is_finite()) {
            return None;
        }
        let probability_c = &predictive.probability_c;
        Some(Prediction {
            label: task.decision(probability_c),
            confidence: task.confidence(probability_c),
            judgement,
            uniform,
            predictive,
            logits,
            num_tokens: encoded.ids.len(),
            truncated: encoded.full_length as usize > encoded.ids.len(),
        })
    }

    fn readings(
        &self,
        posterior: &Posterior,
        rows: &TrunkRows,
        count: usize,
    ) -> candle_core::Result<Vec<Reading>> {
        let distributions = self.linked(posterior.logits(&self.read_of(rows, count))?).into_iter();
        let inputs = self.artifact.calibration.novelty.as_ref().map_or(0, Novelty::inputs);
        let vectors = novelty::vectors(rows, inputs, count);
        // No texts have no width.
        let lines = vectors.chunks_exact((vectors.len() / count.max(1)).max(1));
        let reading = |((logits, predictive), novelty_e): (_, &[f32])| Reading {
            logits,
            predictive,
            novelty_e: novelty_e.to_vec(),
        };
        Ok(distributions.zip(lines).map(reading).collect())
    }

    /// The passes where nobody gives a seed, for a posterior that has several.
    fn usual_passes(&self) -> Option<Sampling> {
        self.posterior.passes().map(Passes::usual)
    }

    /// What the posterior reads of texts: the passes where there are any, else the feature, with the hidden
    /// states that it reads beside it.
    fn read_of<'a>(&self, rows: &'a TrunkRows, count: usize) -> Cow<'a, [f32]> {
        let states = self.posterior.states();
        match (rows.sample_nsd.is_empty(), states.is_empty()) {
            (false, _) => Cow::Borrowed(&rows.sample_nsd),
            (true, true) => Cow::Borrowed(&rows.feature_nd),
            (true, false) => Cow::Owned(rows.with_states(states, self.layers(), count)),
        }
    }

    /// Of how many of the last layers the input is looked at: by novelty, or by the posterior.
    fn inputs(&self) -> usize {
        let novelty = self.artifact.calibration.novelty.as_ref().map_or(0, Novelty::inputs);
        novelty.max(self.posterior.states().inputs(self.layers()))
    }

    fn layers(&self) -> usize {
        self.artifact.encoder.num_hidden_layers
    }
}

/// A text on its way into a batch. The noise of training does not reach here, so every row is alike.
fn sequence(encoded: &Encoded, row: usize) -> Sequence {
    Sequence { ids: encoded.ids.clone(), type_ids: encoded.type_ids.clone(), row: row as u64 }
}
