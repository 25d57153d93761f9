//! Keys of `[data]` about tables, as a command's flags set them.

use std::collections::BTreeMap;

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
