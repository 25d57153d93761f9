//! Keys of `[data]` about tables, as a command's flags set them.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::DataConfig;
use super::table::{Header, Quoting};

/// What is set; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `data.text_column`.
    pub text_column: Option<String>,
    /// `data.text_pair_column`.
    pub text_pair_column: Option<String>,
    /// `data.label_column`.
    pub label_column: Option<String>,
    /// `data.label_map`: added to those that are there.
    pub label_map: Vec<(String, String)>,
    /// `data.encoding`.
    pub encoding: Option<String>,
    /// `data.delimiter`.
    pub delimiter: Option<String>,
    /// `data.quoting`.
    pub quoting: Option<Quoting>,
    /// `data.header`.
    pub header: Option<Header>,
}

impl Overrides {
    /// Keys of `[data]` that say how tables are read, and not what their labels are called.
    pub const KEYS: [&str; 7] = [
        "text_column",
        "text_pair_column",
        "label_column",
        "encoding",
        "delimiter",
        "quoting",
        "header",
    ];

    /// Sets one of [`Self::KEYS`], as `data.encoding=windows-1252`.
    pub fn set(&mut self, setting: &str) -> Result<(), String> {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| "expected KEY=VALUE, such as data.encoding=windows-1252".to_owned())?;
        let (key, value) = (key.trim(), value.trim());
        let text = Some(value.to_owned());
        match key {
            "data.text_column" => self.text_column = text,
            "data.text_pair_column" => self.text_pair_column = text,
            "data.label_column" => self.label_column = text,
            "data.encoding" => self.encoding = text,
            "data.delimiter" => self.delimiter = text,
            "data.quoting" => self.quoting = Some(value.parse()?),
            "data.header" => self.header = Some(value.parse()?),
            _ => {
                let known = Self::KEYS.map(|key| format!("`data.{key}`")).join(", ");
                return Err(format!("`{key}` is not one of the keys {known}"));
            }
        }
        Ok(())
    }

    /// Sets what is set, and checks the whole.
    ///
    /// # Errors
    /// A label is renamed to two others, or as [`DataConfig::check`].
    pub fn apply(&self, config: &mut DataConfig) -> Result<(), String> {
        let keys = [
            (&mut config.text_column, &self.text_column),
            (&mut config.text_pair_column, &self.text_pair_column),
            (&mut config.label_column, &self.label_column),
            (&mut config.encoding, &self.encoding),
            (&mut config.delimiter, &self.delimiter),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                key.clone_from(value);
            }
        }
        config.quoting = self.quoting.unwrap_or(config.quoting);
        config.header = self.header.unwrap_or(config.header);
        let mut label_map = BTreeMap::new();
        for (from, to) in &self.label_map {
            match label_map.insert(from, to) {
                Some(other) if other != to => {
                    return Err(format!(
                        "`--label-map` renames `{from}` twice, to `{other}` and to `{to}`; remove \
                         one of the two"
                    ));
                }
                _ => {}
            }
        }
        config.label_map.extend(label_map.into_iter().map(|(from, to)| (from.clone(), to.clone())));
        config.check()
    }
}

impl FromStr for Quoting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "double" => Ok(Self::Double),
            "backslash" => Ok(Self::Backslash),
            "none" => Ok(Self::None),
            _ => Err("expected auto, double, backslash or none".to_owned()),
        }
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "yes" => Ok(Self::Yes),
            "no" => Ok(Self::No),
            _ => Err("expected auto, yes or no".to_owned()),
        }
    }
}
