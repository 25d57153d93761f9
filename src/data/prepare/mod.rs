//! From a data set to the five parts of a run.

use std::collections::HashSet;

use super::split::{self, Division, RowKey, SplitError, content_hash, overlap};
use super::{CrossFit, DataConfig, DataError, Dataset, Example};
use crate::compute::Noise;

/// Rows of one part: indices into one split of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The split of the data set that the rows are from.
    pub split: String,
    pub rows: Vec<usize>,
}

impl Part {
    fn new(split: &str, rows: Vec<usize>) -> Self {
        Self { split: split.to_owned(), rows }
    }

    pub fn examples<'a>(&'a self, dataset: &'a Dataset) -> impl Iterator<Item = &'a Example> {
        let rows = dataset.rows(&self.split);
        self.rows.iter().map(move |&row| &rows[row])
    }

    /// The hash of the part's content.
    pub fn hash(&self, dataset: &Dataset) -> String {
        content_hash(&self.examples(dataset).cloned().collect::<Vec<_>>())
    }
}

/// The parts of a run: disjoint, with repeated texts on one side. Rows of an official validation
/// split whose text is also a training text may choose among checkpoints, but calibrate nothing; a split that has
/// too few others is not used, and rows of the training split are used instead.
///
/// Texts that the weights have seen before, by their [keys](split::text_key), count as training texts: where
/// rows are carved from the training split, they stay in its training part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Rows to train on.
    pub train: Part,
    /// Rows that choose the best weights.
    pub validation: Part,
    /// Rows for the temperature.
    pub temperature: Part,
    /// Rows kept for conformal sets and novelty.
    pub conformal: Part,
    /// Rows for the report.
    pub test: Part,
    /// Places in `test.rows` whose text also occurs in another part, or was seen before.
    pub seen_in_test: Vec<usize>,
    /// Places in `validation.rows` whose text is also a training text.
    pub seen_in_validation: Vec<usize>,
}

impl Parts {
    /// Divides a data set as `[data]` says. A function of the data, the config, the seed and what was seen. With
    /// `cross_fit = "always"` the training part has all rows but those of the test part, up to
    /// `train_limit`.
    pub fn divide(
        dataset: &Dataset,
        config: &DataConfig,
        noise: &Noise,
        seen: &HashSet<u64>,
    ) -> Result<Self, DataError> {
        let whole = Self::whole(dataset, config, noise, seen)?;
        let parts = if config.cross_fit == CrossFit::Always { whole.pooled() } else { whole };
        Ok(parts.limited(dataset, config, noise, seen))
    }

    /// As [`divide`](Self::divide), but every row is in one part, whatever `cross_fit` says.
    pub fn apart(
        dataset: &Dataset,
        config: &DataConfig,
        noise: &Noise,
        seen: &HashSet<u64>,
    ) -> Result<Self, DataError> {
        Ok(Self::whole(dataset, config, noise, seen)?.limited(dataset, config, noise, seen))
    }

    /// Whether all rows that train, choose and calibrate are of one split.
    pub fn are_carved(&self) -> bool {
        self.validation.split == self.train.split
    }

    /// Rows of the parts that choose and calibrate, ascending, where they are of one split.
    pub fn held_out(&self) -> Vec<usize> {
        let parts = [&self.validation, &self.temperature, &self.conformal];
        let mut rows: Vec<usize> =
            parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// Keys of the texts that choose, calibrate or test, and of those of no class.
    pub fn keys_apart(&self, dataset: &Dataset) -> HashSet<u64> {
        let parts = [&self.validation, &self.temperature, &self.conformal, &self.test];
        let own = parts.into_iter().flat_map(|part| part.examples(dataset));
        own.chain(dataset.out_of_scope.values().flatten()).map(Example::key).collect()
    }

    /// With all but the test rows in the training part.
    fn pooled(mut self) -> Self {
        if !self.are_carved() {
            return self;
        }
        let mut rows = self.held_out();
        rows.append(&mut self.train.rows);
        rows.sort_unstable();
        for part in [&mut self.validation, &mut self.temperature, &mut self.conformal] {
            part.rows.clear();
        }
        self.train.rows = rows;
        self
    }

    /// As [`apart`](Self::apart), without limits, and before anybody looked for test texts elsewhere.
    ///
    /// The division of a data set stays as it is where what it measures on was not seen before, as that of
    /// the data which the weights were trained on.
    pub fn whole(
        dataset: &Dataset,
        config: &DataConfig,
        noise: &Noise,
        seen: &HashSet<u64>,
    ) -> Result<Self, DataError> {
        let parts = Self::around(dataset, config, noise, &HashSet::new())?;
        if seen.is_empty() || !parts.measure_on(dataset, seen) {
            return Ok(parts);
        }
        Self::around(dataset, config, noise, seen)
    }

    /// Whether rows to calibrate or test by have such texts, but for a test split of the data set's own.
    fn measure_on(&self, dataset: &Dataset, seen: &HashSet<u64>) -> bool {
        let own_test = !dataset.rows("test").is_empty();
        let test = (!own_test).then_some(&self.test);
        let parts = [&self.temperature, &self.conformal].into_iter().chain(test);
        let mut texts = parts.flat_map(|part| part.examples(dataset)).map(Example::key);
        texts.any(|text| seen.contains(&text))
    }

    /// The division in which rows of texts that were seen are trained on, as far as rows can choose.
    fn around(
        dataset: &Dataset,
        config: &DataConfig,
        noise: &Noise,
        seen: &HashSet<u64>,
    ) -> Result<Self, DataError> {
        let train_rows = dataset.rows("train");
        if train_rows.is_empty() {
            let hint = match dataset.hidden.as_slice() {
                [] if dataset.rows("test").is_empty() => String::new(),
                [] => "; train on other data, and test on these with `bayes eval --dataset`"
                    .to_owned(),
                hidden => format!(
                    "; the labels of `{}` are all `-1`, which means hidden",
                    hidden.join("`, `")
                ),
            };
            return Err(DataError::NoTrain { name: dataset.name.clone(), hint });
        }
        let keys =
            |split: &str| -> Vec<RowKey> { dataset.rows(split).iter().map(RowKey::from).collect() };
        let train_keys = keys("train");
        let has = |split: &str| !dataset.rows(split).is_empty();
        let validation = match has("validation") {
            true => own_validation(&train_keys, &keys("validation"), seen, noise)?,
            false => None,
        };
        let has_test = has("test");
        let has_validation = validation.is_some();
        let fractions = config.fractions();
        let carves = !has_validation && fractions.validation + fractions.calibration > 0.0
            || !has_test && fractions.test > 0.0;
        let (old, new): (Vec<usize>, Vec<usize>) =
            (0..train_keys.len()).partition(|&row| carves && seen.contains(&train_keys[row].text));
        let new_keys: Vec<RowKey> = new.iter().map(|&row| train_keys[row]).collect();
        let carved =
            split::divide_train(&new_keys, old.len(), fractions, has_validation, has_test, noise);
        let carved = carved.map_err(|error| match error {
            SplitError::Empty { .. } if !old.is_empty() => {
                let (name, rows) = (dataset.name.clone(), train_rows.len());
                DataError::Seen { name, rows, new: new.len() }
            }
            error => error.into(),
        })?;
        let rows = |places: Vec<usize>| places.into_iter().map(|place| new[place]).collect();
        let mut carved = carved.each(rows);
        carved.train.extend(old);
        carved.train.sort_unstable();
        let held_out = if has_validation { "validation" } else { "train" };
        let Division { train, test, .. } = carved.clone();
        let Division { selection, temperature, conformal, .. } = validation.unwrap_or(carved);
        let (test_split, test) = if has_test {
            ("test", (0..dataset.rows("test").len()).collect())
        } else {
            ("train", test)
        };
        Ok(Self {
            train: Part::new("train", train),
            validation: Part::new(held_out, selection),
            temperature: Part::new(held_out, temperature),
            conformal: Part::new(held_out, conformal),
            test: Part::new(test_split, test),
            seen_in_test: Vec::new(),
            seen_in_validation: Vec::new(),
        })
    }

    /// With as many rows as `[data]` allows. Rows that something is measured on keep the shares of their
    /// classes; of those that are trained on alone each class has equally many.
    fn limited(
        mut self,
        dataset: &Dataset,
        config: &DataConfig,
        noise: &Noise,
        seen: &HashSet<u64>,
    ) -> Self {
        type Draw = fn(&[u32], usize, &Noise) -> Vec<usize>;
        let limit = |part: &mut Part, most: usize, draw: Draw| {
            let labels: Vec<u32> = part.examples(dataset).map(|example| example.label).collect();
            part.rows =
                draw(&labels, most, noise).into_iter().map(|place| part.rows[place]).collect();
        };
        // Without a part for it the training rows calibrate.
        let trained: Draw = if self.temperature.rows.is_empty() { sample } else { balanced };
        limit(&mut self.train, config.train_limit, trained);
        limit(&mut self.validation, config.validation_limit, sample);
        limit(&mut self.test, config.test_limit, sample);
        self.find_seen(dataset, seen);
        self
    }

    fn find_seen(&mut self, dataset: &Dataset, seen: &HashSet<u64>) {
        let texts =
            |part: &Part| -> Vec<u64> { part.examples(dataset).map(Example::key).collect() };
        let used = [&self.train, &self.validation, &self.temperature, &self.conformal];
        let used: Vec<u64> = used.into_iter().flat_map(texts).chain(seen.iter().copied()).collect();
        self.seen_in_test = overlap(&used, &texts(&self.test));
        self.seen_in_validation = overlap(&texts(&self.train), &texts(&self.validation));
    }

    /// The part of this name.
    pub fn get(&self, name: &str) -> Option<&Part> {
        self.named().into_iter().find(|(own, _)| *own == name).map(|(_, part)| part)
    }

    /// All parts with their names.
    pub fn named(&self) -> [(&'static str, &Part); 5] {
        [
            ("train", &self.train),
            ("validation", &self.validation),
            ("temperature", &self.temperature),
            ("conformal", &self.conformal),
            ("test", &self.test),
        ]
    }
}

/// The division of an official validation split, whose rows of a training text calibrate nothing; `None` where
/// it has too few others.
fn own_validation(
    train: &[RowKey],
    validation: &[RowKey],
    seen: &HashSet<u64>,
    noise: &Noise,
) -> Result<Option<Division>, DataError> {
    let division = split::divide_validation(validation, noise)?;
    // A text that was trained on says nothing about one that was not.
    let texts = |keys: &[RowKey]| -> Vec<u64> { keys.iter().map(|key| key.text).collect() };
    let known: Vec<u64> = texts(train).into_iter().chain(seen.iter().copied()).collect();
    let trained = overlap(&known, &texts(validation));
    let fresh = |rows: &[usize]| -> Vec<usize> {
        rows.iter().copied().filter(|row| trained.binary_search(row).is_err()).collect()
    };
    let (temperature, conformal) = (fresh(&division.temperature), fresh(&division.conformal));
    let lost =
        [&fresh(&division.selection), &temperature, &conformal].iter().any(|part| part.is_empty());
    Ok((!lost).then_some(Division { temperature, conformal, ..division }))
}

/// A seeded sample of so many rows with these labels, in which the classes keep their shares: places,
/// ascending. 0 = all.
pub fn sample(labels: &[u32], rows: usize, noise: &Noise) -> Vec<usize> {
    drawn(labels, rows, |keys| split::proportional(keys, rows, noise))
}

/// The same with equally many rows of each class, as far as they go.
fn balanced(labels: &[u32], rows: usize, noise: &Noise) -> Vec<usize> {
    drawn(labels, rows, |keys| split::balanced(keys, rows, noise))
}

fn drawn(labels: &[u32], rows: usize, draw: impl Fn(&[RowKey]) -> Vec<usize>) -> Vec<usize> {
    if rows == 0 || rows >= labels.len() {
        return (0..labels.len()).collect();
    }
    let key = |(place, &label): (usize, &u32)| RowKey { label, text: place as u64 };
    draw(&labels.iter().enumerate().map(key).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
