//! The classes of a data set as those of a model: by their names, and never by a guess.

use super::EvaluateError;
use crate::artifact::Manifest;
use crate::data::{DataConfig, Dataset, renaming, shell_word, two_readings};

/// The most names that a message lists.
const SHOWN: usize = 20;

/// Why it is not known which class of the data is which of the model.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A class that the model does not have.
    #[error(
        "the data set has the label `{label}`, which this model does not know (its labels are \
         {known}); if one of them means the same, use `--label-map {map}`{meant}"
    )]
    Unknown {
        /// The first such label.
        label: String,
        known: String,
        /// A map of this label.
        map: String,
        /// What the map has to be filled with, or empty.
        meant: &'static str,
    },
    /// A label that the training of the model took for none of its classes.
    #[error(
        "the data set has the label `{label}`, which meant out of scope when this model was \
         trained (`data.ood_label`) and is not one of its classes; remove those rows (with `bayes \
         eval`, give their texts with `--ood`), or rename the label with `--label-map {map}`, \
         where NAME is one of the model's labels"
    )]
    OutOfScope {
        label: String,
        /// A map of this label.
        map: String,
    },
    /// Several classes of the model have that name in another case.
    #[error(
        "the label `{label}` of the data set is not one of the model's labels, and ignoring upper \
         and lower case it could be {known}; choose one with `--label-map`"
    )]
    Several {
        label: String,
        /// Those that it could be.
        known: String,
    },
    /// The classes of the model or of the data have numbers for names, and those of the other have not, or
    /// begin elsewhere.
    #[error(
        "the classes of {which} have numbers instead of names, so they cannot be matched:\n  \
         the model: {model}\n  the data:  {data}\nThe data's labels are in file or alphabetical \
         order, which may not be the model's order. Map them yourself, with `--label-map {map}` \
         or another pairing"
    )]
    Unnamed {
        /// Which of the two, or both.
        which: &'static str,
        /// The names of the model, in order.
        model: String,
        /// The names of the data, in order.
        data: String,
        /// The map that keeps both orders.
        map: String,
    },
}

/// The model's label for each label of the data: by name, else by the only name that is the same but for
/// its case. Where the model's names are the ones that transformers gives to classes without names, numbers
/// that count from 0 are those numbers. All other numbers are refused: their order means nothing.
pub fn labels_of_model(data: &[String], model: &[String]) -> Result<Vec<u32>, EvaluateError> {
    let default = model.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
    if default && let Some(ids) = from_zero(data, model.len()) {
        return Ok(ids);
    }
    let all = data.iter().map(|label| find(label, data, model));
    Ok(all.collect::<Result<_, LabelError>>()?)
}

/// The same for a model that was trained on rows of which some had a label for texts of no class.
pub fn labels_of_trained(data: &[String], model: &Manifest) -> Result<Vec<u32>, EvaluateError> {
    let same = |one: &str, other: &str| one.trim().to_lowercase() == other.trim().to_lowercase();
    let outside = model.data.as_ref().map_or("", |trained| trained.ood_label.trim());
    let is_class = || model.labels.iter().any(|label| same(label, outside));
    match data.iter().find(|label| !outside.is_empty() && same(label, outside)) {
        Some(label) if !is_class() => {
            let (label, map) = (label.clone(), shell_word(&renaming(label, "NAME")));
            Err(LabelError::OutOfScope { label, map }.into())
        }
        _ => labels_of_model(data, &model.labels),
    }
}

/// What to say of rows whose labels a model has as names of classes, where they could be places in its list as well.
/// Who renames labels to them says that names are meant.
pub fn names_or_places(dataset: &Dataset, config: &DataConfig, model: &[String]) -> Option<String> {
    let mut labels: Vec<&str> = dataset.labels.iter().map(String::as_str).collect();
    let maps = [&config.label_map, &config.usual_label_map];
    let is_meant = |label: &&str| maps.iter().any(|map| map.values().any(|to| to == label));
    if labels.iter().all(is_meant) {
        return None;
    }
    labels.sort_by_key(|label| label.parse::<usize>().ok());
    let readings = two_readings(&labels, model)?;
    Some(format!(
        "the labels of `{}` are numbers that the model has as names of classes and that could be their places: \
         {readings}",
        dataset.name
    ))
}

/// Numbers of classes that count from 0; where none is 0, they may count from 1.
fn from_zero(data: &[String], classes: usize) -> Option<Vec<u32>> {
    let id = |label: &String| {
        let id = label.parse::<u32>().ok().filter(|id| id.to_string() == *label)?;
        ((id as usize) < classes).then_some(id)
    };
    let ids = data.iter().map(id).collect::<Option<Vec<u32>>>()?;
    ids.contains(&0).then_some(ids)
}

fn find(label: &str, data: &[String], model: &[String]) -> Result<u32, LabelError> {
    if let Some(place) = model.iter().position(|known| known == label) {
        return Ok(place as u32);
    }
    let alike = |known: &&String| known.to_lowercase() == label.to_lowercase();
    let similar: Vec<&String> = model.iter().filter(alike).collect();
    match similar[..] {
        [one] => return Ok(model.iter().position(|known| known == one).unwrap_or(0) as u32),
        [] => {}
        _ => {
            let known = listed(similar.into_iter());
            return Err(LabelError::Several { label: label.to_owned(), known });
        }
    }
    let numbered = |names: &[String]| names.iter().all(|name| is_numbered(name));
    let which = match (numbered(model), numbered(data)) {
        (true, true) => Some("both"),
        (true, false) => Some("the model"),
        (false, true) => Some("the data"),
        (false, false) => None,
    };
    // Side by side they help only where each has its counterpart.
    if let Some(which) = which.filter(|_| data.len() <= model.len()) {
        let both = data.iter().zip(model).take(SHOWN);
        let map: Vec<String> = both.map(|(data, model)| renaming(data, model)).collect();
        return Err(LabelError::Unnamed {
            which,
            model: listed(model.iter()),
            data: listed(data.iter()),
            map: shell_word(&map.join(",")),
        });
    }
    let (name, meant) = match nearest(label, model) {
        Some(near) => (near, ""),
        None => ("NAME", ", where NAME is one of the model's labels"),
    };
    Err(LabelError::Unknown {
        label: label.to_owned(),
        known: listed(model.iter()),
        map: shell_word(&renaming(label, name)),
        meant,
    })
}

/// Whether a name is a number, alone or behind a word that says no more, such as `LABEL_1` or `class 2`.
fn is_numbered(name: &str) -> bool {
    const WORDS: [&str; 5] = ["", "label", "class", "category", "cluster"];
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = word.len() < name.len();
    let number = name.parse::<f64>().is_ok();
    let word = word.trim_end_matches(['_', '-', ' ']).to_lowercase();
    number || (digits && WORDS.contains(&word.as_str()))
}

/// The name that is nearly the same, or that begins with the label or is its beginning.
fn nearest<'a>(label: &str, model: &'a [String]) -> Option<&'a str> {
    let label = label.to_lowercase();
    let distance = |name: &str| match (name.starts_with(&label), label.starts_with(name)) {
        (false, false) => strsim::damerau_levenshtein(&label, name),
        _ if name.chars().count().min(label.chars().count()) >= 3 => 1,
        _ => usize::MAX,
    };
    let near = model.iter().map(|name| (distance(&name.to_lowercase()), name));
    let (distance, name) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= label.chars().count() / 3).then_some(name.as_str())
}

/// The first names, and how many more there are.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let rest = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn found(data: &[&str], model: &[&str]) -> Result<Vec<u32>, String> {
        labels_of_model(&names(data), &names(model)).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_matched_by_name_and_not_by_place() {
        let model = ["negative", "positive"];
        assert_eq!(found(&["Positive", "negative"], &model).unwrap(), [1, 0]);
        assert_eq!(found(&["ÉTÉ", "hiver"], &["hiver", "été"]).unwrap(), [1, 0]);
        let message = found(&["good"], &model).unwrap_err();
        assert!(message.contains("`good`") && message.contains("`negative`"), "{message}");
        assert!(message.contains("--label-map good=NAME"), "{message}");
        // A name that means nothing is not proposed.
        let message = found(&["negative", "ask"], &["ask", "complain"]).unwrap_err();
        assert!(message.contains("--label-map negative=NAME"), "{message}");
        for (label, near) in
            [("neg", "negative"), ("positve", "positive"), ("Positives", "positive")]
        {
            let message = found(&[label, "no such"], &model).unwrap_err();
            assert!(message.contains(&format!("--label-map {label}={near}`")), "{message}");
        }
    }

    #[test]
    fn a_proposed_map_has_labels_with_signs_in_quotes() {
        let message = found(&["a=b", "c"], &["x", "c"]).unwrap_err();
        assert!(message.contains("--label-map '\"a=b\"=NAME'"), "{message}");
        let message = found(&["1, \"one\"", "2"], &["LABEL_1", "LABEL_2"]).unwrap_err();
        assert!(message.contains("'\"1, \"\"one\"\"\"=LABEL_1,2=LABEL_2'"), "{message}");
    }

    #[test]
    fn numbers_and_names_are_shown_side_by_side_and_never_matched() {
        for (data, model, which) in [
            (&["0", "1"][..], &["negative", "positive"][..], "of the data"),
            (&["LABEL_0", "LABEL_1"], &["negative", "positive"], "of the data"),
            (&["bad", "good"], &["0", "1"], "of the model"),
            (&["bad", "good"], &["class 1", "class 2"], "of the model"),
            (&["1", "2"], &["LABEL_1", "LABEL_2"], "of both"),
            (&["0", "1"], &["LABEL_1", "LABEL_2"], "of both"),
            (&["1", "2"], &["LABEL_0", "LABEL_1"], "of both"),
            // They may count from 1.
            (&["1", "2"], &["LABEL_0", "LABEL_1", "LABEL_2"], "of both"),
            (&["1"], &["LABEL_0", "LABEL_1"], "of both"),
            (&["1", "2"], &["0", "1"], "of both"),
            (&["class 1", "class 2"], &["LABEL_0", "LABEL_1"], "of both"),
        ] {
            let message = found(data, model).unwrap_err();
            assert!(message.contains(which) && message.contains("the data:  "), "{message}");
            let map = format!("{}={}", data[0], model[0]);
            assert!(message.contains(&map), "{map}: {message}");
        }
        let three = ["LABEL_0", "LABEL_1", "LABEL_2"];
        assert_eq!(found(&["2", "0"], &three).unwrap(), [2, 0]);
        assert_eq!(found(&["LABEL_2", "LABEL_1"], &["LABEL_1", "LABEL_2"]).unwrap(), [1, 0]);
    }

    #[test]
    fn names_that_differ_in_their_case_alone_are_not_chosen_between() {
        let model = ["us", "US", "other"];
        assert_eq!(found(&["US", "us"], &model).unwrap(), [1, 0]);
        let message = found(&["Us"], &model).unwrap_err();
        assert!(message.contains("`us`, `US`"), "{message}");
    }

    #[test]
    fn numbered_classes_are_matched_by_number_and_never_by_the_alphabet() {
        let model = ["LABEL_0", "LABEL_1"];
        assert_eq!(found(&["1", "0"], &model).unwrap(), [1, 0]);
        assert_eq!(found(&["LABEL_1", "label_0"], &model).unwrap(), [1, 0]);
        let message = found(&["acceptable", "unacceptable"], &model).unwrap_err();
        for part in [
            "the model: `LABEL_0`, `LABEL_1`",
            "the data:  `acceptable`, `unacceptable`",
            "--label-map acceptable=LABEL_0,unacceptable=LABEL_1",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        for data in
            [&["bad", "good"][..], &["00", "01"], &["1", "2"], &["1.0", "0.0"], &["no", "1"]]
        {
            assert!(
                found(data, &model).unwrap_err().contains("numbers instead of names"),
                "{data:?}"
            );
        }
        assert!(
            found(&["it's", "b"], &model).unwrap_err().contains("'it'\\''s=LABEL_0,b=LABEL_1'")
        );
        let many: Vec<String> = (0..200).map(|id| format!("LABEL_{id}")).collect();
        let data: Vec<String> = (0..200).map(|id| format!("class {id}")).collect();
        let message = labels_of_model(&data, &many).unwrap_err().to_string();
        assert!(message.contains("and 180 more") && message.len() < 2500, "{message}");
    }
}
