//! What a model was made with, where that is still there and still the same.

use std::borrow::Cow;

use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::split::{overlap, text_key};
use crate::data::table::is_url;
use crate::data::{DataConfig, Dataset, Example, Part, Parts, locate};

/// Why it is not known which rows a model was made with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("the model does not record its training data")]
    NotRecorded,
    #[error("the training data `{name}` are no longer here")]
    Gone { name: String },
    #[error(
        "the classes of `{name}` have other names, or another order, than when the model was \
         trained"
    )]
    Classes { name: String },
    #[error("`{name}` has changed since the model was trained")]
    Changed { name: String },
}

/// The parts that a model was made with.
#[derive(Debug)]
pub struct Origin<'a> {
    dataset: Cow<'a, Dataset>,
    parts: Parts,
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
        let config = manifest.data.as_ref().ok_or(OriginError::NotRecorded)?;
        let name = || config.dataset.clone();
        // Flags may say that its tables are read in another way than they were.
        let opened = opened.filter(|(read, _)| config.reads_as(read));
        let dataset = match opened {
            Some((_, dataset)) => Cow::Borrowed(dataset),
            None => Cow::Owned(open(config).ok_or_else(|| OriginError::Gone { name: name() })?),
        };
        if manifest.data_labels.as_ref().is_some_and(|labels| *labels != dataset.labels) {
            return Err(OriginError::Classes { name: name() });
        }
        let noise = Noise::new(manifest.seed);
        let same = |parts: &Parts| {
            made_with(parts).iter().all(|(name, part)| match manifest.parts.get(*name) {
                Some(known) => known.sha256 == part.hash(&dataset),
                None => part.rows.is_empty(),
            })
        };
        // A model that got its posterior afterwards calibrates by rows of their own.
        let ways = [Parts::divide, Parts::apart];
        let mut parts = ways.into_iter().filter_map(|divide| divide(&dataset, config, &noise).ok());
        let parts = parts.find(same).ok_or_else(|| OriginError::Changed { name: name() })?;
        Ok(Self { dataset, parts })
    }

    /// The data, as the model read them.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The rows that it was trained on, and not those that chose the weights or calibrated.
    pub fn train(&self) -> Vec<&Example> {
        self.parts.train.examples(self.dataset()).collect()
    }

    /// Keys of the texts of all parts.
    pub fn keys(&self) -> Vec<u64> {
        self.keys_of(&self.parts.named())
    }

    /// Places in `examples` of texts that it was trained or calibrated on, ascending.
    pub fn seen(&self, examples: &[&Example]) -> Vec<usize> {
        let asked: Vec<u64> = examples.iter().copied().map(key).collect();
        overlap(&self.keys_of(&made_with(&self.parts)), &asked)
    }

    fn keys_of(&self, parts: &[(&'static str, &Part)]) -> Vec<u64> {
        parts.iter().flat_map(|(_, part)| part.examples(self.dataset()).map(key)).collect()
    }
}

fn key(example: &Example) -> u64 {
    text_key(&example.text, example.pair.as_deref())
}

/// All parts but the test.
fn made_with(parts: &Parts) -> Vec<(&'static str, &Part)> {
    parts.named().into_iter().filter(|(name, _)| *name != "test").collect()
}

/// Data that are on this machine: nothing is fetched for this.
fn open(config: &DataConfig) -> Option<Dataset> {
    locate(&config.dataset).ok().filter(|_| !is_url(&config.dataset))?;
    Dataset::open(config).ok()
}
