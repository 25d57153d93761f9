//! Classes that a model knows and the rows of a fit do not.

use std::collections::BTreeSet;

use super::{ExperimentError, Progress};
use crate::data::{DataError, some};

/// Says which classes have no rows, and names them; rows of one class are refused: a last layer that is fitted on them
/// forgets the others.
pub(super) fn check_classes(
    found: &BTreeSet<u32>,
    labels: &[String],
    dataset: &str,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<String>, ExperimentError> {
    let has_rows = |place: usize| found.contains(&(place as u32));
    let (found, missing): (Vec<_>, Vec<_>) = (0..labels.len()).partition(|&place| has_rows(place));
    let names = |places: &[usize]| places.iter().map(|&place| labels[place].clone()).collect();
    let way_out = "add rows for every class, or fit with `--keep-head`";
    if found.len() < 2 {
        let (name, found) = (dataset.to_owned(), names(&found));
        return Err(DataError::OneClass { name, found, hint: format!("; {way_out}") }.into());
    }
    let missing: Vec<String> = names(&missing);
    if !missing.is_empty() {
        show(Progress::Warning(format!(
            "`{dataset}` has no training row of {}; the last layer is fitted without, and will \
             rarely predict it; {way_out}",
            some(missing.iter().map(String::as_str))
        )));
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_without_rows_are_said_and_one_class_is_refused() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let check = |found: &[u32]| {
            let mut said = String::new();
            let found = found.iter().copied().collect();
            let mut show = |progress: Progress<'_>| {
                if let Progress::Warning(text) = progress {
                    said += &text;
                }
            };
            check_classes(&found, &labels, "x.csv", &mut show).map(|missing| (missing, said))
        };
        assert_eq!(check(&[0, 1, 2]).unwrap(), (Vec::new(), String::new()));
        let (missing, said) = check(&[0, 2]).unwrap();
        assert_eq!(missing, ["b"]);
        assert!(said.contains("no training row of `b`") && said.contains("--keep-head"), "{said}");
        let message = check(&[1]).unwrap_err().to_string();
        assert!(message.contains("`x.csv`") && message.contains("--keep-head"), "{message}");
        assert!(check(&[]).is_err());
    }
}
