//! What a model was made with, where that is still there and still the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::artifact::{Ancestor, Manifest, PartRecord, Recalibration, UNLABELLED};
use crate::compute::Noise;
use crate::data::split::{content_hash, overlap};
use crate::data::table::is_url;
use crate::data::{DataConfig, DataError, Dataset, Example, Parts, locate, unlabelled};

/// Why it is not known which rows a model was made with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("the model `{model}` does not record its training data")]
    NotRecorded { model: String },
    #[error("the training data `{name}` are no longer here")]
    Gone { name: String },
    #[error("`{name}` was streamed, and which of its rows were trained on is not recorded")]
    Stream { name: String },
    #[error("its lineage has {0} models, more than are followed")]
    Long(usize),
    #[error(
        "the classes of `{name}` have other names, or another order, than when the model was \
         trained"
    )]
    Classes { name: String },
    #[error("`{name}` has changed since the model was trained")]
    Changed { name: String },
    #[error(
        "`{name}`, which calibrated the model anew, is no longer here, or no longer what it was"
    )]
    Recalibration { name: String },
}

impl OriginError {
    /// What is to be said of figures of rows that a model may have seen.
    pub fn of_rows(&self) -> String {
        format!(
            "it is unknown which of these rows were used to train or calibrate the model: {self}"
        )
    }
}

/// The longest lineage that is followed.
const LONGEST_LINEAGE: usize = 100;

/// What the weights of a model have seen before its own training.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Keys of the texts, as far as they are known.
    pub texts: HashSet<u64>,
    /// Why others are not known.
    pub unknown: Option<OriginError>,
}

impl Seen {
    /// The texts that trained these models or chose their weights. Data that are not on this machine are not
    /// fetched for this.
    pub fn by(lineage: &[Ancestor]) -> Self {
        let mut seen = Self::default();
        if lineage.len() > LONGEST_LINEAGE {
            return Self { unknown: Some(OriginError::Long(lineage.len())), ..seen };
        }
        // Each began with what those before it had seen.
        for ancestor in lineage.iter().rev() {
            match Origin::find(ancestor, None, &seen.texts) {
                Ok(origin) => {
                    let trained = |name: &str| matches!(name, "train" | "validation");
                    seen.texts.extend(origin.keys_of(trained));
                    if origin.dataset.stream.is_some() {
                        seen.unknown = Some(origin.streamed());
                    }
                }
                Err(why) => seen.unknown = Some(why),
            }
        }
        seen
    }
}

/// The parts that a model was made with.
#[derive(Debug)]
pub struct Origin<'a> {
    dataset: Cow<'a, Dataset>,
    parts: Parts,
    /// What the weights had seen before.
    before: Seen,
    /// Texts without labels that trained it.
    further: Vec<u64>,
    /// Whether it was calibrated anew.
    anew: bool,
    /// The texts that calibrated it anew.
    recalibrated: Result<HashSet<u64>, OriginError>,
}

impl<'a> Origin<'a> {
    /// Finds the data that the manifest names, and checks that they divide into the parts that it has. They are not
    /// opened again where `opened` are the same, read in the same way.
    ///
    /// # Errors
    /// They are not on this machine, or no longer what they were.
    pub fn of(
        manifest: &Manifest,
        opened: Option<(&DataConfig, &'a Dataset)>,
    ) -> Result<Self, OriginError> {
        let mut lineage = manifest.continued().into_iter();
        // Where labels were just named, what was fitted for the classes of the newest one has been left behind.
        let named = manifest.is_of_its_lineage();
        let own = lineage.next().unwrap_or_else(|| manifest.as_ancestor());
        let before = Seen::by(lineage.as_slice());
        let found = Self::find(&own, opened, &before.texts)?;
        let recalibrated = recalibrated_by(manifest);
        let anew = named || manifest.recalibrated.is_some();
        Ok(Self { before, anew, recalibrated, ..found })
    }

    fn find(
        model: &Ancestor,
        opened: Option<(&DataConfig, &'a Dataset)>,
        seen: &HashSet<u64>,
    ) -> Result<Self, OriginError> {
        let unrecorded = || OriginError::NotRecorded { model: model.name.clone() };
        let config = model.data.as_ref().ok_or_else(unrecorded)?;
        let name = || config.dataset.clone();
        // Flags may say that its tables are read in another way than they were.
        let opened = opened.filter(|(read, _)| config.reads_as(read));
        let dataset = match opened {
            Some((_, dataset)) => Cow::Borrowed(dataset),
            None => {
                // As it was read then: labels that look like one of these are that one.
                let model_labels = model.data_labels.clone().unwrap_or_default();
                let config = DataConfig { model_labels, ..config.clone() };
                Cow::Owned(open(&config).ok_or_else(|| OriginError::Gone { name: name() })?)
            }
        };
        if model.data_labels.as_ref().is_some_and(|labels| *labels != dataset.labels) {
            return Err(OriginError::Classes { name: name() });
        }
        let noise = Noise::new(model.seed);
        let made_with = |name: &str| name != "test";
        let parts = divisions(&dataset, config, &noise, seen)
            .filter_map(Result::ok)
            .find(|parts| agree(parts, &dataset, &model.parts, made_with));
        let parts = parts.ok_or_else(|| OriginError::Changed { name: name() })?;
        let further = further(model, config, &dataset, &parts)?;
        let (before, recalibrated) = (Seen::default(), Ok(HashSet::new()));
        Ok(Self { dataset, parts, before, further, anew: false, recalibrated })
    }

    /// The data, as the model read them.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The rows that it was trained on, and not those that chose the weights or calibrated.
    pub fn train(&self) -> Vec<&Example> {
        self.parts.train.examples(self.dataset()).collect()
    }

    /// Keys of the texts of all parts, and of those that the weights had seen before: what made the model and tested
    /// it, whatever calibrated it anew.
    pub fn keys(&self) -> Vec<u64> {
        let own = self.keys_of(|_| true);
        own.into_iter().chain(self.before.texts.iter().copied()).collect()
    }

    /// Places in `examples` of texts that the model was trained or calibrated on, ascending.
    ///
    /// # Errors
    /// It is not known what its weights had seen before, which rows of a stream they have seen, or which rows
    /// calibrated it anew.
    pub fn seen(&self, examples: &[&Example]) -> Result<Vec<usize>, OriginError> {
        if let Some(why) = &self.before.unknown {
            return Err(why.clone());
        }
        let recalibrated = self.recalibrated.as_ref().map_err(OriginError::clone)?;
        let asked: Vec<u64> = examples.iter().map(|example| example.key()).collect();
        // A stream passes over the texts of its held-out rows, and may have any other.
        let known = overlap(&self.keys_of(|_| true), &asked).len();
        if self.dataset.stream.is_some() && known < asked.len() {
            return Err(self.streamed());
        }
        // What calibrated it before is as good as new where other rows took its place.
        let fitted = |name: &str| match name {
            "test" => false,
            "temperature" | "conformal" => !self.anew,
            _ => true,
        };
        let own = self.keys_of(fitted).into_iter();
        let others = self.before.texts.iter().chain(recalibrated).copied();
        let known: Vec<u64> = own.chain(others).collect();
        Ok(overlap(&known, &asked))
    }

    fn streamed(&self) -> OriginError {
        OriginError::Stream { name: self.dataset.name.clone() }
    }

    fn keys_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        let further = if wanted("train") { &self.further[..] } else { &[] };
        let parts = self.parts.named().into_iter().filter(|(name, _)| wanted(name));
        let own = parts.flat_map(|(_, part)| part.examples(self.dataset()).map(Example::key));
        own.chain(further.iter().copied()).collect()
    }
}

/// The parts of the data set that a model was trained on, as `config` limits those that nothing was fitted on.
/// Of data that have changed, those that the model would have now.
pub fn own_parts(
    manifest: &Manifest,
    dataset: &Dataset,
    config: &DataConfig,
) -> Result<Parts, DataError> {
    let noise = Noise::new(manifest.seed);
    let before = Seen::by(&manifest.lineage).texts;
    let fitted = |name: &str| !matches!(name, "validation" | "test");
    let mut ways = divisions(dataset, config, &noise, &before).filter_map(Result::ok);
    match ways.find(|parts| agree(parts, dataset, &manifest.parts, fitted)) {
        Some(parts) => Ok(parts),
        None => Parts::divide(dataset, config, &noise, &before),
    }
}

/// The ways in which the rows of a model may have been divided: one that got its posterior afterwards calibrates
/// by rows of their own, and what its weights had seen before may not have been known then.
fn divisions<'a>(
    dataset: &'a Dataset,
    config: &'a DataConfig,
    noise: &'a Noise,
    seen: &'a HashSet<u64>,
) -> impl Iterator<Item = Result<Parts, DataError>> + 'a {
    let known = [true, false].into_iter().take(if seen.is_empty() { 1 } else { 2 });
    known.flat_map(move |known| {
        let seen = if known { Cow::Borrowed(seen) } else { Cow::Owned(HashSet::new()) };
        [Parts::divide, Parts::apart].map(|divide| divide(dataset, config, noise, &seen))
    })
}

/// Whether parts are those of a manifest, as far as they are wanted.
fn agree(
    parts: &Parts,
    dataset: &Dataset,
    records: &BTreeMap<String, PartRecord>,
    wanted: impl Fn(&str) -> bool,
) -> bool {
    let mut wanted = parts.named().into_iter().filter(|(name, _)| wanted(name));
    wanted.all(|(name, part)| match records.get(name) {
        Some(known) => known.sha256 == part.hash(dataset),
        None => part.rows.is_empty(),
    })
}

/// The texts without labels that trained a model, where they are still what they were: those that a part measures or
/// calibrates by were left out of the training.
fn further(
    model: &Ancestor,
    config: &DataConfig,
    dataset: &Dataset,
    parts: &Parts,
) -> Result<Vec<u64>, OriginError> {
    let Some(record) = model.parts.get(UNLABELLED) else { return Ok(Vec::new()) };
    let name = || config.unlabelled.clone();
    let (texts, _) = unlabelled(config, &dataset.column_names)
        .map_err(|_| OriginError::Gone { name: name() })?;
    match content_hash(&texts) == record.sha256 {
        true => {
            let apart = parts.keys_apart(dataset);
            Ok(texts.iter().map(Example::key).filter(|key| !apart.contains(key)).collect())
        }
        false => Err(OriginError::Changed { name: name() }),
    }
}

/// Keys of the texts that calibrated a model anew; none where nothing did.
///
/// # Errors
/// They are no longer here, or no longer what they were.
pub fn recalibrated_by(manifest: &Manifest) -> Result<HashSet<u64>, OriginError> {
    let texts = manifest.recalibrated.as_ref().map(|own| texts_of(own, &manifest.labels));
    texts.unwrap_or_else(|| Ok(HashSet::new()))
}

/// The texts that calibrated a model anew, where they are still what they were.
fn texts_of(record: &Recalibration, labels: &[String]) -> Result<HashSet<u64>, OriginError> {
    let changed = || OriginError::Recalibration { name: record.data.dataset.clone() };
    let config = DataConfig { model_labels: labels.to_vec(), ..record.data.clone() };
    let dataset = open(&config).ok_or_else(changed)?;
    let rows: Vec<Example> = all_rows(&dataset).cloned().collect();
    let is_same =
        dataset.labels == record.data_labels && content_hash(&rows) == record.content.sha256;
    if is_same { Ok(rows.iter().map(Example::key).collect()) } else { Err(changed()) }
}

/// The rows of all splits, in the order of their names.
pub fn all_rows(dataset: &Dataset) -> impl Iterator<Item = &Example> {
    dataset.splits.keys().flat_map(|split| dataset.rows(split))
}

/// Data that are on this machine: nothing is fetched for this.
fn open(config: &DataConfig) -> Option<Dataset> {
    locate(&config.dataset).ok().filter(|_| !is_url(&config.dataset))?;
    Some(Dataset::open(config).ok()?.quietly())
}
