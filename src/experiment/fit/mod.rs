//! The recipe behind `bayes fit`: a posterior for a classifier that exists. Its encoder stays, byte for
//! byte; texts are encoded once, and every method is fitted on the same features.

mod absent;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use serde::Serialize;

use self::absent::check_classes;
use super::calibration::{FitSettings, HeldOut, check_rows};
use super::feature_cache::{self, FeatureCache};
use super::features::check_distinct;
use super::lineage::Lineage;
use super::origin::base_model;
use super::posterior::{Making, weights_of_classes};
use super::prepare::unkept;
use super::resume::refuse_folder_of_run;
use super::{Experiment, ExperimentError, Features, Progress};
use crate::artifact::{self, Artifact, PartRecord};
use crate::calibrate::CalibrationSummary;
use crate::compute::{Noise, Purpose};
use crate::data::{self, DataConfig, Dataset, Overrides, Part, Parts, TokenSet, Tokens, sample};
use crate::evaluate::{EvaluateError, labels_of_model};
use crate::method::laplace::Head;
use crate::method::{FitRecord, Method, PosteriorConfig};
use crate::metrics::{self, FLOOR_RESAMPLES, RESAMPLES, Scored, Summary};
use crate::model::{self, Classifier, Pooling};
use crate::posterior::{LogitDistribution, Passes, Predictive};
use crate::predict::Pairs;
use crate::train::{TrainConfig, class_counts};

/// What to fit.
#[derive(Clone, Debug)]
pub struct FitJob {
    /// A model folder: one of ours, or a classifier in the layout of transformers.
    pub model: PathBuf,
    /// A data set with labels; `None` for the one that the model was trained on.
    pub dataset: Option<String>,
    /// How its tables are read.
    pub overrides: Overrides,
    /// The methods to compare; the first one is written.
    pub methods: Vec<Method>,
    /// Keys of `[posterior]` and `[calibration]`, as `key=value`, besides the method.
    pub settings: Vec<String>,
    /// At most so many training and so many test rows; 0 for all.
    pub limit: usize,
    /// Whether the last layer may move.
    pub head: Head,
    /// The model folder to write; by default `checkpoints/NAME-METHOD/model`.
    pub output: Option<PathBuf>,
}

/// One row of the comparison, on the test part.
#[derive(Clone, Debug, Serialize)]
pub struct FitScore {
    /// `before`, or a method.
    pub name: String,
    /// All metrics, under their fixed keys.
    pub test: Summary,
    /// What was fitted; absent for `before`.
    pub fitted: Option<FitRecord>,
    /// Seconds that the fit took, without encoding.
    pub seconds: f64,
}

/// What a finished fit says.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The classifier that was there.
    pub source: PathBuf,
    /// The folder that was written, with the first method.
    pub model: PathBuf,
    /// How its encoder pools, which decides what loads it in Python.
    pub pooling: Pooling,
    pub dataset: String,
    /// Whether its texts are generated.
    pub generated: bool,
    /// Whether they are pairs.
    pub pairs: bool,
    /// Rows of each part that was used.
    pub rows: BTreeMap<&'static str, usize>,
    /// Rows whose features had to be computed.
    pub encoded: usize,
    /// What was fitted on the conformal part, for the first method.
    pub calibration: CalibrationSummary,
    /// The classifier as it was, and with each method.
    pub scores: Vec<FitScore>,
}

/// Encodes, fits, compares and writes.
pub fn fit(
    job: &FitJob,
    device: &Device,
    checkpoints: &Path,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<FitReport, ExperimentError> {
    let source = artifact::load(&job.model, device)?;
    let chosen = settings(job, &source)?;
    if job.head == Head::Keep && !chosen.iter().any(moves_head) {
        return Err(ExperimentError::Config {
            place: "`--keep-head`".to_owned(),
            message: format!(
                "it is for methods that fit the last layer anew, such as laplace, and {} leaves it as it is: \
                 leave the flag out",
                job.methods
                    .iter()
                    .map(|method| format!("`{}`", method.name()))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        });
    }
    let first = chosen.first().ok_or(ExperimentError::NoMethod)?.posterior.name();
    let calibration = &chosen[0].calibration;
    let home = checkpoints.join(format!("{}-{}", source.manifest.name, first.name()));
    let model = job.output.clone().unwrap_or_else(|| home.join("model"));
    refuse_folder_of_run(&model)?;
    artifact::check_target(&model)?;
    let same = |path: &Path| path.canonicalize().ok();
    if same(&model).is_some_and(|model| same(&job.model) == Some(model)) {
        return Err(ExperimentError::FitInPlace(model));
    }
    let data = data_config(job, &source)?;
    let noise = Noise::new(source.manifest.seed);
    let dataset = Dataset::open(&data)?;
    dataset.how_read().for_each(|said| show(Progress::Note(said)));
    for remark in &dataset.remarks {
        show(Progress::from(remark));
    }
    // Rows that only the last layer has seen are as good as new to an encoder whose last layer is
    // fitted anew.
    let anew = job.head == Head::Refit && chosen.iter().all(moves_head);
    let lineage = Lineage::of(&source.manifest, source.manifest.encoder_trained || !anew);
    let mut parts = Parts::apart(&dataset, &data, &noise, &lineage.seen.texts)?;
    for remark in lineage.remarks(&dataset, &parts) {
        show(Progress::from(&remark));
    }
    check_rows(calibration, &dataset, &parts)?;
    if let Some(remark) = data::repeated_validation(&dataset, &parts) {
        show(Progress::from(&remark));
    }
    if !parts.validation.rows.is_empty() {
        show(Progress::Note(format!(
            "the {} rows of the `validation` split are not used: `bayes fit` selects nothing on \
             them",
            parts.validation.rows.len()
        )));
    }
    let labels: Vec<u32> = parts.test.examples(&dataset).map(|example| example.label).collect();
    let places = sample(&labels, job.limit, &noise);
    let seen = |place: &usize| parts.seen_in_test.binary_search(place).is_ok();
    let seen_in_test = (0..places.len()).filter(|&at| seen(&places[at])).collect();
    parts.seen_in_test = seen_in_test;
    if job.limit > 0 {
        show(Progress::Note(format!(
            "using at most {} rows: training rows are balanced across classes where possible; test \
             rows keep the class proportions",
            job.limit
        )));
    }
    parts.test.rows = places.into_iter().map(|place| parts.test.rows[place]).collect();
    let texts = parts.test.examples(&dataset).map(|text| text.pair.is_some());
    Pairs::of(&source).check(texts).map_err(EvaluateError::from)?;
    let by_label = labels_of_model(&dataset.labels, &source.manifest.labels)?;
    let refits = job.head == Head::Refit && chosen.iter().any(moves_head);
    if refits {
        let own = parts.train.examples(&dataset).map(|text| by_label[text.label as usize]);
        check_classes(&own.collect(), &source.manifest.labels, &dataset.name, show)?;
    }
    let mut encoder = Encoder {
        classifier: Classifier::packed(&source.encoder, &source.parameters)?,
        cache: FeatureCache::new(
            &job.model,
            &source.manifest.preprocessing,
            source.encoder.pooling,
        )?,
        source: &source,
        dataset: &dataset,
        by_label: &by_label,
        tokens: BTreeMap::new(),
        encoded: 0,
    };
    let train = encoder.features(&parts.train, None, show)?;
    check_distinct(train.lines())?;
    let (own, classes) = (source.manifest.fit.class_weights, source.manifest.labels.len());
    if !own.is_none() && refits {
        show(Progress::Note(
            "rows count as the class weights say that the model was trained with".to_owned(),
        ));
    }
    let class_weights = weights_of_classes(own, &class_counts(&train.labels, classes));
    let one_pass = encoder.held_out(&parts, None, show)?;
    let mut scores = vec![FitScore {
        name: "before".to_owned(),
        test: {
            let passes = source.posterior.passes();
            scored(&source, &encoder.features(&parts.test, passes, show)?, &noise)?
        },
        fitted: None,
        seconds: 0.0,
    }];
    let mut written = None;
    for config in chosen.iter().map(|chosen| &chosen.posterior) {
        let approach = config.approach();
        approach.check_encoder(&source.encoder).map_err(ExperimentError::Encoder)?;
        let passes = approach.needs().passes;
        let several = match passes {
            Some(_) => Some(encoder.held_out(&parts, passes, show)?),
            None => None,
        };
        let held_out = several.as_ref().unwrap_or(&one_pass);
        let test = encoder.features(&parts.test, passes, show)?;
        let began = Instant::now();
        let settings = FitSettings { posterior: config, calibration, class_weights: own };
        let making =
            Making { config, head: job.head, class_weights: &class_weights, gathered: None };
        let posterior = making.run(&source.encoder, &source.parameters, &train)?;
        let (mut artifact, promise) =
            settings.fit(source.clone(), &train, held_out, posterior, &noise, show)?;
        let seconds = began.elapsed().as_secs_f64();
        artifact.manifest.calibration = Some(calibration.clone());
        let test = scored(&artifact, &test, &noise)?;
        artifact.manifest.test = Some(test.clone());
        scores.push(FitScore {
            name: config.name().name().to_owned(),
            test,
            fitted: Some(artifact.manifest.fit.clone()),
            seconds,
        });
        written.get_or_insert((artifact, promise));
    }
    let encoded = encoder.encoded;
    let (mut artifact, promise) = written.ok_or(ExperimentError::NoMethod)?;
    describe(&mut artifact, &data, &dataset, &parts, &lineage);
    if artifact.manifest.base_model.is_none() {
        artifact.manifest.base_model = base_model(&job.model);
    }
    let moved = last_layer(&artifact)? != last_layer(&source)?;
    let parameters = moved.then_some(&artifact.parameters);
    let weights = model::with_last_layer(&job.model, &artifact.encoder, parameters)?;
    artifact::save_with_weights(&artifact, &weights, &model)?;
    Ok(FitReport {
        source: job.model.clone(),
        model,
        pooling: artifact.encoder.pooling,
        dataset: dataset.name.clone(),
        generated: dataset.generated,
        pairs: parts.test.examples(&dataset).any(|example| example.pair.is_some()),
        rows: parts.named().into_iter().map(|(name, part)| (name, part.rows.len())).collect(),
        encoded,
        calibration: promise,
        scores,
    })
}

/// Whether the method fits the last layer anew: on the features of the training rows.
fn moves_head(chosen: &Experiment) -> bool {
    chosen.posterior.approach().needs().training_features
}

/// Weight and bias of the last layer.
fn last_layer(artifact: &Artifact) -> Result<[Vec<f32>; 2], ExperimentError> {
    let values = |name: &str| artifact.parameters.get(name).flatten_all()?.to_vec1();
    Ok([values("classifier.weight")?, values("classifier.bias")?])
}

/// For each method the keys that were set, as far as they concern it, over those that the model was made with.
fn settings(job: &FitJob, source: &Artifact) -> Result<Vec<Experiment>, ExperimentError> {
    let refuse = |place: String, message: String| ExperimentError::Config { place, message };
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
                format!("it applies to the method {0}; add {0} to `--method`", whose.name());
            return Err(refuse(format!("`--set {key}`"), message));
        }
    }
    let of_method = |&method: &Method| {
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
        if chosen.posterior.approach().needs().trajectory {
            let message = format!(
                "it follows the weights while an encoder is fine-tuned, but `bayes fit` does not \
                 train; use `bayes train` with `--set posterior.method={}`",
                method.name()
            );
            return Err(refuse(format!("`--method {}`", method.name()), message));
        }
        Ok(chosen)
    };
    job.methods.iter().map(of_method).collect()
}

/// The data set that was named, cut as the model cuts; else the one that the model was trained on.
fn data_config(job: &FitJob, source: &Artifact) -> Result<DataConfig, ExperimentError> {
    let manifest = &source.manifest;
    let own = manifest.data.as_ref();
    let mut data = match (&job.dataset, own) {
        (Some(name), Some(own)) if *name == own.dataset => own.clone(),
        (Some(name), own) => DataConfig {
            max_length: manifest.preprocessing.max_length,
            truncation: manifest.preprocessing.truncation,
            ..own.unwrap_or(&DataConfig::default()).like(name)
        },
        (None, Some(own)) => own.clone(),
        (None, None) => return Err(ExperimentError::NoData(job.model.clone())),
    };
    // How many test rows the training looked at says nothing of how many this does.
    data.test_limit = 0;
    if job.limit > 0 {
        data.train_limit = job.limit;
    }
    data.model_labels.clone_from(&manifest.labels);
    let refuse = |message| ExperimentError::Config { place: "the flags".to_owned(), message };
    job.overrides.apply(&mut data).map_err(refuse)?;
    Ok(data)
}

/// What the manifest says of the data from now on.
fn describe(
    artifact: &mut Artifact,
    data: &DataConfig,
    dataset: &Dataset,
    parts: &Parts,
    lineage: &Lineage,
) {
    let record = |(name, part): (&str, &Part)| {
        let record = PartRecord { rows: part.rows.len(), sha256: part.hash(dataset) };
        (name.to_owned(), record)
    };
    let manifest = &mut artifact.manifest;
    manifest.data = Some(dataset.with_columns(data));
    manifest.data_labels = Some(dataset.labels.clone());
    manifest.parts = parts.named().into_iter().map(record).collect();
    manifest.lineage = lineage.models.clone();
    manifest.lineage_known = lineage.is_known();
    manifest.encoder_trained = false;
    manifest.seen_in_test = parts.seen_in_test.len();
    manifest.transformers = "posterior mean".to_owned();
}

/// Features of parts, from the cache where it has them.
struct Encoder<'a> {
    classifier: Classifier,
    cache: FeatureCache,
    source: &'a Artifact,
    dataset: &'a Dataset,
    /// The model's label for each label of the data.
    by_label: &'a [u32],
    tokens: BTreeMap<String, Arc<Tokens>>,
    encoded: usize,
}

impl Encoder<'_> {
    fn held_out(
        &mut self,
        parts: &Parts,
        passes: Option<Passes>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HeldOut, ExperimentError> {
        Ok(HeldOut::new(
            self.features(&parts.temperature, passes, show)?,
            self.features(&parts.conformal, passes, show)?,
            parts.train.rows.len() + parts.validation.rows.len(),
        ))
    }

    /// Several passes are not kept: they are many times as large, and for one setting only.
    fn features(
        &mut self,
        part: &Part,
        passes: Option<Passes>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        let width = self.source.encoder.hidden_size;
        let of_model = |label: u32| self.by_label[label as usize];
        let labels: Vec<u32> =
            part.examples(self.dataset).map(|example| of_model(example.label)).collect();
        let path = self.cache.path(&part.hash(self.dataset));
        let kept = feature_cache::read(&path, labels.clone(), width);
        if let Some(features) = kept.filter(|_| passes.is_none()) {
            return Ok(features);
        }
        let rows = part.rows.iter().map(|&row| row as u32).collect();
        let tokens = TokenSet::new(self.tokens(&part.split, show)?, rows, labels);
        let features = Features::encode(&self.classifier, &tokens, passes, "encoding", show)?;
        if passes.is_none() {
            feature_cache::keep(&path, &features, width, show);
        }
        self.encoded += features.labels.len();
        Ok(features)
    }

    fn tokens(
        &mut self,
        split: &str,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Arc<Tokens>, ExperimentError> {
        if let Some(tokens) = self.tokens.get(split) {
            return Ok(Arc::clone(tokens));
        }
        let preprocessing = &self.source.manifest.preprocessing;
        let tokens = data::prepare_tokens(
            &data::cache_folder(),
            &self.source.tokenizer,
            self.dataset.rows(split),
            preprocessing,
            &mut |done, total| show(Progress::Work { what: "tokenising", done, total }),
        );
        let tokens = Arc::new(tokens.map_err(data::DataError::from)?);
        if let Some(why) = tokens.unkept() {
            show(Progress::Warning(unkept(why)));
        }
        if tokens.truncated() > 0 {
            show(Progress::Note(format!(
                "{} of {} texts of the `{split}` split are longer than {} tokens and are truncated",
                tokens.truncated(),
                tokens.rows(),
                preprocessing.max_length
            )));
        }
        self.tokens.insert(split.to_owned(), Arc::clone(&tokens));
        Ok(tokens)
    }
}

/// The metrics of a model on features.
fn scored(model: &Artifact, rows: &Features, noise: &Noise) -> Result<Summary, ExperimentError> {
    let posterior = &model.posterior;
    let logits = posterior.logits(rows.read())?;
    let predictive = |one: &LogitDistribution| -> Predictive { posterior.predictive(one) };
    let probability_nc: Vec<f64> =
        logits.iter().flat_map(|one| predictive(one).probability_c).collect();
    let classes = probability_nc.len() / rows.labels.len().max(1);
    let scored =
        Scored::new(&probability_nc, classes, &rows.labels).map_err(EvaluateError::from)?;
    let mut stream = noise.stream(Purpose::Bootstrap, 0, 0);
    Ok(metrics::summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, &mut || stream.uniform()))
}
