//! The rows that models are asked about.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};

use super::super::progress::Display;
use super::outside::Outside;
use super::{Options, choose, data_config};
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::split::text_key;
use crate::data::{DataConfig, Dataset, Example, sample};
use crate::evaluate::{
    Answers, EvalRows, OUT_OF_SCOPE, answer, answer_outside, read_unlike_training,
};
use crate::experiment::Progress;
use crate::numbers::grouped;
use crate::predict::Predictor;

/// The rows that every model is asked about: those of the first one.
pub(super) struct Asked {
    pub(super) config: DataConfig,
    pub(super) dataset: Dataset,
    /// As the user named it.
    pub(super) split: String,
    /// The split of the data set that the rows are from.
    source: String,
    rows: Vec<usize>,
    /// Most rows of each kind; 0 = all.
    limit: usize,
    /// Whether a person said how labels are renamed.
    renamed: bool,
}

impl Asked {
    pub(super) fn new(
        options: &Options,
        predictor: &Predictor,
        folder: &Path,
        display: &mut Display,
    ) -> Result<Self> {
        let manifest = &predictor.artifact().manifest;
        let Some(mut config) = data_config(options.dataset.as_deref(), manifest) else {
            bail!(
                "`{}` does not record its training data; give a data set with --dataset",
                folder.display()
            )
        };
        options.tables.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
        let noise = Noise::new(manifest.seed);
        let dataset = Dataset::open(&config)?;
        dataset.how_read().for_each(|said| display.show(&Progress::Note(said)));
        for remark in &dataset.remarks {
            display.show(&Progress::from(remark));
        }
        let split = options.split.clone().unwrap_or_else(|| "test".to_owned());
        let chosen = choose(&dataset, &config, &split, manifest)?;
        let all = dataset.rows(&chosen.split);
        let labels: Vec<u32> = chosen.rows.iter().map(|&row| all[row].label).collect();
        let limit = options.limit.unwrap_or(0);
        let places = sample(&labels, limit, &noise);
        if places.len() < labels.len() {
            display.show(&Progress::Note(format!(
                "{} of {} rows, sampled with the same class proportions (`--limit`)",
                grouped(places.len()),
                grouped(labels.len())
            )));
        }
        let rows = places.into_iter().map(|place| chosen.rows[place]).collect();
        let renamed = !options.tables.overrides().label_map.is_empty();
        Ok(Self { source: chosen.split, config, dataset, split, rows, limit, renamed })
    }

    /// What to say where a model was trained with other names for the labels of these rows.
    pub(super) fn read_unlike(&self, model: &Path, manifest: &Manifest) -> Option<String> {
        let trained = manifest.data.as_ref().filter(|_| !self.renamed)?;
        read_unlike_training(&self.dataset, &self.config, model, trained)
    }

    /// Whether the model was made with this data set.
    pub(super) fn is_of(&self, manifest: &Manifest) -> bool {
        is_of(&self.config, manifest)
    }

    pub(super) fn keys(&self) -> HashSet<u64> {
        let key = |example: &Example| text_key(&example.text, example.pair.as_deref());
        self.examples().into_iter().map(key).collect()
    }

    pub(super) fn examples(&self) -> Vec<&Example> {
        let all = self.dataset.rows(&self.source);
        self.rows.iter().map(|&row| &all[row]).collect()
    }

    /// Refuses a set of `--ood` that would stand under the name of the data set's own texts of no class.
    pub(super) fn check_names(&self, outside: &[Outside]) -> Result<()> {
        let own = self.dataset.out_of_scope.get(&self.source).map_or(0, Vec::len);
        if own > 0 && outside.iter().any(|source| source.name == OUT_OF_SCOPE) {
            bail!(
                "a set of --ood is called `{OUT_OF_SCOPE}`, and so are the {} texts of no class that `{}` has \
                 itself: rename the file of --ood",
                grouped(own as u64),
                self.dataset.name
            );
        }
        Ok(())
    }

    pub(super) fn ask(
        &self,
        predictor: &Predictor,
        seen: &[usize],
        outside: &[Outside],
        display: &mut Display,
    ) -> Result<Answers> {
        let inside = self.examples();
        let out_of_scope = self.dataset.out_of_scope.get(&self.source);
        let rows = EvalRows {
            dataset: &self.dataset,
            inside: &inside,
            outside: out_of_scope.map_or(&[][..], Vec::as_slice),
            seen,
        };
        let mut show = |done, total| {
            display.show(&Progress::Work { what: "evaluating", done, total });
        };
        let mut answers = answer(predictor, &rows, &mut show)?;
        answers.split = self.split.clone();
        for (answer, &row) in answers.rows.iter_mut().zip(&self.rows) {
            answer.row = row;
        }
        for source in outside {
            let texts = source.texts(self.limit, &Noise::new(answers.seed));
            let total = texts.len();
            answers.rows.extend(answer_outside(predictor, &source.name, &texts, &mut |done| {
                show(done, total);
            })?);
        }
        Ok(answers)
    }
}

/// Whether these are the data that a model was trained on.
pub(super) fn is_of(config: &DataConfig, manifest: &Manifest) -> bool {
    manifest.data.as_ref().is_some_and(|data| data.dataset == config.dataset)
}
