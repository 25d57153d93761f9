//! A data set: the rows of each split, or a sample of them, with one set of classes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::table::{self, ColumnNames, Columns, Row, SAMPLE_ROWS, Table};
use super::{
    DataConfig, DataError, Example, Located, StreamSource, clean, labels, obtain, reviews,
};
use crate::compute::Noise;

/// Rows of the generated set.
const GENERATED_SPLITS: [(&str, u64, u32); 3] =
    [("train", 0, TRAINING_ROWS), ("validation", 1, 2000), ("test", 2, 2000)];

/// Rows of the first of them.
pub(super) const TRAINING_ROWS: u32 = 10_000;

/// A data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name to show.
    pub name: String,
    /// Class names, by label.
    pub labels: Vec<String>,
    /// Rows by split.
    pub splits: BTreeMap<String, Vec<Example>>,
    /// Texts of rows whose label is `data.ood_label`, by split.
    pub out_of_scope: BTreeMap<String, Vec<Example>>,
    /// What was taken for text and label, to be shown; empty where there was no choice.
    pub columns: String,
    /// Whether the texts are generated, so that p(label | text) is known.
    pub generated: bool,
    /// Terms of use, where they are known.
    pub terms: Option<&'static str>,
    /// Splits that were left out because their labels are hidden.
    pub hidden: Vec<String>,
    /// With `data.streaming`, all training rows; `splits` has a sample of them.
    pub stream: Option<Arc<StreamSource>>,
}

/// A row before the classes are known.
pub(super) struct Raw {
    pub(super) text: String,
    pub(super) pair: Option<String>,
    pub(super) label: String,
}

impl Dataset {
    /// Opens the data set that `[data]` names, whole.
    pub fn open(config: &DataConfig) -> Result<Self, DataError> {
        if table::is_url(&config.dataset) && !config.streaming {
            return Err(DataError::Address { url: config.dataset.clone() });
        }
        let located = obtain(&config.dataset)?;
        match located.known {
            Some(known) if known.hub_id.is_empty() && config.streaming => {
                Err(DataError::NotStreamed { path: known.name.into() })
            }
            Some(known) if known.hub_id.is_empty() => Ok(Self::generated()),
            _ => Self::read(&located, config),
        }
    }

    /// The generated reviews. Their seed is fixed: they are a data set and not a draw of the run.
    fn generated() -> Self {
        let noise = Noise::new(reviews::SEED);
        let row = |split, row| {
            let review = reviews::review(&noise, split, row);
            Example { text: review.text, pair: None, label: review.label }
        };
        let splits = GENERATED_SPLITS.map(|(name, split, rows)| {
            (name.to_owned(), (0..rows).map(|i| row(split, i)).collect())
        });
        Self {
            name: "reviews".to_owned(),
            labels: reviews::LABELS.map(str::to_owned).to_vec(),
            splits: BTreeMap::from(splits),
            out_of_scope: BTreeMap::new(),
            columns: String::new(),
            generated: true,
            terms: super::known::find("reviews").map(|known| known.terms),
            hidden: Vec::new(),
            stream: None,
        }
    }

    fn read(located: &Located, config: &DataConfig) -> Result<Self, DataError> {
        let names = match (&located.labels_file, located.known) {
            (Some(path), _) => labels::read_names(path)?,
            (None, Some(known)) => known.labels.iter().map(|&name| name.to_owned()).collect(),
            (None, None) => Vec::new(),
        };
        let (mut columns, mut stream) = (String::new(), None);
        let mut raw: BTreeMap<&str, Vec<Raw>> = BTreeMap::new();
        for (split, files) in &located.splits {
            let rows = raw.entry(split).or_default();
            if config.streaming && split == "train" {
                let (source, sample) = StreamSource::open(files, config, &names)?;
                (columns, *rows) = (source.described(), sample);
                stream = Some(source);
                continue;
            }
            for file in files {
                columns = read_file(file, &config.column_names(), &names, rows)?;
            }
        }
        // GLUE hides the labels of its test splits behind -1.
        let hides = |rows: &Vec<Raw>| rows.iter().all(|row| row.label == "-1");
        let hidden: Vec<String> = raw
            .iter()
            .filter(|(_, rows)| hides(rows))
            .map(|(&split, _)| split.to_owned())
            .collect();
        raw.retain(|_, rows| !hides(rows));
        let mut occurring: BTreeSet<&str> = raw.values().flatten().map(|row| &*row.label).collect();
        occurring.extend(stream.iter().flat_map(StreamSource::occurring));
        let mut classes = labels::classes(&occurring, &names);
        let ood_label = labels::name_of(&config.ood_label, &names).to_owned();
        if !ood_label.is_empty() && !classes.contains(&ood_label) {
            return Err(DataError::NoOodLabel { name: ood_label, dataset: located.name.clone() });
        }
        classes.retain(|class| *class != ood_label);
        if classes.len() < 2 {
            return Err(DataError::OneClass { name: located.name.clone(), found: classes });
        }
        let by_name: BTreeMap<&str, u32> =
            classes.iter().enumerate().map(|(id, name)| (name.as_str(), id as u32)).collect();
        let (mut splits, mut out_of_scope) = (BTreeMap::new(), BTreeMap::new());
        for (split, rows) in raw {
            let (mut inside, mut outside) = (Vec::new(), Vec::new());
            for Raw { text, pair, label } in rows {
                match by_name.get(label.as_str()) {
                    Some(&label) => inside.push(Example { text, pair, label }),
                    None => outside.push(Example { text, pair, label: u32::MAX }),
                }
            }
            splits.insert(split.to_owned(), inside);
            if !outside.is_empty() {
                out_of_scope.insert(split.to_owned(), outside);
            }
        }
        Ok(Self {
            name: located.name.clone(),
            stream: stream.map(|stream| Arc::new(stream.with_classes(&classes))),
            labels: classes,
            splits,
            out_of_scope,
            columns,
            generated: false,
            terms: located.known.map(|known| known.terms),
            hidden,
        })
    }

    /// The rows of a split; none if the data set has no such split.
    pub fn rows(&self, split: &str) -> &[Example] {
        self.splits.get(split).map_or(&[], Vec::as_slice)
    }

    /// p(label | text) of a text, `[c]`, where it is known.
    pub fn truth(&self, example: &Example) -> Option<[f64; 2]> {
        let positive = self.generated.then(|| reviews::probability(&example.text))?;
        Some([1.0 - positive, positive])
    }
}

/// Appends the rows of a file; returns which columns were taken.
fn read_file(
    path: &Path,
    wanted: &ColumnNames,
    names: &[String],
    rows: &mut Vec<Raw>,
) -> Result<String, DataError> {
    let mut table = table::open(path)?;
    let sample: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
    let columns = table::detect(&table.columns, &sample, wanted, true)?;
    let described = columns.describe(&table.columns);
    let header = table.columns.clone();
    for row in sample.into_iter().map(Ok).chain(table as Table) {
        rows.push(take(path, &header, &columns, names, &row?)?);
    }
    Ok(described)
}

/// Text, pair and label of a row.
pub(super) fn take(
    path: &Path,
    header: &[String],
    columns: &Columns,
    names: &[String],
    row: &Row,
) -> Result<Raw, DataError> {
    let value = |column: usize| {
        let text = row.values.get(column).and_then(|value| value.as_text());
        text.filter(|text| !clean(text).is_empty()).ok_or_else(|| DataError::EmptyCell {
            path: path.to_owned(),
            line: row.line,
            column: header[column].clone(),
        })
    };
    let label = columns.label.expect("a label column was required");
    Ok(Raw {
        text: value(columns.text)?.into_owned(),
        pair: columns.pair.map(|pair| value(pair).map(|text| text.into_owned())).transpose()?,
        label: labels::name_of(value(label)?.trim(), names).to_owned(),
    })
}
