//! The section `[data]`.

use serde::{Deserialize, Serialize};

use super::split::Fractions;
use super::table::ColumnNames;
use super::tokenizer::Truncation;

/// Which rows, and how they become tokens and splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Known name, folder or file, or Hub id.
    pub dataset: String,
    /// Column of the text; detected when empty.
    pub text_column: String,
    /// Column of the second text of a pair; detected when empty.
    pub text_pair_column: String,
    /// Column of the label; detected when empty.
    pub label_column: String,
    /// Most tokens of a text, specials included.
    pub max_length: usize,
    /// What of a longer text is kept.
    pub truncation: Truncation,
    /// Share of the training rows that chooses the best weights, where the data has no validation
    /// split.
    pub validation_fraction: f64,
    /// Share of the training rows of each of two parts: temperature; conformal sets and novelty.
    pub calibration_fraction: f64,
    /// Share of the training rows for the report, where the data has no test split.
    pub test_fraction: f64,
    /// 0 = all; else that many of the training rows, after splitting, class-balanced.
    pub train_limit: usize,
    /// A label that means out of scope: never trained or calibrated on.
    pub ood_label: String,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: "reviews".to_owned(),
            text_column: String::new(),
            text_pair_column: String::new(),
            label_column: String::new(),
            max_length: 512,
            truncation: Truncation::HeadTail,
            validation_fraction: 0.10,
            calibration_fraction: 0.05,
            test_fraction: 0.10,
            train_limit: 0,
            ood_label: String::new(),
        }
    }
}

impl DataConfig {
    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if self.dataset.is_empty() {
            return Err("`data.dataset` is empty: name a data set, a file or a folder".to_owned());
        }
        if !(4..=1 << 20).contains(&self.max_length) {
            let found = self.max_length;
            return Err(format!("`data.max_length` is {found}: 4 to 1048576 tokens are possible"));
        }
        Ok(())
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
