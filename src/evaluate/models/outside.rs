//! Texts of no class that models are asked about.

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::path::Path;

use super::Options;
use super::error::ModelsError;
use crate::artifact::Manifest;
use crate::compute::Noise;
use crate::data::table::ColumnNames;
use crate::data::{
    DataConfig, Example, Overrides, Remark, Texts, refuse_both, reviews, sample, some,
};
use crate::numbers::grouped;
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
    /// Generated texts, or a data set: its test split where it has one, else all of it. Columns are those that
    /// are asked for, else those of the rows that are evaluated, else those that the model was made from, where
    /// they are there.
    pub fn open(name: &str, options: &Options, manifest: &Manifest) -> Result<Self, ModelsError> {
        if name == GENERATED.0 {
            refuse_both(name, None)?;
            // They may be meant for another one.
            if options.ood.iter().all(|other| other == name) {
                let mut asked = DataConfig::default();
                let applied = options.ood_overrides.apply(&mut asked);
                applied
                    .and_then(|()| asked.check_built_in(name).map_err(|error| error.to_string()))
                    .map_err(|said| ModelsError::Outside { said: of_ood(name, &said) })?;
            }
            // The seed is that of the generated data set.
            let noise = Noise::new(2026);
            let texts = (0..GENERATED.1).map(|row| reviews::out_of_domain(&noise, row));
            let examples: Vec<_> =
                texts.map(|text| Example { text, pair: None, label: u32::MAX }).collect();
            let labels = vec![None; examples.len()];
            return Ok(Self { name: name.to_owned(), examples, labels, remarks: Vec::new() });
        }
        let texts = read(name, options, manifest)
            .map_err(|said| ModelsError::Outside { said: of_ood(name, &said) })?;
        let Texts { name: short, mut splits, how_read, remarks } = texts;
        let path = Path::new(name);
        let stem = path.file_stem().filter(|_| path.is_file());
        let short = stem.map_or(short, |stem| stem.to_string_lossy().into_owned());
        let names: Vec<String> = splits.keys().cloned().collect();
        let (split, rows) = match splits.remove("test") {
            Some(rows) if !rows.is_empty() => ("the split `test`".to_owned(), rows),
            _ => (without_test(names.iter()), splits.into_values().flatten().collect()),
        };
        if rows.is_empty() {
            return Err(ModelsError::OutsideEmpty { name: name.to_owned() });
        }
        let (examples, labels): (Vec<Example>, Vec<_>) = rows.into_iter().unzip();
        let whole =
            Remark::Note(format!("the {} rows are those of {split}", grouped(examples.len())));
        let remarks = how_read
            .into_iter()
            .map(Remark::Note)
            .chain(remarks)
            .chain((!path.is_file()).then_some(whole))
            .chain(repeated(&examples));
        let remarks = remarks.map(|remark| match remark {
            Remark::Note(text) => Remark::Note(of_ood(name, &text)),
            Remark::Warning(text) => Remark::Warning(of_ood(name, &text)),
        });
        let remarks = remarks.collect();
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

fn read(name: &str, options: &Options, manifest: &Manifest) -> Result<Texts, String> {
    let config = manifest.data.as_ref().map(|data| data.like(name));
    let mut config = DataConfig {
        dataset: name.to_owned(),
        model_labels: manifest.labels.clone(),
        ..config.unwrap_or_default()
    };
    let Overrides { text_column, text_pair_column, label_column, .. } = &options.overrides;
    let ColumnNames { text, pair, label } = &mut config.usual_columns;
    for (usual, asked) in [(text, text_column), (pair, text_pair_column), (label, label_column)] {
        if let Some(asked) = asked {
            usual.clone_from(asked);
        }
    }
    options.ood_overrides.apply(&mut config)?;
    Texts::open(&config).map_err(|error| {
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            said += &format!(": {error}");
            cause = error.source();
        }
        said
    })
}

fn without_test<'a>(splits: impl Iterator<Item = &'a String>) -> String {
    format!("{}, since there is no split `test`", some(splits.map(String::as_str)))
}

/// What to say of texts that repeat others: each counts, but they say nothing more.
fn repeated(examples: &[Example]) -> Option<Remark> {
    let distinct: HashSet<u64> = examples.iter().map(Example::key).collect();
    let (all, repeats) = (examples.len(), examples.len() - distinct.len());
    let said = format!(
        "{} of {} texts repeat another one; the figures count every copy, but rest on {} different texts",
        grouped(repeats),
        grouped(all),
        grouped(distinct.len())
    );
    match repeats {
        0 => None,
        _ if 2 * repeats > all => Some(Remark::Warning(said)),
        _ => Some(Remark::Note(said)),
    }
}

/// What is said of the reading of a set of texts: where it names a key or a flag of the data set, it is that of
/// these texts.
fn of_ood(name: &str, said: &str) -> String {
    let mut said = said.to_owned();
    for key in Overrides::KEYS {
        let flag = format!("--{}", key.replace('_', "-"));
        let own = format!("--ood-set data.{key}");
        said = said
            .replace(&format!(" (`{flag}`)"), "")
            .replace(&format!("`data.{key}`"), &format!("`{own}`"))
            .replace(&format!("`{flag} "), &format!("`{own}="))
            .replace(&format!("`{flag}`"), &format!("`{own}`"));
    }
    format!("--ood {name}: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::split::text_key;

    fn example(text: &str) -> Example {
        Example { text: text.to_owned(), pair: None, label: u32::MAX }
    }

    fn source(rows: &[(&str, Option<&str>)]) -> Outside {
        Outside {
            remarks: Vec::new(),
            name: "other".to_owned(),
            examples: rows.iter().map(|(text, _)| example(text)).collect(),
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

    #[test]
    fn texts_that_repeat_others_are_counted() {
        let said =
            |texts: &[&str]| repeated(&texts.iter().map(|one| example(one)).collect::<Vec<_>>());
        assert_eq!(said(&["a", "b", "c"]), None);
        let Some(Remark::Note(few)) = said(&["a", "b", "c", "A "]) else { panic!() };
        assert!(few.starts_with("1 of 4 texts") && few.contains("3 different"), "{few}");
        let Some(Remark::Warning(most)) = said(&["a", "a", "a", "a", "b"]) else { panic!() };
        assert!(most.starts_with("3 of 5 texts"), "{most}");
    }

    #[test]
    fn every_key_and_flag_of_a_table_is_that_of_these_texts() {
        for key in Overrides::KEYS {
            let flag = key.replace('_', "-");
            for (said, expected) in [
                (
                    format!("set `data.{key}` (`--{flag}`) to `x`"),
                    format!("set `--ood-set data.{key}` to `x`"),
                ),
                (format!("with `data.{key}`"), format!("with `--ood-set data.{key}`")),
                (format!("(`--{flag} no` if so)"), format!("(`--ood-set data.{key}=no` if so)")),
                (format!("use `--{flag}`"), format!("use `--ood-set data.{key}`")),
            ] {
                assert_eq!(of_ood("a.csv", &said), format!("--ood a.csv: {expected}"));
            }
        }
    }
}
