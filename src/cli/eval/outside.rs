//! Texts of no class, for `--ood`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::compute::Noise;
use crate::data::table::{self, ColumnNames, Row, SAMPLE_ROWS, Value};
use crate::data::{DataConfig, Dataset, Example, is_blank, refuse_both, reviews, sample};
use crate::predict::Text;

/// The name of texts that are generated, and how many there are.
const GENERATED: (&str, u32) = ("other-topics", 1000);

/// Texts that no class is right for.
pub(super) struct Outside {
    /// The name under `ood` in the report.
    pub name: String,
    examples: Vec<Example>,
}

impl Outside {
    /// Generated texts, a file (labels in it are not looked at), or a data set: its test split
    /// where it has one, else all of it.
    pub fn open(name: &str) -> Result<Self> {
        let path = Path::new(name);
        let (short, examples) = if name == GENERATED.0 {
            refuse_both(name, None)?;
            // The seed is that of the generated data set.
            let noise = Noise::new(2026);
            let texts = (0..GENERATED.1).map(|row| reviews::out_of_domain(&noise, row));
            (name.to_owned(), texts.map(|text| example(text, None)).collect())
        } else if path.is_file() {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (stem.unwrap_or_else(|| name.to_owned()), read(path)?)
        } else {
            let config = DataConfig { dataset: name.to_owned(), ..DataConfig::default() };
            let dataset = Dataset::open(&config)?;
            let examples = match dataset.rows("test") {
                [] => dataset.splits.values().flatten().cloned().collect(),
                test => test.to_vec(),
            };
            (dataset.name, examples)
        };
        if examples.is_empty() {
            anyhow::bail!("`{name}` has no texts to tell from those of the data set");
        }
        Ok(Self { name: short, examples })
    }

    /// All of them, or a seeded sample of `limit` if that is not 0.
    pub fn texts(&self, limit: usize, noise: &Noise) -> Vec<Text<'_>> {
        let places = sample(&vec![0; self.examples.len()], limit, noise).into_iter();
        let text = |place: usize| {
            let example = &self.examples[place];
            (example.text.as_str(), example.pair.as_deref())
        };
        places.map(text).collect()
    }
}

fn example(text: String, pair: Option<String>) -> Example {
    Example { text, pair, label: u32::MAX }
}

fn read(path: &Path) -> Result<Vec<Example>> {
    let mut table = table::open(path)?;
    let rows: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
    let columns = table::detect(&table.columns, &rows, &ColumnNames::default(), false)?;
    let take = |row: Result<Row, table::TableError>| -> Result<Example> {
        let row = row?;
        let cell = |column: usize| {
            let text = row.values.get(column).and_then(Value::as_text);
            text.filter(|text| !is_blank(text)).map(|text| text.into_owned())
        };
        let text = cell(columns.text).with_context(|| {
            format!("`{}` line {}: the text is empty", path.display(), row.line)
        })?;
        Ok(example(text, columns.pair.and_then(cell)))
    };
    rows.into_iter().map(Ok).chain(table).map(take).collect()
}
