//! Files of one data set that write the same classes in two ways: one in words, another in numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::labels::{looks_missing, tidy, whole_number};
use super::remark::some;
use super::{DataConfig, DataError};

/// Labels as they are written, by file.
pub(super) type LabelsOfFiles<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Refuses words in one file and numbers in another, where nobody says what the numbers are: the classes would be
/// twice as many.
pub(super) fn check(files: &LabelsOfFiles<'_>, config: &DataConfig) -> Result<(), DataError> {
    let number = |label: &str| -> Option<i64> {
        let label = tidy(label);
        whole_number(&label).unwrap_or(&label).parse().ok()
    };
    let is_word = |label: &&str| number(label).is_none() && !looks_missing(tidy(label).as_str());
    let of = |test: &dyn Fn(&&str) -> bool| {
        files.iter().find(|(_, labels)| !labels.is_empty() && labels.iter().all(test))
    };
    let words = of(&is_word);
    let numbers = of(&|label| number(label).is_some());
    let (Some((words_file, words)), Some((numbers_file, numbers))) = (words, numbers) else {
        return Ok(());
    };
    let said = |label: &&str| {
        let label = tidy(label);
        let forms = [label.as_str(), whole_number(&label).unwrap_or(&label)];
        forms.iter().any(|form| config.label_map.contains_key(*form))
    };
    if numbers.iter().any(said) || words.iter().any(said) {
        return Ok(());
    }
    let mut values: Vec<i64> = numbers.iter().filter_map(|label| number(label)).collect();
    values.sort_unstable();
    values.dedup();
    let shown: Vec<String> = values.iter().map(i64::to_string).collect();
    let pairs = shown.iter().zip(words).take(4).map(|(number, word)| format!("{number}={word}"));
    let said = format!(
        "`{words_file}` has the labels {}, but `{numbers_file}` has {}",
        some(words.iter().copied()),
        some(shown.iter().map(String::as_str))
    );
    let (map, own) = (pairs.collect::<Vec<_>>().join(","), shown[0].clone());
    Err(DataError::WordsAndNumbers { said, map, own })
}

/// Refuses whole numbers that one split counts from another number than the training rows do: `1`, `2`, `3` beside
/// `0`, `1`, `2`. Each would be held against the wrong class.
pub(super) fn check_counting(
    splits: &LabelsOfFiles<'_>,
    config: &DataConfig,
) -> Result<(), DataError> {
    let numbers = |labels: &BTreeSet<&str>| -> Option<BTreeSet<i64>> {
        let number = |label: &&str| {
            let label = tidy(label);
            whole_number(&label).unwrap_or(&label).parse().ok()
        };
        labels.iter().map(number).collect()
    };
    let Some(train) = splits.get("train").and_then(numbers).filter(|train| train.len() > 1) else {
        return Ok(());
    };
    let said = |label: &i64| {
        let label = label.to_string();
        config.label_map.contains_key(&label) || config.ood_label == label
    };
    for (split, labels) in splits.iter().filter(|(split, _)| **split != "train") {
        let Some(found) = numbers(labels).filter(|found| found.len() == train.len()) else {
            continue;
        };
        let by = found.first().zip(train.first());
        let by = by.and_then(|(one, other)| one.checked_sub(*other)).filter(|&by| by != 0);
        let moved = |by: i64| {
            found.iter().zip(&train).all(|(one, other)| one.checked_sub(*other) == Some(by))
        };
        if !by.is_some_and(moved) || found.union(&train).any(said) {
            continue;
        }
        let list = |numbers: &BTreeSet<i64>| {
            let shown: Vec<String> = numbers.iter().map(i64::to_string).collect();
            some(shown.iter().map(String::as_str))
        };
        let own = found.difference(&train).next().copied().unwrap_or_default();
        return Err(DataError::Counting {
            split: (*split).to_owned(),
            found: list(&found),
            train: list(&train),
            own,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_split_counts_from_elsewhere_are_refused() {
        let outcome = |train: &[&'static str], test: &[&'static str], map: &[(&str, &str)]| {
            let splits = [("train", train), ("test", test)];
            let splits = splits.map(|(split, labels)| (split, labels.iter().copied().collect()));
            let label_map = map.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
            let config = DataConfig { label_map, ..DataConfig::default() };
            check_counting(&splits.into(), &config).map_err(|error| error.to_string())
        };
        for (train, test) in [
            (&["0", "1", "2"][..], &["1", "2", "3"][..]),
            (&["1", "2", "3", "4", "5"], &["0", "1", "2", "3", "4"]),
            (&["0", "1"], &["1.0", "2.0"]),
            (&["0", "1"], &[" 4", "5"]),
            (&["-1", "1"], &["0", "2"]),
        ] {
            let message = outcome(train, test, &[]).unwrap_err();
            assert!(message.contains("`test`") && message.contains("--label-map"), "{message}");
        }
        for (train, test, map) in [
            (&["0", "1", "2"][..], &["0", "1", "2"][..], &[][..]),
            (&["0", "1", "2"], &["0", "1", "3"], &[]),
            (&["0", "1", "2"], &["1", "2"], &[]),
            (&["0", "1", "2"], &["1", "2", "3"], &[("3", "3")]),
            (&["a", "b"], &["b", "c"], &[]),
            (&["0"], &["1"], &[]),
        ] {
            assert_eq!(outcome(train, test, map), Ok(()), "{train:?} {test:?}");
        }
    }

    #[test]
    fn words_beside_numbers_are_refused_until_somebody_says_what_they_are() {
        let outcome = |first: &[&'static str], second: &[&'static str], map: &[(&str, &str)]| {
            let files = [("a.csv", first), ("b.csv", second)];
            let files = files.map(|(file, labels)| (file, labels.iter().copied().collect()));
            let label_map = map.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
            let config = DataConfig { label_map, ..DataConfig::default() };
            check(&files.into(), &config).map_err(|error| error.to_string())
        };
        let message = outcome(&["neg", "pos"], &["1", "0"], &[]).unwrap_err();
        assert!(message.contains("`b.csv`") && message.contains("0=neg,1=pos"), "{message}");
        for (first, second) in [
            (&["1.0", "0.0"][..], &["neg", "pos"][..]),
            (&["-1", "1"], &["neg", "neutral", "pos"]),
            (&["good"], &[" 7 "]),
        ] {
            assert!(outcome(first, second, &[]).is_err(), "{first:?} {second:?}");
        }
        for (first, second, map) in [
            (&["neg", "pos"][..], &["1", "0"][..], &[("0", "neg"), ("1", "pos")][..]),
            (&["neg", "pos"], &["1", "0"], &[("0", "0")]),
            (&["1.0", "0.0"], &["neg", "pos"], &[("0", "neg"), ("1", "pos")]),
            (&["neg", "pos"], &["neg"], &[]),
            (&["0", "1"], &["1", "2"], &[]),
            (&["0", "1", "other"], &["0"], &[]),
            (&["0", "1"], &["?", "nan"], &[]),
            (&["0", "1"], &[], &[]),
        ] {
            outcome(first, second, map).unwrap();
        }
    }
}
