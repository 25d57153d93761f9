//! Class names, and the class of each row.

use std::collections::BTreeSet;
use std::path::Path;

use super::DataError;

/// The names in `labels.json`: a list, in the order of the integer labels.
pub fn read_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DataError::Folder { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|source| DataError::LabelsFile { path: path.to_owned(), source })
}

/// The name of a label as it stands in a file: an integer is an index into `names`, where there are
/// names; anything else is a name itself.
pub fn name_of<'a>(written: &'a str, names: &'a [String]) -> &'a str {
    match written.parse::<usize>() {
        Ok(index) if index < names.len() => &names[index],
        _ => written,
    }
}

/// The classes in their order: that of `names` where all occurring labels have one, else integers
/// by value, else texts by code point.
pub fn classes(occurring: &BTreeSet<&str>, names: &[String]) -> Vec<String> {
    if !names.is_empty() && occurring.iter().all(|label| names.iter().any(|name| name == label)) {
        return names.to_vec();
    }
    let mut classes: Vec<String> = occurring.iter().map(|&label| label.to_owned()).collect();
    if classes.iter().all(|label| label.parse::<i64>().is_ok()) {
        classes.sort_by_key(|label| label.parse::<i64>().unwrap_or(0));
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_the_order_that_the_names_give() {
        let names = ["zebra".to_owned(), "ant".to_owned()];
        assert_eq!(name_of("1", &names), "ant");
        assert_eq!(name_of("7", &names), "7");
        assert_eq!(classes(&BTreeSet::from(["ant"]), &names), ["zebra", "ant"]);
    }

    #[test]
    fn without_names_integers_are_ordered_by_value() {
        assert_eq!(classes(&BTreeSet::from(["10", "9", "-1"]), &[]), ["-1", "9", "10"]);
        assert_eq!(classes(&BTreeSet::from(["b", "a"]), &[]), ["a", "b"]);
    }
}
