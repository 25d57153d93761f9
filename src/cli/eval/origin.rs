//! What a model was made with, where that is still there and still the same.

use super::asked::Asked;
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::split::{overlap, text_key};
use crate::data::table::is_url;
use crate::data::{DataConfig, Dataset, Example, Part, Parts, locate};

/// Why something is not known.
pub(super) type WhyNot = String;

/// The parts that a model was made with.
pub(super) struct Origin<'a> {
    asked: &'a Asked,
    /// The data, where they are not those that the model is asked about, or are read in another way.
    opened: Option<Dataset>,
    /// Whether they are those that the model is asked about.
    is_asked: bool,
    parts: Parts,
}

impl<'a> Origin<'a> {
    /// Finds the data that the manifest names, and checks that they divide into the parts that it has.
    pub(super) fn of(asked: &'a Asked, manifest: &Manifest) -> Result<Self, WhyNot> {
        let Some(config) = &manifest.data else {
            return Err("the model does not record its training data".to_owned());
        };
        let name = &config.dataset;
        // Flags may say that its tables are read in another way than they were.
        let opened = match config.reads_as(&asked.config) {
            true => None,
            false => Some(
                open(config)
                    .ok_or_else(|| format!("the training data `{name}` are no longer here"))?,
            ),
        };
        let dataset = opened.as_ref().unwrap_or(&asked.dataset);
        if manifest.data_labels.as_ref().is_some_and(|labels| *labels != dataset.labels) {
            return Err(format!(
                "the classes of `{name}` have other names, or another order, than when the model was trained"
            ));
        }
        let noise = Noise::new(manifest.seed);
        let same = |parts: &Parts| {
            made_with(parts).iter().all(|(name, part)| match manifest.parts.get(*name) {
                Some(known) => known.sha256 == part.hash(dataset),
                None => part.rows.is_empty(),
            })
        };
        // A model that got its posterior afterwards calibrates by rows of their own.
        let ways = [Parts::divide, Parts::apart];
        let mut parts = ways.into_iter().filter_map(|divide| divide(dataset, config, &noise).ok());
        let changed = || format!("`{name}` has changed since the model was trained");
        let parts = parts.find(same).ok_or_else(changed)?;
        let is_asked = *name == asked.config.dataset;
        Ok(Self { asked, opened, is_asked, parts })
    }

    /// Whether these are the data that the model is asked about.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(super) fn dataset(&self) -> &Dataset {
        self.opened.as_ref().unwrap_or(&self.asked.dataset)
    }

    /// The rows that it was trained on, and not those that chose the weights or calibrated.
    pub(super) fn train(&self) -> Vec<&Example> {
        self.parts.train.examples(self.dataset()).collect()
    }

    /// Keys of the texts of all parts.
    pub(super) fn keys(&self) -> Vec<u64> {
        let key = |example: &Example| text_key(&example.text, example.pair.as_deref());
        let texts = |(_, part): (_, &Part)| part.examples(self.dataset()).map(key).collect();
        let parts = self.parts.named().into_iter().map(texts);
        parts.collect::<Vec<Vec<u64>>>().concat()
    }

    /// Places of rows that are asked about whose text it was trained or calibrated on, ascending.
    pub(super) fn seen(&self) -> Vec<usize> {
        let key = |example: &Example| text_key(&example.text, example.pair.as_deref());
        let texts = |(_, part): (_, &Part)| part.examples(self.dataset()).map(key).collect();
        let used: Vec<Vec<u64>> = made_with(&self.parts).into_iter().map(texts).collect();
        let asked: Vec<u64> = self.asked.examples().into_iter().map(key).collect();
        overlap(&used.concat(), &asked)
    }
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
