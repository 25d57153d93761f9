//! A model on rows of a data set.

use std::collections::BTreeMap;

use super::benchmark;
use super::labels::{LabelError, labels_of_trained};
use super::{Answer, Answers, Link, Report, Truth, evaluate};
use crate::artifact::Artifact;
use crate::calibrate::conformal::Conformal;
use crate::compute::Noise;
use crate::data::{Dataset, Example};
use crate::metrics::{MetricsError, Scores};
use crate::predict::{PairError, PredictError, Predictor, Text};

/// What the data set's own texts of no class are called.
pub const OUT_OF_SCOPE: &str = "out_of_scope";

/// Why a model was not scored.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// Classes that cannot be told to be those of the model.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// There is nothing to score.
    #[error("there are no rows to evaluate")]
    NoRows,
    /// Texts that are not what the model was trained on.
    #[error(transparent)]
    Pairs(#[from] PairError),
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// The predictions cannot be scored.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Rows to score.
#[derive(Clone, Copy, Debug)]
pub struct EvalRows<'a> {
    /// The data set that they are from.
    pub dataset: &'a Dataset,
    /// The split that rows with a label are from, where they may be a part of it; else empty.
    pub split: &'a str,
    /// Rows with a label.
    pub inside: &'a [&'a Example],
    /// Their places in the split; empty where they count from 0.
    pub places: &'a [usize],
    /// Rows of no class.
    pub outside: &'a [Example],
    /// Places in `inside` whose text was also trained or calibrated on, ascending.
    pub seen: &'a [usize],
}

/// Predicts and scores; also gives the scores that logits have without the temperature.
/// `progress` is told rows done and all rows.
pub fn score(
    predictor: &Predictor,
    rows: &EvalRows<'_>,
    noise: &Noise,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Report, Scores), EvaluateError> {
    let answers = answer(predictor, rows, progress)?;
    let uncalibrated = answers.uncalibrated()?;
    Ok((evaluate(&answers, noise)?, uncalibrated))
}

/// Asks a model for all rows. `progress` is told rows done and all rows.
pub fn answer(
    predictor: &Predictor,
    rows: &EvalRows<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Answers, EvaluateError> {
    let EvalRows { dataset, split, inside, places, outside, seen } = rows;
    if inside.is_empty() {
        return Err(EvaluateError::NoRows);
    }
    predictor.pairs().check(inside.iter().map(|example| example.pair.is_some()))?;
    let by_label = labels_of_trained(&dataset.labels, &predictor.artifact().manifest)?;
    let texts: Vec<Text<'_>> = inside.iter().map(|example| text(example)).collect();
    let total = inside.len() + outside.len();
    let predictions = predictor.predict(&texts, &mut |done| progress(done, total))?;
    let known = predictor.labels() == dataset.labels;
    let truth = |place: usize| Truth::Label {
        label: by_label[inside[place].label as usize],
        probability_c: dataset.truth(inside[place]).filter(|_| known).map(|p| p.to_vec()),
        seen: seen.binary_search(&place).is_ok(),
    };
    let answers = predictions.iter().enumerate();
    let whole: Vec<&Example> = match split.is_empty() {
        true => inside.to_vec(),
        false => dataset.rows(split).iter().collect(),
    };
    let questions = benchmark::questions(&dataset.name, &whole, places);
    let question = |place: usize| questions.as_ref().and_then(|questions| questions[place]);
    let mut answers: Vec<Answer> = answers
        .map(|(place, one)| Answer {
            question: question(place),
            ..Answer::new(places.get(place).copied().unwrap_or(place), truth(place), one)
        })
        .collect();
    let outside: Vec<Text<'_>> = outside.iter().map(text).collect();
    let mut progress = |done| progress(inside.len() + done, total);
    answers.extend(answer_outside(predictor, OUT_OF_SCOPE, &outside, &mut progress)?);
    let Artifact { manifest, posterior, calibration, .. } = predictor.artifact();
    let usual = predictor.usual().bounds.clone();
    Ok(Answers {
        model: manifest.name.clone(),
        dataset: dataset.name.clone(),
        split: String::new(),
        seed: manifest.seed,
        precision: predictor.precision(),
        temperature: posterior.scaling.temperature,
        link: Some(Link::of(posterior)),
        set_method: calibration
            .conformal
            .as_ref()
            .filter(|_| usual.is_some())
            .map(Conformal::method),
        alpha: usual.as_ref().map(|bounds| bounds.alpha),
        bound_rows: usual.map(|bounds| bounds.fewest),
        task: predictor.task(),
        labels: predictor.labels().to_vec(),
        renamed: BTreeMap::new(),
        rows: answers,
    })
}

/// Asks a model for texts of no class.
pub fn answer_outside(
    predictor: &Predictor,
    source: &str,
    texts: &[Text<'_>],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Answer>, EvaluateError> {
    predictor.pairs().check(texts.iter().map(|(_, pair)| pair.is_some()))?;
    let truth = Truth::OutOfScope { source: source.to_owned() };
    let predictions = predictor.predict(texts, progress)?;
    let answers = predictions.iter().enumerate();
    Ok(answers.map(|(place, one)| Answer::new(place, truth.clone(), one)).collect())
}

fn text(example: &Example) -> Text<'_> {
    (&example.text, example.pair.as_deref())
}
