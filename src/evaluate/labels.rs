//! The classes of a data set as those of a model: by their names, and never by a guess.

use super::EvaluateError;

/// The most names that a message lists.
const SHOWN: usize = 20;

/// Why it is not known which class of the data is which of the model.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A class that the model does not have.
    #[error(
        "the data set has the label `{label}`, which the model does not know: its labels are {known}; if \
         one of them means the same, say so with `--label-map {hint}`"
    )]
    Unknown {
        /// The first such label.
        label: String,
        /// The model's labels.
        known: String,
        /// How a map begins.
        hint: String,
    },
    /// Several classes of the model have that name in another case.
    #[error(
        "the label `{label}` of the data set is not one of the model's, and in another case it is {known}: \
         say which with `--label-map`"
    )]
    Several {
        /// The label.
        label: String,
        /// Those that it could be.
        known: String,
    },
    /// The model's classes have no names, and those of the data do.
    #[error(
        "the model's classes have numbers and no names, and it is not known which is which:\n  the model: \
         {model}\n  the data:  {data}\nthe data's order is that of its file or of the alphabet, and need \
         not be the one that the model was trained with. Say which is which with `--label-map {map}`, or \
         with the names in another order"
    )]
    Unnamed {
        /// Its numbered names, in order.
        model: String,
        /// The names of the data, in order.
        data: String,
        /// The map that keeps both orders.
        map: String,
    },
}

/// The model's label for each label of the data: by name, else by the only name that is the same but for
/// its case. Where the model's names are the ones that transformers gives to classes without names,
/// numbers are those numbers, and names are refused: their order means nothing.
pub fn labels_of_model(data: &[String], model: &[String]) -> Result<Vec<u32>, EvaluateError> {
    let unnamed = model.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
    let all = data.iter().map(|label| find(label, data, model, unnamed));
    Ok(all.collect::<Result<_, LabelError>>()?)
}

fn find(label: &str, data: &[String], model: &[String], unnamed: bool) -> Result<u32, LabelError> {
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
    if unnamed {
        // A number that means a class of the model, as it is written in both.
        let number = label.parse::<u32>().ok().filter(|id| id.to_string() == label);
        if let Some(id) = number.filter(|&id| (id as usize) < model.len()) {
            return Ok(id);
        }
        let both = data.iter().zip(model).take(SHOWN);
        let map: Vec<String> = both.map(|(data, model)| format!("{data}={model}")).collect();
        return Err(LabelError::Unnamed {
            model: listed(model.iter()),
            data: listed(data.iter()),
            map: quoted(&map.join(",")),
        });
    }
    let first = model.first().map_or("", String::as_str);
    Err(LabelError::Unknown {
        label: label.to_owned(),
        known: listed(model.iter()),
        hint: quoted(&format!("{label}={first}")),
    })
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-=,.".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
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
        assert!(message.contains("--label-map good=negative"), "{message}");
        // Numbers of the data are not the places of names.
        assert!(found(&["0", "1"], &model).unwrap_err().contains("`0`"));
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
            assert!(found(data, &model).unwrap_err().contains("numbers and no names"), "{data:?}");
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
