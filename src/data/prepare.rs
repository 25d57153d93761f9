//! From a data set to the five parts of a run.

use std::collections::HashSet;

use super::split::{self, Division, RowKey, SplitError, content_hash, overlap, text_key};
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
/// too few others is left out, and rows of the training split take its place.
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
    /// Places in `test.rows` whose text also occurs in another part.
    pub seen_in_test: Vec<usize>,
    /// Places in `validation.rows` whose text is also a training text.
    pub seen_in_validation: Vec<usize>,
}

impl Parts {
    /// Divides a data set as `[data]` says. A function of the data, the config and the seed. With
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
        let mut texts = parts.flat_map(|part| part.examples(dataset)).map(key_of);
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
            return Err(DataError::NoTrain { name: dataset.name.clone() });
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
        let texts = |part: &Part| -> Vec<u64> { part.examples(dataset).map(key_of).collect() };
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

/// What makes the text of a row the same as another.
fn key_of(example: &Example) -> u64 {
    text_key(&example.text, example.pair.as_deref())
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::{Remark, repeated_validation};

    fn rows(name: &str, n: u32) -> Vec<Example> {
        let row = |i| Example { text: format!("{name} {i}"), pair: None, label: i % 2 };
        (0..n).map(row).collect()
    }

    /// A quarter of the official validation split repeats training texts.
    #[test]
    fn parts_are_disjoint_and_nothing_is_calibrated_on_texts_that_were_trained_on() {
        let mut validation = rows("held out", 60);
        validation.extend(rows("trained on", 20));
        let splits = [("train", rows("trained on", 200)), ("validation", validation)];
        let dataset = dataset(splits);
        let parts =
            Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &HashSet::new())
                .unwrap();
        let texts = |part: &Part| -> Vec<String> {
            part.examples(&dataset).map(|example| example.text.clone()).collect()
        };
        for calibrated in [&parts.temperature, &parts.conformal] {
            assert!((8..20).contains(&calibrated.rows.len()), "{calibrated:?}");
            assert!(texts(calibrated).iter().all(|text| text.starts_with("held out")));
        }
        let all: Vec<String> =
            [&parts.validation, &parts.temperature, &parts.conformal].map(texts).concat();
        let mut once = all.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all.len());
        let (train, test) = (texts(&parts.train), texts(&parts.test));
        assert!(test.iter().all(|text| !train.contains(text)));
        let chosen = texts(&parts.validation);
        let seen = (0..chosen.len()).filter(|&place| train.contains(&chosen[place]));
        assert_eq!(parts.seen_in_validation, seen.collect::<Vec<_>>());
        assert!((1..20).contains(&parts.seen_in_validation.len()));
        let remark = repeated_validation(&dataset, &parts).unwrap();
        assert!(
            matches!(&remark, Remark::Warning(text) if text.starts_with("20 of the 80 rows")),
            "{remark:?}"
        );
    }

    #[test]
    fn a_validation_split_of_training_texts_is_left_out() {
        let splits = [("train", rows("trained on", 200)), ("validation", rows("trained on", 60))];
        let dataset = dataset(splits);
        let parts =
            Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &HashSet::new())
                .unwrap();
        assert!(parts.are_carved() && parts.seen_in_validation.is_empty());
        assert_eq!((parts.validation.rows.len(), parts.temperature.rows.len()), (20, 10));
        let remark = repeated_validation(&dataset, &parts).unwrap();
        assert!(
            matches!(&remark, Remark::Warning(text) if text.contains("60 of the 60 rows")
                && text.contains("the split is not used")),
            "{remark:?}"
        );
    }

    #[test]
    fn texts_that_were_seen_before_are_trained_on_and_measure_nothing() {
        let dataset = dataset([("train", rows("text", 200))]);
        let divide = |seen: &HashSet<u64>| {
            Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), seen)
        };
        let plain = divide(&HashSet::new()).unwrap();
        let keys = |part: &Part| part.examples(&dataset).map(key_of).collect::<HashSet<u64>>();
        // What was trained on by the same division changes nothing.
        assert_eq!(divide(&keys(&plain.train)).unwrap(), plain);
        let measured = [&plain.temperature, &plain.conformal, &plain.test];
        for part in measured {
            let seen: HashSet<u64> = keys(&plain.train).union(&keys(part)).copied().collect();
            let parts = divide(&seen).unwrap();
            let sizes = parts.named().map(|(_, part)| part.rows.len());
            assert_eq!(sizes.iter().sum::<usize>(), 200);
            for (name, part) in &parts.named()[1..] {
                assert!(!part.rows.is_empty() && keys(part).is_disjoint(&seen), "{name}");
            }
            assert!(seen.is_subset(&keys(&parts.train)) && parts.seen_in_test.is_empty());
        }
        let all: HashSet<u64> = dataset.rows("train").iter().map(key_of).collect();
        let few: HashSet<u64> = all.iter().copied().skip(3).collect();
        for (seen, new) in [(all, 0), (few, 3)] {
            let error = divide(&seen).unwrap_err();
            assert!(
                matches!(error, DataError::Seen { rows: 200, new: found, .. } if found == new),
                "{error}"
            );
        }
    }

    /// Half of the official validation and test splits were seen.
    #[test]
    fn splits_of_their_own_keep_their_rows_and_are_counted() {
        let (validation, test) = (rows("chosen by", 80), rows("reported on", 60));
        let seen = [&validation[..40], &test[..30]].concat().iter().map(key_of).collect();
        let splits =
            [("train", rows("trained on", 200)), ("validation", validation), ("test", test)];
        let dataset = dataset(splits);
        let parts = Parts::divide(&dataset, &DataConfig::default(), &Noise::new(1), &seen).unwrap();
        assert_eq!(parts.seen_in_test, (0..30).collect::<Vec<_>>());
        assert_eq!((parts.train.rows.len(), parts.validation.rows.len()), (200, 40));
        for part in [&parts.temperature, &parts.conformal] {
            assert!(!part.rows.is_empty() && part.rows.iter().all(|&row| row >= 40), "{part:?}");
        }
    }

    /// A data set of these splits.
    fn dataset(splits: impl IntoIterator<Item = (&'static str, Vec<Example>)>) -> Dataset {
        Dataset {
            name: "rows".to_owned(),
            task: crate::task::Task::SingleLabel,
            labels: vec!["even".to_owned(), "odd".to_owned()],
            splits: splits.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect(),
            out_of_scope: BTreeMap::new(),
            columns: String::new(),
            column_names: Default::default(),
            written: String::new(),
            generated: false,
            terms: None,
            file_labels: Default::default(),
            hidden: Vec::new(),
            remarks: Vec::new(),
            stream: None,
        }
    }

    /// One row in five is odd.
    #[test]
    fn a_limit_counts_the_rows_that_are_cross_fitted_and_keeps_their_shares() {
        let skewed = |n| -> Vec<Example> {
            let row = |i: u32| Example {
                text: format!("text {i}"),
                pair: None,
                label: u32::from(i.is_multiple_of(5)),
            };
            (0..n).map(row).collect()
        };
        let dataset = dataset([("train", skewed(400))]);
        let config = DataConfig {
            cross_fit: CrossFit::Always,
            train_limit: 50,
            validation_limit: 10,
            test_limit: 20,
            ..DataConfig::default()
        };
        let parts = Parts::divide(&dataset, &config, &Noise::new(1), &HashSet::new()).unwrap();
        let odd =
            |part: &Part| part.examples(&dataset).filter(|example| example.label == 1).count();
        assert_eq!((parts.train.rows.len(), odd(&parts.train)), (50, 10));
        assert_eq!((parts.test.rows.len(), odd(&parts.test)), (20, 4));
        assert_eq!(parts.held_out(), Vec::<usize>::new());
        // A part that trains alone is balanced; what chooses and what is reported on is not.
        let apart = Parts::apart(&dataset, &config, &Noise::new(1), &HashSet::new()).unwrap();
        assert_eq!((apart.train.rows.len(), odd(&apart.train)), (50, 25));
        assert_eq!((apart.validation.rows.len(), odd(&apart.validation)), (10, 2));
        assert_eq!(apart.test, parts.test);
    }

    /// Every third test text was also trained on.
    #[test]
    fn limits_leave_a_sample_and_what_was_seen_follows_it() {
        let train = rows("trained on", 200);
        let test: Vec<Example> = (0..90)
            .map(|i| match i % 3 {
                0 => train[i as usize].clone(),
                _ => Example { text: format!("fresh {i}"), pair: None, label: i % 2 },
            })
            .collect();
        let splits = [("train", train), ("test", test)];
        let dataset = dataset(splits);
        let divide = |config: &DataConfig| {
            Parts::divide(&dataset, config, &Noise::new(1), &HashSet::new()).unwrap()
        };
        let usual = DataConfig::default();
        let all = divide(&usual);
        let config = DataConfig { validation_limit: 8, test_limit: 30, ..usual };
        let limited = divide(&config);
        assert_eq!((limited.validation.rows.len(), limited.test.rows.len()), (8, 30));
        assert!(limited.validation.rows.iter().all(|row| all.validation.rows.contains(row)));
        for part in [&limited.validation, &limited.test] {
            let odd = part.examples(&dataset).filter(|example| example.label == 1).count();
            assert_eq!(2 * odd, part.rows.len(), "{part:?}");
            assert!(part.rows.is_sorted());
        }
        // What is trained and calibrated on is the same.
        assert_eq!((&limited.train, &limited.temperature), (&all.train, &all.temperature));
        assert_eq!(limited.conformal, all.conformal);
        let used = [&limited.train, &limited.validation, &limited.temperature, &limited.conformal];
        let used: Vec<&str> =
            used.iter().flat_map(|part| part.examples(&dataset)).map(|one| &*one.text).collect();
        let tested: Vec<&Example> = limited.test.examples(&dataset).collect();
        let expected: Vec<usize> =
            (0..30).filter(|&place| used.contains(&&*tested[place].text)).collect();
        assert!(!expected.is_empty());
        assert_eq!(limited.seen_in_test, expected);
        assert_eq!(divide(&config.unlimited()), all);
        // A limit beyond the rows is none.
        assert_eq!(divide(&DataConfig { test_limit: 5_000, ..DataConfig::default() }), all);
    }
}
