//! The recipe behind `bayes audit`: each label is judged by a last layer, on features of an encoder, that has not
//! seen the row.

use std::path::Path;
use std::sync::Arc;

use super::encoder::InitialEncoder;
use super::feature_cache::{self, FeatureCache};
use super::features::Reads;
use super::head::HeadRows;
use super::lineage::Lineage;
use super::prepare::cached_tokens;
use super::{Experiment, ExperimentError, Features, Progress};
use crate::artifact::manifest_of;
use crate::audit::{self, Audit, Judged, Lengths, Rows};
use crate::calibrate::{Fold, folds};
use crate::compute::{Backend, Noise};
use crate::data::split::{RowKey, content_hash};
use crate::data::{
    CrossFit, DataConfig, Dataset, Example, Overrides, Part, Preprocessing, TokenSet,
};
use crate::evaluate::{Baseline, EvaluateError};
use crate::model::{ModelConfig, Networks};
use crate::numbers::grouped;
use crate::predict::Pairs;

/// What was found, and what the classifier said.
#[derive(Clone, Debug)]
pub struct Audited {
    pub audit: Audit,
    pub dataset: Dataset,
    pub judged: Judged,
}

/// Looks for what is wrong in the data of an experiment, all splits together. Without an encoder words and characters
/// judge the labels, as the baseline of an evaluation counts them. `reads` are the texts that a model is asked, where it is
/// one of a model.
///
/// # Errors
/// The data or the encoder cannot be read, an experiment streams its rows, or they are not what the model reads.
pub fn audit(
    experiment: &Experiment,
    reads: Pairs,
    device: &Backend,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Audited, ExperimentError> {
    if experiment.data.streaming {
        return Err(ExperimentError::Config {
            place: "the settings".to_owned(),
            message:
                "`data.streaming` is true, but an audit compares all rows with each other and \
                      reads them whole; leave it out"
                    .to_owned(),
        });
    }
    // Splits stay apart, whatever a training would make of them.
    let config = DataConfig { cross_fit: CrossFit::Auto, ..experiment.data.clone() };
    let dataset = Dataset::open(&config)?.told(&mut |remark| show(Progress::from(&remark)));
    let rows = Rows::new(&dataset);
    reads.check(rows.examples().map(|row| row.pair.is_some())).map_err(EvaluateError::from)?;
    let noise = Noise::new(experiment.train.seed);
    let keys: Vec<RowKey> = rows.examples().map(RowKey::from).collect();
    let folds = folds(&keys, &noise).unwrap_or_default();
    if folds.is_empty() {
        show(Progress::Warning(format!(
            "{} too few to judge labels by the others; give more, with several texts in each class",
            match rows.len() {
                1 => "1 row is".to_owned(),
                rows => format!("{} rows are", grouped(rows as u64)),
            }
        )));
    }
    let (judge, judged, lengths) = match &experiment.model.init {
        Some(init) => {
            let found = Encoded::new(experiment, &dataset, &rows, &noise, device, show)?;
            let judged = found.judged(&dataset, &folds)?;
            (format!("features of `{init}`"), judged, Some(found.lengths))
        }
        None => {
            let judged = by_words(&rows, &dataset, &folds, &noise, show);
            ("words and characters".to_owned(), judged, None)
        }
    };
    let audit = audit::audit(&rows, &judge, &judged, lengths);
    Ok(Audited { audit, judged, dataset })
}

/// An experiment on the encoder of a model, which reads texts as the model does: on the data of this name, or on those
/// that the model was trained on. Also gives whether it reads pairs.
///
/// # Errors
/// The model cannot be read, or does not say what it was trained on.
pub fn of_model(
    experiment: Experiment,
    model: &Path,
    (dataset, overrides): (Option<&str>, &Overrides),
) -> Result<(Experiment, Pairs), ExperimentError> {
    let manifest = manifest_of(model)?;
    let reads = manifest.as_ref().map_or(Pairs::Either, Pairs::trained_on);
    let own = manifest.as_ref().and_then(|manifest| manifest.data.as_ref());
    let mut data = match (dataset, own) {
        (Some(name), Some(own)) if name != own.dataset => own.like(name),
        (_, Some(own)) => own.clone(),
        (Some(_), None) => experiment.data.clone(),
        (None, None) => {
            return Err(ExperimentError::Config {
                place: "`--model`".to_owned(),
                message: format!(
                    "`{}` does not record its training data; name the data to look at, as in `bayes audit DATA --model \
                     …`",
                    model.display()
                ),
            });
        }
    };
    if let Some(Preprocessing { max_length, truncation, .. }) =
        manifest.map(|manifest| manifest.preprocessing)
    {
        (data.max_length, data.truncation) = (max_length, truncation);
    }
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    overrides.apply(&mut data).map_err(refuse)?;
    let init = Some(model.display().to_string());
    let settings = ModelConfig { init, ..experiment.model.clone() };
    Ok((Experiment { data, model: settings, ..experiment }, reads))
}

/// Features of all rows.
struct Encoded {
    features: Features,
    width: usize,
    lengths: Lengths,
}

impl Encoded {
    fn new(
        experiment: &Experiment,
        dataset: &Dataset,
        rows: &Rows<'_>,
        noise: &Noise,
        device: &Backend,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let splits = Rows::splits(dataset);
        let first = splits.first().copied().unwrap_or_default().to_owned();
        let first = Part { rows: (0..dataset.rows(&first).len()).collect(), split: first };
        let start = InitialEncoder::find(experiment, dataset, &first)?;
        for remark in &start.remarks() {
            show(Progress::from(remark));
        }
        let folder = start.folder.clone().unwrap_or_default();
        tell_seen(&folder, rows, show)?;
        let preprocessing = Preprocessing::new(start.max_length, experiment.data.truncation);
        let cache = FeatureCache::new(&folder, &preprocessing, start.encoder.pooling)?;
        let (parameters, _) = start.parameters(noise, device)?;
        let networks = Networks::packed(&start.encoder, &parameters, &[])?;
        let width = networks.feature_width();
        let mut features: Option<Features> = None;
        let mut lengths = Lengths { limit: start.max_length, truncated: 0, longest: 0 };
        for split in splits {
            let examples = dataset.rows(split);
            let tokens = cached_tokens(&start.tokenizer, examples, &preprocessing, show)?;
            let labels = examples.iter().map(|example| example.label).collect();
            let places = (0..examples.len() as u32).collect();
            let tokens = TokenSet::new(Arc::new(tokens), places, labels);
            lengths.truncated += tokens.truncated();
            let longest = tokens.full_lengths().into_iter().max().unwrap_or_default();
            lengths.longest = lengths.longest.max(longest);
            // Labels may be corrected, and features stay.
            let unlabelled: Vec<Example> =
                examples.iter().map(|one| Example { label: 0, ..one.clone() }).collect();
            let path = cache.path(&content_hash(&unlabelled), Reads::default().states);
            let kept = feature_cache::read(&path, tokens.labels().to_vec(), width);
            let found = match kept {
                Some(kept) => kept,
                None => {
                    let reads = Reads::default();
                    let found = Features::encode(&networks, &tokens, reads, "encoding", show)?;
                    feature_cache::keep(&path, &found, width, show);
                    found
                }
            };
            match &mut features {
                Some(features) => features.join(found),
                None => features = Some(found),
            }
        }
        Ok(Self { features: features.unwrap_or_default(), width, lengths })
    }

    /// What last layers say of rows that they have not seen.
    fn judged(&self, dataset: &Dataset, folds: &[Fold]) -> Result<Judged, ExperimentError> {
        if folds.is_empty() {
            return Ok(Judged::default());
        }
        let classes = dataset.labels.len();
        let rows = HeadRows {
            task: dataset.task,
            features: &self.features,
            classes,
            class_weights: &vec![1.0; classes],
            folds,
            kept: &[],
            width: self.width,
            dropout: 0.0,
        };
        let (judged, logit_nc) = rows.judge()?;
        let logits = logit_nc.chunks_exact(classes).map(<[f64]>::to_vec);
        Ok(ordered(judged.into_iter().zip(logits).collect()))
    }
}

/// In the order of the rows.
fn ordered(mut judged: Vec<(usize, Vec<f64>)>) -> Judged {
    judged.sort_unstable_by_key(|(row, _)| *row);
    let (rows, logits): (Vec<usize>, Vec<Vec<f64>>) = judged.into_iter().unzip();
    Judged { rows, logit_nc: logits.concat() }
}

/// What classifiers on words say of rows that they have not seen.
fn by_words(
    rows: &Rows<'_>,
    dataset: &Dataset,
    folds: &[Fold],
    noise: &Noise,
    show: &mut dyn FnMut(Progress<'_>),
) -> Judged {
    let (classes, total) = (dataset.labels.len(), folds.len());
    let mut judged = Vec::new();
    for (done, fold) in folds.iter().enumerate() {
        show(Progress::Work { what: "counting words", done, total });
        let some = |places: &[usize]| -> Vec<&Example> {
            places.iter().map(|&place| rows.example(place)).collect()
        };
        let train = some(&fold.train);
        let labels: Vec<u32> = train.iter().map(|example| example.label).collect();
        let baseline = Baseline::fit(&train, &labels, classes, noise);
        let said = baseline.predict(&some(&fold.judged));
        let logits = said.chunks_exact(classes);
        let logits = logits.map(|line| line.iter().map(|p| p.max(1e-300).ln()).collect());
        judged.extend(fold.judged.iter().copied().zip(logits));
    }
    show(Progress::Work { what: "counting words", done: total, total });
    ordered(judged)
}

/// An encoder that was fine-tuned with wrong labels has learned some of them.
fn tell_seen(
    folder: &Path,
    rows: &Rows<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ExperimentError> {
    let Some(manifest) = manifest_of(folder)? else { return Ok(()) };
    // Rows of a last layer alone have not touched the features.
    let lineage = Lineage::of(&manifest, manifest.encoder_trained);
    let seen = rows.examples().filter(|row| lineage.seen.texts.contains(&row.key())).count();
    if seen > 0 {
        show(Progress::Warning(format!(
            "the model was trained on {seen} of these rows, so its features have learned their labels, wrong ones too, \
             and fewer of these are found; name an encoder that has not seen them with `--init`"
        )));
    }
    Ok(())
}
