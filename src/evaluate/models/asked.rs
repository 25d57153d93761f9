//! The rows that models are asked about.

use std::collections::HashSet;
use std::path::Path;

use super::chosen::{Chosen, data_config, is_of};
use super::error::ModelsError;
use super::outside::Outside;
use super::{Event, Options};
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::table::ColumnNames;
use crate::data::{DataConfig, Dataset, Example, Overrides, Remark, Tested, clean, sample};
use crate::evaluate::shift::{Damage, Kept, Shifted};
use crate::evaluate::{
    Answers, EvalRows, Evaluation, OUT_OF_SCOPE, Truth, answer, answer_outside, names_or_places,
    read_unlike_training,
};
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
    /// Damages rows, for every model alike.
    noise: Noise,
    /// What a person said of the reading.
    overrides: Overrides,
}

impl Asked {
    /// Those of the model in a folder. `show` is told how they are read.
    pub(super) fn new(
        options: &Options,
        manifest: &Manifest,
        folder: &str,
        show: &mut dyn FnMut(Event),
    ) -> Result<Self, ModelsError> {
        let Some(mut config) = data_config(options.dataset.as_deref(), manifest) else {
            return Err(ModelsError::NoDataset { folder: folder.to_owned() });
        };
        options.overrides.apply(&mut config).map_err(ModelsError::Overrides)?;
        config.usual_label_map.clone_from(&options.usual_label_map);
        let noise = Noise::new(manifest.seed);
        let dataset = Dataset::open(&config)?.told(&mut |remark| show(Event::Remark(remark)));
        let split = options.split.clone().unwrap_or_else(|| "test".to_owned());
        let Chosen { split: source, rows: all } = Chosen::of(&dataset, &config, &split, manifest)?;
        let examples = dataset.rows(&source);
        let labels: Vec<u32> = all.iter().map(|&row| examples[row].label).collect();
        let limit = options.limit;
        let places = sample(&labels, limit, &noise);
        if places.len() < labels.len() {
            show(Event::Remark(Remark::Note(format!(
                "{} of {} rows, sampled with the same class proportions (`--limit`)",
                grouped(places.len()),
                grouped(labels.len())
            ))));
        }
        let rows = places.into_iter().map(|place| all[place]).collect();
        let overrides = options.overrides.clone();
        let asked = Self { config, dataset, split, source, rows, limit, noise, overrides };
        if let Some(note) = asked.outside().note {
            show(Event::Remark(Remark::Note(note)));
        }
        Ok(asked)
    }

    /// What to say where a model was trained with other names for the labels of these rows.
    pub(super) fn read_unlike(&self, model: &Path, manifest: &Manifest) -> Option<String> {
        let is_said =
            !self.overrides.label_map.is_empty() || !self.config.usual_label_map.is_empty();
        let trained = manifest.data.as_ref().filter(|_| !is_said)?;
        read_unlike_training(&self.dataset, &self.config, model, trained)
    }

    /// What to say where these labels could be a model's names or their places.
    pub(super) fn names_or_places(&self, manifest: &Manifest) -> Option<String> {
        names_or_places(&self.dataset, &self.config, &manifest.labels)
    }

    /// What to say where a model was trained with other columns, which are here too and which nobody named.
    pub(super) fn other_columns(&self, model: &Path, manifest: &Manifest) -> Option<String> {
        let Overrides { text_column, text_pair_column, label_column, .. } = &self.overrides;
        let mut trained = manifest.data.as_ref()?.column_names();
        let ColumnNames { text, pair, label } = &mut trained;
        for (own, said) in [(text, text_column), (pair, text_pair_column), (label, label_column)] {
            if said.is_some() {
                own.clear();
            }
        }
        let [there, here] = self.dataset.other_columns(&trained)?;
        let (name, model) = (&self.dataset.name, model.display());
        Some(format!(
            "`{model}` was trained with the columns {there}, which `{name}` has too, but it is asked about {here}, \
             as the first model; if that is wrong, evaluate it in a command of its own"
        ))
    }

    /// Whether the model was made with this data set.
    pub(super) fn is_of(&self, manifest: &Manifest) -> bool {
        is_of(&self.config, manifest)
    }

    pub(super) fn keys(&self) -> HashSet<u64> {
        self.examples().into_iter().map(Example::key).collect()
    }

    pub(super) fn examples(&self) -> Vec<&Example> {
        let all = self.dataset.rows(&self.source);
        self.rows.iter().map(|&row| &all[row]).collect()
    }

    /// The texts of no class of the data set itself.
    fn outside(&self) -> Tested<'_> {
        self.dataset.outside(&self.split, &self.source)
    }

    /// Refuses a set of texts of no class that would stand under the name of the data set's own.
    pub(super) fn check_names(&self, outside: &[Outside]) -> Result<(), ModelsError> {
        let own = self.outside().texts.len();
        if own > 0 && outside.iter().any(|source| source.name == OUT_OF_SCOPE) {
            let (rows, dataset) = (grouped(own as u64), self.dataset.name.clone());
            return Err(ModelsError::OutsideName { rows, dataset });
        }
        Ok(())
    }

    /// Asks a model for these rows, of which it has `seen` some, and for texts of no class.
    pub(super) fn ask(
        &self,
        predictor: &Predictor,
        seen: &[usize],
        outside: &[Outside],
        show: &mut dyn FnMut(Event),
    ) -> Result<Answers, ModelsError> {
        let inside = self.examples();
        let own = self.outside();
        let rows = EvalRows { outside: &own.texts, ..self.eval_rows(&inside, seen) };
        let mut show = |done, total| show(Event::Work { what: "evaluating", done, total });
        let mut answers = answer(predictor, &rows, &mut show)?;
        self.dataset.origin_of(&self.split).clone_into(&mut answers.split);
        answers.renamed.clone_from(&self.config.label_map);
        for source in outside {
            let texts = source.texts(self.limit, &Noise::new(answers.seed));
            let total = texts.len();
            answers.rows.extend(answer_outside(predictor, &source.name, &texts, &mut |done| {
                show(done, total);
            })?);
        }
        Ok(answers)
    }

    /// Asks a model for damaged copies of these rows too. `before` is what it made of the rows as they are.
    pub(super) fn ask_shifted(
        &self,
        predictor: &Predictor,
        seen: &[usize],
        damages: &[Damage],
        (before, kept): (&Evaluation, Kept),
        show: &mut dyn FnMut(Event),
    ) -> Result<Vec<Shifted>, ModelsError> {
        let artifact = predictor.artifact();
        let mut all = vec![Shifted::undamaged(&before.answers, &before.report.summary, kept)?];
        for damage in damages {
            let copies: Vec<Example> =
                self.examples().iter().map(|row| damage.example(row, &self.noise)).collect();
            let inside: Vec<&Example> = copies.iter().collect();
            let pairs = inside.iter().zip(self.examples());
            let changed = pairs.filter(|(copy, row)| is_changed(copy, row)).count();
            let rows = self.eval_rows(&inside, seen);
            let mut show = |done, total| show(Event::Work { what: "shifting", done, total });
            let mut answers = answer(predictor, &rows, &mut show)?;
            self.dataset.origin_of(&self.split).clone_into(&mut answers.split);
            answers.renamed.clone_from(&before.answers.renamed);
            for row in &mut answers.rows {
                if let Truth::Label { probability_c, .. } = &mut row.truth {
                    // It was that of the undamaged text.
                    *probability_c = None;
                }
            }
            all.push(Shifted::damaged(damage, &answers, &before.answers, artifact, changed)?);
        }
        Ok(all)
    }

    fn eval_rows<'a>(&'a self, inside: &'a [&'a Example], seen: &'a [usize]) -> EvalRows<'a> {
        let Self { dataset, source: split, rows: places, .. } = self;
        EvalRows { dataset, split, inside, places, outside: &[], seen }
    }
}

/// Whether a damaged copy is another text to a model.
fn is_changed(copy: &Example, row: &Example) -> bool {
    let same = |copy: &str, row: &str| copy == clean(row);
    let pair = copy.pair.as_deref().zip(row.pair.as_deref());
    !same(&copy.text, &row.text) || pair.is_some_and(|(copy, row)| !same(copy, row))
}
