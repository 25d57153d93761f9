//! Classes that are written in two ways: in words in one file or some rows, in numbers in others.

use std::collections::{BTreeMap, BTreeSet};

use super::labels::{likeness, looks_missing, tidy, whole_number};
use super::remark::{Remark, some};
use super::{DataConfig, DataError};

/// Labels as they are written, by file.
pub(super) type LabelsOfFiles<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The whole number that a label is.
fn number(label: &str) -> Option<i64> {
    let label = tidy(label);
    whole_number(&label).unwrap_or(&label).parse().ok()
}

/// Not a number, with a decimal point or comma either.
fn is_word(label: &&str) -> bool {
    let label = tidy(label);
    let is_number = label.replacen(',', ".", 1).parse::<f64>().is_ok_and(f64::is_finite);
    number(&label).is_none() && !is_number && !looks_missing(&label)
}

/// Refuses words and numbers, or truth values, among the labels of the same files: as many words as there are
/// numbers, which count from 0. Warns of what is only like that, and says that others are classes: `-1` or `2` beside one
/// word, or one number beside many.
pub(super) fn check_together(
    files: &LabelsOfFiles<'_>,
    config: &DataConfig,
) -> Result<Option<Remark>, DataError> {
    let of_one: BTreeSet<&str> = files.values().flatten().copied().collect();
    let outside =
        |label: &str| !config.ood_label.is_empty() && tidy(label) == tidy(&config.ood_label);
    let labels = || of_one.iter().copied().filter(|label| !outside(label));
    // Who has a model with such classes means them.
    if !config.model_labels.is_empty() || labels().any(|label| config.renaming(label).is_some()) {
        return Ok(None);
    }
    let truth = |label: &str| match likeness(label).as_str() {
        "true" => Some(1),
        "false" => Some(0),
        _ => None,
    };
    let mut words: BTreeMap<String, &str> = BTreeMap::new();
    let (mut numbers, mut truths) = (BTreeMap::new(), BTreeMap::new());
    for label in labels() {
        match (number(label), truth(label)) {
            (Some(value), _) => drop(numbers.insert(value, label)),
            (_, Some(value)) => drop(truths.insert(value, label)),
            _ if is_word(&label) => drop(words.insert(likeness(label), label)),
            _ => {}
        }
    }
    // Yes and no beside them are said elsewhere, as are truth values beside numbers.
    if words.keys().all(|word| matches!(&**word, "yes" | "no" | "y" | "n")) {
        return Ok(None);
    }
    let all_are_classes = || {
        (!numbers.is_empty() && truths.is_empty()).then(|| {
            Remark::Note(format!(
                "labels are words and numbers, {} beside {}; all are classes (`data.label_map` renames them)",
                some(words.values().copied()),
                some(numbers.values().copied())
            ))
        })
    };
    let codes = match (words.len(), numbers.len(), truths.len()) {
        (2.., 2.., 0) => &numbers,
        (2.., 0, 2) => &truths,
        _ => return Ok(all_are_classes()),
    };
    let in_a_row = codes.keys().zip(codes.keys().skip(1)).all(|(one, next)| next - one == 1);
    let least = codes.keys().next().copied();
    let alike = 2 * codes.len().min(words.len()) >= codes.len().max(words.len());
    if !in_a_row || !matches!(least, Some(-1..=1)) || !alike {
        return Ok(all_are_classes());
    }
    let words: Vec<&str> = words.values().copied().collect();
    let of_codes = || codes.values().copied();
    let pairs = of_codes().zip(&words).take(4).map(|(code, word)| format!("{code}={word}"));
    let (map, own) = (pairs.collect::<Vec<_>>().join(","), of_codes().next().unwrap_or_default());
    let said = format!(
        "some rows have the labels {}, others {}",
        some(words.iter().copied()),
        some(of_codes())
    );
    if least == Some(0) && codes.len() == words.len() {
        return Err(DataError::WordsAndNumbers { said, map, own: own.to_owned() });
    }
    Ok(Some(Remark::Warning(format!(
        "{said}, and all are classes; if some are the same, say which is which with \
         `data.label_map`, such as `--label-map {map}`"
    ))))
}

/// Refuses words in one file and numbers in another, where nobody says what the numbers are: the classes would be
/// twice as many.
pub(super) fn check(files: &LabelsOfFiles<'_>, config: &DataConfig) -> Result<(), DataError> {
    let of = |test: &dyn Fn(&&str) -> bool| {
        files.iter().find(|(_, labels)| !labels.is_empty() && labels.iter().all(test))
    };
    let words = of(&is_word);
    let numbers = of(&|label| number(label).is_some());
    let (Some((words_file, words)), Some((numbers_file, numbers))) = (words, numbers) else {
        return Ok(());
    };
    if numbers.iter().chain(words).any(|label| config.renaming(label).is_some()) {
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
        config.renaming(&label).is_some() || config.ood_label == label
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
    fn words_and_numbers_of_the_same_rows_are_refused_where_they_are_as_many() {
        let outcome = |labels: &[&'static str], map: &[(&str, &str)], model: &[&str]| {
            let files = [("a.csv", labels.iter().copied().collect())];
            let label_map = map.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
            let model_labels = model.iter().map(|&label| label.to_owned()).collect();
            let config = DataConfig { label_map, model_labels, ..DataConfig::default() };
            match check_together(&files.into(), &config) {
                Err(error) => format!("refused: {error}"),
                Ok(Some(Remark::Note(text))) => format!("noted: {text}"),
                Ok(Some(Remark::Warning(text))) => format!("warned: {text}"),
                Ok(None) => String::new(),
            }
        };
        for labels in [
            &["neg", "pos", "0", "1"][..],
            &["neg", "pos", "0.0", "1.0"],
            &["neg", "Neg ", "pos", "0", " 1", "1.0"],
            &["neg", "pos", "true", "false"],
            &["ham", "spam", "True", "False", "?"],
            &["a", "b", "c", "0", "1", "2"],
        ] {
            let said = outcome(labels, &[], &[]);
            assert!(
                said.starts_with("refused") && said.contains("--label-map"),
                "{labels:?} {said}"
            );
        }
        let said = outcome(&["neg", "pos", "true", "false"], &[], &[]);
        assert!(said.contains("false=neg,true=pos") && said.contains("false=false"), "{said}");
        for labels in [
            &["neg", "neutral", "pos", "0", "1"][..],
            &["neg", "pos", "1", "2"],
            &["neg", "pos", "-1", "0", "1"],
            &["neg", "pos", "0", "1", "2"],
        ] {
            let said = outcome(labels, &[], &[]);
            assert!(
                said.starts_with("warned") && said.contains("--label-map"),
                "{labels:?} {said}"
            );
        }
        for labels in [
            &["0", "1", "other"][..],
            &["neg", "pos", "0"],
            &["neg", "pos", "404", "500"],
            &["a", "b", "c", "d", "e", "0", "1"],
        ] {
            let said = outcome(labels, &[], &[]);
            assert!(said.starts_with("noted: labels are words and numbers"), "{labels:?} {said}");
        }
        let four = &["neg", "pos", "0", "1"][..];
        for (labels, map, model) in [
            (&["0", "1", "?", "nan"][..], &[][..], &[][..]),
            (&["yes", "no", "0", "1"], &[], &[]),
            (&["true", "false", "0", "1"], &[], &[]),
            (&["true", "false", "unsure"], &[], &[]),
            (&["1", "2", "3", "1.5"], &[], &[]),
            (&["1", "1.5", "2", "2.5"], &[], &[]),
            (&["1,5", "2,5", "3"], &[], &[]),
            (four, &[("0", "0")], &[]),
            (four, &[("0", "neg"), ("1", "pos")], &[]),
            (four, &[], &["neg", "pos"]),
        ] {
            assert_eq!(outcome(labels, map, model), "", "{labels:?}");
        }
        let config = DataConfig { ood_label: "none".to_owned(), ..DataConfig::default() };
        let files = [("a.csv", ["0", "1", "none"].into_iter().collect())];
        assert_eq!(check_together(&files.into(), &config).unwrap(), None);
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
            (&["1", "0"], &["neg", "pos"], &[("0.0", "neg"), ("1.0", "pos")]),
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
