//! Labels that the training of a model read in another way than other rows are read: its `data.label_map` is not
//! theirs, since nobody knows whether their labels mean the same.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{DataConfig, Dataset, renaming, shell_word, some};

/// What to say of rows that are read with `config`, for a model that was trained with `trained`; `None` where the
/// labels of its files come out as they did in the training.
pub fn read_unlike_training(
    dataset: &Dataset,
    config: &DataConfig,
    model: &Path,
    trained: &DataConfig,
) -> Option<String> {
    let renamed = |map: &BTreeMap<String, String>, label: &String| -> String {
        map.get(label).unwrap_or(label).clone()
    };
    let (here, there) = (&config.label_map, &trained.label_map);
    let differs = |label: &&String| renamed(here, label) != renamed(there, label);
    let labels: Vec<&String> = dataset.file_labels.iter().filter(differs).collect();
    if labels.is_empty() {
        return None;
    }
    let way = |label: &&String| renaming(label, &renamed(there, label));
    let flag: Vec<String> = labels.iter().map(way).collect();
    let (name, model) = (&dataset.name, model.display());
    let applied = match here.is_empty() {
        true => format!("`data.label_map`, which is not applied to `{name}`"),
        false => format!("another `data.label_map` than the one that is applied to `{name}`"),
    };
    Some(format!(
        "`{model}` was trained with {applied}; it concerns the labels {}; if they mean the same here as in the \
         training of this model, add `--label-map {}`",
        some(labels.into_iter().map(String::as_str)),
        shell_word(&flag.join(","))
    ))
}
