//! A row of the table: a method with its keys, as a person names it.

use std::str::FromStr;

use crate::experiment::check_repeated;
use crate::method::Method;
use crate::suggest::nearest;

/// A method with keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the table.
    pub label: String,
    pub method: Method,
    /// Keys of `[posterior]` and `[calibration]`, as `section.key=value`.
    pub settings: Vec<String>,
}

/// Why a method cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("unknown method `{name}`{hint}; known methods: {known}")]
    Unknown {
        name: String,
        /// `; did you mean …?`, or empty.
        hint: String,
        known: String,
    },
    #[error("`{0}`: write a key and a value behind each `:`, for example `swag:swag_rank=10`")]
    Setting(String),
    #[error(
        "`{0}`: a label names folders; use letters, digits, `-`, `_` and `.`, for example \
         `wide=laplace:calibration.scale=1`"
    )]
    Label(String),
    /// A key with two values.
    #[error("`{0}`: {1}")]
    Twice(String, String),
}

impl FromStr for Entry {
    type Err = EntryError;

    /// `[LABEL=]METHOD[:KEY=VALUE]…`. A key without a section is one of `[posterior]`.
    fn from_str(text: &str) -> Result<Self, EntryError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let mut parts = text.split(':').map(str::trim);
        let head = parts.next().unwrap_or_default();
        let (label, name) = match head.split_once('=') {
            Some((label, name)) => (Some(label.trim()), name.trim()),
            None => (None, head),
        };
        let method = Method::ALL.iter().copied().find(|method| method.name() == name);
        let method = method.ok_or_else(|| {
            let names = Method::ALL.iter().map(|method| method.name());
            let near = nearest(name, names.clone());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let known = names.collect::<Vec<_>>().join(", ");
            EntryError::Unknown { name: name.to_owned(), hint, known }
        })?;
        let setting = |part: &str| {
            let (key, value) = part
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| EntryError::Setting(text.to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            Ok(match key.contains('.') {
                true => format!("{key}={value}"),
                false => format!("posterior.{key}={value}"),
            })
        };
        let settings = parts.map(setting).collect::<Result<Vec<_>, _>>()?;
        check_repeated(&settings).map_err(|message| EntryError::Twice(text.to_owned(), message))?;
        let label = match label {
            Some(label) => label.to_owned(),
            None => settings.iter().fold(name.to_owned(), |label, setting| {
                let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
                let key = key.rsplit('.').next().unwrap_or_default();
                let value: String = value.chars().map(|c| if fine(c) { c } else { '-' }).collect();
                format!("{label}-{key}-{value}")
            }),
        };
        if label.is_empty() || label.starts_with('.') || !label.chars().all(fine) {
            return Err(EntryError::Label(text.to_owned()));
        }
        Ok(Self { label, method, settings })
    }
}

impl Entry {
    /// The point estimate with a temperature, which all others are compared with.
    pub fn reference() -> Self {
        Self { label: Method::Map.name().to_owned(), method: Method::Map, settings: Vec::new() }
    }

    /// As a person writes it behind a label, so that it is something else than another one.
    pub(super) fn written_unlike(&self, other: &Self) -> String {
        let same = (self.method, &self.settings) == (other.method, &other.settings);
        let keys = self.settings.iter().map(String::as_str).chain(same.then_some("KEY=VALUE"));
        keys.fold(self.method.name().to_owned(), |text, key| format!("{text}:{key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Result<Entry, String> {
        text.parse().map_err(|error: EntryError| error.to_string())
    }

    #[test]
    fn a_method_is_named_with_its_keys_and_a_label() {
        assert_eq!(entry("map").unwrap(), Entry::reference());
        let swag = entry("swag:swag_rank=10").unwrap();
        assert_eq!((swag.label.as_str(), swag.method), ("swag-swag_rank-10", Method::Swag));
        assert_eq!(swag.settings, ["posterior.swag_rank=10"]);
        let wide = entry("wide=laplace:calibration.scale=largest : link=mf2").unwrap();
        assert_eq!(wide.label, "wide");
        assert_eq!(wide.settings, ["calibration.scale=largest", "posterior.link=mf2"]);
        let short = entry("laplace:calibration.ood_p=0.05").unwrap();
        assert_eq!(short.label, "laplace-ood_p-0.05");
    }

    #[test]
    fn what_a_method_is_called_anew_is_the_method_that_was_written() {
        let unlike =
            |one: &str, other: &str| entry(one).unwrap().written_unlike(&entry(other).unwrap());
        assert_eq!(unlike("map=laplace", "map"), "laplace");
        assert_eq!(unlike("a=map", "a=laplace"), "map");
        assert_eq!(unlike("a=swag:swag_rank=5", "a=swag"), "swag:posterior.swag_rank=5");
        assert_eq!(unlike("laplace", "laplace"), "laplace:KEY=VALUE");
    }

    #[test]
    fn what_names_no_method_is_refused() {
        let message = entry("laplce").unwrap_err();
        assert!(message.contains("did you mean `laplace`?") && message.contains("mc_dropout"));
        assert!(entry("swag:swag_rank").unwrap_err().contains("a key and a value"));
        assert!(entry("a/b=map").unwrap_err().contains("a label names folders"));
        let message = entry("swag:swag_rank=10:posterior.swag_rank=20").unwrap_err();
        assert!(message.contains("`posterior.swag_rank` is set twice, to `10` and to `20`"));
        assert!(entry("swag:swag_rank=10:swag_rank=10").is_ok());
        assert!(entry("..=map").unwrap_err().contains("a label names folders"));
    }
}
