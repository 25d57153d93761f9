//! The section `[data]`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::labels::plain;
use super::split::Fractions;
use super::stream::StreamConfig;
use super::table::{ColumnNames, Format, Header, Quoting, Reading};
use super::tokenizer::Truncation;

/// Whether the rows used for selection and calibration also train the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CrossFit {
    /// Yes if the data has no validation split, there are fewer than 6,000 rows, and `train.recipe`
    /// is `head` or `auto`.
    #[default]
    Auto,
    /// Yes, including a validation split: every row trains the last layer, and is scored by one
    /// that has not seen it.
    Always,
    /// No.
    Never,
}

/// Which rows, and how they become tokens and splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Built-in data set name, folder or file, or Hub id.
    pub dataset: String,
    /// Column of the text; detected when empty.
    pub text_column: String,
    /// Column of the second text of a pair; detected when empty.
    pub text_pair_column: String,
    /// Column of the label; detected when empty.
    pub label_column: String,
    /// Encoding of text files, such as `windows-1252`; UTF-8 when empty.
    pub encoding: String,
    /// Field delimiter of CSV and TSV: one character, or `tab`; detected when empty.
    pub delimiter: String,
    /// How fields of CSV and TSV are quoted.
    pub quoting: Quoting,
    /// Whether the first line of CSV and TSV contains the column names.
    pub header: Header,
    /// Maximum tokens per text, including special tokens; 0 takes the 99th percentile of the
    /// training texts.
    pub max_length: usize,
    /// Which part of a longer text is kept.
    pub truncation: Truncation,
    /// Share of the training rows for selecting the best weights, if the data has no validation
    /// split.
    pub validation_fraction: f64,
    /// Share of the training rows for each of two splits: temperature; conformal sets and novelty.
    pub calibration_fraction: f64,
    /// Share of the training rows for the report, if the data has no test split.
    pub test_fraction: f64,
    /// Whether the rows used for selection and calibration also train the last layer.
    pub cross_fit: CrossFit,
    /// 0 = all; otherwise use this many training rows, after splitting, balanced across classes. If
    /// they also calibrate, the class proportions stay the same.
    pub train_limit: usize,
    /// 0 = all; otherwise use this many rows for selecting the best weights, with the same class
    /// proportions.
    pub validation_limit: usize,
    /// 0 = all; otherwise use this many test rows in the training report, with the same class
    /// proportions. A later `bayes eval` uses all of them.
    pub test_limit: usize,
    /// File of further texts whose labels are not needed: a teacher (`train.teacher`) says what they
    /// should be answered; empty for none.
    pub unlabelled: String,
    /// A label that means out of scope: never trained or calibrated on.
    pub ood_label: String,
    /// Whether the training rows are read from their Parquet files, or over HTTP, as they are needed.
    pub streaming: bool,
    /// Rows of a stream that are shuffled together and held in memory: whole row groups, at least four.
    pub shuffle_window: usize,
    /// Threads that download and decode a stream ahead.
    pub num_workers: usize,
    /// Number of processes that share the stream.
    pub num_shards: usize,
    /// Index of this process, from 0.
    pub rank: usize,
    /// Rename labels: `{ neg = "negative" }`.
    pub label_map: BTreeMap<String, String>,
    /// Columns that a model was made from, taken where a table has them and nobody names others.
    #[serde(skip)]
    pub usual_columns: ColumnNames,
    /// Renamings of the rows that a model was made from, applied where rows have such labels and `label_map` does
    /// not rename them.
    #[serde(skip)]
    pub usual_label_map: BTreeMap<String, String>,
    /// The labels of the model that is asked about these rows.
    #[serde(skip)]
    pub model_labels: Vec<String>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: "reviews".to_owned(),
            text_column: String::new(),
            text_pair_column: String::new(),
            label_column: String::new(),
            encoding: String::new(),
            delimiter: String::new(),
            quoting: Quoting::Auto,
            header: Header::Auto,
            max_length: 512,
            truncation: Truncation::HeadTail,
            validation_fraction: 0.10,
            calibration_fraction: 0.05,
            test_fraction: 0.10,
            cross_fit: CrossFit::Auto,
            train_limit: 0,
            validation_limit: 0,
            test_limit: 0,
            unlabelled: String::new(),
            ood_label: String::new(),
            streaming: false,
            shuffle_window: 50_000,
            num_workers: 2,
            num_shards: 1,
            rank: 0,
            label_map: BTreeMap::new(),
            usual_columns: ColumnNames::default(),
            usual_label_map: BTreeMap::new(),
            model_labels: Vec::new(),
        }
    }
}

impl DataConfig {
    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if self.dataset.is_empty() {
            return Err("`data.dataset` is empty; give a data set, a file or a folder".to_owned());
        }
        if self.max_length != 0 && !(4..=1 << 20).contains(&self.max_length) {
            let found = self.max_length;
            return Err(format!(
                "`data.max_length` is {found}; use 0 (the 99th percentile of the texts) or 4 to \
                 1048576 tokens"
            ));
        }
        self.reading().check()?;
        // Of a folder some files may be in another format.
        if let Ok(format) = Format::of(Path::new(&self.dataset)) {
            self.reading().check_for(format, &format!("`{}`", self.dataset))?;
        }
        let Self { streaming, shuffle_window, num_workers, num_shards, rank, .. } = *self;
        let usual = Self::default();
        let own = [
            ("shuffle_window", shuffle_window != usual.shuffle_window),
            ("num_workers", num_workers != usual.num_workers),
            ("num_shards", num_shards != usual.num_shards),
            ("rank", rank != usual.rank),
        ];
        if let Some((key, _)) = own.iter().find(|(_, set)| *set && !streaming) {
            return Err(format!(
                "`data.{key}` applies only to streaming; also set `data.streaming = true`"
            ));
        }
        if streaming && self.train_limit > 0 {
            return Err(
                "`data.train_limit` applies only to rows in memory; with `data.streaming`, set \
                 `train.max_steps` instead"
                    .to_owned(),
            );
        }
        if shuffle_window < 100 {
            return Err(format!(
                "`data.shuffle_window` is {shuffle_window}; use at least 100 rows"
            ));
        }
        if !(1..=64).contains(&num_workers) {
            return Err(format!("`data.num_workers` is {num_workers}; use 1 to 64 threads"));
        }
        if rank >= num_shards {
            return Err(format!(
                "`data.rank` is {rank} and `data.num_shards` is {num_shards}; ranks count from 0 \
                 and must be less than the number of shards"
            ));
        }
        Ok(())
    }

    /// Another data set, for a model that was made from this one: its columns are the usual ones.
    pub fn like(&self, dataset: &str) -> Self {
        let usual_columns = self.column_names();
        Self { dataset: dataset.to_owned(), usual_columns, ..Self::default() }
    }

    /// The same with all rows in the parts that are evaluated: how much of them a training looked at says
    /// nothing of how much a later look should.
    pub fn unlimited(self) -> Self {
        Self { validation_limit: 0, test_limit: 0, ..self }
    }

    /// Whether the rows of the same data set come out the same, whatever is done with them.
    pub fn reads_as(&self, other: &Self) -> bool {
        let read = |one: &Self| {
            let own = (one.dataset.clone(), one.column_names(), one.reading());
            (own, one.label_map.clone(), one.ood_label.clone())
        };
        read(self) == read(other)
    }

    /// How rows are streamed.
    pub fn stream(&self) -> StreamConfig {
        StreamConfig {
            window: self.shuffle_window,
            workers: self.num_workers,
            shards: self.num_shards,
            rank: self.rank,
        }
    }

    /// How text files are written, as far as it is said.
    pub fn reading(&self) -> Reading {
        let ColumnNames { text, pair, label } = &self.usual_columns;
        let names =
            [&self.text_column, &self.text_pair_column, &self.label_column, text, pair, label];
        Reading {
            encoding: self.encoding.clone(),
            delimiter: self.delimiter.clone(),
            quoting: self.quoting,
            header: self.header,
            names: names.into_iter().filter(|name| !name.is_empty()).cloned().collect(),
        }
    }

    /// The keys that are set and say how files are read and what their labels mean.
    pub fn keys_of_files(&self) -> Vec<&'static str> {
        let keys = [
            ("text_column", !self.text_column.is_empty()),
            ("text_pair_column", !self.text_pair_column.is_empty()),
            ("label_column", !self.label_column.is_empty()),
            ("ood_label", !self.ood_label.is_empty()),
            ("label_map", !self.label_map.is_empty()),
        ];
        let keys = keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key);
        keys.chain(self.reading().keys()).collect()
    }

    /// What a label is renamed to, with the key that says so: its own, else one of another writing (`1.0` for `1`).
    pub(super) fn renaming(&self, label: &str) -> Option<(&String, &String)> {
        let own = plain(label);
        [&self.label_map, &self.usual_label_map].into_iter().find_map(|map| {
            let like = || map.iter().find(|(from, _)| plain(from) == own);
            map.get_key_value(label).or_else(like)
        })
    }

    /// Refuses what is said of files of a data set that has none.
    ///
    /// # Errors
    /// A key is set that says how files are read.
    pub fn check_built_in(&self, name: &str) -> Result<(), DataError> {
        DataError::check_built_in(name, &self.keys_of_files())
    }

    /// The columns asked for.
    pub fn column_names(&self) -> ColumnNames {
        ColumnNames {
            text: self.text_column.clone(),
            pair: self.text_pair_column.clone(),
            label: self.label_column.clone(),
        }
    }

    /// The shares asked for.
    pub fn fractions(&self) -> Fractions {
        Fractions {
            validation: self.validation_fraction,
            calibration: self.calibration_fraction,
            test: self.test_fraction,
        }
    }
}
