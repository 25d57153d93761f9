//! Which classes there are: from the labels as they are written to the names that are learned.
//!
//! Classes come from the training rows. Two spellings of one label are made one where that is certain; what
//! is only likely is said, with the key that decides it.

mod doubts;
mod meaning;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::meaning::Meaning;
use super::labels::tidy;
use super::remark::{Remark, some};
use super::{DataConfig, DataError};
use crate::task::Task;

/// The rows that have a label as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Occurrence {
    pub rows: BTreeMap<String, u64>,
    /// The first of them.
    pub first: Place,
}

/// Where a label is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub path: String,
    pub line: u64,
    pub column: String,
}

/// Labels as they are written.
pub(super) type Occurring = BTreeMap<String, Occurrence>;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It belongs to a class.
    Class(u32),
    /// It belongs to none of those that are learned.
    OutOfScope,
}

/// The classes, and what every written label means.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// What a cell of the labels holds, and so what a model of these data is for.
    pub task: Task,
    pub names: Vec<String>,
    /// The labels before any is renamed, as they are written and as they are read.
    pub in_files: BTreeSet<String>,
    pub fates: HashMap<String, Fate>,
    pub remarks: Vec<Remark>,
}

/// Settles the classes. `names` are those of integer labels, in their order, where they are known.
pub(super) fn settle(
    occurring: &Occurring,
    names: &[String],
    dataset: &str,
    config: &DataConfig,
) -> Result<Classes, DataError> {
    let mut remarks = Vec::new();
    let names = &tidy_names(names, dataset)?;
    let mut meant = Meaning::new(occurring);
    // Cells are read as this; one that holds several labels is refused.
    let task = Task::SingleLabel;
    match task {
        Task::SingleLabel => meant.lists(&mut remarks)?,
    }
    meant.tidy();
    if names.is_empty() {
        meant.numbers(config);
    } else {
        meant.indices(names, config, &mut remarks)?;
    }
    meant.truth_values();
    if let Some((label, _)) = config.label_map.iter().find(|(_, to)| tidy(to).is_empty()) {
        return Err(DataError::MappedToNothing { label: label.clone() });
    }
    let in_files =
        meant.of.iter().flat_map(|(written, name)| [(*written).to_owned(), name.clone()]);
    let in_files = in_files.collect();
    meant.mapped(config, &mut remarks);
    meant.of_model(&config.model_labels);
    meant.said(&mut remarks);

    let outside = meant.out_of_scope(config, names, dataset)?;
    let classes = meant.classes(names, &outside, &config.model_labels, &mut remarks);
    // A model that is there has classes, and knows them better than some rows do.
    let of_model = |class: &String| config.model_labels.contains(class);
    if classes.is_empty() || !classes.iter().all(of_model) {
        if classes.len() < task.fewest_classes() {
            let name = dataset.to_owned();
            match &classes[..] {
                [only] if doubts::is_no_label(only) => {
                    return Err(DataError::NoLabel { name, label: only.clone() });
                }
                // One class is enough for a model that has it.
                [only] if !config.model_labels.is_empty() => {
                    let (label, model) = (only.clone(), &config.model_labels);
                    let model = some(model.iter().map(String::as_str));
                    return Err(DataError::NotOfModel { name, label, model });
                }
                _ => {}
            }
            return Err(DataError::OneClass {
                name: dataset.to_owned(),
                found: classes,
                hint: if outside.is_empty() {
                    String::new()
                } else {
                    format!(" besides `{outside}` (`data.ood_label`)")
                },
            });
        }
        let counts = meant.counts("train");
        doubts::check_numbers(&classes, &counts, dataset, &mut remarks)?;
        doubts::say(&classes, &counts, &mut remarks);
    }
    let places: HashMap<&str, u32> = (0..).zip(&classes).map(|(id, name)| (&**name, id)).collect();
    let fate = |name: &String| places.get(&**name).map_or(Fate::OutOfScope, |&id| Fate::Class(id));
    let fates = meant.of.iter().map(|(written, name)| ((*written).to_owned(), fate(name)));
    Ok(Classes { task, fates: fates.collect(), names: classes.clone(), in_files, remarks })
}

/// The name that every written label is read as, where nothing is learned of them: as far as it can be said.
pub(super) fn names_of(
    occurring: &Occurring,
    names: &[String],
    config: &DataConfig,
    remarks: &mut Vec<Remark>,
) -> HashMap<String, String> {
    // Lists of names that cannot be used, labels beyond them, or lists of labels: these are no classes of a model.
    let (names, mut unsaid) = (tidy_names(names, &config.dataset).unwrap_or_default(), Vec::new());
    let mut meant = Meaning::new(occurring);
    let _ = meant.lists(&mut unsaid);
    meant.tidy();
    if names.is_empty() || meant.indices(&names, config, &mut unsaid).is_err() {
        meant.numbers(config);
    }
    meant.truth_values();
    meant.of_model(&config.model_labels);
    meant.said(remarks);
    meant.of.into_iter().map(|(written, name)| (written.to_owned(), name)).collect()
}

/// The names as labels are compared with them; none is empty, and each may stand once.
fn tidy_names(names: &[String], dataset: &str) -> Result<Vec<String>, DataError> {
    let names: Vec<String> = names.iter().map(|name| tidy(name)).collect();
    if let Some(class) = names.iter().position(String::is_empty) {
        return Err(DataError::EmptyName { dataset: dataset.to_owned(), class });
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => {
            Err(DataError::NameTwice { dataset: dataset.to_owned(), label: twice.clone() })
        }
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests;
