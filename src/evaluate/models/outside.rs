//! Texts of no class that models are asked about.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::error::ModelsError;
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::table::{self, ColumnNames, Row, SAMPLE_ROWS, TableError, Value};
use crate::data::{
    DataConfig, DataError, Dataset, Example, Remark, is_blank, locate, refuse_both, reviews,
    sample, some,
};
use crate::predict::Text;

/// The name of texts that are generated, and how many there are.
const GENERATED: (&str, u32) = ("other-topics", 1000);

/// Texts that no class is right for.
pub(super) struct Outside {
    /// The name under `ood` in the report.
    pub name: String,
    examples: Vec<Example>,
    /// What their source calls them, where it says something; one for each.
    labels: Vec<Option<String>>,
    /// How the source was read.
    pub remarks: Vec<Remark>,
}

impl Outside {
    /// Generated texts, a file, or a data set: its test split where it has one, else all of it. Columns are
    /// those that the model was made from, where they are there.
    pub fn open(name: &str, manifest: &Manifest) -> Result<Self, ModelsError> {
        let path = Path::new(name);
        let config = manifest.data.as_ref().map(|data| data.like(name));
        let config = DataConfig { dataset: name.to_owned(), ..config.unwrap_or_default() };
        let unlabelled = |text| (example(text, None), None);
        let mut remarks = Vec::new();
        let (short, rows): (String, Vec<Labelled>) = if name == GENERATED.0 {
            refuse_both(name, None)?;
            // The seed is that of the generated data set.
            let noise = Noise::new(2026);
            let texts = (0..GENERATED.1).map(|row| reviews::out_of_domain(&noise, row));
            (name.to_owned(), texts.map(unlabelled).collect())
        } else if path.is_file() {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let rows = read(path, &config, &mut remarks)?;
            (stem.unwrap_or_else(|| name.to_owned()), rows)
        } else if let Some((split, files)) = without_labels(&config)? {
            let rows: Result<Vec<_>, ModelsError> =
                files.iter().map(|file| read(file, &config, &mut remarks)).collect();
            let rows = rows?.concat();
            remarks.push(Remark::Note(format!("the {} rows are those of {split}", rows.len())));
            (name.to_owned(), rows)
        } else {
            let dataset = Dataset::open(&config)?.told(&mut |remark| remarks.push(remark));
            let of = |split: &str| -> Vec<Example> {
                let outside = dataset.out_of_scope.get(split).into_iter().flatten();
                dataset.rows(split).iter().chain(outside).cloned().collect()
            };
            let (split, examples) = match of("test") {
                test if !test.is_empty() => (THE_TEST.to_owned(), test),
                _ => {
                    let all = dataset.splits.keys().flat_map(|split| of(split)).collect();
                    (without_test(dataset.splits.keys()), all)
                }
            };
            remarks.push(Remark::Note(format!("the {} rows are those of {split}", examples.len())));
            let label = |example: &Example| dataset.labels.get(example.label as usize).cloned();
            let rows = examples.into_iter().map(|example| (label(&example), example));
            (dataset.name.clone(), rows.map(|(label, example)| (example, label)).collect())
        };
        let marked = |remark| match remark {
            Remark::Note(text) => Remark::Note(format!("--ood {name}: {text}")),
            Remark::Warning(text) => Remark::Warning(format!("--ood {name}: {text}")),
        };
        let remarks = remarks.into_iter().map(marked).collect();
        if rows.is_empty() {
            return Err(ModelsError::OutsideEmpty { name: name.to_owned() });
        }
        let (examples, labels) = rows.into_iter().unzip();
        Ok(Self { name: short, examples, labels, remarks })
    }

    /// What to say of rows that have a label of the model's.
    ///
    /// # Errors
    /// All rows have one. Numbers are said only: they name nothing that would be the same elsewhere.
    pub fn check_labels(&self, manifest: &Manifest) -> Result<Option<String>, ModelsError> {
        let renamed = manifest.data.as_ref().map(|data| &data.label_map);
        let in_training = |label: &str| renamed.and_then(|renamed| renamed.get(label));
        let is_class = |label: &&String| {
            let read = in_training(label).is_some_and(|name| manifest.labels.contains(name));
            read || manifest.labels.contains(*label)
        };
        let own = self.labels.iter().flatten().filter(is_class).map(String::as_str);
        let own: Vec<&str> = own.collect();
        let names: BTreeSet<&str> = own.iter().copied().collect();
        let is_number = |name: &&str| name.parse::<f64>().is_ok();
        if own.is_empty() {
            return Ok(None);
        }
        let said = format!(
            "{} of {} rows of `{}` (`--ood`) have a label of the model's own classes ({})",
            own.len(),
            self.labels.len(),
            self.name,
            some(names.iter().copied())
        );
        let mapped: Vec<&str> =
            names.iter().copied().filter(|name| in_training(name).is_some()).collect();
        let said = match mapped.is_empty() {
            true => said,
            false => {
                format!("{said}, of which the training renamed {} (`data.label_map`)", some(mapped))
            }
        };
        if own.len() == self.labels.len() && !names.iter().all(is_number) {
            return Err(ModelsError::OutsideLabels { said });
        }
        Ok(Some(format!(
            "{said}; here they count as out-of-distribution texts; remove those that are not, or \
             remove the label column if it means something else"
        )))
    }

    /// What to say of texts that are among the known ones, by their keys.
    ///
    /// # Errors
    /// All are.
    pub fn check_texts(&self, known: &HashSet<u64>) -> Result<Option<String>, ModelsError> {
        let count = self.examples.iter().filter(|one| known.contains(&one.key())).count();
        if count == 0 {
            return Ok(None);
        }
        let said = format!(
            "{count} of {} texts of `{}` (`--ood`) also occur in the evaluated rows or in the rows \
             used to train or calibrate the model",
            self.examples.len(),
            self.name
        );
        if count == self.examples.len() {
            return Err(ModelsError::OutsideTexts { said });
        }
        Ok(Some(format!("{said}; here they count as out-of-distribution texts; remove them")))
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

const THE_TEST: &str = "the split `test`";

fn without_test<'a>(splits: impl Iterator<Item = &'a String>) -> String {
    format!("{}, since there is no split `test`", some(splits.map(String::as_str)))
}

/// The files of a folder whose rows have no labels, or all the same one: no data set to train on, and as good as
/// another here. `None` for a data set.
fn without_labels(config: &DataConfig) -> Result<Option<(String, Vec<PathBuf>)>, ModelsError> {
    match Dataset::open(config) {
        Err(DataError::Table(
            TableError::OneColumn { .. } | TableError::NoColumn { role: "label", .. },
        ))
        | Err(
            DataError::NoLabels { .. }
            | DataError::NoLabel { .. }
            | DataError::OneClass { .. }
            | DataError::WordsAndNumbers { .. },
        ) => {}
        Err(error) => return Err(error.into()),
        // It is opened again, to be told of.
        Ok(_) => return Ok(None),
    }
    let mut splits = locate(&config.dataset)?.splits;
    Ok(Some(match splits.remove("test") {
        Some(files) => (THE_TEST.to_owned(), files),
        None => {
            let named = without_test(splits.keys());
            (named, splits.into_values().flatten().collect())
        }
    }))
}

fn example(text: String, pair: Option<String>) -> Example {
    Example { text, pair, label: u32::MAX }
}

/// A text, and what its source calls it.
type Labelled = (Example, Option<String>);

fn read(
    path: &Path,
    config: &DataConfig,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<Labelled>, ModelsError> {
    let mut table = table::open_as(path, &config.reading())?;
    let rows: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
    let (none, usual) = (ColumnNames::default(), &config.usual_columns);
    let columns = table::detect_usual(&table.columns, &rows, &none, usual, false)?;
    let said = [("columns", columns.describe(&table.columns)), ("format", table.described.clone())];
    let said = said.into_iter().filter(|(_, what)| !what.is_empty());
    remarks.extend(said.map(|(name, what)| Remark::Note(format!("{name}: {what}"))));
    let take = |row: Row| -> Result<Labelled, ModelsError> {
        let cell = |column: usize| {
            let text = row.values.get(column).and_then(Value::as_text);
            text.filter(|text| !is_blank(text)).map(|text| text.into_owned())
        };
        let text = cell(columns.text).ok_or_else(|| ModelsError::EmptyText {
            path: path.display().to_string(),
            line: row.line,
        })?;
        let label = columns.label.and_then(cell).map(|label| label.trim().to_owned());
        Ok((example(text, columns.pair.and_then(cell)), label))
    };
    let mut labelled = Vec::new();
    let mut rows = rows.into_iter();
    while let Some(row) = rows.next().map(Ok).or_else(|| table.next()) {
        let row = row?;
        if table.repeats_names(&row) {
            let line = format!("`{}` line {}", path.display(), row.line);
            remarks.push(Remark::Note(format!("{line} repeats the column names and is skipped")));
            continue;
        }
        labelled.push(take(row)?);
    }
    remarks.extend(table.lost().map(Remark::Warning));
    Ok(labelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::split::text_key;

    fn source(rows: &[(&str, Option<&str>)]) -> Outside {
        Outside {
            remarks: Vec::new(),
            name: "other".to_owned(),
            examples: rows.iter().map(|(text, _)| example((*text).to_owned(), None)).collect(),
            labels: rows.iter().map(|(_, label)| label.map(str::to_owned)).collect(),
        }
    }

    #[test]
    fn texts_that_are_known_are_counted_and_refused_where_all_are() {
        let known = HashSet::from([text_key("a", None), text_key("b", None)]);
        let said = |texts: &[&str]| {
            let rows: Vec<_> = texts.iter().map(|text| (*text, None)).collect();
            source(&rows).check_texts(&known).map_err(|error| error.to_string())
        };
        assert_eq!(said(&["c", "d"]).unwrap(), None);
        assert!(said(&["c", "a"]).unwrap().unwrap().starts_with("1 of 2 texts of `other`"));
        assert!(said(&["b", "a"]).unwrap_err().contains("none is out of distribution"));
    }
}
