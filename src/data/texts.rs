//! Rows of which the texts are wanted, read as those of any data set: they may have labels or none.

use std::collections::BTreeMap;

use super::classes::names_of;
use super::given::Given;
use super::read::{Content, Wanted};
use super::take::Raw;
use super::{DataConfig, DataError, Dataset, Example, Remark, how_read, obtain};

/// Texts, and what their source calls them.
#[derive(Clone, Debug)]
pub struct Texts {
    /// The name to show.
    pub name: String,
    /// The rows of each split, each with its label where it has one. It is read as the labels of a data set are,
    /// and as one of `model_labels` where it looks like that one.
    pub splits: BTreeMap<String, Vec<(Example, Option<String>)>>,
    /// Which columns were taken, and how the files are written, as sentences.
    pub how_read: Vec<String>,
    /// What else a person should know.
    pub remarks: Vec<Remark>,
}

impl Texts {
    /// Opens what `[data]` names. Labels are no reason to refuse a row: they may be missing, or be of any kind.
    pub fn open(config: &DataConfig) -> Result<Self, DataError> {
        let located = obtain(&config.dataset)?;
        if located.known.is_some_and(|known| known.hub_id.is_empty()) {
            return Ok(Self::generated(Dataset::open(config)?.quietly()));
        }
        let given = Given::of(&located)?;
        let content = Content::read(&located, config, &given, Wanted::Texts)?;
        let names = if given.is_empty() { &content.class_names } else { &given.names };
        let mut occurring = content.occurring();
        // A row without a label.
        occurring.remove("");
        let mut remarks = [located.remarks, content.remarks].concat();
        let read_as = names_of(&occurring, names, config, &mut remarks);
        let row = |Raw { text, pair, label, .. }: Raw| {
            let label = read_as.get(&label).filter(|label| !label.is_empty()).cloned();
            (Example { text, pair, label: u32::MAX }, label)
        };
        let splits = content.raw.into_iter();
        Ok(Self {
            name: located.name,
            splits: splits
                .map(|(split, rows)| (split, rows.into_iter().map(row).collect()))
                .collect(),
            how_read: how_read(&content.described, &content.written).collect(),
            remarks,
        })
    }

    fn generated(dataset: Dataset) -> Self {
        let Dataset { name, labels, splits, .. } = dataset;
        let row = |example: Example| {
            let label = labels.get(example.label as usize).cloned();
            (example, label)
        };
        let splits = splits.into_iter();
        let splits = splits.map(|(split, rows)| (split, rows.into_iter().map(row).collect()));
        Self { name, splits: splits.collect(), how_read: Vec::new(), remarks: Vec::new() }
    }
}
