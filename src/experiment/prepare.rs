//! What every recipe begins with: the data, its parts, the encoder, and the tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::calibration::check_rows;
use super::encoder::InitialEncoder;
use super::features::check_distinct;
use super::judged::Judged;
use super::lessons::Lessons;
use super::lineage::Lineage;
use super::teacher::Teacher;
use super::unused::Use;
use super::{Experiment, ExperimentError, Progress, schedule};
use crate::compute::{Noise, Sequence};
use crate::data::split::{RowKey, carve};
use crate::data::{
    self, CrossFit, Dataset, Example, Part, PartSummary, Parts, Preprocessing, StreamedRows,
    TextTokenizer, TokenSet, Tokens,
};
use crate::model;
use crate::train::Recipe;

/// Fewer rows than this, the test part not counted, and every row trains the last layer.
const FEW: usize = 6000;

/// Numbers the division into trained and held-out rows among those of one seed.
const DIVISION: u64 = 4;

/// The data and the encoder of an experiment.
pub(super) struct Prepared {
    /// With what follows from the data filled in.
    pub(super) experiment: Experiment,
    pub(super) dataset: Dataset,
    pub(super) parts: Parts,
    pub(super) start: InitialEncoder,
    pub(super) noise: Noise,
    /// Where every row trains the last layer.
    pub(super) crossing: Option<Crossing>,
    /// What the encoder has seen before.
    pub(super) lineage: Lineage,
    /// Which keys have an effect.
    pub(super) used: Use,
    /// What a student learns from.
    pub(super) lessons: Option<Lessons>,
}

/// Rows of a training part that has all of them, by their places in it.
#[derive(Clone)]
pub(super) struct Crossing {
    pub(super) keys: Vec<RowKey>,
    /// Those that fine-tuning is made with, ascending.
    pub(super) trained: Vec<usize>,
    /// Those that choose its best weights, and whether it is better than none, ascending.
    pub(super) held_out: Vec<usize>,
    /// Their share, before any limit.
    share: f64,
}

impl Crossing {
    /// `whole` are the parts before they were pooled.
    fn new(dataset: &Dataset, parts: &Parts, whole: &Parts) -> Self {
        let held_out = whole.held_out();
        let share = held_out.len() as f64 / (held_out.len() + whole.train.rows.len()) as f64;
        let rows = parts.train.rows.iter().enumerate();
        let (held_out, trained) =
            rows.partition::<Vec<_>, _>(|(_, row)| held_out.binary_search(row).is_ok());
        let places =
            |rows: Vec<(usize, &usize)>| rows.into_iter().map(|(place, _)| place).collect();
        Self {
            keys: parts.train.examples(dataset).map(RowKey::from).collect(),
            trained: places(trained),
            held_out: places(held_out),
            share,
        }
    }

    /// Divides anew, so that the held-out rows are as hard as all rows are: within each class one is
    /// drawn from each few rows that a head, fitted on others, finds equally hard. Few rows at random
    /// may be easy ones, and what is calibrated by them then promises too much.
    ///
    /// A row that nobody judged is trained on: it is the only one of its class.
    pub(super) fn equally_hard(&self, judged: &Judged, noise: &Noise) -> Self {
        let share = self.share;
        let order = judged.by_difficulty();
        let size = share.recip().round() as u32;
        let mut before: BTreeMap<u32, u32> = BTreeMap::new();
        let mut strata: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        let key = |&row: &usize| {
            let RowKey { label, text } = self.keys[row];
            let rank = before.entry(label).or_default();
            let next = strata.len() as u32;
            let stratum = *strata.entry((label, *rank / size)).or_insert(next);
            *rank += 1;
            RowKey { label: stratum, text }
        };
        let keys: Vec<RowKey> = order.iter().map(key).collect();
        let Ok(parts) = carve(&keys, &[1.0 - share, share], noise, DIVISION) else {
            return self.clone();
        };
        let mut held_out: Vec<usize> = parts[1].iter().map(|&place| order[place]).collect();
        held_out.sort_unstable();
        let trained =
            (0..self.keys.len()).filter(|row| held_out.binary_search(row).is_err()).collect();
        Self { keys: self.keys.clone(), trained, held_out, share }
    }
}

/// The data of an experiment, and what follows from them alone.
pub(super) struct Opened {
    pub(super) experiment: Experiment,
    pub(super) dataset: Dataset,
    pub(super) parts: Parts,
    noise: Noise,
    pub(super) crossing: Option<Crossing>,
    pub(super) lineage: Lineage,
    pub(super) used: Use,
    pub(super) lessons: Option<Lessons>,
}

impl Opened {
    /// `encoder` is the folder that training begins with, where it is on this machine.
    pub(super) fn new(
        written: &Experiment,
        encoder: Option<&Path>,
    ) -> Result<Self, ExperimentError> {
        let mut experiment = written.clone();
        if experiment.model.init.is_none() {
            // An encoder that has learned nothing has no features to fit a last layer on.
            experiment.train.recipe = Recipe::Full;
        }
        let noise = Noise::new(experiment.train.seed);
        // What is opened may be opened again, so it is told of at the end.
        let dataset = Dataset::open(&experiment.data)?.quietly();
        let lineage = match encoder {
            Some(folder) => Lineage::of_init(folder, &experiment)?,
            None => Lineage::default(),
        };
        let teacher = match experiment.posterior.approach().needs().teacher {
            true => Some(Teacher::find(&experiment.train.teacher, &dataset)?),
            false => None,
        };
        let lineage = match &teacher {
            Some(teacher) => lineage.with_teacher(&teacher.manifest),
            None => lineage,
        };
        let seen = &lineage.seen.texts;
        let whole = Parts::whole(&dataset, &experiment.data, &noise, seen)?;
        let old = lineage.seen_of(&dataset, "train");
        if old > 0 && experiment.data.cross_fit == CrossFit::Always {
            return Err(ExperimentError::SeenByEncoder { rows: old });
        }
        if old == 0 && crosses(&experiment, &whole) {
            experiment.data.cross_fit = CrossFit::Always;
        }
        let crossed = experiment.data.cross_fit == CrossFit::Always && whole.are_carved();
        let used = Use::new(&experiment, &whole, crossed, dataset.labels.len());
        used.clear(&mut experiment.data);
        let whole = Parts::whole(&dataset, &experiment.data, &noise, seen)?;
        let parts = Parts::divide(&dataset, &experiment.data, &noise, seen)?;
        if parts.test.rows.is_empty() {
            return Err(ExperimentError::NoTest(dataset.name));
        }
        let crossing = crossed.then(|| Crossing::new(&dataset, &parts, &whole));
        let lessons = teacher
            .map(|teacher| Lessons::new(teacher, &experiment, &dataset, &parts, &noise))
            .transpose()?;
        let rows = lessons.as_ref().map(Lessons::rows).or_else(|| streamed_rows(&dataset));
        let rows = rows.unwrap_or(parts.train.rows.len());
        schedule::fill_in(&mut experiment.train, rows, dataset.labels.len());
        check_rows(&experiment.calibration, &dataset, &parts)?;
        Ok(Self { experiment, dataset, parts, noise, crossing, lineage, used, lessons })
    }

    /// Rows that fine-tuning is made with.
    pub(super) fn tuned_rows(&self) -> usize {
        let taught = self.lessons.as_ref().map(Lessons::rows);
        taught.unwrap_or_else(|| tuned_rows(&self.dataset, &self.parts, self.crossing.as_ref()))
    }
}

fn streamed_rows(dataset: &Dataset) -> Option<usize> {
    dataset.stream.as_ref().map(|stream| stream.rows() as usize)
}

fn tuned_rows(dataset: &Dataset, parts: &Parts, crossing: Option<&Crossing>) -> usize {
    let trained = || crossing.map_or(parts.train.rows.len(), |crossing| crossing.trained.len());
    streamed_rows(dataset).unwrap_or_else(trained)
}

/// Prepares a run, and tells how its data were read.
pub(super) fn prepare(
    written: &Experiment,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Prepared, ExperimentError> {
    let here = written.model.init.as_deref().and_then(model::here);
    let mut opened = Opened::new(written, here.as_deref())?;
    let mut start = InitialEncoder::find(&opened.experiment, &opened.dataset, &opened.parts.train)?;
    if let (None, Some(fetched)) = (here, start.folder.clone()) {
        opened = Opened::new(written, Some(&fetched))?;
        start = InitialEncoder::find(&opened.experiment, &opened.dataset, &opened.parts.train)?;
    }
    let Opened { mut experiment, dataset, parts, noise, crossing, lineage, used, lessons } = opened;
    let (name, classes) = (&dataset.name, dataset.labels.len());
    show(Progress::Note(format!("data: {name}, {classes} classes")));
    dataset.tell(&mut |remark| show(Progress::from(&remark)));
    experiment.data.max_length = start.max_length;
    let fits = experiment.posterior.check_encoder(&start.encoder);
    fits.map_err(ExperimentError::Encoder)?;
    let used = used.of_encoder(&experiment, &start.encoder);
    Ok(Prepared { experiment, dataset, parts, start, noise, crossing, lineage, used, lessons })
}

/// Whether the rows that choose and calibrate are trained on as well.
fn crosses(experiment: &Experiment, parts: &Parts) -> bool {
    let rows = parts.train.rows.len() + parts.held_out().len();
    let fits_heads = experiment.train.recipe != Recipe::Full;
    let few = experiment.data.cross_fit == CrossFit::Auto && rows < FEW;
    fits_heads && few && parts.are_carved() && !experiment.data.streaming
}

impl Prepared {
    /// Rows that fine-tuning is made with.
    pub(super) fn tuned_rows(&self) -> usize {
        let taught = self.lessons.as_ref().map(Lessons::rows);
        taught.unwrap_or_else(|| tuned_rows(&self.dataset, &self.parts, self.crossing.as_ref()))
    }

    /// The training rows as the loop reads them, where they are streamed.
    pub(super) fn streamed(&self) -> Option<StreamedRows> {
        let Self { experiment, dataset, parts, start, noise, .. } = self;
        let source = Arc::clone(dataset.stream.as_ref()?);
        let held_out = [&parts.validation, &parts.temperature, &parts.conformal, &parts.test];
        let texts: Vec<&Example> =
            held_out.iter().flat_map(|part| part.examples(dataset)).collect();
        let of_stream = held_out.iter().filter(|part| part.split == "train");
        let rows = of_stream.map(|part| part.rows.len()).sum();
        let tokenizer = start.tokenizer.clone();
        Some(StreamedRows::new(source, &experiment.data, &texts, rows, tokenizer, *noise))
    }
}

/// Tokens of one split.
#[derive(Clone, Debug, Serialize)]
pub struct PreparedSplit {
    /// The split of the data set.
    pub split: String,
    pub rows: usize,
    /// Tokens of all rows, after truncation.
    pub tokens: u64,
    /// Rows that were truncated.
    pub truncated: usize,
    /// Whether the tokens were already there.
    pub found: bool,
}

/// Tokenises every split of the data set into the cache.
pub fn prepare_tokens(
    experiment: &Experiment,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<PreparedSplit>, ExperimentError> {
    let Prepared { experiment, dataset, start, .. } = prepare(experiment, show)?;
    let mut splits = Vec::new();
    for split in dataset.splits.keys() {
        let tokens = tokens_of(&experiment, &dataset, &start, split, show)?;
        splits.push(PreparedSplit {
            split: split.clone(),
            rows: tokens.rows(),
            tokens: tokens.lengths().iter().map(|&length| u64::from(length)).sum(),
            truncated: tokens.truncated(),
            found: tokens.origin() == data::Origin::Found,
        });
    }
    Ok(splits)
}

fn tokens_of(
    experiment: &Experiment,
    dataset: &Dataset,
    start: &InitialEncoder,
    split: &str,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Tokens, ExperimentError> {
    let data = &experiment.data;
    let preprocessing = Preprocessing::new(data.max_length, data.truncation);
    cached_tokens(&start.tokenizer, dataset.rows(split), &preprocessing, show)
}

/// Cleans and tokenises rows, as they will be in service, unless the cache has them.
pub(super) fn cached_tokens(
    tokenizer: &TextTokenizer,
    rows: &[Example],
    preprocessing: &Preprocessing,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Tokens, ExperimentError> {
    let mut work = |done, total| show(Progress::Work { what: "tokenising", done, total });
    let tokens =
        data::prepare_tokens(&data::cache_folder(), tokenizer, rows, preprocessing, &mut work);
    let tokens = tokens.map_err(data::DataError::from)?;
    if tokens.origin() == data::Origin::Rebuilt {
        show(Progress::Warning("the token cache was damaged and has been recreated".to_owned()));
    }
    if let Some(why) = tokens.unkept() {
        show(Progress::Warning(unkept(why)));
    }
    Ok(tokens)
}

/// What a cache that cannot be written means.
pub(super) fn unkept(why: &str) -> String {
    format!(
        "{why}; nothing is cached, so the next run computes it again; set `BAYES_CACHE_DIR` \
         to a writable folder"
    )
}

/// The parts that training reads, as tokens.
pub(super) struct Sets {
    pub(super) train: TokenSet,
    pub(super) validation: TokenSet,
    pub(super) temperature: TokenSet,
    pub(super) conformal: TokenSet,
}

impl Sets {
    /// What can be said of the rows of each part.
    pub(super) fn summaries(
        &self,
        dataset: &Dataset,
        parts: &Parts,
    ) -> BTreeMap<&'static str, PartSummary> {
        let tokens = |name: &str| match name {
            "train" => Some(&self.train),
            "validation" => Some(&self.validation),
            "temperature" => Some(&self.temperature),
            "conformal" => Some(&self.conformal),
            _ => None,
        };
        let summary = |(name, part)| (name, PartSummary::new(dataset, part, tokens(name)));
        parts.named().into_iter().map(summary).collect()
    }

    /// The rows that fine-tuning is made with, and those that choose its best weights.
    pub(super) fn tuning(&self, crossing: Option<&Crossing>) -> (TokenSet, TokenSet) {
        match crossing {
            Some(crossing) => {
                (self.train.some(&crossing.trained), self.train.some(&crossing.held_out))
            }
            None => (self.train.clone(), self.validation.clone()),
        }
    }

    pub(super) fn prepare(
        experiment: &Experiment,
        dataset: &Dataset,
        parts: &Parts,
        start: &InitialEncoder,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let data = &experiment.data;
        let mut tokens = BTreeMap::new();
        for split in [&parts.train.split, &parts.validation.split] {
            if tokens.contains_key(split) {
                continue;
            }
            let own = tokens_of(experiment, dataset, start, split, show)?;
            tokens.insert(split.clone(), Arc::new(own));
        }
        let set = |part: &Part| {
            let labels = part.examples(dataset).map(|example| example.label).collect();
            let rows = part.rows.iter().map(|&row| row as u32).collect();
            TokenSet::new(Arc::clone(&tokens[&part.split]), rows, labels)
        };
        let sets = Self {
            train: set(&parts.train),
            validation: set(&parts.validation),
            temperature: set(&parts.temperature),
            conformal: set(&parts.conformal),
        };
        let tokens = |row| {
            let Sequence { ids, type_ids, .. } = sets.train.sequence(row);
            (ids, type_ids)
        };
        check_distinct((0..sets.train.len()).map(tokens))?;
        let truncated = sets.train.truncated();
        if truncated > 0 {
            show(Progress::Note(format!(
                "{truncated} of {} training texts are longer than {} tokens and are truncated",
                sets.train.len(),
                data.max_length
            )));
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posterior::Predictive;

    /// 200 rows of two classes, harder from row to row, then one that nobody judged.
    #[test]
    fn held_out_rows_are_as_hard_as_all_rows() {
        let judged = 200;
        let key = |row: usize| match row {
            200 => RowKey { label: 2, text: 200 },
            // Rows 50 and 130 have the same text.
            130 => RowKey { label: 0, text: 50 },
            row => RowKey { label: row as u32 % 2, text: row as u64 },
        };
        let keys: Vec<RowKey> = (0..=judged).map(key).collect();
        let labels: Vec<u32> = keys[..judged].iter().map(|key| key.label).collect();
        let predictive = |(row, label): (usize, &u32)| {
            let p = 0.999 - row as f64 / 250.0;
            let probability_c = if *label == 0 { vec![p, 1.0 - p] } else { vec![1.0 - p, p] };
            Predictive { probability_c, total: 0.0, aleatoric: None, epistemic: None }
        };
        let predictive: Vec<Predictive> = labels.iter().enumerate().map(predictive).collect();
        let rows: Vec<usize> = (0..judged).collect();
        let found = Judged::new(crate::task::Task::SingleLabel, &rows, &labels, &predictive);
        // The easiest of them: the worst that chance could do.
        let (held_out, trained) = ((0..40).collect(), (40..201).collect());
        let chosen = Crossing { held_out, trained, keys, share: 40.0 / 201.0 };
        let divided = chosen.equally_hard(&found, &Noise::new(1));
        let held_out = &divided.held_out;
        assert_eq!((held_out.len() + divided.trained.len(), held_out.is_sorted()), (201, true));
        assert!(held_out.len().abs_diff(40) <= 1, "{held_out:?}");
        assert!(!held_out.contains(&200), "nobody judged it");
        assert_eq!(held_out.contains(&50), held_out.contains(&130), "one text on one side");
        for label in 0..2 {
            let own = |row: &&usize| divided.keys[**row].label == label;
            let mean = held_out.iter().filter(own).sum::<usize>() as f64
                / held_out.iter().filter(own).count() as f64;
            assert!((mean - 99.5).abs() < 5.0, "class {label}: row {mean} on average");
        }
    }
}
