//! Class names that are given beside the files, and whether the files agree with them.

use std::path::{Path, PathBuf};

use super::labels::{likeness, tidy};
use super::remark::{Remark, quoted, some};
use super::{DataError, Located, labels};

/// Names of integer labels, in their order.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) names: Vec<String>,
    /// The file that they are from.
    file: Option<PathBuf>,
    /// The data set that has them by itself.
    known: Option<&'static str>,
}

impl Given {
    /// Those of `labels.json`, or else of a data set that is known.
    pub(super) fn of(located: &Located) -> Result<Self, DataError> {
        let names = match (&located.labels_file, located.known) {
            (Some(path), _) => labels::read_names(path)?,
            (None, Some(known)) => known.labels.iter().map(|&name| name.to_owned()).collect(),
            (None, None) => Vec::new(),
        };
        let known = located.known.filter(|_| located.labels_file.is_none());
        let known = known.map(|known| known.name);
        Ok(Self { names, file: located.labels_file.clone(), known })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What to say of a file that has other names in its own metadata.
    ///
    /// # Errors
    /// They are more or fewer, or the same in another order: its integers would mean something else.
    pub(super) fn check(&self, path: &Path, own: &[String]) -> Result<Option<Remark>, DataError> {
        if self.is_empty() || own.is_empty() {
            return Ok(None);
        }
        let as_compared = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| likeness(&tidy(name))).collect()
        };
        let (given, found) = (as_compared(&self.names), as_compared(own));
        if given == found {
            return Ok(None);
        }
        let [names, own_names] =
            [&self.names[..], own].map(|names| some(names.iter().map(String::as_str)));
        let moved = given.iter().zip(&found).any(|(a, b)| a != b && found.contains(a));
        let says =
            format!("`{}` calls its classes {own_names} in its own metadata", path.display());
        let differs = moved || given.len() != found.len();
        match (&self.file, self.known) {
            (Some(file), _) if differs => {
                let said = format!("{says}, but `{}` calls them {names}", file.display());
                Err(DataError::OtherNames { said, file: file.clone(), map: map(own, &self.names) })
            }
            (Some(file), _) => Ok(Some(Remark::Warning(format!(
                "{says}; they are renamed to {names}, as `{}` says, in this order; if that is wrong, remove or \
                 correct `{}`",
                file.display(),
                file.display()
            )))),
            (None, Some(known)) if differs => {
                let said = format!("{says}, but the classes of `{known}` are {names}");
                Err(DataError::OtherKnown { said })
            }
            (None, Some(known)) => Ok(Some(Remark::Note(format!(
                "{says}; they are renamed to {names}, in this order, as those of `{known}`"
            )))),
            (None, None) => Ok(None),
        }
    }
}

/// What `data.label_map` takes to make the first names the others.
fn map(from: &[String], to: &[String]) -> String {
    let pairs = from.iter().zip(to).filter(|(from, to)| from != to);
    let pairs: Vec<String> =
        pairs.take(4).map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_said_and_another_order_or_number_is_refused() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let outcome = |given: &[&str], own: &[&str]| {
            let file = Some("labels.json".into());
            let given = Given { names: names(given), file, known: None };
            let said = given.check(Path::new("a.parquet"), &names(own));
            // So it is of a copy of a data set that is known.
            let known = Given { file: None, known: Some("imdb"), ..given };
            let same = known.check(Path::new("a.parquet"), &names(own));
            assert_eq!(same.is_err(), said.is_err());
            assert!(same.is_ok() || same.unwrap_err().to_string().contains("of `imdb` are"));
            said.map(|said| said.is_some()).map_err(|error| error.to_string())
        };
        for (given, own) in [
            (&["neg", "pos"][..], &["neg", "pos"][..]),
            (&["Neg ", "POS"], &["neg", "pos"]),
            (&["neg", "pos"], &[]),
            (&[], &["neg", "pos"]),
        ] {
            assert_eq!(outcome(given, own), Ok(false), "{given:?} {own:?}");
        }
        assert_eq!(outcome(&["negative", "positive"], &["neg", "pos"]), Ok(true));
        for (given, own) in [
            (&["pos", "neg"][..], &["neg", "pos"][..]),
            (&["POS", "neg"], &["neg", "pos"]),
            (&["a", "c", "b"], &["a", "b", "c"]),
            (&["neg", "neutral", "pos"], &["neg", "pos"]),
            (&["neg", "pos"], &["neg", "neutral", "pos"]),
            (&["neg"], &["neg", "pos"]),
            (&["b", "new"], &["a", "b"]),
        ] {
            let message = outcome(given, own).unwrap_err();
            assert!(
                message.contains("`a.parquet`") && message.contains("remove `labels.json`"),
                "{message}"
            );
        }
    }
}
